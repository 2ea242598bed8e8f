package conformance

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/pstest"
	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/embedded"
)

var (
	update   = flag.Bool("update", false, "write docs/brokers.md (runs pstest, and Google's emulator if it is installed)")
	emulator = flag.Bool("emulator", false, "check Google's emulator, which needs gcloud and Java")
	theirs   = flag.Bool("pstest", false, "check Google's pstest")
)

const helperEnv = "CONFORMANCE_PSTEST"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" { // a process of its own, for it may panic
		fmt.Println(pstest.NewServer().Addr)
		select {}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// verdict runs a check against a server.
func verdict(t *testing.T, c Check, addr string) error {
	conn, err := Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	return c.Run(ctx, NewEnv(conn))
}

func TestTheEmbeddedServerHonoursAll(t *testing.T) {
	server, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	t.Run("checks", func(t *testing.T) {
		for _, c := range All() {
			t.Run(c.Area+": "+c.Promise, func(t *testing.T) {
				t.Parallel()
				if err := verdict(t, c, server.Addr()); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// TestParties fills the table. What others honour is theirs to decide, so nothing
// here fails on it.
func TestParties(t *testing.T) {
	if !*update && !*emulator && !*theirs {
		t.Skip("give -update, -pstest or -emulator to check other servers")
	}
	table := map[string]map[string]error{}
	if *update || *theirs {
		table["pstest"] = checkAll(t, func() (string, func()) { return startPstest(t) })
	}
	if _, err := exec.LookPath("gcloud"); *emulator || *update && err == nil {
		addr, stop := startEmulator(t)
		table["emulator"] = checkAll(t, func() (string, func()) { return addr, func() {} })
		stop()
	}
	for party, results := range table {
		for name, err := range results {
			t.Logf("%s: %s: %v", party, name, err)
		}
	}
	if *update {
		writeTable(t, table)
	}
}

func checkAll(t *testing.T, start func() (string, func())) map[string]error {
	results := map[string]error{}
	var mu sync.Mutex
	t.Run("checks", func(t *testing.T) {
		for _, c := range All() {
			t.Run(c.Area+": "+c.Promise, func(t *testing.T) {
				t.Parallel()
				addr, stop := start()
				defer stop()
				err := verdict(t, c, addr)
				mu.Lock()
				defer mu.Unlock()
				results[c.Area+": "+c.Promise] = err
			})
		}
	})
	return results
}

func startPstest(t *testing.T) (string, func()) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr), func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func startEmulator(t *testing.T) (string, func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command("gcloud", "beta", "emulators", "pubsub", "start", "--host-port="+addr, "--data-dir="+t.TempDir())
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		killGroup(cmd)
		cmd.Wait()
	}
	for range 120 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			time.Sleep(2 * time.Second) // it listens before it serves
			return addr, stop
		}
		time.Sleep(500 * time.Millisecond)
	}
	stop()
	t.Fatal("Google's emulator did not start")
	return "", nil
}

func writeTable(t *testing.T, table map[string]map[string]error) {
	var b strings.Builder
	b.WriteString(brokersHead)
	area := ""
	mark := func(party, name string) string {
		results, ran := table[party]
		if !ran {
			return "not run"
		}
		if results[name] != nil {
			return "no"
		}
		return "yes"
	}
	for _, c := range All() {
		if c.Area != area {
			area = c.Area
			fmt.Fprintf(&b, "\n## %s\n\n| promise | embedded | Google's emulator | pstest |\n|---|---|---|---|\n", area)
		}
		name := c.Area + ": " + c.Promise
		fmt.Fprintf(&b, "| %s | yes | %s | %s |\n", c.Promise, mark("emulator", name), mark("pstest", name))
	}
	b.WriteString(brokersTail)
	if err := errors.Join(os.MkdirAll("../../docs", 0o755), os.WriteFile("../../docs/brokers.md", []byte(b.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
}

const brokersHead = `# What each broker honours

Written by ` + "`go test ./embedded/conformance -update`" + `; do not edit. Each line is a check of package conformance, run against
the embedded server, Google's emulator (Java, ` + "`gcloud beta emulators pubsub start`" + `) and Google's pstest (Go, for unit tests).
The checks ask for what Google documents of the service. "no" is a check that failed or took longer than it may.
That Google's clients for Python and Node work with the embedded server, through restarts too, is seen by ` + "`make interop`" + `.
`

const brokersTail = `
## Where the embedded server differs from the service

- Nobody is asked who they are: there is no IAM, no encryption on the wire, no quota but the limits above.
- Push, export and BigQuery subscriptions, message transforms, ingestion from other sources and schemas of type
  PROTOCOL_BUFFER are refused with UNIMPLEMENTED.
- With ordering keys, a message that is delivered again brings those of its key that follow and are not acknowledged; the
  service may bring acknowledged ones, too.
- The expiration policy is kept and shown, but no subscription is deleted for being idle.
- With exactly-once delivery, ack ids that went well in a request of which others failed are answered as a transient failure: a
  client that tries them again is told that they are done. So each ack id gets its true verdict, whatever shared its request.
- A dead-lettered message gets an id of its own in the dead-letter topic.
- Avro in JSON is read leniently: the value of a union may stand without the name of its branch.

## Where Google's emulator differs from the service

- It goes on delivering to a subscriber that was killed. With Google's own Go client: 3,000 messages, four subscribers killed, two of them with 800 leased; a living one then got 900 in
  two minutes, though every lease is 60 s. The emulator's log is full of a NoSuchMethodError from the end of such streams, and it keeps a processor busy. What a dead subscriber
  had leased is missing then although nobody acked it. e2e.TestCrashLoop with -broker ADDRESS therefore puts a witness in between, which ends the stream of a dead
  subscriber as a living one would, and knows every ack: a record is lost if its message was acked, or somebody asked for that, and it is nowhere; otherwise it is the broker's still.
`

// The table is of these checks, and no others.
func TestTheTableIsOfTheseChecks(t *testing.T) {
	table, err := os.ReadFile("../../docs/brokers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range All() {
		if !strings.Contains(string(table), "\n| "+c.Promise+" | yes |") {
			t.Errorf("docs/brokers.md lacks %q: run go test ./embedded/conformance -update", c.Promise)
		}
	}
	if got, want := strings.Count(string(table), "| yes | "), len(All()); got < want {
		t.Errorf("%d lines of %d checks", got, want)
	}
	if !strings.HasSuffix(string(table), brokersTail) || !strings.HasPrefix(string(table), brokersHead) {
		t.Error("docs/brokers.md begins or ends otherwise: run go test ./embedded/conformance -update")
	}
}
