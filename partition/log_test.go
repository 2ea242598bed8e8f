package partition

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// A hooked store calls before each operation, and may leave checksums out of
// listings, as a local directory does.
type hooked struct {
	objstore.Store
	before func(op, name string)
	after  func(op, name string, err error) error
	noCRC  bool
}

func (h *hooked) call(op, name string) {
	if h.before != nil {
		h.before(op, name)
	}
}

func (h *hooked) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	h.call("list", prefix)
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range h.Store.List(ctx, prefix, after) {
			if h.noCRC {
				o.CRC32C, o.HasCRC32C = 0, false
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func (h *hooked) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	h.call("read", name)
	return h.Store.Read(ctx, name, off, n)
}

func (h *hooked) Create(ctx context.Context, name string, data []byte, meta map[string]string) (objstore.Object, error) {
	h.call("create", name)
	o, err := h.Store.Create(ctx, name, data, meta)
	if h.after != nil {
		err = h.after("create", name, err)
	}
	return o, err
}

// cleanUp deletes entries and checkpoints strictly below v, as log cleanup does
// (P11).
func cleanUp(t testing.TB, table *Table, store objstore.Store, v int64) {
	t.Helper()
	l, err := table.list(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range append(l.entries, l.checkpoints...) {
		if o.version < v {
			if err := store.Remove(context.Background(), o.Name, objstore.Any); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func faultModes(run func(name string, faults *objtest.Faults)) {
	for _, mode := range []objtest.Mode{objtest.Fail, objtest.Lose, objtest.Truncate, objtest.Corrupt} {
		for _, times := range []int{1, 2, -1} {
			for k := 0; ; k++ {
				f := &objtest.Faults{FailAt: k, Times: times, Mode: mode}
				run(fmt.Sprintf("mode=%d/times=%d/op=%d", mode, times, k), f)
				if !f.Fired() {
					break
				}
			}
		}
	}
}

// Whatever operation fails, a reader sees the version before or the version
// after, a commit that says it is done is done, and the change is made once.
func TestCommitUnderFaults(t *testing.T) {
	faultModes(func(name string, faults *objtest.Faults) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMem()
			reader, s := created(t, mem)
			base := grow(t, reader, s, 9) // the next one writes a checkpoint
			change := addOne(base, 10)
			faults.Store = mem
			after, err := openTable(faults).Commit(t.Context(), base, change)
			seen, loadErr := reader.Load(t.Context())
			if loadErr != nil {
				t.Fatalf("%s: a reader met %v", name, loadErr)
			}
			switch {
			case err == nil:
				if d := diff(after, seen); d != "" {
					t.Fatalf("%s: committed and seen differ:\n%s", name, d)
				}
			case faults.Times == 1:
				t.Fatalf("%s: one fault is too much: %v", name, err)
			case !errors.Is(err, ErrUnknown):
				t.Fatalf("%s: %v, want ErrUnknown", name, err)
			}
			if !seen.Consumed(change.Consumed[0]) { // plan again
				if seen, err = reader.Commit(t.Context(), seen, change); err != nil {
					t.Fatalf("%s: again: %v", name, err)
				}
			}
			if _, live := seen.Live(change.Add[0].Path); !live || seen.Version != 10 {
				t.Fatalf("%s: version %d, the file is live: %v", name, seen.Version, live)
			}
		})
	})
}

func TestCreateUnderFaults(t *testing.T) {
	faultModes(func(name string, faults *objtest.Faults) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMem()
			faults.Store = mem
			s, err := openTable(faults).Create(t.Context(), definition(t, market))
			seen, loadErr := openTable(mem).Load(t.Context())
			switch {
			case loadErr != nil && !errors.Is(loadErr, ErrNoTable):
				t.Fatalf("%s: a reader met %v", name, loadErr)
			case err == nil && (loadErr != nil || diff(s, seen) != ""):
				t.Fatalf("%s: created, yet a reader sees %v, %v", name, seen, loadErr)
			}
			again, err := openTable(mem).Create(t.Context(), definition(t, market))
			if err != nil || again.Version != 0 {
				t.Fatalf("%s: again: %v", name, err)
			}
		})
	})
}

// Whatever operation fails, a load gives the table or an error, never something
// else.
func TestLoadUnderFaults(t *testing.T) {
	for _, noCRC := range []bool{false, true} {
		mem := newMem()
		table, s := created(t, mem)
		want := grow(t, table, s, 13)
		old, err := table.LoadVersion(t.Context(), 4)
		if err != nil {
			t.Fatal(err)
		}
		faultModes(func(name string, faults *objtest.Faults) {
			synctest.Test(t, func(t *testing.T) {
				faults.Store = &hooked{Store: mem, noCRC: noCRC}
				got, err := openTable(faults).Load(t.Context())
				if err == nil && diff(got, want) != "" {
					t.Fatalf("%s: loaded\n%s", name, diff(got, want))
				}
				faults.FailAt -= faults.Count()
				if got, err = openTable(faults).LoadVersion(t.Context(), 4); err == nil && diff(got, old) != "" {
					t.Fatalf("%s: loaded version 4\n%s", name, diff(got, old))
				}
				if got, err = openTable(faults).Refresh(t.Context(), old); err == nil && diff(got, want) != "" {
					t.Fatalf("%s: refreshed\n%s", name, diff(got, want))
				}
			})
		})
	}
}

