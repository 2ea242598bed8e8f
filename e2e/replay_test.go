package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/schema"
)

// wti is a day on which prices were below zero; v1.2.0 of market_data rejects them.
func wti(symbol string, price float64) string {
	return fmt.Sprintf(`{"symbol":%q,"timestamp":"2020-04-20T18:30:00Z","price":%.2f,"data_source":"x"}`, symbol, price)
}

// Bad messages become dead letters, the definition is mended, and the letters are
// replayed: each record is a row once, under the identity it would have had if it
// had been accepted at first, however often it is replayed.
func TestReplay(t *testing.T) {
	w := newWorld(t, "")
	ingestor := w.start("--replay", "--schema-refresh", "1s", "--flush-age", "1s")
	stopped := false
	defer func() {
		if !stopped {
			w.kill(ingestor)
		}
	}()
	w.publishBad(t)
	w.until("the good rows and the letters", func() bool { return w.rows("market_data") == 7 && w.rows("dead_letters") == 9 })
	want := w.accepted(t) // what the letters' records must become

	dlq := func(args ...string) string {
		return w.run("buffetctl", append([]string{"dlq"}, append(args, "--data-bucket", w.bucket)...)...)
	}
	says := func(out string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("%q is not in\n%s", text, out)
			}
		}
	}
	// Before anything is mended there is nothing to replay.
	says(dlq("replay", "--dry-run"), "9 dead letters", "0 would be replayed", "8 rejected again by today's definitions: rule_broken", "1 rejected again by today's definitions: json_syntax")

	w.mend(t)
	says(dlq("replay", "--dry-run", "--type", "market_data"), "8 would be replayed, in ", "1 rejected again by today's definitions: json_syntax", "Nothing was published")
	if n := w.rows("market_data"); n != 8 { // one of them the probe's
		t.Errorf("after a dry run there are %d rows", n)
	}
	says(dlq("replay"), "8 replayed, in ")
	w.until("the replayed rows", func() bool { return w.rows("market_data") == 16 })
	w.identities(t, want)

	// A second replay says so; one that is forced adds nothing.
	says(dlq("replay"), "0 replayed", "8 left out: replayed before", "1 rejected again")
	says(dlq("replay", "--again", "--reason", "rule_broken"), "8 replayed")
	// What is rejected again is a letter of its own, and open.
	says(dlq("replay", "--reason", "json_syntax", "--all"), "1 replayed")
	w.until("the letter of the replay", func() bool { return w.rows("dead_letters") == 10 })
	says(dlq("stats"), "10 dead letters (1 open, 9 replayed)")
	says(dlq("ls", "--open", "--format", "json"), "replayed (run ", "and rejected again: record 0")
	var open struct {
		ID string `json:"dl_id"`
	}
	if err := json.Unmarshal([]byte(dlq("ls", "--open", "--format", "json")), &open); err != nil {
		t.Fatal(err)
	}
	says(dlq("replay", open.ID[:12], "--dry-run"), "1 dead letters", "json_syntax")

	w.byHand(t)
	w.until("the rows that only look like replays", func() bool { return w.rows("market_data") == 18 })
	w.terminate(ingestor)
	stopped = true
	w.compact()
	w.identities(t, want)
	if rows, letters := w.rows("market_data"), w.rows("dead_letters"); rows != 18 || letters != 10 {
		t.Errorf("in the end there are %d rows and %d letters", rows, letters)
	}
	w.forgeries(t)
}

// publishBad publishes good and bad records in every form: 7 good, 9 letters.
func (w *world) publishBad(t *testing.T) {
	t.Helper()
	lines := strings.Join([]string{wti("L0", 1), wti("L1", -1.5), wti("L2", 2), wti("L3", -3.25), wti("L4", 4)}, "\n")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(lines))
	z.Close()
	many := map[string]string{}
	for i := range 90 {
		many[fmt.Sprintf("a%02d", i)] = "v"
	}
	w.publish(func(publish func(string, *schema.Message)) {
		send := func(data []byte, attributes map[string]string) {
			publish("market-data", &schema.Message{Data: data, Attributes: attributes})
		}
		send([]byte(wti("CLK20", -36.98)), map[string]string{"source": "x"})
		send(packed.Bytes(), map[string]string{"content_type": "application/x-ndjson", "content_encoding": "gzip"})
		send([]byte("["+wti("E0", 1)+","+wti("E1", 2)+","+wti("E2", -7)+"]"), map[string]string{"event_id": "day 20", "published_at": "2020-04-21T06:00:00Z"})
		send(w.container(t), map[string]string{"content_type": "application/vnd.apache.avro+ocf"})
		send([]byte(wti("MANY", -9)), many)
		send([]byte(wti("LARGE", -8)+strings.Repeat(" ", 9_300_000)), nil)
		send([]byte("no JSON"), nil)
	})
}

