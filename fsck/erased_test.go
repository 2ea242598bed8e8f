package fsck_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/fsck"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/upkeep"
)

// retained is a lake of two days, the older of which a retention took away after its
// raw objects had been swept. It gives the name and bytes of one of them.
func retained(t *testing.T) (l *laketest.Lake, old partition.Key, name string, data []byte, meta map[string]string) {
	l = laketest.New(t)
	name = l.Ingest(1, "a", "b")
	kept := l.Ingest(0, "c", "d")
	l.Compact()
	old = l.Snapshot().Partitions()[0]
	data, err := l.Store.Read(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	o, err := l.Store.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, l, name)
	l.Pass(time.Hour)
	r := upkeep.Retention{Type: laketest.Market, Older: 24 * time.Hour, By: "ann", Reason: "old", Now: old.Day.Start().Add(48*time.Hour + time.Minute)}
	e, err := r.Erase(t.Context(), l.Store)
	if err != nil || len(e.Gone()) != 1 || e.Gone()[0].Day != old.Day {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := l.Store.Stat(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	return l, old, name, data, o.Metadata
}

func ruled(r fsck.Report, rule string) []fsck.Finding {
	return slices.DeleteFunc(r.Findings, func(f fsck.Finding) bool { return f.Rule != rule })
}

// A raw object that comes again after its day was taken away says nothing of the day.
func TestARawObjectRevivedAfterARetention(t *testing.T) {
	l, _, name, data, meta := retained(t)
	if _, err := l.Store.Create(t.Context(), name, data, meta); err != nil {
		t.Fatal(err)
	}
	l.Compact()
	r := check(t, l, true)
	if r.Violations() > 0 {
		t.Errorf("no promise is broken: %v", r.Findings)
	}
	if revived := ruled(r, "P13"); len(revived) != 1 || !strings.Contains(revived[0].Advice, "taken away") {
		t.Errorf("findings %v", r.Findings)
	}
}

// What is lost after a retention is found: of the day itself, filled again, and of
// another that was not taken away; with rows left in the day, and without.
func TestALossAfterARetention(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(l *laketest.Lake, old partition.Key) partition.Key
	}{
		{"the day, filled again", func(l *laketest.Lake, old partition.Key) partition.Key {
			l.Ingest(1, "a", "e")
			l.Compact()
			return old
		}},
		{"another day", func(l *laketest.Lake, old partition.Key) partition.Key { return l.Snapshot().Partitions()[0] }},
		{"the day, filled again, and a checkpoint", func(l *laketest.Lake, old partition.Key) partition.Key {
			l.Ingest(1, "e")
			l.Compact()
			if err := partition.OpenTable(l.Store, laketest.Market, l.Clock).Checkpoint(l.T.Context(), l.Snapshot()); err != nil {
				l.T.Fatal(err)
			}
			return old
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, old, name, data, meta := retained(t)
			key := tt.lose(l, old)
			if _, err := l.Store.Create(t.Context(), name, data, meta); err != nil {
				t.Fatal(err)
			}
			if r := check(t, l, true); r.Violations() > 0 {
				t.Fatalf("before the loss: %v", r.Findings)
			}
			s := l.Snapshot()
			lost := partition.Change{Operation: "COMPACT", Remove: s.Partition(key)}
			if _, err := partition.OpenTable(l.Store, laketest.Market, l.Clock).Commit(t.Context(), s, lost); err != nil {
				t.Fatal(err)
			}
			if found := ruled(check(t, l, true), "C3"); len(found) == 0 || found[0].Object != key.String() {
				t.Errorf("the loss is not found: %v", found)
			}
		})
	}
}
