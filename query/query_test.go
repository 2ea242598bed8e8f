package query_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func (l *lake) check(q query.DataQuery, want []string, opts ...query.Options) query.Result {
	l.Helper()
	got, result := l.run(q, opts...)
	if diff := cmp.Diff(want, got); diff != "" {
		l.Errorf("rows of %+v (-want +got):\n%s", q, diff)
	}
	return result
}

func TestNothingThereGivesNoRows(t *testing.T) {
	l := newLake(t)
	if result := l.check(query.DataQuery{}, nil); result != (query.Result{}) {
		t.Errorf("result = %+v, want nothing done", result)
	}
	l.load() // an empty table
	l.check(query.DataQuery{}, nil)
}

// Before, after and in the middle of a compaction a read gives the same rows.
func TestEachRowOnceWhateverIsCompacted(t *testing.T) {
	l := newLake(t)
	var all []row
	for i := range 40 {
		all = append(all, message(i, []string{"AAPL", "BTC-USD", "^VIX", "ZM"}[i%4], at(i%3, fmt.Sprintf("10:%02d:00", i))))
	}
	read := func(what string) {
		t.Helper()
		for _, columns := range [][]string{nil, {"price"}, {"note", "symbol"}} {
			t.Run(fmt.Sprint(what, columns), func(t *testing.T) {
				l := *l
				l.TB = t
				l.check(query.DataQuery{Columns: columns}, l.lines(l.expected(), columns...))
			})
		}
	}
	l.raw(all[:20]...)
	read("raw only")
	l.raw(all[10:30]...) // ten of them again
	read("twice in raw")
	l.compact(7, true)
	read("compacted, raw objects still there")
	l.raw(all[25:]...)
	read("raw and processed, some in both")
	l.compact(1000, false)
	read("overlapping processed files")
	l.raw(all...)
	read("everything in both")
	l.compact(5, true)
	for _, f := range l.snap.Files(nil) {
		if f.Rows > 5 {
			t.Fatalf("file %s has %d rows", f.Path, f.Rows)
		}
	}
	read("all compacted")
	for name := range l.store.List(t.Context(), "raw/", "") {
		l.must(l.store.Remove(t.Context(), name.Name, objstore.Any))
	}
	read("raw objects deleted")
}

// A raw object that the table has taken in and whose mark is gone is read again,
// and adds nothing.
func TestConsumedWithoutAMark(t *testing.T) {
	l := newLake(t)
	l.raw(message(1, "A", at(0, "10:00:00")), message(2, "B", at(0, "10:00:00")))
	l.compact(100, true)
	l.raw(message(1, "A", at(0, "10:00:00")), message(2, "B", at(0, "10:00:00")))
	result := l.check(query.DataQuery{}, l.lines(l.expected()))
	if result.Duplicates != 2 || result.Conflicts != 0 {
		t.Errorf("%d duplicates, %d conflicts; want 2, 0", result.Duplicates, result.Conflicts)
	}
}

// Which of two different rows of one identity stays must not depend on where
// they are, nor on which columns are read.
func TestOneIdentityWithOtherValues(t *testing.T) {
	when := at(0, "10:00:00")
	early := row{symbol: "A", at: when, id: "e:x", price: p(int64(1e8)), note: p("early"), pub: 1}
	late := row{symbol: "A", at: when, id: "e:x", price: p(int64(2e8)), note: p("late"), pub: 2}
	tie1 := row{symbol: "B", at: when, id: "e:y", price: p(int64(1e8)), note: p("one"), pub: 5}
	tie2 := row{symbol: "B", at: when, id: "e:y", price: p(int64(2e8)), note: p("two"), pub: 5}
	again := row{symbol: "C", at: when, id: "m:z", price: p(int64(1e8)), pub: 1}
	reused := row{symbol: "C", at: when, id: "m:z", price: p(int64(1e8)), pub: 2} // a broker that counts anew
	for name, build := range map[string]func(l *lake){
		"one raw object":      func(l *lake) { l.raw(late, early, tie1, tie2, again, reused) },
		"two raw objects":     func(l *lake) { l.raw(late, tie2, again); l.raw(early, tie1, reused) },
		"the other way round": func(l *lake) { l.raw(early, tie1, reused); l.raw(late, tie2, again) },
		"the later row in the table": func(l *lake) {
			l.raw(late, tie2, reused)
			l.compact(100, true)
			l.raw(early, tie1, again)
		},
		"the earlier row in the table": func(l *lake) {
			l.raw(early, tie1, again)
			l.compact(100, true)
			l.raw(late, tie2, reused)
		},
		"compacted": func(l *lake) { l.raw(early, tie1, again); l.raw(late, tie2, reused); l.compact(100, true) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t)
			build(l)
			want := l.expected()
			l.check(query.DataQuery{}, l.lines(want))
			l.check(query.DataQuery{Columns: []string{"price"}}, l.lines(want, "price"))
			l.check(query.DataQuery{Columns: []string{"symbol"}}, l.lines(want, "symbol"))
			// The row that does not stay must not come back because a condition
			// excludes the one that does.
			for _, price := range []string{"1", "2"} {
				var some []row
				for _, r := range want {
					if fmt.Sprint(*r.price/1e8) == price {
						some = append(some, r)
					}
				}
				l.check(query.DataQuery{Where: "price = " + price}, l.lines(some))
			}
			l.check(query.DataQuery{Where: "_published_at > 1970-01-01T00:00:00.000001Z and symbol = A"}, nil)
		})
	}
}

