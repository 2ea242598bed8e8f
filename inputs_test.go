package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/query"
)

// A message of 100,000 records, one of them bad, becomes 99,999 rows and one
// dead letter; its records are alike but for their index, and all stay.
func TestOneBadRecordOfMany(t *testing.T) {
	lake, server := world(t)
	const good = `{"symbol":"A","timestamp":"2024-01-15T14:30:00Z","price":1,"source":"t"}`
	data := strings.Repeat(good+"\n", 70_000) + strings.Replace(good, `"price":1,`, "", 1) + "\n" + strings.Repeat(good+"\n", 29_999)
	deliver(t, lake, settings(server), post{"market-data", data, map[string]string{"event_id": "many"}})
	if _, err := lake.Compactor(compaction.Options{}).Run(t.Context(), lake.Registry().Types()); err != nil {
		t.Fatal(err)
	}
	for dataType, want := range map[string]int64{"market_data": 99_999, "dead_letters": 1} {
		if got, err := lake.CountRows(t.Context(), dataType); got != want || err != nil {
			t.Errorf("%s: %d rows, %v; want %d", dataType, got, err, want)
		}
	}
	letters := collect(t, lake, LetterFilter{})
	if len(letters) != 1 || letters[0].Reason != "missing_required" || letters[0].RecordIndex != 70_000 {
		t.Errorf("letters %+v", letters)
	}
}

// Symbols that look like paths, and an empty one, come back from the lake as
// they were sent, from names of objects that are safe, before and after a
// compaction.
func TestSymbolsComeBack(t *testing.T) {
	lake, server := world(t)
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=~._-"
	symbols := []string{"", "..", "../../x", "a/b", "A%2FB", "BRK.B", "^GSPC", "BTC-USD", "0700.HK", "ES=F"}
	slices.Sort(symbols)
	var posts []post
	for i, s := range symbols {
		posts = append(posts, post{"market-data", fmt.Sprintf(`{"symbol":%q,"timestamp":"2024-01-15T14:30:00Z","price":1,"source":"t"}`, s), map[string]string{"event_id": fmt.Sprint(i)}})
	}
	c := settings(server)
	c.Ingest.OwnFileRows = 1 // a raw object for each symbol
	deliver(t, lake, c, posts...)
	for _, compacted := range []bool{false, true} {
		if compacted {
			if _, err := lake.Compactor(compaction.Options{}).Run(t.Context(), []string{"market_data"}); err != nil {
				t.Fatal(err)
			}
		}
		if got := symbolsOf(t, lake, query.DataQuery{DataType: "market_data"}); !slices.Equal(got, symbols) {
			t.Errorf("compacted=%v: symbols %q, want %q", compacted, got, symbols)
		}
		for _, s := range symbols {
			if got := symbolsOf(t, lake, query.DataQuery{DataType: "market_data", Symbols: []string{s}}); !slices.Equal(got, []string{s}) {
				t.Errorf("compacted=%v: asked for %q, got %q", compacted, s, got)
			}
		}
	}
	for o, err := range lake.store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(o.Name, "/") {
			if part == "" || part[0] == '.' || strings.Trim(part, safe) != "" {
				t.Errorf("object %s: %q is no safe part of a name", o.Name, part)
			}
		}
	}
}

// symbolsOf are the symbols of the rows that a query gives, sorted.
func symbolsOf(t *testing.T, lake *Lake, q query.DataQuery) (all []string) {
	t.Helper()
	q.Columns = []string{"symbol"}
	plan, err := lake.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	_, err = plan.Execute(t.Context(), func(rows arrow.RecordBatch) error {
		for i := range int(rows.NumRows()) {
			all = append(all, rows.Column(0).ValueStr(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}
