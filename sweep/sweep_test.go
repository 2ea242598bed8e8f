package sweep_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/sweep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const market = laketest.Market

// A lake is one with an archive.
type lake struct {
	*laketest.Lake
	t              testing.TB
	store, archive *objstore.Mem
}

func newLake(t testing.TB) *lake {
	l := &lake{Lake: laketest.New(t), t: t, archive: objstore.NewMem()}
	l.store, l.archive.Clock = l.Store, l.Clock
	return l
}

func (l *lake) sweepOn(store, archive objstore.Store, o sweep.Options) (sweep.TableReport, error) {
	s := &sweep.Sweeper{Store: store, Options: o}
	if archive != nil {
		s.Archive = archive
	}
	r, err := s.Run(context.Background(), []string{market})
	return r.Tables[0], err
}

func (l *lake) sweep(o sweep.Options) sweep.TableReport {
	l.t.Helper()
	r, err := l.sweepOn(l.store, l.archive, o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Check()
	return r
}

var names = laketest.Names

func raws(t testing.TB, s objstore.Reader) int { return len(names(t, s, "raw/")) }
func dataFiles(t testing.TB, s objstore.Reader) int {
	return len(names(t, s, "processed/"+market+"/year="))
}
func logObjects(t testing.TB, s objstore.Reader) int {
	return len(names(t, s, "processed/"+market+"/_delta_log/0"))
}

func TestWhatIsDueGoesWhenItIsDue(t *testing.T) {
	l := newLake(t)
	o := sweep.Options{Grace: time.Hour}
	first := l.Ingest(0, "a", "b")
	l.Compact()
	l.Ingest(0, "c") // not consumed

	if r := l.sweep(o); r.Raw.Objects != 0 || raws(t, l.store) != 2 {
		t.Fatalf("within the grace: %+v", r)
	}
	l.Pass(time.Hour)
	if r := l.sweep(o); r.Raw.Objects != 1 || r.Archived.Objects != 1 || r.Raw.Bytes == 0 {
		t.Fatalf("after the grace: %+v", r)
	}
	if got := names(t, l.archive, ""); !slices.Equal(got, []string{first}) {
		t.Errorf("archived %v", got)
	}
	if raws(t, l.store) != 1 {
		t.Error("what was not consumed is gone, or what was is there")
	}
	l.Compact() // replaces the one file by another
	if dataFiles(t, l.store) != 2 {
		t.Fatal("no file was replaced: the test tests nothing")
	}
	l.Pass(167 * time.Hour)
	if r := l.sweep(o); r.Removed.Objects != 0 {
		t.Errorf("within the retention: %+v", r)
	}
	l.Pass(2 * time.Hour)
	if r := l.sweep(o); r.Removed.Objects != 1 || dataFiles(t, l.store) != 1 {
		t.Errorf("after the retention: %+v", r)
	}
	if r := l.sweep(o); !r.Nothing() {
		t.Errorf("again: %+v", r)
	}
}

// A checkpoint forgets removed files after the table's retention; a longer one
// must be the table's.
func TestALongerRetentionBecomesTheTables(t *testing.T) {
	l := newLake(t)
	o := sweep.Options{Retain: 400 * time.Hour}
	l.Ingest(0, "a")
	l.Compact()
	l.sweep(o)
	if got := l.Snapshot().Properties(); got.Retain != 400*time.Hour || got.LogRetain != 720*time.Hour || got.CheckpointEvery != 10 {
		t.Fatalf("properties %+v", got)
	}
	l.Ingest(0, "b")
	l.Compact()         // removes the first file
	for i := range 15 { // checkpoints are made, and the file is forgotten by a table that keeps 168h
		l.Pass(20 * time.Hour)
		l.Ingest(1+i, fmt.Sprint("later", i))
		l.Compact()
		l.sweep(o)
	}
	if n, live := dataFiles(t, l.store), len(l.Snapshot().Files(nil)); n != live+1 {
		t.Errorf("%d data objects for %d live files: the removed one went before its time", n, live)
	}
	l.Pass(200 * time.Hour)
	l.sweep(o)
	if n, live := dataFiles(t, l.store), len(l.Snapshot().Files(nil)); n != live {
		t.Errorf("%d data objects for %d live files: the removed one stayed", n, live)
	}
	l.sweep(sweep.Options{Retain: time.Hour})
	if got := l.Snapshot().Properties(); got.Retain != 400*time.Hour {
		t.Errorf("a shorter retention took its place: %+v", got)
	}
}

func TestOrphansGoBehindAFence(t *testing.T) {
	l := newLake(t)
	l.Ingest(0, "a")
	l.Compact()
	l.Ingest(0, "b")
	// A compactor uploads and dies before its commit.
	dead := &objtest.Faults{Store: l.store, FailAt: 0, Times: -1, Match: func(op, name string) bool {
		return op == "create" && strings.Contains(name, "_delta_log")
	}}
	if err := l.CompactOn(dead); err == nil {
		t.Fatal("the commit was to fail")
	}
	if dataFiles(t, l.store) != 2 {
		t.Fatal("no orphan was made")
	}
	if r := l.sweep(sweep.Options{}); r.Orphans.Objects != 0 || r.Fence != 0 {
		t.Fatalf("a young orphan: %+v", r)
	}
	l.Pass(25 * time.Hour)
	if r := l.sweep(sweep.Options{}); r.Orphans.Objects != 1 || r.Fence == 0 || dataFiles(t, l.store) != 1 {
		t.Fatalf("an old orphan: %+v", r)
	}
	if l.Snapshot().Fence() < 0 {
		t.Error("the fence is not in the table")
	}
	// The same rows again, planned behind the fence: another name (P1), so no
	// deletion that is under way can hit it.
	l.Compact()
	l.Check()
}

// An upload of before the fence may come late, and the same plan again: behind the
// fence nothing may name it.
func TestAnOrphanAtTheFenceStays(t *testing.T) {
	l := newLake(t)
	l.Ingest(0, "a")
	l.Compact()
	l.Pass(25 * time.Hour)
	s := l.Snapshot()
	put := func(planned int64) string {
		name := partition.ProcessedName{
			Key: partition.Key{Type: market, Day: partition.DayOf(laketest.Start.UnixMicro())}, Category: "market", First: "A", Last: "A", Major: 1,
			Hash: fmt.Sprintf("%016x", planned), Planned: planned,
		}.String()
		if _, err := l.store.Create(context.Background(), name, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
		return name
	}
	below := put(s.Version)
	l.Pass(25 * time.Hour)
	r := l.sweep(sweep.Options{})
	at := put(r.Fence)
	l.Pass(time.Hour)
	l.sweep(sweep.Options{})
	left := names(t, l.store, "processed/")
	if slices.Contains(left, below) || !slices.Contains(left, at) {
		t.Errorf("fence %d: below it %v, at it %v", r.Fence, slices.Contains(left, below), slices.Contains(left, at))
	}
}

func TestNothingForeignOrDamagedIsDeleted(t *testing.T) {
	l := newLake(t)
	raw := l.Ingest(0, "a")
	l.Compact()
	foreign := "processed/" + market + "/year=2024/month=01/day=15/part-00000-of-spark.snappy.parquet"
	if _, err := l.store.Create(t.Context(), foreign, []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	// The archive holds other bytes under the name.
	if _, err := l.archive.Create(t.Context(), raw, []byte("other"), nil); err != nil {
		t.Fatal(err)
	}
	l.Pass(1000 * time.Hour)
	r := l.sweep(sweep.Options{})
	if len(r.Kept) != 2 || raws(t, l.store) != 1 || !slices.Contains(names(t, l.store, "processed/"), foreign) {
		t.Errorf("report %+v", r)
	}
	for _, k := range r.Kept {
		if k.Reason == "" {
			t.Errorf("kept %s without a reason", k.Name)
		}
	}
}

func TestACorruptReadIsNotArchived(t *testing.T) {
	l := newLake(t)
	l.Ingest(0, "a")
	l.Compact()
	l.Pass(2 * time.Hour)
	corrupt := &objtest.Faults{Store: l.store, FailAt: 0, Times: -1, Mode: objtest.Corrupt, Match: func(op, name string) bool {
		return op == "read" && strings.HasPrefix(name, "raw/")
	}}
	r, err := l.sweepOn(corrupt, l.archive, sweep.Options{})
	if err != nil || len(r.Kept) != 1 || raws(t, l.store) != 1 || len(names(t, l.archive, "")) != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestTheLogKeepsItsRetention(t *testing.T) {
	l := newLake(t)
	for i := range 45 {
		l.Ingest(i%3, fmt.Sprint("r", i))
		l.Compact()
		l.Pass(24 * time.Hour)
	}
	before := l.Snapshot()
	had := logObjects(t, l.store)
	r := l.sweep(sweep.Options{})
	after := l.Snapshot()
	if r.Fence > 0 {
		had++
	}
	if r.Log.Objects == 0 || logObjects(t, l.store) != had-r.Log.Objects {
		t.Fatalf("%d log objects before, %d after, report %+v", had, logObjects(t, l.store), r)
	}
	if after.Version < before.Version || len(after.Files(nil)) != len(before.Files(nil)) {
		t.Errorf("version %d with %d files became %d with %d", before.Version, len(before.Files(nil)), after.Version, len(after.Files(nil)))
	}
	// Every version of the last 30 days can still be read.
	history, err := partition.OpenTable(l.store, market, l.Clock).History(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	oldest := history[len(history)-1]
	if l.Now.Sub(oldest.Time) < 30*24*time.Hour {
		t.Errorf("the oldest version left, %d, is of %v", oldest.Version, oldest.Time)
	}
	for _, v := range history {
		if l.Now.Sub(v.Time) > 30*24*time.Hour {
			continue
		}
		if _, err := partition.OpenTable(l.store, market, l.Clock).LoadVersion(t.Context(), v.Version); err != nil {
			t.Errorf("version %d of %v: %v", v.Version, v.Time, err)
		}
	}
}

func TestMarksOfWhatIsGoneAreForgotten(t *testing.T) {
	l := newLake(t)
	for i := range 1100 {
		l.Ingest(0, fmt.Sprint("r", i))
	}
	l.Compact()
	l.Pass(2 * time.Hour)
	l.sweep(sweep.Options{})
	if r := l.sweep(sweep.Options{}); r.Forgotten != 1100 {
		t.Errorf("report %+v", r)
	}
	if n := len(l.Snapshot().Txns); n > 10 {
		t.Errorf("%d marks are left", n)
	}
	l.Ingest(0, "more")
	l.Compact()
	l.Check()
}

func TestADryRunChangesNothing(t *testing.T) {
	l := newLake(t)
	l.Ingest(0, "a")
	l.Compact()
	l.Ingest(0, "b")
	l.Pass(time.Hour)
	l.Compact()
	l.Pass(time.Hour)
	l.sweep(sweep.Options{Grace: 100 * time.Hour}) // so that it knows of a later time
	before := names(t, l.store, "")
	r := l.sweep(sweep.Options{DryRun: true})
	if r.Raw.Objects == 0 || r.Archived.Objects == 0 {
		t.Errorf("report %+v", r)
	}
	if !slices.Equal(before, names(t, l.store, "")) || len(names(t, l.archive, "")) != 0 {
		t.Error("something changed")
	}
}

// Killed at any step, with the operation undone or done and its answer lost, and
// run again: nothing is lost, and in the end all that is due is gone.
func TestKilledAtAnyStep(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for k := 0; ; k++ {
			l := newLake(t)
			l.Ingest(0, "a", "b")
			l.Ingest(1, "c")
			l.Compact()
			l.Ingest(0, "d")
			l.Compact()
			dead := &objtest.Faults{Store: l.store, FailAt: 0, Times: -1, Match: func(op, name string) bool {
				return op == "create" && strings.Contains(name, "_delta_log")
			}}
			l.Ingest(1, "e")
			if err := l.CompactOn(dead); err == nil {
				t.Fatal("the commit was to fail")
			}
			l.Pass(200 * time.Hour)
			faults := &objtest.Faults{Store: l.store, FailAt: k, Times: -1, Lost: lost}
			_, _ = l.sweepOn(faults, l.archive, sweep.Options{Workers: 1})
			l.Check()
			if t.Failed() {
				t.Fatalf("lost=%v, killed at operation %d", lost, k)
			}
			l.sweep(sweep.Options{})
			l.Pass(25 * time.Hour)
			l.sweep(sweep.Options{})
			if n := raws(t, l.store); n != 1 { // the one that is not consumed
				t.Fatalf("lost=%v, operation %d: %d raw objects are left", lost, k, n)
			}
			if n, live := dataFiles(t, l.store), len(l.Snapshot().Files(nil)); n != live {
				t.Fatalf("lost=%v, operation %d: %d data objects, %d live", lost, k, n, live)
			}
			if n := len(names(t, l.archive, "")); n != 3 {
				t.Fatalf("lost=%v, operation %d: %d archived", lost, k, n)
			}
			if !faults.Fired() {
				break
			}
		}
	}
}

// Two sweepers at once, one of which read its snapshot long ago, do no harm.
func TestAPausedSweeperGoesOn(t *testing.T) {
	l := newLake(t)
	l.Ingest(0, "a")
	l.Compact()
	l.Ingest(0, "b")
	l.Compact()
	l.Pass(200 * time.Hour)
	gate := &pausing{Store: l.store, at: "remove", reached: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error)
	go func() {
		_, err := l.sweepOn(gate, l.archive, sweep.Options{Workers: 1})
		done <- err
	}()
	<-gate.reached
	l.Pass(1000 * time.Hour)
	for i := range 12 {
		l.Ingest(0, fmt.Sprint("later", i))
		l.Compact()
		l.sweep(sweep.Options{})
		l.Pass(100 * time.Hour)
	}
	close(gate.goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.Check()
}

// A pausing store stops at its first operation of a kind.
type pausing struct {
	objstore.Store
	at            string
	reached, goOn chan struct{}
	paused        bool
}

func (p *pausing) Remove(ctx context.Context, name string, match objstore.Generation) error {
	if !p.paused {
		p.paused = true
		close(p.reached)
		<-p.goOn
	}
	return p.Store.Remove(ctx, name, match)
}

func TestWithoutATableNothingHappens(t *testing.T) {
	l := newLake(t)
	l.Ingest(0, "a")
	l.Pass(1000 * time.Hour)
	r, err := l.sweepOn(l.store, l.archive, sweep.Options{})
	if err != nil || !r.Nothing() || raws(t, l.store) != 1 {
		t.Errorf("%v, %+v", err, r)
	}
}
