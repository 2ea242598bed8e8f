package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/schema"
)

var update = flag.Bool("update", false, "rewrite the generated part of docs/configuration.md")

// asProgram makes this test's binary the program itself.
const asProgram = "BUFFETCTL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// alone clears every variable that the programs read.
func alone(t *testing.T) {
	t.Helper()
	for name := range config.Programs() {
		settings, _, _ := config.Effective(name, nil)
		for _, s := range settings {
			t.Setenv(s.Variable, "")
		}
	}
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	t.Setenv("STORAGE_EMULATOR_HOST", "")
}

// buffetctl runs a command in this process.
func buffetctl(t *testing.T, args ...string) (out, diagnostics string, err error) {
	t.Helper()
	var o, d bytes.Buffer
	err = run(t.Context(), args, streams{strings.NewReader(""), &o, &d})
	return o.String(), d.String(), err
}

// process runs the program as a process of its own.
func process(t *testing.T, env []string, args ...string) (out, diagnostics string, code int) {
	t.Helper()
	var o, d bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	cmd.Stdout, cmd.Stderr = &o, &d
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), d.String(), cmd.ProcessState.ExitCode()
}

// A world is a lake in a directory and a broker.
type world struct {
	t      *testing.T
	dir    string
	bucket string
	lake   *ingest.Lake
	server *embedded.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	alone(t)
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	w := &world{t: t, dir: t.TempDir(), server: server}
	w.bucket = "file://" + w.dir
	if w.lake, err = ingest.Open(t.Context(), ingest.Config{Bucket: w.bucket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.lake.Close() })
	return w
}

// ingest publishes records of market data, SYMBOL DAY each, and takes them into
// the lake's raw files.
func (w *world) ingest(records ...string) {
	w.t.Helper()
	c := ingest.IngestConfig{
		Project: "test", Endpoint: w.server.Addr(),
		Broker: config.Broker{Create: true, DeadLetterTopic: "dead-letters", Streams: 1},
		Ingest: config.Ingest{
			FlushRows: 1000, FlushBytes: 1 << 20, FlushAge: 50 * time.Millisecond, MemoryBudget: 64 << 20, OwnFileRows: 1000,
			IdleExit: 300 * time.Millisecond, HoldFor: time.Minute, DrainDeadline: 30 * time.Second,
		},
	}
	ingestor, err := w.lake.NewIngestor(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := ingest.NewPublisher(w.t.Context(), ingest.PublisherConfig{Project: "test", Endpoint: w.server.Addr()})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, r := range records {
		symbol, day, _ := strings.Cut(r, " ")
		data := fmt.Sprintf(`{"symbol":%q,"timestamp":"%sT14:30:%02dZ","price":%d,"source":"test"}`, symbol, day, i%60, i+1)
		if err := p.Publish(w.t.Context(), "market-data", &schema.Message{Data: []byte(data)}); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := p.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := ingestor.Run(w.t.Context()); err != nil && !errors.Is(err, context.Canceled) {
		w.t.Fatal(err)
	}
}

func (w *world) compact() {
	w.t.Helper()
	if _, err := w.lake.Compactor(compaction.Options{}).Run(w.t.Context(), w.lake.Registry().Types()); err != nil {
		w.t.Fatal(err)
	}
}

// The documentation says what the commands read: -update rewrites it.
func TestDocumentationIsWhatIsRead(t *testing.T) {
	const name, begin, end = "../../docs/configuration.md", "<!-- begin buffetctl -->\n", "<!-- end buffetctl -->"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its marks", name)
	}
	want := "\n" + config.Markdown(&cli{}, "buffetctl")
	if *update {
		if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s is not what the commands read: go test ./cmd/buffetctl -run Documentation -update", name)
	}
}

// The help of every command can be made, and says the variables.
func TestHelp(t *testing.T) {
	alone(t)
	for _, tt := range []struct{ args, want string }{
		{"query --help", "$BUFFETCTL_QUERY_LIMIT"},
		{"dlq ls --help", "$BUFFETCTL_DLQ_LS_REASON"},
		{"publish --help", "$BUFFETCTL_PUBLISH_BATCH"},
		{"config check --help", "$BUFFETCTL_CONFIG_CHECK_FOR"},
		{"tables --help", "$GCS_DATA_BUCKET"},
		{"--help", "$BUFFET_CONFIG"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(tt.args), streams{nil, &out, io.Discard})
		if !errors.Is(err, config.ErrHelp) || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: %v\n%s", tt.args, err, out.String())
		}
	}
}