// container is an Avro container of four records, of which two are bad.
func (w *world) container(t *testing.T) []byte {
	t.Helper()
	const avsc = `{"type":"record","name":"q","fields":[{"name":"symbol","type":"string"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"price","type":"double"},{"name":"data_source","type":"string"}]}`
	var b bytes.Buffer
	out, err := ocf.NewWriter(&b, avro.MustParse(avsc))
	if err != nil {
		t.Fatal(err)
	}
	for i, price := range []float64{1, -5, -6, 4} {
		if err := out.Encode(map[string]any{"symbol": fmt.Sprintf("C%d", i), "timestamp": int64(1587407400000000), "price": price, "data_source": "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// accepted is which row each letter about a price below zero must become, by symbol: its
// id, position and publish time.
func (w *world) accepted(t *testing.T) map[string]string {
	t.Helper()
	want := map[string]string{}
	lake := w.lake()
	for l, err := range lake.Letters(t.Context(), ingest.LetterFilter{Reasons: []string{"rule_broken"}, Full: true}) {
		if err != nil {
			t.Fatal(err)
		}
		whole, _, err := lake.LetterContents(t.Context(), &l)
		if err != nil {
			t.Fatal(err)
		}
		var record struct{ Symbol string }
		if err := json.Unmarshal(bytes.TrimSpace(whole.Record), &record); err != nil {
			t.Fatalf("%s: %v", whole.Record, err)
		}
		id, published := "m:"+l.MessageID, l.PublishedAt.Format("2006-01-02T15:04:05.000000Z")
		if record.Symbol == "E2" {
			id, published = "e:day 20", "2020-04-21T06:00:00.000000Z"
		}
		want[record.Symbol] = fmt.Sprintf("%s %d %s", id, l.RecordIndex, published)
	}
	symbols := slices.Sorted(maps.Keys(want))
	if got := strings.Join(symbols, " "); got != "C1 C2 CLK20 E2 L1 L3 LARGE MANY" {
		t.Fatalf("letters of %s", got)
	}
	for symbol, index := range map[string]string{"CLK20": " 0 ", "L1": " 1 ", "L3": " 3 ", "E2": " 2 ", "C1": " 1 ", "C2": " 2 "} {
		if !strings.Contains(want[symbol], index) {
			t.Errorf("the letter of %s is about %s", symbol, want[symbol])
		}
	}
	return want
}

// identities sees that each record is a row once, and under which identity.
func (w *world) identities(t *testing.T, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, r := range w.query("market_data", "--columns", "symbol,_id,_index,_published_at", "--where", "price < 0") {
		symbol := fmt.Sprint(r["symbol"])
		if _, twice := got[symbol]; twice {
			t.Errorf("%s is there twice", symbol)
		}
		got[symbol] = fmt.Sprintf("%v %v %v", r["_id"], r["_index"], padded(fmt.Sprint(r["_published_at"])))
	}
	if !maps.Equal(got, want) {
		t.Errorf("rows\n%v\nwant\n%v", got, want)
	}
}

// padded is a time of UTC with all six digits of its microseconds.
func padded(at string) string {
	whole, fraction, _ := strings.Cut(strings.TrimSuffix(at, "Z"), ".")
	return whole + "." + (fraction + "000000")[:6] + "Z"
}

// mendAlone adds a definition under which a price below zero is flagged.
func (w *world) mendAlone(t *testing.T) {
	t.Helper()
	avsc, err := os.ReadFile("../schema/definitions/market_data/v1.2.0.avsc")
	if err != nil {
		t.Fatal(err)
	}
	mended := strings.NewReplacer(
		`"bb.version": "1.2.0"`, `"bb.version": "1.3.0"`,
		`"when": "price <= 0", "severity": "reject"`, `"when": "price <= 0", "severity": "flag", "bit": 20`,
	).Replace(string(avsc))
	name := filepath.Join(t.TempDir(), "v1.3.0.avsc")
	if err := os.WriteFile(name, []byte(mended), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("buffetctl", "schema", "evolve", "--data-bucket", w.bucket, name)
}

// mend does so while an ingestor runs, and waits for it to judge by the definition.
func (w *world) mend(t *testing.T) {
	t.Helper()
	w.mendAlone(t)
	w.publish(func(publish func(string, *schema.Message)) { // waits for v1.3.0, and so do we
		publish("market-data", &schema.Message{Data: []byte(wti("PROBE", 1)), Attributes: map[string]string{"schema_version": "v1.3.0"}})
	})
	w.until("the mended definition", func() bool { return w.rows("market_data") == 8 })
}

// byHand publishes what looks like a replay on the topic itself, and a record of an
// operator's on the replay topic.
func (w *world) byHand(t *testing.T) {
	t.Helper()
	w.publish(func(publish func(string, *schema.Message)) {
		publish("market-data", &schema.Message{Data: []byte(wti("FORGED", 1)), Attributes: map[string]string{
			"replay": "run", "dl_id": "x", "reason": "rule_broken", "message_id": "1", "record_index": "7", "data_form": "record", "published_at": "2001-01-01T00:00:00Z"}})
		publish("market-data-replay", &schema.Message{Data: []byte(wti("HAND", 1))})
	})
}

// forgeries sees that those have the identities of ordinary messages.
func (w *world) forgeries(t *testing.T) {
	t.Helper()
	for _, r := range w.query("market_data", "--columns", "symbol,_id,_index,_published_at", "--where", "symbol in ('FORGED', 'HAND')") {
		id, hand := fmt.Sprint(r["_id"]), r["symbol"] == "HAND"
		if id == "m:1" || strings.HasPrefix(id, "m:market-data-replay/") != hand || fmt.Sprint(r["_index"]) != "0" || strings.HasPrefix(fmt.Sprint(r["_published_at"]), "2001") {
			t.Errorf("row %v", r)
		}
	}
}

// Without an ingestor that takes replays nothing is published: a message on a
// topic without a subscription is gone.
func TestReplayNeedsSomebodyWhoListens(t *testing.T) {
	w := newWorld(t, "")
	w.publish(func(publish func(string, *schema.Message)) {
		publish("market-data", &schema.Message{Data: []byte(wti("A", -1))})
	})
	w.ingestor("--idle-exit", "2s")
	w.mendAlone(t)
	cmd := w.command("buffetctl", "dlq", "replay", "--data-bucket", w.bucket)
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "start an ingestor with --replay") {
		t.Errorf("%v\n%s", err, out)
	}
	if out := w.run("buffetctl", "dlq", "stats", "--data-bucket", w.bucket); strings.Contains(out, "replayed") {
		t.Errorf("something counts as replayed:\n%s", out)
	}
}