// The answer is lost and what is read back is cut short: half of our own entry
// must not look like another's.
func TestCommitReadsBackTheWholeEntry(t *testing.T) {
	for _, mode := range []objtest.Mode{objtest.Truncate, objtest.Corrupt} {
		mem := newMem()
		reader, s := created(t, mem)
		reads := &objtest.Faults{Store: mem, Mode: mode, Match: func(op, _ string) bool { return op == "read" }}
		creates := &objtest.Faults{Store: reads, Mode: objtest.Lose, Match: func(op, _ string) bool { return op == "create" }}
		c := addOne(s, 1)
		c.Add, c.Consumed = nil, c.Consumed[:1] // short: the cut goes through the line with the id
		got, err := openTable(creates).Commit(t.Context(), s, c)
		if err != nil || diff(got, mustLoad(t, reader)) != "" || !reads.Fired() {
			t.Errorf("mode %d: %v", mode, err)
		}
	}
}

// A cancelled caller learns that the commit is made or that nobody knows.
func TestCommitCancelledWhileItIsSent(t *testing.T) {
	mem := newMem()
	reader, s := created(t, mem)
	ctx, cancel := context.WithCancel(t.Context())
	store := &hooked{Store: mem, after: func(string, string, error) error { cancel(); return ctx.Err() }}
	_, err := openTable(store).Commit(ctx, s, addOne(s, 1))
	if !errors.Is(err, ErrUnknown) {
		t.Errorf("error = %v, want ErrUnknown", err)
	}
	if v := mustLoad(t, reader).Version; v != 1 {
		t.Errorf("version %d, want 1", v)
	}
}

func TestRacingCommitters(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]objstore.Store{"memory": newMem(), "directory": dir} {
		t.Run(name, func(t *testing.T) {
			const writers, each = 16, 4
			_, first := created(t, store)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						if err := commitOnce(t.Context(), store, int64(1+w*each+i)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			s := mustLoad(t, openTable(store))
			if s.ID != first.ID || s.Version != writers*each || len(s.Files(nil)) != writers*each || len(s.Txns) != writers*each {
				t.Errorf("version %d, %d files, %d marks; want %d of each", s.Version, len(s.Files(nil)), len(s.Txns), writers*each)
			}
			full := mustLoad(t, openTable(without(t, store, checkpointEnd)))
			// In a directory an object grows younger once more after it has its name,
			// when its temporary file goes; who looks in between sees the earlier time.
			if d := diff(s, full, cmpopts.EquateApproxTime(time.Minute)); d != "" {
				t.Errorf("from the checkpoint and from the entries differ:\n%s", d)
			}
		})
	}
}

// commitOnce plans again until the change is in the table.
func commitOnce(ctx context.Context, store objstore.ReadWriter, n int64) error {
	table := OpenTable(store, market, nil)
	for {
		s, err := table.Load(ctx)
		if err != nil {
			return err
		}
		c := addOne(s, n)
		if s.Consumed(c.Consumed[0]) {
			return nil
		}
		_, err = table.Commit(ctx, s, c)
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrGhost) {
			return err
		}
	}
}

// without is a copy of the store without the objects whose names end so.
func without(t testing.TB, store objstore.Reader, end string) *objstore.Mem {
	t.Helper()
	copied := objstore.NewMem()
	for o, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Name, end) {
			continue
		}
		data, err := store.Read(t.Context(), o.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		copied.Clock = func() time.Time { return o.Created }
		if _, err := copied.Create(t.Context(), o.Name, data, nil); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

// Loading from any checkpoint, refreshing from any version and replaying the
// whole log give the same table.
func TestCheckpointAndTailEqualFullReplay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := newMem()
		table, s := created(t, store)
		past := []*Snapshot{s}
		for range rapid.IntRange(1, 25).Draw(rt, "commits") {
			var err error
			if s, err = table.Commit(t.Context(), s, anyChange(rt, s)); err != nil {
				rt.Fatal(err)
			}
			past = append(past, s)
			if rapid.IntRange(0, 5).Draw(rt, "checkpoint") == 0 {
				if err := table.Checkpoint(t.Context(), s); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if d := diff(s, mustLoad(t, table)); d != "" {
			rt.Fatalf("committed and loaded differ:\n%s", d)
		}
		if d := diff(s, mustLoad(t, openTable(without(t, store, checkpointEnd)))); d != "" {
			rt.Fatalf("committed and replayed differ:\n%s", d)
		}
		old := past[rapid.IntRange(0, len(past)-1).Draw(rt, "old")]
		if got, err := table.Refresh(t.Context(), old); err != nil || diff(s, got) != "" {
			rt.Fatalf("refreshed from %d: %v\n%s", old.Version, err, diff(s, got))
		}
		if got, err := table.LoadVersion(t.Context(), old.Version); err != nil || diff(old, got) != "" {
			rt.Fatalf("loaded version %d: %v\n%s", old.Version, err, diff(old, got))
		}
	})
}

