package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/google/uuid"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
)

var (
	brokerAddr = flag.String("broker", "", "host:port of a running Pub/Sub emulator (default: an embedded one)")
	dataDir    = flag.String("data", "", "folder of captured files of real publishers")
	kills      = flag.Int("kills", 3, "how often TestKilled kills the ingestor, TestBackfillKilled one program after the other, and TestCrashLoop any of four")
	patience   = flag.Duration("patience", 6*time.Minute, "how long TestKilled waits for leases of killed ingestors to run out")
	planted    = flag.Bool("planted", false, "TestCrashLoop with a mistake in the programs, which ack a message before its rows are durable: it must find that rows are lost")
	messages   = flag.Int("messages", 20_000, "messages that TestKilled and TestCrashLoop publish")
)

// world is one broker project and one lake.
type world struct {
	t       *testing.T
	project string
	broker  string
	bucket  string
	env     []string
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "e2e-bin")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", dir + "/"}
	if *planted {
		overlay, err := plant(dir)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(args, "../cmd/...")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// plant writes a mistake for the compiler alone: a message is acked as soon as its
// rows are in batches.
func plant(dir string) (overlay string, err error) {
	file, err := filepath.Abs("../batching/receipt.go")
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	wrong := string(source)
	for _, e := range [][2]string{
		{"	failed  atomic.Bool", "	failed, once atomic.Bool"},
		{"	switch left := r.holds.Add(-1); {\n\tcase left > 0:\n", "	if r.once.CompareAndSwap(false, true) {\n\t\tr.settler.Ack()\n\t\tr.settler = &settlers{func() {}, func() {}}\n\t}\n\tswitch left := r.holds.Add(-1); {\n\tcase left > 0:\n"},
	} {
		if strings.Count(wrong, e[0]) != 1 {
			return "", fmt.Errorf("plant a mistake: %s does not read %q once: the code has changed, change the mistake", file, e[0])
		}
		wrong = strings.Replace(wrong, e[0], e[1], 1)
	}
	mistaken := filepath.Join(dir, "receipt.go.txt")
	if err := os.WriteFile(mistaken, []byte(wrong), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{file: mistaken}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, replace, 0o600)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := build(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// newWorld makes a project of its own on the broker. bucket is "" for a local
// directory or "gcs" for a bucket on a GCS server.
func newWorld(t *testing.T, bucket string) *world {
	t.Helper()
	if _, err := build(); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, project: "e2e-" + uuid.NewString()[:8], broker: *brokerAddr}
	if w.broker == "" {
		server, err := embedded.Start("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		w.broker = server.Addr()
	}
	w.env = append(os.Environ(), "PUBSUB_EMULATOR_HOST="+w.broker, "GOOGLE_CLOUD_PROJECT="+w.project, "XDG_CACHE_HOME="+t.TempDir())
	switch bucket {
	case "gcs":
		w.bucket = "gs://e2e-lake"
		w.env = append(w.env, "STORAGE_EMULATOR_HOST="+gcs(t, "e2e-lake", "e2e-archive"))
	default:
		w.bucket = "file://" + filepath.Join(t.TempDir(), "lake")
	}
	return w
}

// gcs starts a GCS server with empty buckets and gives its address.
func gcs(t *testing.T, buckets ...string) string {
	t.Helper()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", Port: 0})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	for _, bucket := range buckets {
		server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	}
	addr := strings.TrimPrefix(server.URL(), "http://")
	t.Setenv("STORAGE_EMULATOR_HOST", addr) // for the test's own reading
	return addr
}

// command prepares a program of this module.
func (w *world) command(name string, args ...string) *exec.Cmd {
	dir, _ := build()
	cmd := exec.Command(filepath.Join(dir, name), args...)
	cmd.Env = w.env
	return cmd
}

// run runs a program to its end, which must be a good one.
func (w *world) run(name string, args ...string) string {
	w.t.Helper()
	var out, diagnostics bytes.Buffer
	cmd := w.command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, diagnostics.String())
	}
	if testing.Verbose() {
		w.t.Logf("%s: %s", name, strings.TrimSpace(out.String()))
	}
	return out.String()
}

// ingestor runs an ingestor until nothing arrives any more.
func (w *world) ingestor(args ...string) {
	w.t.Helper()
	w.run("ingestor", w.ingestorArgs(args...)...)
}

func (w *world) ingestorArgs(args ...string) []string {
	return append([]string{"--data-bucket", w.bucket, "--create", "--flush-age", "2s"}, args...)
}

// start runs an ingestor that the test kills.
func (w *world) start(args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := w.command("ingestor", w.ingestorArgs(args...)...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd
}

// kill is kill -9.
func (w *world) kill(cmd *exec.Cmd) {
	w.t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		w.t.Fatalf("a killed ingestor ended with %v", err)
	}
}

// terminate is SIGTERM: the ingestor drains and ends well.
func (w *world) terminate(cmd *exec.Cmd) {
	w.t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		w.t.Errorf("an ingestor that was told to stop ended with %v", err)
	}
}

func (w *world) compact() {
	w.t.Helper()
	w.run("compactor", "--data-bucket", w.bucket, "--once")
}

// publish makes the topics and subscriptions and publishes messages.
func (w *world) publish(send func(publish func(topic string, m *schema.Message))) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Minute)
	defer cancel()
	p, err := ingest.NewPublisher(ctx, ingest.PublisherConfig{Project: w.project, Endpoint: w.broker, Create: true})
	if err != nil {
		w.t.Fatal(err)
	}
	send(func(topic string, m *schema.Message) {
		if err := p.Publish(ctx, topic, m); err != nil {
			w.t.Error(err)
		}
	})
	if n, err := p.Close(); err != nil {
		w.t.Fatalf("published %d: %v", n, err)
	}
}

func (w *world) lake() *ingest.Lake {
	w.t.Helper()
	lake, err := ingest.Open(w.t.Context(), ingest.Config{Bucket: w.bucket})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { lake.Close() })
	return lake
}

// totals are a reader's row count and the exact sum of a column.
func (w *world) totals(dataType, column string) query.Totals {
	w.t.Helper()
	lake := w.lake()
	totals, err := query.Sum(w.t.Context(), lake.Reader(), lake.Registry(), query.DataQuery{DataType: dataType}, column, query.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return totals
}

// rows counts a data type's rows as a reader sees them.
func (w *world) rows(dataType string) int64 {
	w.t.Helper()
	n, err := w.lake().CountRows(w.t.Context(), dataType)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// reasons counts the dead letters by reason.
func (w *world) reasons() map[string]int64 {
	w.t.Helper()
	counts, err := w.lake().CountBy(w.t.Context(), "dead_letters", "reason")
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]int64{}
	for _, c := range counts {
		all[c.Name] = c.N
	}
	return all
}