// The row that stays may come after a record has been filled up to the one that
// does not.
func TestADuplicateBehindTheEndOfARecord(t *testing.T) {
	when := at(0, "10:00:00")
	one := []row{{symbol: "A", at: when, id: "e:1", volume: p(int64(0)), pub: 5}, {symbol: "B", at: when, id: "e:2", volume: p(int64(0)), pub: 5}, {symbol: "C", at: when, id: "e:3", volume: p(int64(1)), pub: 5}}
	for other := range int64(10) { // some have the smaller hash
		l := newLake(t)
		l.raw(one...)
		l.raw(row{symbol: "C", at: when, id: "e:3", volume: p(2 + other), pub: 5})
		l.check(query.DataQuery{Where: "volume > 0", Limit: 2}, l.lines(l.expected()[2:]))
	}
}

// days builds a table with one file a day and symbol, and a raw object for each.
func days(t testing.TB) *lake {
	l := newLake(t)
	for d := range 4 {
		for s, symbol := range []string{"AAPL", "MSFT", "TSLA"} {
			l.raw(message(1000*d+100*s, symbol, at(d, "10:00:00")), message(1000*d+100*s+1, symbol, at(d, "11:00:00")))
		}
	}
	l.compact(2, true)
	for d := range 4 {
		l.raw(message(9000+d, "MSFT", at(d, "15:00:00")))
	}
	return l
}

func TestPrunedObjectsAreNotOpened(t *testing.T) {
	l := days(t)
	store := watch(l.store)
	for _, tt := range []struct {
		name  string
		q     query.DataQuery
		files []string // parts of the names of the objects that are read
	}{
		{"a day", query.DataQuery{From: jan15.AddDate(0, 0, 1), To: jan15.AddDate(0, 0, 2)},
			[]string{"processed/samples/year=2024/month=01/day=16/AAPL_", "processed/samples/year=2024/month=01/day=16/MSFT_", "processed/samples/year=2024/month=01/day=16/TSLA_", "raw/samples/year=2024/month=01/day=16/MSFT_"}},
		{"a symbol and a day", query.DataQuery{Symbols: []string{"TSLA"}, From: jan15, To: jan15.AddDate(0, 0, 1)}, []string{"processed/samples/year=2024/month=01/day=15/TSLA_"}},
		{"a symbol that is not there", query.DataQuery{Symbols: []string{"NVDA"}}, nil},
		{"an hour, by metadata", query.DataQuery{From: jan15.Add(14 * time.Hour), To: jan15.Add(24 * time.Hour)}, []string{"raw/samples/year=2024/month=01/day=15/MSFT_"}},
		{"a value, by statistics", query.DataQuery{Where: "volume = 2201"}, []string{
			"processed/samples/year=2024/month=01/day=17/TSLA_",
			"raw/samples/year=2024/month=01/day=15/MSFT_", "raw/samples/year=2024/month=01/day=16/MSFT_", "raw/samples/year=2024/month=01/day=17/MSFT_", "raw/samples/year=2024/month=01/day=18/MSFT_"}},
		{"conditions of where on symbol and event time", query.DataQuery{Where: "symbol > MSFT and timestamp >= 2024-01-18"}, []string{"processed/samples/year=2024/month=01/day=18/TSLA_"}},
		{"an identity", query.DataQuery{Where: "_id = 'm:001201' and symbol = TSLA"}, []string{"processed/samples/year=2024/month=01/day=16/TSLA_"}},
		{"never", query.DataQuery{Where: "volume = 0.5 and symbol in (AAPL, TSLA)"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := l.try(t.Context(), store, tt.q)
			l.must(err)
			opened := store.data()
			match := len(opened) == len(tt.files)
			for i := range min(len(opened), len(tt.files)) {
				match = match && strings.HasPrefix(opened[i], tt.files[i])
			}
			if !match {
				t.Errorf("read %s\nwant %s", strings.Join(opened, "\n     "), strings.Join(tt.files, "\n     "))
			}
			if (len(got) > 0) != (len(tt.files) > 0) {
				t.Errorf("%d rows out of %d files", len(got), len(tt.files))
			}
		})
	}
}

