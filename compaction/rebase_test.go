package compaction_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// before calls act once, when a version of the log is about to be created.
func before(l *lake, version int, act func()) *hooked {
	h := &hooked{Store: l.store}
	h.before = func(op, name string) {
		if op == "create" && strings.HasSuffix(name, fmt.Sprintf("_delta_log/%020d.json", version)) {
			h.before = nil
			act()
		}
	}
	return h
}

// twoDays is a table with a day that is live, and two days that wait.
func twoDays(t *testing.T) *lake {
	l := newLake(t, objstore.NewMem())
	l.raw(quotes("AAPL", 0, 5)...)
	l.compact() // versions 0 and 1
	l.raw(quotes("MSFT", 0, 5)...)
	l.raw(onDay(jan15+1, quotes("MSFT", 0, 5))...)
	return l
}

// fence makes every object planned before it one that may be swept (P3).
func (l *lake) fence() {
	l.commit(partition.Change{Operation: "FENCE", Marks: map[string]int64{partition.FenceMark: l.snapshot().Version + 1}})
}

// Who commits first decides what becomes of a plan: it is carried over where all
// it rests on is as it was, under a new name where a fence lies between, and
// abandoned otherwise (P5, P6, P7).
func TestRebase(t *testing.T) {
	erase := partition.Change{Operation: "ERASE", Marks: map[string]int64{partition.EraseMark: 2}}
	for _, tt := range []struct {
		name    string
		rival   func(l *lake)
		outcome compaction.Outcome
		planned int64 // in the names of the files added, where committed
	}{
		{"a mark", func(l *lake) { l.commit(partition.Change{Marks: map[string]int64{"rival": 1}}) }, compaction.Committed, 1},
		{"two commits", func(l *lake) {
			l.commit(partition.Change{Marks: map[string]int64{"rival": 1}})
			l.commit(partition.Change{Marks: map[string]int64{"rival": 2}})
		}, compaction.Committed, 1},
		{"a fence", (*lake).fence, compaction.Committed, 2},
		{"an erasing commit", func(l *lake) { l.commit(erase) }, compaction.Abandoned, 0},
		{"an erasing commit and more", func(l *lake) { l.commit(erase); l.fence() }, compaction.Abandoned, 0},
		{"other properties", func(l *lake) { l.commit(partition.Change{Properties: partition.Properties{CheckpointEvery: 7}}) }, compaction.Abandoned, 0},
		{"an input consumed", func(l *lake) {
			raw, _, _ := l.view()
			l.commit(partition.Change{Consumed: []string{raw[len(raw)-1].Name}})
		}, compaction.Abandoned, 0},
		{"more duplicates of a live file", func(l *lake) {
			f := l.snapshot().Files(nil)[0]
			f.Duplicates++
			l.commit(partition.Change{Add: []partition.File{f}})
		}, compaction.Abandoned, 0},
		{"a live file gone", func(l *lake) { l.commit(partition.Change{Remove: l.snapshot().Files(nil)}) }, compaction.Abandoned, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := twoDays(t)
			store := before(l, 2, func() { tt.rival(l) })
			r, err := l.compactor(store, compaction.Options{}).Run(context.Background(), []string{market})
			if err != nil {
				t.Fatalf("%v\n%s", err, r)
			}
			table := r.Tables[0]
			for _, p := range table.Partitions {
				if p.Outcome != tt.outcome {
					t.Errorf("%s is %s, want %s", p.Key, p.Outcome, tt.outcome)
				}
			}
			if tt.outcome != compaction.Committed {
				if table.Commits+table.Rebases != 0 || !r.Troubled() {
					t.Errorf("%d commits, %d rebases, %s", table.Commits, table.Rebases, r)
				}
				return
			}
			if table.Commits != 1 || table.Rebases != 1 {
				t.Errorf("%d commits after %d rebases", table.Commits, table.Rebases)
			}
			l.check()
			for _, f := range l.snapshot().Files(nil) {
				if n, err := partition.ParseProcessedName(f.ObjectName()); err != nil || n.Planned != tt.planned {
					t.Errorf("%s is live, want it planned on %d: %v", f.Path, tt.planned, err)
				}
			}
		})
	}
}

