package schema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Rows that were packed, in whatever pieces, are the rows they were.
func TestPackedRowsComeBack(t *testing.T) {
	def := parse(t, everything)
	rapid.Check(t, func(t *rapid.T) {
		src, before := NewColumns(def), NewColumns(def)
		for range rapid.IntRange(0, 40).Draw(t, "rows") {
			drawRow(t, src)
		}
		for range rapid.IntRange(0, 3).Draw(t, "before") {
			drawRow(t, before)
		}
		want := NewColumns(def)
		want.Append(before, 0, before.Len())
		var packed []byte
		from := rapid.IntRange(0, src.Len()).Draw(t, "from")
		cut := rapid.IntRange(from, src.Len()).Draw(t, "cut")
		packed = src.AppendPacked(packed, from, cut)
		packed = src.AppendPacked(packed, cut, src.Len())
		want.Append(src, from, src.Len())
		before.Unpack(packed, src.Len()-from)
		if diff := cmp.Diff(show(want.Record()), show(before.Record())); diff != "" {
			t.Errorf("unpacked rows differ (-want +got):\n%s", diff)
		}
	})
}
