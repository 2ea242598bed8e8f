package columnar

import (
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"
)

// Rows picked one by one are those that runs of them give, of a slice of a record too,
// and so are the bytes under nulls of whole columns: zero.
func TestPickedRowsAreThoseOfRuns(t *testing.T) {
	const payload = 9
	kinds := define("no_binary", 0, 1, slices.Delete(slices.Clone(everyKind.Fields[:everyKind.Own]), payload, payload+1)...)
	rapid.Check(t, func(t *rapid.T) {
		dice := random(rapid.Uint64().Draw(t, "seed"))
		rows := someRows(dice, 1+dice.IntN(60), rapid.SampledFrom([]float64{0, 0.1, 0.9, 1}).Draw(t, "nulls"))
		for i := range rows {
			rows[i] = slices.Delete(rows[i], payload, payload+1)
		}
		rec := record(kinds, rows...)
		from := dice.IntN(len(rows))
		rec = rec.NewSlice(int64(from), int64(from+1+dice.IntN(len(rows)-from)))
		var order []int32
		var runs []run
		for range dice.IntN(80) {
			row := int32(dice.IntN(int(rec.NumRows())))
			order, runs = append(order, row), append(runs, run{0, row, row + 1})
		}
		got, want := pick(rec, order), must(gather([]arrow.RecordBatch{rec}, runs))
		if !array.RecordEqual(got, want) {
			t.Fatalf("picked\n%v\nwant\n%v", rowsOf(got), rowsOf(want))
		}
		for c := range int(got.NumCols()) {
			a, b := got.Column(c), want.Column(c)
			if a.NullN() != b.NullN() || (a.Data().Buffers()[0] == nil) != (b.Data().Buffers()[0] == nil) {
				t.Fatalf("column %d: %d nulls, %d in runs", c, a.NullN(), b.NullN())
			}
			if codes, ok := a.(*array.Dictionary); ok {
				for i := range a.Len() {
					if a.IsNull(i) && codes.GetValueIndex(i) != 0 {
						t.Fatalf("column %d: a null has code %d", c, codes.GetValueIndex(i))
					}
				}
			}
		}
	})
}
