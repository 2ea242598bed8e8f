package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/schema"
)

// Three data types come into a running lake as nothing but definitions: each flows from
// its topic to a query, as messages and as a backfill, with its rules, while the
// ingestor runs.
func TestDataTypesByDefinitionAlone(t *testing.T) {
	w := newWorld(t, "")
	ingestor := w.start("--schema-refresh", "1s", "--flush-age", "1s")
	stopped := false
	defer func() {
		if !stopped {
			w.kill(ingestor)
		}
	}()
	types := []struct {
		name, good, bad, csv string
		columns, want        string
	}{
		{name: "model_performance", columns: "symbol,mae",
			good: `{"model_name":"lstm","model_version":"2","evaluation_date":"2024-01-15","symbol":"AAPL","mae":1.5,"rmse":2.5,"source":"x"}`,
			bad:  `{"model_name":"lstm","model_version":"2","evaluation_date":"2024-01-15","symbol":"AAPL","mae":-1.5,"source":"x"}`,
			csv:  "model_name,model_version,evaluation_date,symbol,mae\narima,1,2024-01-15,MSFT,0.5\n", want: "AAPL 1.5 MSFT 0.5"},
		{name: "volatility_surface", columns: "symbol,implied_volatility",
			good: `{"symbol":"SPY","timestamp":"2024-01-15T14:30:00Z","expiration_date":"2024-02-16","strike":480,"implied_volatility":0.25,"source":"x"}`,
			bad:  `{"symbol":"SPY","timestamp":"2024-01-15T14:30:00Z","expiration_date":"2024-02-16","strike":0,"implied_volatility":0.25,"source":"x"}`,
			csv:  "symbol,timestamp,expiration_date,strike,implied_volatility\nQQQ,2024-01-15T14:30:00Z,2024-02-16,400,0.5\n", want: "QQQ 0.5 SPY 0.25"},
		{name: "options_chain_summary", columns: "symbol,call_volume",
			good: `{"symbol":"SPY","timestamp":"2024-01-15T14:30:00Z","call_volume":10,"source":"x"}`,
			bad:  `{"symbol":"SPY","timestamp":"2024-01-15T14:30:00Z","call_volume":-10,"source":"x"}`,
			csv:  "symbol,timestamp,call_volume\nQQQ,2024-01-15T14:30:00Z,20\n", want: "QQQ 20 SPY 10"},
	}
	var names []string
	for _, tt := range types {
		w.run("buffetctl", "schema", "evolve", "--data-bucket", w.bucket, definitions+tt.name+".avsc")
		names = append(names, tt.name)
	}
	w.until("the new topics", func() bool {
		for _, f := range ingest.Check(t.Context(), ingest.CheckConfig{
			Config: ingest.Config{Bucket: w.bucket}, Project: w.project, Endpoint: w.broker, Types: names, Subscriptions: true,
		}) {
			if f.Err != nil {
				return false
			}
		}
		return true
	})
	dir := t.TempDir()
	for _, tt := range types {
		messages, history := filepath.Join(dir, tt.name+".ndjson"), filepath.Join(dir, tt.name+".csv")
		for name, text := range map[string]string{messages: tt.good + "\n" + tt.bad + "\n", history: tt.csv} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.run("buffetctl", "publish", "--data-bucket", w.bucket, "--type", tt.name, messages)
		w.run("backfill", "--data-bucket", w.bucket, "--type", tt.name, "--from", history, "--checkpoint", history+".checkpoint")
	}
	w.until("all rows", func() bool {
		for _, name := range names {
			if w.rows(name) != 2 {
				return false
			}
		}
		return w.rows("dead_letters") == 3
	})
	w.terminate(ingestor)
	stopped = true
	w.compact()
	for _, tt := range types {
		var got []string
		for line := range strings.Lines(w.run("buffetctl", "query", "--data-bucket", w.bucket, "--type", tt.name, "--columns", tt.columns, "--format", "csv")) {
			got = append(got, strings.Split(strings.TrimSpace(line), ",")...)
		}
		if text := strings.Join(got[2:], " "); text != tt.want {
			t.Errorf("%s holds %q, want %q", tt.name, text, tt.want)
		}
	}
	if got := w.reasons(); got["rule_broken"] != 3 || len(got) != 1 {
		t.Errorf("dead letters %v", got)
	}
}

// Of two versions that nobody knows yet, one comes, live, and its messages become rows;
// the other does not, and its messages become dead letters that say so, not before
// they are too old.
func TestAVersionThatComesAndOneThatDoesNot(t *testing.T) {
	w := newWorld(t, "")
	ingestor := w.start("--schema-refresh", "1s", "--flush-age", "1s", "--unknown-schema-age", "45s")
	stopped := false
	defer func() {
		if !stopped {
			w.kill(ingestor)
		}
	}()
	w.publish(func(publish func(string, *schema.Message)) {
		for _, version := range []string{"v1.3.0", "v1.9.0", "v1.2.0"} {
			publish("market-data", &schema.Message{Data: []byte(wti(version, 1)), Attributes: map[string]string{"schema_version": version}})
		}
	})
	w.until("the row of the version that is known", func() bool { return w.rows("market_data") == 1 })
	w.run("buffetctl", "schema", "evolve", "--data-bucket", w.bucket, definitions+"market_data-v1.3.0.avsc")
	w.until("the row of the version that came", func() bool { return w.rows("market_data") == 2 })
	w.until("the letter of the one that did not", func() bool { return w.rows("dead_letters") == 1 })
	w.terminate(ingestor)
	stopped = true
	var letter struct {
		ID          string    `json:"dl_id"`
		PublishedAt time.Time `json:"published_at"`
	}
	if err := json.Unmarshal([]byte(w.run("buffetctl", "dlq", "ls", "--data-bucket", w.bucket, "--format", "json")), &letter); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(letter.PublishedAt); waited < 45*time.Second {
		t.Errorf("it was given up after %v", waited)
	}
	out := w.run("buffetctl", "dlq", "show", "--data-bucket", w.bucket, letter.ID)
	for _, text := range []string{"unknown_schema_version", "v1.9.0", "googclient_schemarevisionid", "buffetctl schema evolve"} {
		if !strings.Contains(out, text) {
			t.Errorf("%q is not in\n%s", text, out)
		}
	}
}