// Where rows of one identity may be in two objects with other values, no object
// may be left out for its values.
func TestAnOverlappedFileIsNotPrunedByValues(t *testing.T) {
	l := newLake(t)
	when := at(0, "10:00:00")
	l.raw(row{symbol: "A", at: when, id: "e:x", volume: p(int64(1)), pub: 1})
	l.compact(100, true)
	l.raw(row{symbol: "A", at: when, id: "e:x", volume: p(int64(2)), pub: 2})
	l.check(query.DataQuery{Where: "volume = 2"}, nil)
}

func TestRowGroupsArePruned(t *testing.T) {
	l := newLake(t)
	var rows []row
	for i := range 300_000 {
		rows = append(rows, row{symbol: fmt.Sprintf("S%05d", i/10), at: at(0, "10:00:00") + int64(i), volume: p(int64(i)), id: fmt.Sprintf("m:%09d", i), pub: 1})
	}
	l.load()
	key := partition.Key{Type: "samples", Day: partition.DayOf(rows[0].at)}
	var err error
	l.snap, err = l.table.Commit(t.Context(), l.snap, partition.Change{Operation: "COMPACT", Add: []partition.File{l.processed(key, l.record(rows))}})
	l.must(err)
	l.rows = rows
	for _, tt := range []struct {
		name         string
		q            query.DataQuery
		rows, pruned int
	}{
		{"all", query.DataQuery{Columns: []string{"volume"}}, 300_000, 0},
		{"a symbol", query.DataQuery{Columns: []string{"volume"}, Symbols: []string{"S29999"}}, 10, 2},
		{"a value", query.DataQuery{Columns: []string{"volume"}, Where: "volume < 5"}, 5, 2},
		{"nulls", query.DataQuery{Columns: []string{"volume"}, Where: "volume is null"}, 0, 0}, // the file itself
		{"an instant", query.DataQuery{Columns: []string{"volume"}, Where: "timestamp = 2024-01-15T10:00:00.140000Z"}, 1, 2},
		{"a limit", query.DataQuery{Columns: []string{"volume"}, Limit: 3}, 3, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, result := l.run(tt.q)
			if len(lines) != tt.rows || result.RowGroupsPruned != tt.pruned {
				t.Errorf("%d rows, %d of %d row groups pruned; want %d, %d", len(lines), result.RowGroupsPruned, result.RowGroups, tt.rows, tt.pruned)
			}
			if tt.name == "a limit" && result.RowsRead > 128<<10 {
				t.Errorf("%d rows read for 3", result.RowsRead)
			}
		})
	}
	t.Run("a column costs less than all", func(t *testing.T) {
		_, one := l.run(query.DataQuery{Columns: []string{"symbol"}})
		_, all := l.run(query.DataQuery{})
		if one.Bytes*3 > all.Bytes {
			t.Errorf("%d bytes for one column, %d for all", one.Bytes, all.Bytes)
		}
	})
}

func TestTheLimitStopsEarly(t *testing.T) {
	l := newLake(t)
	for d := range 30 {
		l.raw(message(d, "A", at(d, "10:00:00")), message(100+d, "B", at(d, "10:00:00")))
	}
	l.compact(1, true)
	for i := range 30 {
		if i%2 == 0 {
			l.raw(message(200+i, "C", at(i, "10:00:00")))
		}
	}
	store := watch(l.store)
	want := l.lines(l.expected())
	for _, tt := range []struct {
		limit int64
		files int // opened at most
	}{{1, 3}, {3, 6}, {10, 24}, {1000, 75}} {
		got, result, err := l.try(t.Context(), store, query.DataQuery{Limit: tt.limit})
		l.must(err)
		if diff := cmp.Diff(want[:min(int(tt.limit), len(want))], got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", tt.limit, diff)
		}
		if n := len(store.data()); n > tt.files {
			t.Errorf("limit %d: %d files read, want at most %d", tt.limit, n, tt.files)
		}
		if result.Rows != int64(len(got)) {
			t.Errorf("limit %d: result says %d rows", tt.limit, result.Rows)
		}
	}
}

