package batching

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A message's rows are grouped by day whatever their order, each once, those of a day
// in their order, and rows that lie together stay a range.
func TestRowsAreGroupedByDay(t *testing.T) {
	def := definition(t, "market_data")
	var g grouping // one for all: what it keeps must not matter
	rapid.Check(t, func(t *rapid.T) {
		draw := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		days, most := make([]int, 1+draw.IntN(300)), rapid.SampledFrom([]int{1, 3, 15, 16, 17, 18, 200}).Draw(t, "most")
		for i := range days {
			days[i] = draw.IntN(most)
		}
		if rapid.Bool().Draw(t, "sorted") {
			slices.Sort(days)
		}
		rows := rowsOn(def, "AAPL", days...)
		g.split(rows)
		seen := make([]bool, len(days))
		for i, day := range g.days {
			if slices.Contains(g.days[:i], day) {
				t.Fatalf("day %d comes twice", day)
			}
			left, last := g.day(rows, i), int32(-1)
			for left.len() > 0 {
				some := left.cut(rapid.IntRange(1, left.len()).Draw(t, "some"))
				of := some.picked
				if of == nil {
					for row := some.from; row < some.to; row++ {
						of = append(of, int32(row))
					}
				} else if slices.IsSorted(days) {
					t.Fatalf("rows %v of day %d are no range", of, day)
				}
				for _, row := range of {
					if rows.Day(int(row)) != day || row <= last || seen[row] {
						t.Fatalf("row %d of day %d after row %d in day %d, seen: %v", row, rows.Day(int(row)), last, day, seen[row])
					}
					seen[row], last = true, row
				}
			}
		}
		if slices.Contains(seen, false) {
			t.Fatal("a row is of no day")
		}
	})
}