// A rival who commits the other day of the plan, or one that comes later in it.
func TestRebaseLooksAtEveryPartition(t *testing.T) {
	for _, groups := range []int{1, 10} {
		for _, day := range []partition.Day{jan15 + 1, jan15 + 5} {
			l := twoDays(t)
			store := before(l, 2, func() {
				waiting := l.rawNames()
				l.raw(onDay(day, quotes("ZM", 0, 3))...)
				if r, err := l.compactor(&hiding{l.store, waiting}, compaction.Options{}).Run(context.Background(), []string{market}); err != nil || r.Tables[0].Commits != 1 {
					t.Errorf("the rival: %v\n%s", err, r)
				}
			})
			r, err := l.compactor(store, compaction.Options{MaxCommitGroups: groups}).Run(context.Background(), []string{market})
			if err != nil || len(r.Tables[0].Partitions) != 2 {
				t.Fatalf("%v\n%s", err, r)
			}
			want := []compaction.Outcome{compaction.Committed, compaction.Committed}
			if day == jan15+1 { // in the plan
				want[1] = compaction.Abandoned
				if groups > 1 {
					want[0] = compaction.Abandoned
				}
			}
			for i, p := range r.Tables[0].Partitions {
				if p.Outcome != want[i] {
					t.Errorf("%d a commit, rival on %s: %s is %s, want %s", groups, day, p.Key, p.Outcome, want[i])
				}
			}
			l.check()
			l.compact()
			if n := l.identities(); n != len(l.rows) {
				t.Errorf("%d rows, want %d", n, len(l.rows))
			}
		}
	}
}

// A day that was empty, filled and erased meanwhile looks as it did (P7).
func TestRebaseIsNotFooledByAnErasure(t *testing.T) {
	l := twoDays(t)
	store := before(l, 2, func() {
		s := l.snapshot()
		files := s.Partition(partition.Key{Type: market, Day: jan15})
		l.commit(partition.Change{Remove: files})
		l.commit(partition.Change{Add: files})
		l.commit(partition.Change{Marks: map[string]int64{partition.EraseMark: s.Version + 3}})
	})
	r, err := l.compactor(store, compaction.Options{}).Run(context.Background(), []string{market})
	if err != nil || r.Tables[0].Commits != 0 {
		t.Errorf("%v\n%s", err, r)
	}
}

// What was uploaded is swept, or is something else, before it is carried over.
func TestRebaseAcrossAFenceNeedsTheBytes(t *testing.T) {
	for name, spoil := range map[string]func(l *lake, object string){
		"gone": func(l *lake, object string) {
			if err := l.store.Remove(context.Background(), object, objstore.Any); err != nil {
				t.Error(err)
			}
		},
		"the new name is taken": func(l *lake, object string) {
			l.put(strings.Replace(object, ".b1.", ".b2.", 1), []byte("something else"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := twoDays(t)
			store := before(l, 2, func() {
				l.fence()
				for object := range l.objects("processed/market_data/year=") {
					if strings.Contains(object, ".b1.") {
						spoil(l, object)
					}
				}
			})
			r, err := l.compactor(store, compaction.Options{}).Run(context.Background(), []string{market})
			if err != nil || r.Tables[0].Commits != 0 {
				t.Errorf("%v\n%s", err, r)
			}
			if p := r.Tables[0].Partitions; p[0].Outcome != compaction.Abandoned || p[1].Outcome != compaction.Abandoned {
				t.Errorf("%s", r)
			}
		})
	}
}

// A plan that always comes second is given up in the end.
func TestRebaseEnds(t *testing.T) {
	l := twoDays(t)
	n := int64(0)
	rival := &hooked{Store: l.store, before: func(op, name string) {
		if op == "create" && strings.Contains(name, "/_delta_log/") && strings.HasSuffix(name, ".json") {
			n++
			l.commit(partition.Change{Marks: map[string]int64{"rival": n}})
		}
	}}
	r, err := l.compactor(rival, compaction.Options{}).Run(context.Background(), []string{market})
	if err != nil || r.Tables[0].Commits != 0 || n != 9 {
		t.Fatalf("%d tries, %v\n%s", n, err, r)
	}
	l.compact()
	if n := l.identities(); n != len(l.rows) {
		t.Errorf("%d rows, want %d", n, len(l.rows))
	}
}

// A hiding store does not list some objects yet.
type hiding struct {
	objstore.Store
	names []string
}

func (s *hiding) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range s.Store.List(ctx, prefix, after) {
			if (err != nil || !slices.Contains(s.names, o.Name)) && !yield(o, err) {
				return
			}
		}
	}
}

// rawNames are the raw objects there are.
func (l *lake) rawNames() []string {
	var names []string
	for name := range l.objects("raw/") {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
