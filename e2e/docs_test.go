package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/embedded"
)

// The commands of docs/adding-a-data-type.md do what it says, as they are written:
// but for the place of the lake and the broker's address.
func TestAddingADataTypeAsWritten(t *testing.T) {
	w := newWorld(t, "")
	w.project = "local"
	w.env = append(w.env, "GOOGLE_CLOUD_PROJECT="+w.project)
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.broker = server.Addr()
	server.Close() // the ingestor's own broker takes its place
	ingestor := w.command("ingestor", "--embedded", "--embedded-addr", w.broker, "--data-bucket", w.bucket, "--schema-refresh", "1s", "--flush-age", "1s")
	if err := ingestor.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.kill(ingestor)

	out, published := "", ""
	var shell []string // what was exported
	for _, command := range commands(t, "../docs/adding-a-data-type.md") {
		command = strings.NewReplacer("file:///tmp/lake", w.bucket, "127.0.0.1:8085", w.broker, "TIME", time.Now().UTC().Format(time.RFC3339)).Replace(command)
		if strings.HasPrefix(command, "export ") {
			shell = append(shell, command)
			continue
		}
		dataType := typeIn(command)
		switch {
		case strings.Contains(command, "publish"):
			w.until("the topic of "+dataType, func() bool {
				for _, f := range ingest.Check(t.Context(), ingest.CheckConfig{Config: ingest.Config{Bucket: w.bucket}, Project: w.project, Endpoint: w.broker, Types: []string{dataType}, Subscriptions: true}) {
					if f.Err != nil {
						return false
					}
				}
				return true
			})
			published = dataType
		case strings.HasPrefix(command, "compactor"), strings.HasPrefix(command, "buffetctl query"):
			w.until("rows of "+published, func() bool { return w.rows(published) > 0 })
		}
		out += w.shell(strings.Join(append(shell, command), "\n"))
	}
	for _, text := range []string{"model_performance", "lstm", "volatility_surface", "options_chain_summary", "v1.3.0"} {
		if !strings.Contains(out, text) {
			t.Errorf("%q is not in what the commands said:\n%s", text, out)
		}
	}
	w.until("the new field", func() bool {
		d, ok := w.lake().Registry().Latest("market_data")
		return ok && d.Field("vwap") >= 0
	})
}

// typeIn is the data type that a command names.
func typeIn(command string) string {
	_, rest, _ := strings.Cut(command, "--type ")
	if words := strings.Fields(rest); len(words) > 0 {
		return words[0]
	}
	return ""
}

// programs are what the commands of a document start with; other indented lines are none.
var programs = []string{"buffetctl", "compactor", "backfill", "echo", "export"}

// commands are the indented commands of a document, with lines that go on joined.
func commands(t *testing.T, name string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	open := false
	for line := range strings.Lines(string(text)) {
		line, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if !indented {
			continue
		}
		word, _, _ := strings.Cut(line, " ")
		switch {
		case open:
			all[len(all)-1] += "\n" + line
		case slices.Contains(programs, word):
			all = append(all, line)
		default:
			continue
		}
		open = strings.HasSuffix(line, "|") || strings.HasSuffix(line, `\`)
	}
	if len(all) < 8 {
		t.Fatalf("%s has %d commands only", name, len(all))
	}
	return all
}

// shell runs a script in the repository with the programs in its path.
func (w *world) shell(script string) string {
	w.t.Helper()
	dir, _ := build()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, _ = filepath.Abs("..")
	cmd.Env = append(w.env, "PATH="+dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}
