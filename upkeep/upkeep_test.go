package upkeep_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/sweep"
	"github.com/buffetbot/ingest/upkeep"
)

// old is a lake of three days of one type, compacted, its raw objects swept.
func old(t *testing.T) (*laketest.Lake, objstore.Store, []partition.Key) {
	t.Helper()
	l := laketest.New(t)
	for day := range 3 {
		l.Ingest(day, "e:1", "e:2")
	}
	l.Compact()
	store := objstore.Store(l.Store)
	for _, name := range laketest.Names(t, store, "raw/") {
		if err := store.Remove(t.Context(), name, objstore.Any); err != nil {
			t.Fatal(err)
		}
	}
	return l, store, l.Snapshot().Partitions()
}

func retention(keys []partition.Key, day int) upkeep.Retention {
	older := 30 * 24 * time.Hour
	return upkeep.Retention{Type: keys[0].Type, Older: older, By: "ann", Reason: "kept for a month", Now: keys[day].Day.Start().Add(older + 25*time.Hour)}
}

func TestRetentionTakesOldDaysAway(t *testing.T) {
	l, store, keys := old(t)
	ctx := t.Context()
	before := l.Snapshot()
	r := retention(keys, 0) // the first day is older than that, the second is not
	e, err := r.Plan(ctx, store)
	if err != nil || len(e.Gone()) != 1 || e.Gone()[0].Day != keys[0].Day || e.Version != -1 || l.Snapshot().Version != before.Version {
		t.Fatalf("plan %+v, %v", e, err)
	}
	if names := laketest.Names(t, store, upkeep.AuditPrefix); len(names) != 0 {
		t.Errorf("a plan is recorded: %v", names)
	}
	e, err = r.Erase(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	after := l.Snapshot()
	if e.Version != before.Version+1 || after.Version != e.Version || after.Erased() != e.Version {
		t.Errorf("version %d after %d, erased in %d", e.Version, before.Version, after.Erased())
	}
	if len(after.Partition(keys[0])) != 0 || len(after.Partition(keys[1])) == 0 || len(after.Partition(keys[2])) == 0 {
		t.Errorf("left are %v", after.Partitions())
	}
	for _, f := range before.Partition(keys[0]) {
		if _, there := after.Tombstone(f.Path); !there {
			t.Errorf("%s is not kept for readers of the version before", f.Path)
		}
		if _, err := store.Stat(ctx, f.ObjectName()); err != nil {
			t.Error(err)
		}
	}
	audits, err := upkeep.Audits(ctx, store)
	if err != nil || len(audits) != 2 || audits[0].State != upkeep.Begun || audits[1].State != upkeep.Done || audits[0].ID != e.Audit || audits[1].ID != e.Audit {
		t.Fatalf("audits %+v, %v", audits, err)
	}
	if a := audits[0]; a.By != "ann" || a.Reason != "kept for a month" || !strings.Contains(string(a.What), keys[0].Day.String()) {
		t.Errorf("audit %+v of %s", a, a.What)
	}
	if e, err = r.Erase(ctx, store); err != nil || len(e.Days) != 0 || l.Snapshot().Version != after.Version {
		t.Errorf("again: %+v, %v", e, err)
	}
}

func TestDaysThatStay(t *testing.T) {
	l, store, keys := old(t)
	l.Ingest(2, "e:3") // days before 15 January
	if err := compaction.PlaceHold(t.Context(), store, compaction.Hold{Key: keys[1], Reason: "a claim", By: "ann"}); err != nil {
		t.Fatal(err)
	}
	e, err := retention(keys, 2).Erase(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Days) != 3 || !strings.Contains(e.Days[0].Stays, "1 raw objects") || !strings.Contains(e.Days[1].Stays, "a claim") || e.Days[2].Stays != "" {
		t.Errorf("%+v", e.Days)
	}
	if left := l.Snapshot().Partitions(); len(left) != 2 {
		t.Errorf("left are %v", left)
	}
	if r := (upkeep.Retention{Type: keys[0].Type, Older: time.Hour, Now: time.Now()}); func() bool { _, err := r.Erase(t.Context(), store); return err == nil }() {
		t.Error("an hour is taken for a retention")
	}
}

// meddler lets somebody act before the first object of a name is created.
type meddler struct {
	objstore.Store
	at  string
	act func()
}

func (m *meddler) Create(ctx context.Context, name string, data []byte, meta map[string]string) (objstore.Object, error) {
	if m.act != nil && strings.Contains(name, m.at) {
		act := m.act
		m.act = nil
		act()
	}
	return m.Store.Create(ctx, name, data, meta)
}

// Where a compactor is faster, the erasure is planned again: a day that has new raw
// objects by then stays.
func TestErasureFollowsTheHead(t *testing.T) {
	l, store, keys := old(t)
	m := &meddler{Store: store, at: "_delta_log/", act: func() {
		l.Ingest(1, "e:9")
		l.Compact()
	}}
	e, err := retention(keys, 1).Erase(t.Context(), m)
	if err != nil || len(e.Gone()) != 1 || e.Gone()[0].Day != keys[0].Day {
		t.Errorf("%+v, %v", e, err)
	}
	if s := l.Snapshot(); len(s.Partition(keys[1])) == 0 || len(s.Partition(keys[0])) != 0 || s.Erased() != s.Version {
		t.Errorf("left are %v, erased in %d of %d", s.Partitions(), s.Erased(), s.Version)
	}
}

// A plan that was made before the erasure brings nothing back (P7).
func TestNoPlanBringsADayBack(t *testing.T) {
	l, store, keys := old(t)
	l.Ingest(0, "e:7") // of the last day, which stays
	m := &meddler{Store: store, at: "_delta_log/", act: func() {
		if _, err := retention(keys, 1).Erase(t.Context(), store); err != nil {
			t.Error(err)
		}
	}}
	c := &compaction.Compactor{Store: m, Registry: l.Registry}
	r, err := c.Run(t.Context(), []string{keys[0].Type})
	if err != nil || r.Tables[0].Commits != 0 {
		t.Errorf("a plan from before an erasure was committed: %v\n%s", err, r)
	}
	if left := l.Snapshot().Partitions(); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

func TestArchive(t *testing.T) {
	_, store, keys := old(t)
	archive := objstore.NewMem()
	for i, key := range keys {
		name := key.RawPrefix() + "a.parquet"
		if _, err := archive.Create(t.Context(), name, []byte{byte(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	r := retention(keys, 1)
	if sum, err := sweep.Expire(t.Context(), archive, r.Type, r.Before(), true); sum.Objects != 2 || err != nil || len(laketest.Names(t, archive, "")) != 3 {
		t.Errorf("dry: %+v, %v", sum, err)
	}
	if sum, err := r.EraseArchive(t.Context(), store, archive); sum.Objects != 2 || sum.Bytes != 2 || err != nil || len(laketest.Names(t, archive, "")) != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	if audits, err := upkeep.Audits(t.Context(), store); len(audits) != 2 || audits[1].Result != "2 objects deleted" || err != nil {
		t.Errorf("%+v, %v", audits, err)
	}
}

func TestProperties(t *testing.T) {
	l, store, keys := old(t)
	for given, bad := range map[string]bool{
		"delta.logRetentionDuration=7d": false, "delta.deletedFileRetentionDuration=interval 2 weeks": false, "delta.checkpointInterval=20": false,
		"delta.logRetentionDuration=7": true, "delta.logRetentionDuration=59m": true, "delta.checkpointInterval=0": true, "delta.checkpointInterval=1001": true,
		"delta.appendOnly=true": true, "x": true, "delta.logRetentionDuration=-7d": true,
	} {
		if _, err := upkeep.ParseProperties([]string{given}); (err != nil) != bad {
			t.Errorf("%s: %v", given, err)
		}
	}
	if _, err := upkeep.ParseProperties([]string{"delta.checkpointInterval=2", "delta.checkpointInterval=3"}); err == nil {
		t.Error("one name twice")
	}
	p, err := upkeep.ParseProperties([]string{"delta.deletedFileRetentionDuration=14d", "delta.checkpointInterval=3"})
	if err != nil {
		t.Fatal(err)
	}
	was := l.Snapshot()
	version, err := upkeep.SetProperties(t.Context(), store, keys[0].Type, p, "ann", "", time.Now())
	is := l.Snapshot()
	want := partition.Properties{Retain: 14 * 24 * time.Hour, LogRetain: was.Properties().LogRetain, CheckpointEvery: 3}
	if err != nil || version != was.Version+1 || is.Properties() != want {
		t.Errorf("version %d after %d, %+v, %v", version, was.Version, is.Properties(), err)
	}
	if version, err = upkeep.SetProperties(t.Context(), store, keys[0].Type, p, "ann", "", time.Now()); err != nil || version != is.Version {
		t.Errorf("the same again is version %d, %v", version, err)
	}
	history, err := partition.OpenTable(store, keys[0].Type, nil).History(t.Context(), 1)
	if err != nil || history[0].Operation != "SET TBLPROPERTIES" {
		t.Errorf("history %+v, %v", history, err)
	}
	if audits, err := upkeep.Audits(t.Context(), store); len(audits) != 2 || err != nil {
		t.Errorf("%+v, %v", audits, err)
	}
}
