package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/schema"
)

const definitions = "../examples/definitions/"

// A running ingestor takes up a next version and a new data type: nothing is
// restarted but the readers, and nothing is lost or kept twice.
func TestDefinitionsComeWhileTheIngestorRuns(t *testing.T) {
	w := newWorld(t, "")
	before := w.lake() // a reader of the old definition, for good
	ingestor := w.start("--schema-refresh", "1s", "--flush-age", "1s", "--unknown-schema-age", "5m")
	stopped := false
	defer func() {
		if !stopped {
			w.kill(ingestor)
		}
	}()

	// The publisher is ahead: half of its messages name a version nobody knows yet.
	quote := func(i int, version, more string) *schema.Message {
		return &schema.Message{Attributes: map[string]string{"schema_version": version}, Data: fmt.Appendf(nil,
			`{"symbol":"S%d","timestamp":"2024-01-15T14:30:%02dZ","price":%d.5%s,"data_source":"x"}`, i%3, i%60, i+1, more)}
	}
	w.publish(func(publish func(string, *schema.Message)) {
		for i := range 40 {
			if i%2 == 0 {
				publish("market-data", quote(i, "v1.2.0", ""))
			} else {
				publish("market-data", quote(i, "v1.3.0", fmt.Sprintf(`,"vwap":%d.25`, i)))
			}
		}
	})
	w.until("the rows of the known version", func() bool { return w.rows("market_data") == 20 })

	w.refused(t)
	for _, name := range []string{"market_data-v1.3.0", "model_performance"} {
		w.run("buffetctl", "schema", "evolve", "--data-bucket", w.bucket, definitions+name+".avsc")
	}
	w.until("the rows of the version that came", func() bool { return w.rows("market_data") == 40 })

	// Now both versions in one stream, and the new data type, whose subscription
	// the ingestor makes.
	w.publish(func(publish func(string, *schema.Message)) {
		for i := 40; i < 60; i++ {
			if i%2 == 0 {
				publish("market-data", quote(i, []string{"v1.0.0", "v1.1.0", "v1.2.0"}[i%3], ""))
			} else {
				publish("market-data", quote(i, "v1.3.0", fmt.Sprintf(`,"vwap":%d.25`, i)))
			}
		}
	})
	results := filepath.Join(t.TempDir(), "results.ndjson")
	if err := os.WriteFile(results, []byte(`{"model_name":"lstm","model_version":"2","evaluation_date":"2024-01-15","symbol":"AAPL","mae":1.5,"rmse":2.5,"source":"x"}
{"model_name":"arima","model_version":"1","evaluation_date":"2024-01-15","symbol":"AAPL","mae":1.25,"rmse":-1,"source":"x"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.until("the new topic", func() bool {
		for _, f := range ingest.Check(t.Context(), ingest.CheckConfig{
			Config: ingest.Config{Bucket: w.bucket}, Project: w.project, Endpoint: w.broker, Types: []string{"model_performance"}, Subscriptions: true,
		}) {
			if f.Err != nil {
				return false
			}
		}
		return true
	})
	w.run("buffetctl", "publish", "--topic", "model-performance", results)
	w.until("all rows", func() bool {
		return w.rows("market_data") == 60 && w.rows("model_performance") == 1 && w.rows("dead_letters") == 1
	})
	w.terminate(ingestor)
	stopped = true

	w.compact()
	rows := w.query("market_data", "--columns", "price,vwap,_schema_version")
	nulls := 0
	for _, r := range rows {
		price, vwap := r["price"], r["vwap"]
		var n float64
		fmt.Sscan(fmt.Sprint(price), &n)
		if i := int(n) - 1; i%2 == 0 != (vwap == nil) || vwap != nil && !strings.HasPrefix(fmt.Sprint(vwap), fmt.Sprintf("%d.25", i)) {
			t.Errorf("row %v", r)
		}
		if vwap == nil {
			nulls++
		}
	}
	if len(rows) != 60 || nulls != 30 {
		t.Errorf("%d rows, %d without the new column; want 60 and 30", len(rows), nulls)
	}
	if got := w.query("model_performance", "--columns", "model_name,rmse"); len(got) != 1 || got[0]["model_name"] != "lstm" {
		t.Errorf("model_performance holds %v", got)
	}
	if got := w.reasons(); got["rule_broken"] != 1 || len(got) != 1 {
		t.Errorf("dead letters %v", got)
	}
	if n, err := before.CountRows(t.Context(), "market_data"); err != nil || n != 60 {
		t.Errorf("a reader of the old definition counts %d rows, %v", n, err)
	}
}

// refused: an incompatible definition changes nothing, and says which field and why.
func (w *world) refused(t *testing.T) {
	t.Helper()
	avsc, err := os.ReadFile(definitions + "market_data-v1.3.0.avsc")
	if err != nil {
		t.Fatal(err)
	}
	avsc = bytes.Replace(avsc, []byte(`{"name": "volume", "type": ["null", "long"]`), []byte(`{"name": "volume", "type": ["null", "double"]`), 1)
	cmd := w.command("buffetctl", "schema", "evolve", "--data-bucket", w.bucket, "-")
	cmd.Stdin = bytes.NewReader(avsc)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("an incompatible definition: %v, want exit code 1", err)
	}
	for _, want := range []string{"field volume: type long became double: breaking:", "the table's column keeps its type", "cannot follow v1.2.0"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the refusal lacks %q:\n%s", want, out)
		}
	}
}

// until waits for something that happens by itself.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 90*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: not there after 90 seconds", what)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// query gives rows as buffetctl prints them.
func (w *world) query(dataType string, args ...string) []map[string]any {
	w.t.Helper()
	out := w.run("buffetctl", append([]string{"query", "--data-bucket", w.bucket, "--type", dataType, "--format", "json"}, args...)...)
	var rows []map[string]any
	for line := range strings.Lines(out) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		rows = append(rows, row)
	}
	return rows
}
