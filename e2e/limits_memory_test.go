package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

var (
	ceilingSymbols = flag.Int("symbols", 500, "symbols of TestMemoryCeiling")
	ceilingDays    = flag.Int("days", 365, "days of TestMemoryCeiling")
	ceilingRecords = flag.Int("records", 20_000, "records of TestMemoryCeiling")
	ceilingMessage = flag.Int("per-message", 100, "records of each message of TestMemoryCeiling")
)

// TestMemoryCeiling shuffles records over symbols and days, so that every message
// has rows of many partitions and every partition has a few, and looks at the most
// memory that the ingestor ever had: everything it holds is in its budget.
//
// The whole of it: -symbols 20000 -days 3650 -records 1000000.
func TestMemoryCeiling(t *testing.T) {
	w := apart(t)
	n := *ceilingRecords
	w.publish(func(publish func(string, *schema.Message)) {
		dice := rand.New(rand.NewPCG(1, 2))
		first := time.Date(2014, 1, 1, 14, 30, 0, 0, time.UTC)
		var data []byte
		for i := range n {
			day := first.AddDate(0, 0, dice.IntN(*ceilingDays))
			data = fmt.Appendf(data, `{"symbol":"S%05d","timestamp":"%s","open":%d.25,"high":%d.5,"low":%d.125,"close":%d.375,"price":%d.5,"volume":%d,"source":"ceiling"}`+"\n",
				dice.IntN(*ceilingSymbols), day.Format(time.RFC3339), i%900, i%900+1, i%900, i%900, i%900, i)
			if (i+1)%*ceilingMessage == 0 || i+1 == n {
				publish("market-data", &schema.Message{Data: data})
				data = nil
			}
		}
	})
	began := time.Now()
	cmd := w.command("ingestor", "--data-bucket", w.bucket, "--create", "--types", "market_data",
		"--memory-budget", "128MiB", "--idle-exit", "3s", "--flush-age", "10s")
	log := lockedBuffer{}
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var peak int64
	for err := error(nil); ; {
		select {
		case err = <-ended:
		case <-time.After(50 * time.Millisecond):
			peak = max(peak, peakResident(cmd.Process.Pid))
			continue
		}
		if err != nil {
			t.Fatalf("ingestor: %v\n%.4000s", err, log.String())
		}
		break
	}
	t.Logf("%d records, %d symbols, %d days: peak resident memory %d MiB, %v, %d files", n, *ceilingSymbols, *ceilingDays, peak>>20, time.Since(began).Round(time.Second), w.objects())
	if testing.Verbose() {
		t.Logf("%.4000s", log.String())
	}
	if peak == 0 || peak >= 256<<20 {
		t.Errorf("peak resident memory %d MiB; want less than 256 MiB with a budget of 128 MiB", peak>>20)
	}
	got := w.totals("market_data", "volume")
	if got.Rows != int64(n) || got.Sum != fmt.Sprint(int64(n)*int64(n-1)/2) {
		t.Errorf("%d rows, sum of volume %s; want %d and %d", got.Rows, got.Sum, n, int64(n)*int64(n-1)/2)
	}
}

// apart is a world whose broker is a process of its own.
func apart(t *testing.T) *world {
	t.Helper()
	if _, err := build(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "directory")
	w.broker = freeAddr(t)
	w.env = append(w.env, "PUBSUB_EMULATOR_HOST="+w.broker)
	w.daemon(w.command("buffetctl", "pubsub", "--addr", w.broker, "--dir", filepath.Join(t.TempDir(), "pubsub")))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", w.broker); err == nil {
			c.Close()
			return w
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// daemon runs a program until the test ends.
func (w *world) daemon(cmd *exec.Cmd) {
	w.t.Helper()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// peakResident is the most memory that a process ever had, bytes; 0 where the
// system does not tell.
func peakResident(pid int) int64 { return statusOf(pid, "VmHWM") }

// statusOf is one figure of /proc/PID/status, bytes.
func statusOf(pid int, name string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(strings.TrimSpace(string(m[1])), 10, 64)
	return kb << 10
}
