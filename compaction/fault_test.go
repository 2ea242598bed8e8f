package compaction_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/partition"
)

// busy is a lake with a table, and something of everything to compact: new rows,
// duplicates, a new day, a day of duplicates only, a file per symbol.
func busy(t testing.TB, store *objstore.Mem) *lake {
	start, ticks := time.Now(), atomic.Int64{}
	store.Clock = func() time.Time { return start.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
	l := newLake(t, store)
	l.raw(append(quotes("AAPL", 0, 40), quotes("MSFT", 0, 40)...)...)
	l.raw(onDay(jan15+1, quotes("AAPL", 0, 5))...)
	l.compactWith(manyFiles)
	l.raw(append(quotes("AAPL", 30, 20), quotes("ZM", 0, 40)...)...)
	l.raw(quotes("MSFT", 10, 5)...)
	l.raw(onDay(jan15+1, quotes("AAPL", 2, 2))...)
	l.raw(onDay(jan15+2, quotes("AAPL", 0, 5))...)
	return l
}

var manyFiles = compaction.Options{TargetFileSize: 2 << 10, MaxCommitGroups: 2, Workers: 1}

// watch says what a reader finds wrong now: with the contract, or with the rows
// he gets, which are always all that were ever made durable (C1, C4).
func (l *lake) watch() error {
	bad, err := l.violations()
	if errors.Is(err, partition.ErrNoTable) {
		return nil
	}
	if err == nil && len(bad) > 0 {
		err = errors.New(bad[0].String())
	}
	if err != nil {
		return err
	}
	raw, s, err := l.view()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, f := range s.Files(nil) {
		if err := l.see(seen, f.ObjectName()); err != nil {
			return err
		}
	}
	for _, r := range raw {
		if !s.Consumed(r.Name) {
			if err := l.see(seen, r.Name); err != nil {
				return err
			}
		}
	}
	if len(seen) != len(l.rows) {
		return fmt.Errorf("a reader finds %d rows, there are %d", len(seen), len(l.rows))
	}
	return nil
}

// Fail the first operation, then the second, until a run meets no fault: undone,
// done with its answer lost, and with all that follow failing too. A reader
// looks after every write.
func TestFaultSweep(t *testing.T) {
	calm := busy(t, objstore.NewMem())
	calm.compactWith(manyFiles)
	want := calm.contents()
	if n := len(want["market_data/2024-01-15"]); n != 3 {
		t.Fatalf("%d files on the first day, want one a symbol", n)
	}
	for _, tt := range []struct {
		name  string
		mode  objtest.Mode
		times int
	}{
		{"failed", objtest.Fail, 1},
		{"answer lost", objtest.Lose, 1},
		{"failed for good", objtest.Fail, -1},
		{"answers lost for good", objtest.Lose, -1},
		{"cut short", objtest.Truncate, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sweep(t, func(t *testing.T, k int) bool {
				l := busy(t, objstore.NewMem())
				faults := &objtest.Faults{Store: l.store, FailAt: k, Mode: tt.mode, Times: tt.times}
				watched := &hooked{Store: faults, after: func(op, name string) {
					if err := l.watch(); err != nil {
						t.Errorf("operation %d: after %s %s: %v", k, op, name, err)
					}
				}}
				r, err := l.compactor(watched, manyFiles).Run(context.Background(), []string{market})
				if err == nil && len(r.Tables[0].Partitions) == 3 && r.Troubled() {
					t.Errorf("operation %d: no error, but %s", k, r)
				}
				if err := l.watch(); err != nil {
					t.Errorf("operation %d: after the run: %v", k, err)
				}
				l.compactWith(manyFiles)
				if diff := cmp.Diff(want, l.contents()); diff != "" {
					t.Errorf("operation %d: contents after the next run:\n%s", k, diff)
				}
				if n := len(l.objects("metadata/")); n != 3 {
					t.Errorf("operation %d: %d manifests, want 3", k, n)
				}
				return faults.Fired()
			})
		})
	}
}

// sweep runs one fault after the other, until one is not met. Waiting between
// tries takes no time.
func sweep(t *testing.T, run func(t *testing.T, k int) (met bool)) {
	for k, met := 0, true; met; k++ {
		synctest.Test(t, func(t *testing.T) { met = run(t, k) })
		if !met {
			t.Logf("%d operations", k)
		}
	}
}

