package columnar

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The extents of a file are those of its rows, in whatever order these are.
func TestExtents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := unionRows(t)
		want := map[string]Extent{}
		for _, r := range rows {
			symbol, _ := r[0].(string)
			e, ok := want[symbol]
			if !ok {
				e = Extent{symbol, math.MaxInt64, math.MinInt64}
			}
			at := r[1].(int64)
			want[symbol] = Extent{symbol, min(e.From, at), max(e.To, at)}
		}
		rec := record(everyKind, rows...)
		k := keysOf([]arrow.RecordBatch{rec}, everyKind)[0]
		got := map[string]Extent{}
		for _, e := range must(must(OpenBytes("o", must(write(rec, everyKind, summarize(k, everyKind), newEncoder(&small))))).Extents(t.Context(), everyKind)) {
			if _, twice := got[e.Symbol]; twice {
				t.Fatalf("%q is there twice", e.Symbol)
			}
			got[e.Symbol] = e
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
	data := slices.Clone(encodedIn(record(everyKind, someRows(random(1), 20, 0)...), &standardSizes))
	for i := 4; i < 400; i++ {
		data[i] ^= 0x55
	}
	if _, err := must(OpenBytes("o", data)).Extents(t.Context(), everyKind); !errors.Is(err, ErrCorrupt) {
		t.Errorf("damaged: %v", err)
	}
}
