package fsck

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// ingest makes a raw object of one record.
func ingest(t *testing.T, l *laketest.Lake, seq, day int, symbol string, price string, attributes map[string]string) {
	t.Helper()
	at := laketest.Start.AddDate(0, 0, -day)
	rows := schema.NewColumns(l.Def)
	record := `{"symbol":"` + symbol + `","timestamp":"` + at.Format(time.RFC3339) + `","price":` + price + `,"source":"x"}`
	m := &schema.Message{ID: "1", Data: []byte(record), PublishTime: laketest.Start, Attributes: attributes}
	if rejected := l.Def.NewDecoder(schema.Standard).Decode(m, rows); len(rejected) > 0 {
		t.Fatal(rejected[0].Explanation)
	}
	data, sum, err := columnar.Encode(rows.Record(), l.Def)
	if err != nil {
		t.Fatal(err)
	}
	name := partition.RawName{
		Key: partition.Key{Type: laketest.Market, Day: partition.DayOf(at.UnixMicro())}, Category: l.Def.Category, Multi: true,
		Time: at.UnixMicro(), Major: l.Def.Version.Major, Writer: "events", Seq: seq,
	}.String()
	if _, err := l.Store.Create(t.Context(), name, data, sum.Metadata()); err != nil {
		t.Fatal(err)
	}
}

func deep(t *testing.T, l *laketest.Lake) Report {
	t.Helper()
	r, err := (&Checker{Store: l.Store, Registry: l.Registry, Deep: true}).Run(context.Background(), []string{laketest.Market})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// One event_id with another symbol, on the same day and on another, with another event
// time, and with other values.
func TestAnEventIDForSeveralRecords(t *testing.T) {
	event := func(id string) map[string]string { return map[string]string{"event_id": id} }
	for _, tt := range []struct {
		name   string
		fill   func(put func(day int, symbol, price string, attributes map[string]string))
		rows   int64
		says   []string
		silent bool
	}{
		{name: "another symbol", rows: 2, says: []string{"1 event_ids", `"e:x": A at 2024-01-15`, "B at 2024-01-15"}, fill: func(put func(int, string, string, map[string]string)) {
			put(0, "A", "1", event("x"))
			put(0, "B", "1", event("x"))
		}},
		{name: "another day", rows: 2, says: []string{"1 event_ids", "A at 2024-01-13", "A at 2024-01-15"}, fill: func(put func(int, string, string, map[string]string)) {
			put(2, "A", "1", event("x"))
			put(0, "A", "1", event("x"))
		}},
		{name: "several", rows: 5, says: []string{"2 event_ids"}, fill: func(put func(int, string, string, map[string]string)) {
			put(2, "A", "1", event("x"))
			put(1, "A", "1", event("x"))
			put(0, "B", "1", event("y"))
			put(1, "B", "1", event("y"))
			put(1, "C", "1", event("z"))
		}},
		{name: "corrected values", rows: 1, silent: true, fill: func(put func(int, string, string, map[string]string)) {
			put(0, "A", "1", event("x"))
			put(0, "A", "2", event("x")) // one identity: one row
		}},
		{name: "message ids that a broker used again", rows: 2, silent: true, fill: func(put func(int, string, string, map[string]string)) {
			put(0, "A", "1", nil)
			put(0, "B", "2", nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, seq := laketest.New(t), 0
			tt.fill(func(day int, symbol, price string, attributes map[string]string) {
				seq++
				ingest(t, l, seq, day, symbol, price, attributes)
			})
			if err := l.CompactOn(l.Store); err != nil {
				t.Fatal(err)
			}
			r := deep(t, l)
			if r.Violations() > 0 || r.Rows != tt.rows {
				t.Errorf("%d rows, findings %v", r.Rows, r.Findings)
			}
			if tt.silent != (len(r.Findings) == 0) {
				t.Fatalf("findings %v", r.Findings)
			}
			for _, text := range tt.says {
				if !strings.Contains(r.Findings[0].String(), text) {
					t.Errorf("%q is not in %s", text, r.Findings[0])
				}
			}
		})
	}
}

// The comparison takes no more memory than it may, and says so.
func TestMoreEventsThanAreCompared(t *testing.T) {
	e := newEvents()
	e.most = 1
	l := laketest.New(t)
	rows := schema.NewColumns(l.Def)
	for _, symbol := range []string{"A", "B"} {
		m := &schema.Message{ID: "1", PublishTime: laketest.Start, Attributes: map[string]string{"event_id": "x", "source": "s"}, Data: []byte(`{"symbol":"` + symbol + `","timestamp":"2024-01-15T00:00:00Z","price":1}`)}
		l.Def.NewDecoder(schema.Standard).Decode(m, rows)
	}
	e.take(partition.Key{Type: laketest.Market}, rows.Record(), l.Def)
	if names, _ := e.reused(); names != 0 || e.left != 1 || len(e.all) != 1 {
		t.Errorf("%d names, %d kept, %d left", names, len(e.all), e.left)
	}
}
