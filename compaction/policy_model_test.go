package compaction_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
)

// under runs once under a policy, at a time of the compactor's clock.
func (l *lake) under(o compaction.Options, at time.Time) compaction.Report {
	l.t.Helper()
	c := l.compactor(l.store, o)
	c.Clock = func() time.Time { return at }
	r, err := c.Run(context.Background(), []string{market})
	if err != nil {
		l.t.Fatalf("Run: %v\n%s", err, r)
	}
	l.check()
	return r
}

// Merges look only into files with the symbols and times of the new rows, and take
// small files along as it comes. Whatever they left alone: after each run every
// identity is live once and every row is counted (C2, C3), and once a day is sealed
// its bytes are those of one compaction of all.
func TestAnyHistoryUnderAPolicyIsTheUnion(t *testing.T) {
	narrowed := 0
	rapid.Check(t, func(rt *rapid.T) {
		l, once := newLake(t, objstore.NewMem()), newLake(t, objstore.NewMem())
		o := compaction.Options{
			TargetFileSize: rapid.SampledFrom([]int64{1, 8 << 10, 1 << 20}).Draw(rt, "target"),
			Policy: compaction.Policy{
				Share: rapid.SampledFrom([]float64{.01, .5}).Draw(rt, "share"), Floor: rapid.SampledFrom([]int64{0, 1 << 20}).Draw(rt, "floor"),
				SealAfter: time.Hour, LateWait: time.Hour,
			},
		}
		rows := 0
		for i := range rapid.IntRange(1, 10).Draw(rt, "batches") {
			batch := rapid.SliceOfN(rapid.Custom(drawQuote), 1, 6).Draw(rt, fmt.Sprint("batch ", i))
			rows += len(batch)
			l.raw(batch...)
			once.raw(batch...)
			if rapid.Bool().Draw(rt, "compact") {
				before := len(l.snapshotOrNone())
				r := l.under(o, jan15.Start().Add(time.Duration(rapid.SampledFrom([]int{12, 26}).Draw(rt, "hour"))*time.Hour))
				for _, p := range r.Tables[0].Partitions {
					if p.Outcome == compaction.Committed && p.Removed < before && p.RawFiles > 0 {
						narrowed++
					}
				}
			}
		}
		for range 3 {
			l.under(o, time.Now().Add(24*time.Hour))
		}
		if r := l.under(o, time.Now().Add(24*time.Hour)); r.Tables[0].Commits != 0 || len(r.Tables[0].Partitions) != 0 {
			rt.Errorf("a sealed day is worked on again:\n%s", r)
		}
		once.compactWith(compaction.Options{TargetFileSize: o.TargetFileSize})
		if got := l.identities(); got != len(l.rows) {
			rt.Errorf("%d live rows, %d identities", got, len(l.rows))
		}
		if got := int(l.duplicates()); got != rows-len(l.rows) {
			rt.Errorf("%d duplicates, want %d", got, rows-len(l.rows))
		}
		if diff := cmp.Diff(once.contents(), l.contents()); diff != "" {
			rt.Errorf("compacted once (-) and sealed (+):\n%s", diff)
		}
	})
	if narrowed == 0 {
		t.Error("no merge left a live file alone: nothing was tested")
	}
}

// snapshotOrNone are the live files' paths.
func (l *lake) snapshotOrNone() []string {
	_, s, err := l.view()
	if err != nil {
		return nil
	}
	var paths []string
	for _, f := range s.Files(nil) {
		paths = append(paths, f.Path)
	}
	return paths
}

// An event id that comes with another symbol or time is another row (C2, input
// 59), also where the file that has the first is not looked into.
func TestOneEventIDUnderTwoSymbols(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	o := compaction.Options{Policy: compaction.Policy{Share: .01, SealAfter: time.Hour, LateWait: time.Hour}}
	noon := jan15.Start().Add(12 * time.Hour)
	first := quote{symbol: "AAPL", second: 1, id: "e:7", published: 1}
	l.raw(first)
	l.under(o, noon)
	other := first
	other.symbol = "MSFT"
	later := first
	later.second = 2
	l.raw(other, later, first)
	r := l.under(o, noon)
	if p := r.Tables[0].Partitions[0]; p.Duplicates != 1 || l.identities() != 3 {
		t.Errorf("%d duplicates, %d rows live; want 1, 3\n%s", p.Duplicates, l.identities(), r)
	}
	// Of MSFT there is a file already, of AAPL at another time too: neither is looked into.
	other.second = 9
	l.raw(other)
	l.under(o, noon)
	if got := l.identities(); got != 4 {
		t.Errorf("%d rows live, want 4", got)
	}
}