func TestRawObjectsWithoutMetadata(t *testing.T) {
	l := newLake(t)
	l.plain = true
	l.raw(message(1, "A", at(0, "10:00:00")), message(2, "../../x", at(0, "11:00:00")))
	l.raw(message(3, strings.Repeat("long", 100), at(0, "11:00:00")))
	l.check(query.DataQuery{}, l.lines(l.expected()))
	l.check(query.DataQuery{Symbols: []string{strings.Repeat("long", 100)}}, l.lines(l.expected()[2:]))
	l.check(query.DataQuery{From: jan15.Add(11 * time.Hour), Symbols: []string{"../../x"}}, l.lines(l.expected()[:1]))
}

// A vanishing store deletes objects when one of them is read for the n-th time.
type vanishing struct {
	*objstore.Mem
	after int
	then  func()
}

func (v *vanishing) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if strings.HasSuffix(name, ".parquet") {
		if v.after--; v.after == 0 {
			v.then()
		}
	}
	return v.Mem.Read(ctx, name, off, n)
}

// Wherever a read is when the raw objects it was planned on are compacted and
// deleted, it gives each row once.
func TestRawObjectsGoWhileTheyAreRead(t *testing.T) {
	for _, columns := range [][]string{nil, {"price"}} {
		restarts := 0
		for n := 1; ; n++ {
			l := newLake(t)
			for i := range 4 {
				l.raw(message(i, []string{"A", "B", "C"}[i%3], at(i%2, "10:00:00")), message(i, "D", at(i%2, "11:00:00")))
			}
			l.compact(3, true)
			for i := range 6 {
				l.raw(message(100+i, []string{"A", "B", "C"}[i%3], at(i%3, "10:30:00")), message(i, "D", at(i%2, "11:00:00")))
			}
			store := &vanishing{Mem: l.store, after: n, then: func() {
				l.compact(2, true)
				for obj := range l.store.List(t.Context(), "raw/", "") {
					l.must(l.store.Remove(t.Context(), obj.Name, objstore.Any))
				}
			}}
			got, result, err := l.try(t.Context(), store, query.DataQuery{Columns: columns}, query.Options{Parallel: 1})
			l.must(err)
			if diff := cmp.Diff(l.lines(l.expected(), columns...), got); diff != "" {
				t.Fatalf("gone at read %d (-want +got):\n%s", n, diff)
			}
			restarts += result.Restarts
			if store.after > 0 {
				break
			}
		}
		if restarts == 0 {
			t.Error("no read had to start over: the test tests nothing")
		}
	}
}

// Rows that were merged, but not given yet, when an object of the next day turns
// out to be gone.
func TestARawObjectOfTheNextDayGoes(t *testing.T) {
	l := newLake(t)
	l.raw(message(1, "A", at(0, "10:00:00")))
	l.compact(1, false)
	l.raw(message(2, "B", at(0, "10:00:00")), message(3, "D", at(0, "10:00:00")))
	l.compact(2, false)
	l.raw(message(4, "C", at(0, "10:00:00")))
	l.compact(1, false)
	names := l.raw(message(5, "A", at(1, "10:00:00")))
	plan, err := query.Prepare(t.Context(), l.store, l.reg, query.DataQuery{DataType: "samples"}, query.Options{})
	l.must(err)
	l.compact(1, true)
	l.must(l.store.Remove(t.Context(), names[0], objstore.Any))
	got, result, err := execute(t.Context(), plan)
	l.must(err)
	if diff := cmp.Diff(l.lines(l.expected()), got); diff != "" || result.Restarts != 1 {
		t.Errorf("%d restarts (-want +got):\n%s", result.Restarts, diff)
	}
}

// A racing store lets a compaction with deletion happen between the listing of
// raw objects and the loading of the snapshot, whichever comes first.
type racing struct {
	*objstore.Mem
	first string
	then  func()
}