// gate lets nobody create the log's version before everybody is about to, or is
// seen not to come.
func gate(store objstore.Store, version int, parties int64) *hooked {
	var here atomic.Int64
	all := make(chan struct{})
	return &hooked{Store: store, before: func(op, name string) {
		if op != "create" || !strings.HasSuffix(name, fmt.Sprintf("_delta_log/%020d.json", version)) {
			return
		}
		if here.Add(1) == parties {
			close(all)
		}
		select {
		case <-all:
		case <-time.After(20 * time.Second):
		}
	}}
}

// race runs a compactor in each store at once.
func (l *lake) race(stores ...objstore.Store) []compaction.Report {
	p := pool.NewWithResults[compaction.Report]()
	for _, store := range stores {
		p.Go(func() compaction.Report {
			r, err := l.compactor(store, compaction.Options{}).Run(context.Background(), []string{market})
			if err != nil {
				l.t.Error(err)
			}
			return r
		})
	}
	return p.Wait()
}

// Of two compactors that plan on one version one commits, the other gives up;
// with the same rows they share the objects they upload (P1).
func TestTwoCompactorsRace(t *testing.T) {
	for _, tt := range []struct {
		name    string
		between func(l *lake) // after the first has listed, before the second does
		objects int           // data objects made
	}{
		{"on the same rows", func(*lake) {}, 1},
		{"one knowing of more", func(l *lake) { l.raw(quotes("ZM", 0, 5)...) }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLake(t, objstore.NewMem())
			l.raw(quotes("AAPL", 0, 5)...)
			l.compact()
			l.raw(quotes("MSFT", 0, 5)...)
			before := len(l.objects("processed/market_data/year="))
			both := gate(l.store, 2, 2)
			var listed sync.WaitGroup
			listed.Add(1)
			var once sync.Once
			first := &hooked{Store: both, before: func(op, name string) {
				if op == "read" && strings.HasPrefix(name, "raw/") {
					once.Do(func() { tt.between(l); listed.Done() })
				}
			}}
			second := &hooked{Store: both, before: func(op, name string) {
				if op == "list" && strings.HasPrefix(name, "raw/") {
					listed.Wait()
				}
			}}
			outcomes := map[compaction.Outcome]int{}
			for _, r := range l.race(first, second) {
				outcomes[r.Tables[0].Partitions[0].Outcome]++
			}
			want := map[compaction.Outcome]int{compaction.Committed: 1, compaction.Abandoned: 1}
			if diff := cmp.Diff(want, outcomes); diff != "" {
				t.Errorf("outcomes:\n%s", diff)
			}
			if err := l.watch(); err != nil {
				t.Error(err)
			}
			if made := len(l.objects("processed/market_data/year=")) - before; made != tt.objects {
				t.Errorf("%d data objects made, want %d", made, tt.objects)
			}
			l.compact()
			if n := l.identities(); n != len(l.rows) {
				t.Errorf("%d rows, want %d", n, len(l.rows))
			}
		})
	}
}

// Ten compactors make the table and fill it, days and commits mixed.
func TestManyCompactorsRace(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for d := range partition.Day(6) {
		l.raw(onDay(jan15+d, quotes("AAPL", 0, 10))...)
		l.raw(onDay(jan15+d, quotes("AAPL", 5, 10))...)
	}
	workers := make([]objstore.Store, 10)
	for i := range workers {
		workers[i] = l.store
	}
	l.race(workers...)
	if err := l.watch(); err != nil {
		t.Error(err)
	}
	l.compact()
	if n := l.identities(); n != len(l.rows) {
		t.Errorf("%d rows, want %d", n, len(l.rows))
	}
	if n := l.duplicates(); n != 30 {
		t.Errorf("%d duplicates, want 30", n)
	}
}

// A name that is taken by other bytes is no success.
func TestTakenNameIsNoSuccess(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	l.raw(quotes("AAPL", 0, 5)...)
	planted := &hooked{Store: l.store, before: func(op, name string) {
		if op == "create" && strings.Contains(name, "/year=") && strings.HasPrefix(name, "processed/") {
			l.put(name, []byte("something else"), nil)
		}
	}}
	p, err := l.run(planted)
	if !errors.Is(err, objstore.ErrExist) || p.Outcome != compaction.Failed {
		t.Errorf("outcome %s, error %v", p.Outcome, err)
	}
	if n := l.identities(); n != 0 {
		t.Errorf("%d live rows", n)
	}
}
