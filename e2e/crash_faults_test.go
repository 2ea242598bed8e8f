package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/buffetbot/ingest/schema"
)

// named is a test in docs/faults.md.
var named = regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9]+)`")

// missingTests are the tests that a text names and the tree under root lacks.
func missingTests(t *testing.T, root, text string) (missing []string, found int) {
	t.Helper()
	sources := map[string]string{}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		dir := m[1]
		if dir == "ingest" {
			dir = "."
		}
		if _, ok := sources[dir]; !ok {
			files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				data, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				sources[dir] += string(data)
			}
		}
		if found++; !strings.Contains(sources[dir], "\nfunc "+m[2]+"(") {
			missing = append(missing, m[1]+"."+m[2])
		}
	}
	return missing, found
}

// Every fault in docs/faults.md names a test that is there.
func TestFaultsHaveTests(t *testing.T) {
	data, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	missing, found := missingTests(t, "..", text)
	if len(missing) > 0 || found < 80 {
		t.Errorf("of %d tests that docs/faults.md names, these do not exist: %q", found, missing)
	}
	if gone, _ := missingTests(t, "..", "`e2e.TestThatNobodyWrote` and `nowhere.TestPath`"); len(gone) != 2 {
		t.Errorf("of two tests that are not there, %q are missed", gone)
	}
	for _, line := range strings.Split(text, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.HasPrefix(line, "|---") || strings.Contains(line, "| seen in |") {
			continue
		}
		if !named.MatchString(cells[3]) {
			t.Errorf("no test: %s", line)
		}
	}
}

// records publishes n records, one a message.
func (w *world) records(n int) {
	w.t.Helper()
	w.publish(func(publish func(string, *schema.Message)) {
		for i := range n {
			publish("market-data", &schema.Message{Data: fmt.Appendf(nil,
				`{"symbol":"S%d","timestamp":"2024-01-%02dT14:30:00Z","price":1.5,"volume":%d,"source":"e2e"}`, i%50, 1+i%5, i)})
		}
	})
}

// The subscription goes while the ingestor runs: it ends, and says why; what it
// had acked is there.
func TestTheSubscriptionIsDeleted(t *testing.T) {
	for _, receive := range []string{"client", "stream"} {
		t.Run(receive, func(t *testing.T) {
			w := newWorld(t, "directory")
			w.records(50)
			log := new(lockedBuffer)
			cmd := w.command("ingestor", w.ingestorArgs("--flush-age", "100ms", "--receive", receive)...)
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for end := time.Now().Add(30 * time.Second); w.rows("market_data") < 50; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("no rows\n%s", tail(log.String()))
				}
			}
			t.Setenv("PUBSUB_EMULATOR_HOST", w.broker)
			client, err := pubsub.NewClient(t.Context(), w.project)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			name := fmt.Sprintf("projects/%s/subscriptions/market-data-ingest", w.project)
			if err := client.SubscriptionAdminClient.DeleteSubscription(t.Context(), &pubsubpb.DeleteSubscriptionRequest{Subscription: name}); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(log.String(), "market-data-ingest") {
					t.Errorf("ended with %v\n%s", err, tail(log.String()))
				}
			case <-time.After(60 * time.Second):
				cmd.Process.Kill()
				t.Fatalf("it goes on without a subscription\n%s", tail(log.String()))
			}
			if n := w.rows("market_data"); n != 50 {
				t.Errorf("%d rows, want 50", n)
			}
		})
	}
}

// With few file descriptors a program does what it can, or says what it lacks; no
// message is lost.
func TestDescriptorsRunOut(t *testing.T) {
	for _, most := range []string{"10", "16"} {
		t.Run(most, func(t *testing.T) {
			w := newWorld(t, "directory")
			broker := w.durableBroker(t)
			const n = 200
			w.records(n)
			poor := w.command("ingestor", w.ingestorArgs("--flush-age", "50ms", "--idle-exit", "1s", "--hold-for", "2s", "--drain-deadline", "2s")...)
			args := append([]string{"-c", `ulimit -n ` + most + `; exec "$0" "$@"`}, poor.Args...)
			cmd := exec.Command("sh", args...)
			log := new(lockedBuffer)
			cmd.Env, cmd.Stdout, cmd.Stderr = poor.Env, log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			t.Logf("ended with %v: %.300s", err, tail(log.String()))
			if err != nil && !strings.Contains(log.String(), "too many open files") {
				t.Errorf("it does not say what it lacks: %v\n%s", err, tail(log.String()))
			}
			if strings.Contains(log.String(), "panic:") {
				t.Errorf("it panicked\n%s", tail(log.String()))
			}
			broker.kill() // what is leased is there again at once
			broker.start(t)
			w.ingestor("--idle-exit", "2s", "--flush-age", "200ms")
			if got := w.totals("market_data", "volume"); got.Rows != n || got.Sum != fmt.Sprint(n*(n-1)/2) {
				t.Errorf("%d rows, sum of volume %s", got.Rows, got.Sum)
			}
		})
	}
}
