package compaction_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
)

// drawQuote picks from few values, so that identities meet often.
func drawQuote(t *rapid.T) quote {
	id := rapid.SampledFrom([]string{"m:1", "m:2", "e:1", "e:2"}).Draw(t, "id")
	return quote{
		day:       jan15, // of the batch
		symbol:    rapid.SampledFrom([]string{"AAPL", "BRK.B", "^VIX", ""}).Draw(t, "symbol"),
		second:    rapid.IntRange(0, 2).Draw(t, "second"),
		id:        id,
		index:     rapid.Int32Range(0, 1).Draw(t, "index"),
		published: rapid.Int64Range(1, 2).Draw(t, "published"),
		price:     rapid.Int64Range(1, 2).Draw(t, "price"),
	}
}

// Random batches, with duplicates and conflicts, compacted at random moments:
// the live rows are the distinct identities, every row is live or a duplicate,
// and the bytes are those of one compaction at the end.
func TestAnyHistoryIsTheUnion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, once := newLake(t, objstore.NewMem()), newLake(t, objstore.NewMem())
		target := rapid.SampledFrom([]int64{0, 1, 8 << 10}).Draw(rt, "target")
		rows := 0
		for i := range rapid.IntRange(1, 8).Draw(rt, "batches") {
			batch := rapid.SliceOfN(rapid.Custom(drawQuote), 1, 12).Draw(rt, fmt.Sprint("batch ", i))
			if rapid.Bool().Draw(rt, "next day") {
				batch = onDay(jan15+1, batch)
			}
			rows += len(batch)
			l.raw(batch...)
			once.raw(batch...)
			if rapid.Bool().Draw(rt, "compact") {
				l.compactWith(compaction.Options{TargetFileSize: target})
			}
		}
		l.compactWith(compaction.Options{TargetFileSize: target})
		once.compactWith(compaction.Options{TargetFileSize: target})
		if got := l.identities(); got != len(l.rows) {
			rt.Errorf("%d live rows, %d identities", got, len(l.rows))
		}
		if got := int(l.duplicates()); got != rows-len(l.rows) {
			rt.Errorf("%d duplicates, want %d", got, rows-len(l.rows))
		}
		if diff := cmp.Diff(once.contents(), l.contents()); diff != "" {
			rt.Errorf("compacted once (-) and on the way (+):\n%s", diff)
		}
	})
}
