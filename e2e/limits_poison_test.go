package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/schema"
)

// TestAMessageThatKills: a message ends the process by kill -9 three times. On the fourth
// delivery it becomes a dead letter, unread, and the others flow on.
func TestAMessageThatKills(t *testing.T) {
	w := newWorld(t, "directory")
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	w.broker = server.Addr()
	w.env = append(w.env, "PUBSUB_EMULATOR_HOST="+w.broker)
	state := t.TempDir()
	record := func(i int) []byte {
		return fmt.Appendf(nil, `{"symbol":"S%d","timestamp":"2024-01-15T14:30:00Z","price":%d,"source":"poison"}`, i, i)
	}
	w.publish(func(publish func(string, *schema.Message)) { publish("market-data", &schema.Message{Data: record(0)}) })

	server.Faults().Set(embedded.FaultPlan{LoseLeases: 1}) // so that few wait for leases of the dead
	for n := range 3 {
		cmd, _ := w.armed(state)
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("run %d ended with %v", n+1, err)
		}
	}
	cmd, log := w.armed(state) // it would die of any message that it decodes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(log.String(), "it is not decoded again") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	server.Faults().Set(embedded.FaultPlan{})
	w.terminate(cmd)
	if !strings.Contains(log.String(), "it is not decoded again") {
		t.Fatalf("the fourth run does not say that it quarantines:\n%s", log.String())
	}

	w.publish(func(publish func(string, *schema.Message)) {
		for i := range 20 {
			publish("market-data", &schema.Message{Data: record(i + 1)})
		}
	})
	w.ingestor("--idle-exit", "3s", "--state-dir", state)
	if got := w.rows("market_data"); got != 20 {
		t.Errorf("%d rows, want the 20 others", got)
	}
	if got := w.reasons(); len(got) != 1 || got["quarantined"] < 1 {
		t.Errorf("dead letters %v, want the one that kills", got)
	}
}

// armed is an ingestor that dies of the first message that it decodes.
func (w *world) armed(state string) (*exec.Cmd, *lockedBuffer) {
	cmd := w.command("ingestor", w.ingestorArgs("--types", "market_data", "--state-dir", state)...)
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cmd.Env, failpoint.Variable+"="+string(failpoint.AfterReceive)+"=kill")
	return cmd, log
}