func anyChange(t *rapid.T, s *Snapshot) Change {
	v := s.Version
	c := Change{Operation: "COMPACT", Consumed: []string{rawOn(jan15, v)}}
	for i := range rapid.Int64Range(0, 3).Draw(t, "adds") {
		f := fileOn(jan15+Day(rapid.Int32Range(-500, 500).Draw(t, "day")), v*10+i, v)
		f.First, f.Last = anyString().Draw(t, "first"), anyString().Draw(t, "last")
		f.Stats = newStats(f.Rows).JSON()
		c.Add = append(c.Add, f)
	}
	for _, f := range s.Files(nil) {
		switch rapid.IntRange(0, 3).Draw(t, "fate") {
		case 0:
			c.Remove = append(c.Remove, f)
		case 1:
			f.Duplicates++
			c.Add = append(c.Add, f)
		}
	}
	if rapid.Bool().Draw(t, "mark") {
		c.Marks = map[string]int64{EraseMark: v}
	}
	return c
}

func TestLoadVersion(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	grow(t, table, s, 23)
	cleanUp(t, table, store, 10)
	for v, want := range map[int64]string{
		-1: "has been cleaned up", 24: "the table is at version 23", 9: "has been cleaned up", 10: "", 11: "", 20: "", 23: "",
	} {
		s, err := table.LoadVersion(t.Context(), v)
		if want == "" && (err != nil || s.Version != v || len(s.Files(nil)) != int(v)) {
			t.Errorf("version %d: %v, %v", v, s, err)
		}
		if want != "" {
			hasError(t, err, fmt.Sprintf("load market_data version %d", v), want)
			if !errors.Is(err, ErrNoVersion) {
				t.Errorf("version %d: %v, want ErrNoVersion", v, err)
			}
		}
	}
}

func TestTombstonesStayForTheRetention(t *testing.T) {
	store := newMem()
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	store.Clock = func() time.Time { return at }
	table, s := created(t, store) // retains for 168 hours
	s = grow(t, table, s, 2)
	f := s.Files(nil)
	s, err := table.Commit(t.Context(), s, Change{Operation: "ERASE", Remove: f[:1], Marks: map[string]int64{EraseMark: 3}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		age  time.Duration
		want int
	}{{168 * time.Hour, 1}, {168*time.Hour + time.Second, 0}} {
		at = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(tt.age)
		s = grow(t, table, s, 1)
		if err := table.Checkpoint(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		got := mustLoad(t, table)
		if len(got.Tombstones()) != tt.want || got.Txns[EraseMark].Version != 3 || !got.Consumed(rawOn(jan15+1, 1)) {
			t.Errorf("after %v: tombstones %v, marks %v", tt.age, got.Tombstones(), got.Txns)
		}
	}
}

func TestCheckpointsAndTheHint(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	old := grow(t, table, s, 12)
	s = grow(t, table, old, 10)
	l, err := table.list(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var versions []int64
	for _, c := range l.checkpoints {
		versions = append(versions, c.version)
	}
	if !slices.Equal(versions, []int64{10, 20}) {
		t.Errorf("checkpoints at %v, want 10 and 20", versions)
	}
	hint := func() string {
		data, err := store.Read(t.Context(), table.root+"_delta_log/_last_checkpoint", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := hint()
	if !strings.HasPrefix(before, `{"version":20,"size":42,"sizeInBytes":`) {
		t.Errorf("hint = %s", before)
	}
	if err := table.Checkpoint(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if hint() != before {
		t.Errorf("an older checkpoint moved the hint back to %s", hint())
	}
	if err := table.Checkpoint(t.Context(), old); err != nil {
		t.Errorf("a second checkpoint of one version: %v", err)
	}
	if d := diff(s, mustLoad(t, table)); d != "" {
		t.Errorf("loaded:\n%s", d)
	}
}

// The checkpoint failing does not fail the commit; the next one makes it.
func TestFailedCheckpointIsMadeByTheNextCommit(t *testing.T) {
	mem := newMem()
	table, s := created(t, mem)
	s = grow(t, table, s, 9)
	faults := &objtest.Faults{Store: mem, Match: func(op, name string) bool { return op == "create" && strings.HasSuffix(name, checkpointEnd) }}
	faulty := openTable(faults)
	var warned error
	faulty.Warn = func(err error) { warned = err }
	s = grow(t, faulty, s, 1)
	hasError(t, warned, "checkpoint market_data version 10")
	grow(t, faulty, s, 1)
	if l, _ := table.list(t.Context(), ""); len(l.checkpoints) != 1 || l.checkpoints[0].version != 11 {
		t.Errorf("checkpoints = %v", l.checkpoints)
	}
}