func (r *racing) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	room, _, _ := strings.Cut(prefix, "/")
	switch r.first {
	case "":
		r.first = room
	case room, "done":
	default:
		r.first = "done"
		r.then()
	}
	return r.Mem.List(ctx, prefix, after)
}

// P14: a row on its way from raw to processed is seen in at least one of them.
func TestACompactionBetweenListingAndSnapshot(t *testing.T) {
	l := newLake(t)
	l.raw(message(1, "A", at(0, "10:00:00")))
	l.compact(100, true)
	l.raw(message(2, "B", at(0, "10:00:00")), message(3, "A", at(1, "10:00:00")))
	store := &racing{Mem: l.store, then: func() {
		l.compact(100, true)
		for obj := range l.store.List(t.Context(), "raw/", "") {
			l.must(l.store.Remove(t.Context(), obj.Name, objstore.Any))
		}
	}}
	got, result, err := l.try(t.Context(), store, query.DataQuery{})
	l.must(err)
	if diff := cmp.Diff(l.lines(l.expected()), got); diff != "" || store.first != "done" || result.Restarts > 0 {
		t.Errorf("%s, %d restarts (-want +got):\n%s", store.first, result.Restarts, diff)
	}
}

func TestProcessedFilesGone(t *testing.T) {
	vanish := func(l *lake) {
		for _, f := range l.snap.Files(nil) {
			l.must(l.store.Remove(t.Context(), f.ObjectName(), objstore.Any))
		}
	}
	build := func(t *testing.T) *lake {
		l := newLake(t)
		l.raw(message(1, "A", at(0, "10:00:00")), message(2, "B", at(0, "10:00:00")))
		l.compact(100, true)
		return l
	}
	t.Run("for good", func(t *testing.T) {
		l := build(t)
		vanish(l)
		_, _, err := l.try(t.Context(), l.store, query.DataQuery{})
		if !errors.Is(err, query.ErrSnapshotExpired) || !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("error = %v, want the snapshot expired", err)
		}
	})
	t.Run("replaced by newer ones", func(t *testing.T) {
		l := build(t)
		plan, err := query.Prepare(t.Context(), l.store, l.reg, query.DataQuery{DataType: "samples"}, query.Options{})
		l.must(err)
		l.raw(message(3, "C", at(0, "10:00:00")))
		old := *l
		l.compact(100, true)
		vanish(&old)
		got, result, err := execute(t.Context(), plan)
		l.must(err)
		if diff := cmp.Diff(l.lines(l.expected()), got); diff != "" || result.Restarts != 1 {
			t.Errorf("%d restarts (-want +got):\n%s", result.Restarts, diff)
		}
	})
	t.Run("of a past version", func(t *testing.T) {
		l := build(t)
		version := l.snap.Version
		old := *l
		l.raw(message(3, "C", at(0, "10:00:00")))
		l.compact(100, true)
		vanish(&old)
		_, _, err := l.try(t.Context(), l.store, query.DataQuery{AsOf: query.AsOf{Version: &version}})
		if !errors.Is(err, query.ErrSnapshotExpired) {
			t.Errorf("error = %v, want the snapshot expired", err)
		}
	})
}

