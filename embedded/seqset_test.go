package embedded

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A seqset does what a plain map of numbers does.
func TestASeqsetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const top = 3 * chunkLen
		var s seqset
		model := make([]bool, top+100)
		number := rapid.OneOf(rapid.Uint64Range(0, 130), rapid.Uint64Range(chunkLen-70, chunkLen+70), rapid.Uint64Range(0, top))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0:
				n := number.Draw(t, "add")
				if got, want := s.add(n), !model[n]; got != want {
					t.Fatalf("add(%d) = %v", n, got)
				}
				model[n] = true
			case 1:
				n := number.Draw(t, "raise")
				s.raise(n)
				for i := range n {
					model[i] = true
				}
			case 2:
				first := number.Draw(t, "run")
				for n := first; n < min(first+200, top); n++ {
					s.add(n)
					model[n] = true
				}
			case 3:
				s = s.clone()
			}
		}
		for n, want := range model {
			if s.has(uint64(n)) != want {
				t.Fatalf("has(%d) = %v", n, !want)
			}
		}
		if want := uint64(slices.Index(model, false)); s.floor != want {
			t.Fatalf("floor %d, want %d", s.floor, want)
		}
		from, end := number.Draw(t, "from"), number.Draw(t, "end")
		want, missing := end, uint64(0)
		for n := end; n > 0; n-- {
			if !model[n-1] {
				missing++
				if n-1 >= from {
					want = n - 1
				}
			}
		}
		if got := s.next(from, end); got != want && !(from > end && got == end) {
			t.Fatalf("next(%d, %d) = %d, want %d", from, end, got, want)
		}
		if got := s.missing(end); got != missing {
			t.Fatalf("missing(%d) = %d, want %d", end, got, missing)
		}
		again := seqset{floor: s.floor}
		for _, sp := range s.above() {
			for n := range sp.count {
				if !model[sp.first+n] || sp.first+n < s.floor {
					t.Fatalf("above holds %d", sp.first+n)
				}
				again.add(sp.first + n)
			}
		}
		for n := range model {
			if again.has(uint64(n)) != s.has(uint64(n)) {
				t.Fatalf("packed and unpacked: %d differs", n)
			}
		}
	})
}

func TestSpans(t *testing.T) {
	got := spans([]uint64{5, 3, 4, 9, 4, 10, 1})
	if want := []span{{1, 1}, {3, 3}, {9, 2}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
