package compaction_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A store that has not listed one object yet.
type without struct {
	objstore.Store
	name string
}

func (s *without) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range s.Store.List(ctx, prefix, after) {
			if (err != nil || o.Name != s.name) && !yield(o, err) {
				return
			}
		}
	}
}

// Two compactors find no table. While the first is about to create it, the
// second creates it and compacts: what the first has planned knows nothing of
// the rows that are live by then.
func TestATableMadeMeanwhileIsPlannedOn(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	l.raw(quotes("AAPL", 1, 4)...)
	l.raw(quotes("AAPL", 3, 4)...)
	slow := &hooked{Store: l.store}
	slow.before = func(op, name string) {
		if op == "create" && strings.HasSuffix(name, "_delta_log/00000000000000000000.json") {
			slow.before = nil
			l.compact()
			l.raw(quotes("AAPL", 5, 4)...) // not in the listing of the first
		}
	}
	r, err := (&compaction.Compactor{Store: slow, Registry: l.reg}).Run(context.Background(), []string{market})
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	l.check()
	if n := len(r.Tables[0].Partitions); n != 0 {
		t.Errorf("%d partitions compacted again, all of it was consumed", n)
	}
	l.compact()
	if got := l.identities(); got != 8 {
		t.Errorf("%d live rows, want 8", got)
	}
}

// The same where the second compactor has seen other raw objects of the day.
func TestATableMadeMeanwhileHasOtherRowsOfTheDay(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	first := l.raw(quotes("AAPL", 1, 4)...)
	slow := &hooked{Store: l.store}
	slow.before = func(op, name string) {
		if op == "create" && strings.HasSuffix(name, "_delta_log/00000000000000000000.json") {
			slow.before = nil
			hidden := &without{Store: l.store, name: first}
			l.raw(quotes("AAPL", 3, 4)...)
			if _, err := l.compactor(hidden, compaction.Options{}).Run(context.Background(), []string{market}); err != nil {
				t.Error(err)
			}
		}
	}
	if r, err := l.compactor(slow, compaction.Options{}).Run(context.Background(), []string{market}); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	l.check()
	if got := l.identities(); got != 6 {
		t.Errorf("%d live rows, want 6", got)
	}
	if raw, s, err := l.view(); err != nil || slices.ContainsFunc(raw, func(f partition.RawFile) bool { return !s.Consumed(f.Name) }) {
		t.Errorf("a raw object is not consumed, %v", err)
	}
}