func TestAsOf(t *testing.T) {
	l := newLake(t)
	clock := jan15
	l.store.Clock = func() time.Time { return clock }
	var want [][]string
	for i := range 3 {
		clock = clock.Add(time.Hour)
		l.raw(message(i, "A", at(i, "10:00:00")))
		clock = clock.Add(time.Minute)
		l.compact(100, true)
		want = append(want, l.lines(l.expected()))
	}
	l.raw(message(9, "A", at(9, "10:00:00"))) // never part of a past version
	version := l.snap.Version - 1
	l.check(query.DataQuery{AsOf: query.AsOf{Version: &version}}, want[1])
	l.check(query.DataQuery{AsOf: query.AsOf{Time: jan15.Add(2*time.Hour + 30*time.Minute)}}, want[1])
	l.check(query.DataQuery{AsOf: query.AsOf{Time: clock}}, want[2])
	l.check(query.DataQuery{AsOf: query.AsOf{Time: jan15.Add(time.Hour + time.Minute)}}, want[0])
	for name, asOf := range map[string]query.AsOf{
		"before the table": {Time: jan15}, "a version to come": {Version: p(int64(99))},
	} {
		if _, _, err := l.try(t.Context(), l.store, query.DataQuery{AsOf: asOf}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestExecutionEndsWhereItIsTold(t *testing.T) {
	l := days(t)
	plan, err := query.Prepare(t.Context(), l.store, l.reg, query.DataQuery{DataType: "samples"}, query.Options{})
	l.must(err)
	enough := errors.New("enough")
	if _, err := plan.Execute(t.Context(), func(arrow.RecordBatch) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error = %v, want yield's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plan.Execute(ctx, func(arrow.RecordBatch) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want cancelled", err)
	}
}

func TestACorruptObjectIsNamed(t *testing.T) {
	l := newLake(t)
	names := l.raw(message(1, "A", at(0, "10:00:00")))
	data, err := l.store.Read(t.Context(), names[0], 0, -1)
	l.must(err)
	for i := range len(data) - 8 {
		data[i] ^= 0x55
	}
	l.must(l.store.Remove(t.Context(), names[0], objstore.Any))
	_, err = l.store.Create(t.Context(), names[0], data, nil)
	l.must(err)
	if _, _, err := l.try(t.Context(), l.store, query.DataQuery{}); err == nil || !strings.Contains(err.Error(), names[0]) {
		t.Errorf("error = %v, want one that names %s", err, names[0])
	}
}

func TestSum(t *testing.T) {
	l := newLake(t)
	big := int64(999999999999999999)
	for i := range 30 {
		l.raw(row{symbol: "A", at: at(0, "10:00:00"), id: fmt.Sprintf("m:%d", i), price: &big, volume: p(int64(9e18)), pub: 1})
	}
	l.raw(row{symbol: "B", at: at(1, "10:00:00"), id: "m:x", pub: 1}, row{symbol: "B", at: at(1, "10:00:00"), id: "m:y", price: p(int64(-1)), pub: 1})
	for _, tt := range []struct {
		column string
		q      query.DataQuery
		want   query.Totals
	}{
		{"price", query.DataQuery{}, query.Totals{Rows: 32, Values: 31, Sum: "299999999999.99999969"}},
		{"volume", query.DataQuery{}, query.Totals{Rows: 32, Values: 30, Sum: "270000000000000000000"}},
		{"price", query.DataQuery{Symbols: []string{"B"}}, query.Totals{Rows: 2, Values: 1, Sum: "-0.00000001"}},
		{"", query.DataQuery{}, query.Totals{Rows: 32}},
	} {
		tt.q.DataType = "samples"
		got, err := query.Sum(t.Context(), l.store, l.reg, tt.q, tt.column, query.Options{})
		l.must(err)
		if got != tt.want {
			t.Errorf("sum of %q = %+v, want %+v", tt.column, got, tt.want)
		}
	}
	if _, err := query.Sum(t.Context(), l.store, l.reg, query.DataQuery{DataType: "samples"}, "beta", query.Options{}); !errors.Is(err, query.ErrInvalid) {
		t.Errorf("sum of floats: %v, want an error", err)
	}
}

func TestExplain(t *testing.T) {
	l := days(t)
	plan, err := query.Prepare(t.Context(), l.store, l.reg, query.DataQuery{DataType: "samples", Symbols: []string{"MSFT"}, To: jan15.AddDate(0, 0, 2), Where: "volume < 9000", Columns: []string{"timestamp", "price"}, Limit: 5}, query.Options{})
	l.must(err)
	explain := func() string {
		var b strings.Builder
		l.must(plan.Explain(&b))
		return b.String()
	}
	before := explain()
	for _, want := range []string{"limit  5", "where  symbol in (MSFT)", "and    timestamp < 2024-01-17", "and    volume < 9000", "columns: 2 of 15 given, 4 read, 7 where rows are merged by identity",
		"read: 4 files", "  2024-01-15: 2 files, 2 of them merged by identity\n", "consumed by version 1 or before", "another day", "symbol, by statistics", "not read: raw 2 files"} {
		if !strings.Contains(before, want) {
			t.Errorf("explanation has no %q:\n%s", want, before)
		}
	}
	if strings.Contains(before, "executed") {
		t.Errorf("it has run before it was:\n%s", before)
	}
	_, _, err = execute(t.Context(), plan)
	l.must(err)
	if after := explain(); !strings.HasPrefix(after, before) || !strings.Contains(after, "executed: 4 rows given of 6 read; 0 duplicates") {
		t.Errorf("after execution:\n%s", after)
	}
	if f := plan.Figures(); f.Files != 4 || f.Partitions != 2 || f.SkippedFiles != 24 {
		t.Errorf("figures = %+v", f)
	}
}
