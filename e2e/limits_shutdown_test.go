package e2e

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTerminatedTwice: an ingestor that cannot finish its drain ends at once when it is
// asked again, with 1, and acks nothing by that.
func TestTerminatedTwice(t *testing.T) {
	w := newWorld(t, "gcs")
	f := newFront(t, os.Getenv("STORAGE_EMULATOR_HOST"))
	i := w.watched(f)
	stop := w.steadily(10 * time.Millisecond)
	i.await("acks", 30*time.Second, func() bool { return i.metric("ingest_messages_acked_total") > 20 })
	f.set("503")
	i.await("not ready", 30*time.Second, func() bool { status, _ := i.get("/readyz"); return status == http.StatusServiceUnavailable })
	stop()
	acked := i.metric("ingest_messages_acked_total")
	i.cmd.Process.Signal(syscall.SIGTERM)
	i.await("draining", 10*time.Second, func() bool { return strings.Contains(i.log.String(), `"draining"`) })
	if got := i.metric("ingest_messages_acked_total"); got != acked {
		t.Errorf("%v messages acked while the store was down", got-acked)
	}
	began := time.Now()
	i.cmd.Process.Signal(syscall.SIGTERM)
	var exit *exec.ExitError
	if err := i.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 || time.Since(began) > 5*time.Second {
		t.Errorf("ended with %v after %v", err, time.Since(began))
	}
	if !strings.Contains(i.log.String(), "asked twice to end") {
		t.Error("it does not say why")
	}
}
