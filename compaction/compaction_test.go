package compaction_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/partition"
)

func TestRunTwiceChangesNothing(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lake) {
		l.raw(quotes("AAPL", 0, 5)...)
		l.raw(quotes("MSFT", 3, 5)...)
		l.raw(onDay(jan15+1, quotes("MSFT", 3, 5))...)
		first := l.compact()
		if v := first.Tables[0].Version; v != 1 {
			t.Fatalf("version %d after the first run, want 1", v)
		}
		before := l.objects("")
		second := l.compact()
		if diff := cmp.Diff(before, l.objects("")); diff != "" {
			t.Errorf("the second run changed the bucket:\n%s", diff)
		}
		if r := second.Tables[0]; r.Commits != 0 || len(r.Partitions) != 0 || r.Version != 1 {
			t.Errorf("the second run reports %s", second)
		}
		if got := l.identities(); got != 15 {
			t.Errorf("%d live rows, want 15", got)
		}
	})
}

func TestNothingToCompactMakesNoTable(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	r, err := l.compactor(l.store, compaction.Options{}).Run(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.objects(""); len(got) != 0 {
		t.Errorf("the bucket holds %q", got)
	}
	if got, want := r.String(), "market_data: no table yet\n"; !strings.Contains(got, want) {
		t.Errorf("report %q, want in it %q", got, want)
	}
}

// History does not show: whatever the order and number of runs, the same rows
// make the same bytes.
func TestContentsAreAFunctionOfTheRows(t *testing.T) {
	raw := [][]quote{
		quotes("AAPL", 0, 40),
		quotes("MSFT", 20, 40),
		append(quotes("AAPL", 20, 40), quotes("BRK.B", 0, 9)...),
		quotes("ZM", 0, 30),
		{{symbol: "AAPL", second: 3, id: "m:3", published: 7, price: 99}}, // the same identity, another price
		onDay(jan15+1, quotes("AAPL", 0, 4)),
	}
	for _, target := range []int64{0, 2 << 10} {
		var want map[string][]string
		for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {4, 2, 0, 1, 5, 3}} {
			for _, every := range []int{1, 2, len(raw)} {
				t.Run(fmt.Sprintf("target %d order %v compacted every %d", target, order, every), func(t *testing.T) {
					l := newLake(t, objstore.NewMem())
					for i, at := range order {
						l.raw(raw[at]...)
						if (i+1)%every == 0 {
							l.compactWith(compaction.Options{TargetFileSize: target})
						}
					}
					got := l.contents()
					if want == nil {
						want = got
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("contents differ:\n%s", diff)
					}
				})
			}
		}
		if files := len(want[partition.Key{Type: market, Day: jan15}.String()]); (files > 1) != (target > 0) {
			t.Errorf("target %d: %d files", target, files)
		}
	}
}

func TestDuplicatesAreDroppedAndCounted(t *testing.T) {
	at := func(second int, id string, index int32, published, price int64) quote {
		return quote{symbol: "AAPL", second: second, id: id, index: index, published: published, price: price}
	}
	for _, tt := range []struct {
		name                  string
		raw                   [][]quote // a run after each
		live                  int
		duplicates, conflicts int64
	}{
		{name: "redelivered into another raw object", raw: [][]quote{{at(1, "m:1", 0, 7, 5)}, {at(1, "m:1", 0, 7, 5)}}, live: 1, duplicates: 1},
		{name: "twice in one raw object", raw: [][]quote{{at(1, "m:1", 0, 7, 5), at(1, "m:1", 0, 7, 5)}}, live: 1, duplicates: 1},
		{name: "message id used again by a restarted broker", raw: [][]quote{{at(1, "m:1", 0, 7, 5)}, {at(1, "m:1", 0, 8, 5)}}, live: 2},
		{name: "event id published again later", raw: [][]quote{{at(1, "e:1", 0, 7, 5)}, {at(1, "e:1", 0, 8, 5)}}, live: 1, duplicates: 1},
		{name: "another position in the message", raw: [][]quote{{at(1, "m:1", 0, 7, 5)}, {at(1, "m:1", 1, 7, 5)}}, live: 2},
		{name: "another event time", raw: [][]quote{{at(1, "e:1", 0, 7, 5)}, {at(2, "e:1", 0, 7, 5)}}, live: 2},
		{name: "other bytes under one identity", raw: [][]quote{{at(1, "e:1", 0, 7, 5)}, {at(1, "e:1", 0, 7, 6)}}, live: 1, duplicates: 1, conflicts: 1},
		{name: "a hundred times", raw: slices.Repeat([][]quote{{at(1, "m:1", 0, 7, 5)}}, 100), live: 1, duplicates: 99},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLake(t, objstore.NewMem())
			var duplicates, conflicts int64
			for _, raw := range tt.raw {
				l.raw(raw...)
				p := l.compact().Tables[0].Partitions[0]
				duplicates, conflicts = duplicates+p.Duplicates, conflicts+p.Conflicts
			}
			if got := l.identities(); got != tt.live {
				t.Errorf("%d live rows, want %d", got, tt.live)
			}
			if duplicates != tt.duplicates || conflicts != tt.conflicts {
				t.Errorf("reported %d duplicates, %d conflicts, want %d, %d", duplicates, conflicts, tt.duplicates, tt.conflicts)
			}
			if got := l.duplicates(); got != tt.duplicates {
				t.Errorf("%d duplicates in the log, want %d", got, tt.duplicates)
			}
		})
	}
}

// The older publication stays, also where it arrives later.
func TestOlderPublicationReplacesTheLiveRow(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	l.raw(quote{symbol: "AAPL", id: "e:1", published: 8, price: 1}, quote{symbol: "MSFT", id: "e:2", published: 8})
	l.compact()
	l.raw(quote{symbol: "AAPL", id: "e:1", published: 7, price: 2})
	p := l.compact().Tables[0].Partitions[0]
	if p.Added != 1 || p.Removed != 1 || p.RowsOut != 2 || p.Duplicates != 1 {
		t.Errorf("report %+v, want the file replaced", p)
	}
	want := newLake(t, objstore.NewMem())
	want.raw(quote{symbol: "AAPL", id: "e:1", published: 7, price: 2}, quote{symbol: "MSFT", id: "e:2", published: 8})
	want.compact()
	if diff := cmp.Diff(want.contents(), l.contents()); diff != "" {
		t.Error(diff)
	}
}

// A revived raw object, or a whole redelivered batch, is consumed without a new
// data object: only the count of duplicates goes up, on a file that stays.
func TestPureDuplicatesChangeNoDataObject(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lake) {
		l.raw(quotes("AAPL", 0, 5)...)
		l.compact()
		before, contents, file := l.objects("processed/market_data/year="), l.contents(), l.snapshot().Files(nil)[0]
		for run := int64(1); run <= 3; run++ {
			again := l.raw(quotes("AAPL", 1, 3)...)
			p := l.compact().Tables[0].Partitions[0]
			if p.Outcome != compaction.Committed || p.Duplicates != 3 || p.RowsOut != 5 || p.BytesOut != 0 || p.Removed != 0 {
				t.Errorf("report %+v", p)
			}
			s := l.snapshot()
			if !s.Consumed(again) || s.Version != 1+run {
				t.Errorf("version %d, consumed %v", s.Version, s.Consumed(again))
			}
			want := file
			want.Duplicates = 3 * run
			if diff := cmp.Diff([]partition.File{want}, s.Files(nil)); diff != "" {
				t.Errorf("live files:\n%s", diff)
			}
			if n := len(s.Tombstones()); n != 0 {
				t.Errorf("%d tombstones", n)
			}
		}
		if diff := cmp.Diff(before, l.objects("processed/market_data/year=")); diff != "" {
			t.Errorf("data objects changed:\n%s", diff)
		}
		if diff := cmp.Diff(contents, l.contents()); diff != "" {
			t.Error(diff)
		}
		l.raw(quotes("AAPL", 4, 2)...) // one old row, one new: the count is carried over
		l.compact()
		if got := l.duplicates(); got != 10 {
			t.Errorf("%d duplicates, want 10", got)
		}
	})
}

func TestLateDataTouchesItsDayAlone(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for d := range partition.Day(5) {
		l.raw(onDay(jan15+d, quotes("AAPL", 0, 4))...)
	}
	l.compact()
	before := l.contents()
	l.raw(onDay(jan15+2, quotes("AAPL", 2, 4))...)
	r := l.compact()
	if n := len(r.Tables[0].Partitions); n != 1 {
		t.Fatalf("%d partitions touched, want 1:\n%s", n, r)
	}
	after := l.contents()
	late := partition.Key{Type: market, Day: jan15 + 2}.String()
	if cmp.Equal(before[late], after[late]) {
		t.Error("the late rows did not arrive")
	}
	delete(before, late)
	delete(after, late)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("other days changed:\n%s", diff)
	}
}

func TestCommitsAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		o       compaction.Options
		commits int
	}{
		{"by default one", compaction.Options{}, 1},
		{"two groups each", compaction.Options{MaxCommitGroups: 2}, 3},
		{"three raw objects each", compaction.Options{MaxCommitRawFiles: 3}, 5},
		{"a group larger than the bound", compaction.Options{MaxCommitBytes: 1}, 5},
		{"one worker, no memory", compaction.Options{MaxCommitGroups: 3, Workers: 1, MemoryBudget: 1}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLake(t, objstore.NewMem())
			for d := range partition.Day(5) {
				l.raw(onDay(jan15+d, quotes("AAPL", 0, 4))...)
				l.raw(onDay(jan15+d, quotes("AAPL", 2, 4))...)
			}
			r := l.compactWith(tt.o).Tables[0]
			if r.Commits != tt.commits || r.Version != int64(tt.commits) || l.identities() != 30 {
				t.Errorf("%d commits to version %d with %d rows, want %d and 30:\n%s", r.Commits, r.Version, l.identities(), tt.commits, r)
			}
		})
	}
}

func TestProgressCountsEveryGroupOnce(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for d := range partition.Day(7) {
		l.raw(onDay(jan15+d, quotes("AAPL", 0, 4))...)
	}
	var got []string
	c := l.compactor(l.store, compaction.Options{MaxCommitGroups: 3})
	c.Progress = func(dataType string, done, total int) {
		got = append(got, fmt.Sprintf("%s %d/%d", dataType, done, total))
	}
	if _, err := c.Run(context.Background(), []string{market}); err != nil {
		t.Fatal(err)
	}
	want := []string{"market_data 1/7", "market_data 2/7", "market_data 3/7", "market_data 4/7", "market_data 5/7", "market_data 6/7", "market_data 7/7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An unreadable raw object is reported and left; its neighbours go on.
func TestUnreadableRawObject(t *testing.T) {
	good := quotes("AAPL", 0, 5)
	bad := quotes("MSFT", 0, 50)
	for _, tt := range []struct {
		name  string
		spoil func(l *lake, data []byte, metadata map[string]string) ([]byte, map[string]string)
		want  string
	}{
		{"truncated", func(_ *lake, d []byte, m map[string]string) ([]byte, map[string]string) { return d[:len(d)/2], m }, "corrupt"},
		{"a bit of its data flipped", func(_ *lake, d []byte, m map[string]string) ([]byte, map[string]string) { d[40] ^= 4; return d, m }, ""},
		{"no Parquet", func(_ *lake, d []byte, m map[string]string) ([]byte, map[string]string) { return []byte("hello"), m }, "corrupt"},
		{"empty", func(_ *lake, d []byte, m map[string]string) ([]byte, map[string]string) { return nil, m }, "corrupt"},
		{"rows of another day", func(l *lake, _ []byte, _ map[string]string) ([]byte, map[string]string) {
			return l.encode(onDay(jan15+1, bad)...)
		}, "row 0 is of 2024-01-16, not of 2024-01-15"},
		{"metadata of other rows", func(l *lake, d []byte, _ map[string]string) ([]byte, map[string]string) {
			_, m := l.encode(good...)
			return d, m
		}, "its metadata says 5 rows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, l *lake) {
				if _, dir := l.store.(*objstore.Dir); dir && strings.HasPrefix(tt.name, "metadata") {
					return // a directory keeps none
				}
				data, metadata := tt.spoil(l, first(l.encode(bad...)), second(l.encode(bad...)))
				spoilt := l.rawName(bad[0])
				l.put(spoilt, data, metadata)
				l.raw(good...)
				for range 2 { // and again: still there, still reported, nothing else
					p, err := l.run(l.store)
					if err != nil {
						t.Fatal(err)
					}
					if len(p.Unreadable) != 1 || p.Unreadable[0].Name != spoilt || !strings.Contains(strings.ToLower(p.Unreadable[0].Reason), tt.want) {
						t.Errorf("unreadable %+v, want %s: %q", p.Unreadable, spoilt, tt.want)
					}
				}
				s := l.snapshot()
				if s.Version != 1 || s.Consumed(spoilt) || l.identities() != 5 {
					t.Errorf("version %d, consumed %v, %d rows", s.Version, s.Consumed(spoilt), l.identities())
				}
				if _, err := l.store.Stat(context.Background(), spoilt); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func first[A, B any](a A, _ B) A  { return a }
func second[A, B any](_ A, b B) B { return b }

// Bytes damaged on their way are read again.
func TestDamagedReadIsReadAgain(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	name := l.raw(quotes("AAPL", 0, 5)...)
	for _, mode := range []objtest.Mode{objtest.Corrupt, objtest.Truncate} {
		faults := &objtest.Faults{Store: l.store, Mode: mode, Match: func(op, n string) bool { return op == "read" && n == name }}
		p, err := l.run(faults)
		if err != nil || !faults.Fired() || p.Outcome != compaction.Committed || len(p.Unreadable) != 0 {
			t.Errorf("mode %d: %+v, %v", mode, p, err)
		}
		name = l.raw(quotes("AAPL", 5, 5)...)
	}
}

// P13: an input that is gone says that the plan is out of date, not that the
// input is bad.
func TestMissingInputDropsThePlan(t *testing.T) {
	for _, what := range []string{"raw object", "live file"} {
		t.Run(what, func(t *testing.T) {
			l := newLake(t, objstore.NewMem())
			l.raw(quotes("AAPL", 0, 5)...)
			l.compact()
			gone := l.snapshot().Files(nil)[0].ObjectName()
			fresh := l.raw(quotes("MSFT", 0, 5)...)
			if what == "raw object" {
				gone = fresh
			}
			l.raw(onDay(jan15+1, quotes("MSFT", 0, 5))...)
			missing := &objtest.Faults{Store: l.store, Times: -1, Err: objstore.ErrNotExist,
				Match: func(op, n string) bool { return op == "read" && n == gone }}
			r, err := l.compactor(missing, compaction.Options{}).Run(context.Background(), []string{market})
			if err != nil {
				t.Fatal(err)
			}
			got := r.Tables[0].Partitions
			if got[0].Outcome != compaction.Dropped || !errors.Is(got[0].Err, objstore.ErrNotExist) || len(got[0].Unreadable) != 0 {
				t.Errorf("the partition it is missing from: %+v", got[0])
			}
			if got[1].Outcome != compaction.Committed {
				t.Errorf("the other partition: %+v", got[1])
			}
			l.check()
			l.compact()
			if n := l.identities(); n != len(l.rows) {
				t.Errorf("%d rows after all, want %d", n, len(l.rows))
			}
		})
	}
}

// C10: what is wrong with a live file stops its partition, and no other.
func TestDamagedLiveFileFailsItsPartitionAlone(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	l.raw(quotes("AAPL", 0, 5)...)
	l.compact()
	file := l.snapshot().Files(nil)[0]
	l.raw(quotes("AAPL", 5, 5)...)
	l.raw(onDay(jan15+1, quotes("AAPL", 0, 5))...)
	damaged := &objtest.Faults{Store: l.store, Mode: objtest.Corrupt, Times: -1,
		Match: func(op, n string) bool { return op == "read" && n == file.ObjectName() }}
	r, err := l.compactor(damaged, compaction.Options{}).Run(context.Background(), []string{market})
	if err == nil || !strings.Contains(err.Error(), file.Path) {
		t.Errorf("error %v, want it to name %s", err, file.Path)
	}
	got := r.Tables[0].Partitions
	if got[0].Outcome != compaction.Failed || got[1].Outcome != compaction.Committed {
		t.Errorf("outcomes %s, %s\n%s", got[0].Outcome, got[1].Outcome, r)
	}
	if s := l.snapshot(); s.Files(nil)[0].Path != file.Path {
		t.Error("the damaged partition was changed")
	}
	l.check()
}

// Sound bytes that are not those the log means are no input either.
func TestLiveFileOfOtherBytesFails(t *testing.T) {
	for what, alter := range map[string]func(f *partition.File){
		"checksum": func(f *partition.File) { f.CRC32C++ },
		"listed":   func(f *partition.File) { f.Size++ },
		"log says": func(f *partition.File) { f.Hash[0]++ },
	} {
		l := newLake(t, objstore.NewMem())
		l.raw(quotes("AAPL", 0, 5)...)
		l.compact()
		f := l.snapshot().Files(nil)[0]
		alter(&f)
		l.commit(partition.Change{Add: []partition.File{f}})
		l.raw(quotes("AAPL", 5, 5)...)
		if p, err := l.run(l.store); p.Outcome != compaction.Failed || err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: outcome %s, error %v", what, p.Outcome, err)
		}
		if v := l.snapshot().Version; v != 2 {
			t.Errorf("%s: version %d, want 2", what, v)
		}
	}
}

// C10: a table that cannot be read stops no other.
func TestDamagedTableStopsNoOther(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	l.raw(quotes("AAPL", 0, 5)...)
	l.put("processed/forecasts/_delta_log/00000000000000000000.json", []byte("{"), nil)
	r, err := l.compactor(l.store, compaction.Options{}).Run(context.Background(), nil)
	if !errors.Is(err, partition.ErrDamaged) || !strings.Contains(err.Error(), "forecasts") {
		t.Errorf("error %v", err)
	}
	for _, table := range r.Tables {
		if (table.Err != nil) != (table.Type == "forecasts") {
			t.Errorf("%s: %v", table.Type, table.Err)
		}
	}
	if l.identities() != 5 {
		t.Error("market_data was not compacted")
	}
	if _, err := l.compactor(l.store, compaction.Options{}).Run(context.Background(), []string{"market_dat"}); err == nil {
		t.Error("an unknown data type is no error")
	}
}

func TestYoungRawObjectsWait(t *testing.T) {
	mem := objstore.NewMem()
	mem.Clock = ago(time.Hour)
	l := newLake(t, mem)
	l.raw(quotes("AAPL", 0, 5)...)
	mem.Clock = ago(time.Minute)
	l.raw(quotes("AAPL", 5, 5)...)
	r := l.compactWith(compaction.Options{MinRawAge: 30 * time.Minute})
	if got := r.Tables[0]; got.Waiting != 1 || got.Partitions[0].RawFiles != 1 || l.identities() != 5 {
		t.Errorf("report %s", r)
	}
	if r := l.compact(); r.Tables[0].Waiting != 0 || l.identities() != 10 {
		t.Errorf("report %s", r)
	}
}

func TestFilesAreCutBetweenSymbols(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for i := range 20 {
		l.raw(quotes(fmt.Sprintf("S%02d", i), 0, 100)...)
	}
	l.raw(quotes("S07", 100, 3000)...) // larger than a file should be
	const target = 12 << 10
	l.compactWith(compaction.Options{TargetFileSize: target})
	files := l.snapshot().Files(nil)
	if len(files) < 3 {
		t.Errorf("%d files", len(files))
	}
	for i, f := range files {
		if i > 0 && f.First <= files[i-1].Last {
			t.Errorf("file %d starts with %s, the one before ends with %s", i, f.First, files[i-1].Last)
		}
		if f.Size > 2*target && f.First != f.Last {
			t.Errorf("%s~%s has %d bytes, target %d", f.First, f.Last, f.Size, target)
		}
	}
	if got := l.identities(); got != len(l.rows) {
		t.Errorf("%d rows, want %d", got, len(l.rows))
	}
	// A file whose rows stay the same stays itself.
	l.raw(quotes("S07", 0, 1)...)
	l.raw(quote{symbol: "S19", second: 50_000, id: "m:late"})
	p := l.compactWith(compaction.Options{TargetFileSize: target}).Tables[0].Partitions[0]
	if p.Added >= len(files) || p.Removed >= len(files) || p.Duplicates != 1 {
		t.Errorf("%d files added, %d removed of %d", p.Added, p.Removed, len(files))
	}
}

// A run that ended between its commit and its manifests is made good by the next.
func TestManifestsAreMadeGood(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	l.raw(quotes("AAPL", 0, 5)...)
	l.raw(onDay(jan15+1, quotes("AAPL", 0, 5))...)
	faults := &objtest.Faults{Store: l.store, Match: func(op, n string) bool { return op != "list" && strings.HasPrefix(n, "metadata/") }}
	if _, err := l.compactor(faults, compaction.Options{}).Run(context.Background(), []string{market}); err == nil || !faults.Fired() {
		t.Fatalf("error %v", err)
	}
	if v := l.snapshot().Version; v != 1 {
		t.Fatalf("version %d", v)
	}
	l.compact()
	if n := len(l.objects("metadata/")); n != 2 {
		t.Errorf("%d manifests, want 2", n)
	}
	before := l.objects("")
	l.compact()
	if diff := cmp.Diff(before, l.objects("")); diff != "" {
		t.Error(diff)
	}
}

func TestPlanTellsAndChangesNothing(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	l.raw(quotes("AAPL", 0, 5)...)
	before := l.objects("")
	groups, err := l.compactor(l.store, compaction.Options{}).Plan(context.Background(), nil)
	if err != nil || len(groups) != 1 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	if diff := cmp.Diff(before, l.objects("")); diff != "" {
		t.Error(diff)
	}
	if got, want := groups[0].String(), "market_data/2024-01-15: 1 new raw object ("; !strings.HasPrefix(got, want) || !strings.Contains(got, "nothing live yet") {
		t.Errorf("%q", got)
	}
	if c := groups[0].Cost; c.RawRows != 5 || c.LiveRows != 0 || c.RawBytes == 0 {
		t.Errorf("cost %+v", c)
	}
}

func TestCancelledRunStops(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for d := range partition.Day(9) {
		l.raw(onDay(jan15+d, quotes("AAPL", 0, 4))...)
	}
	ctx, cancel := context.WithCancel(context.Background())
	store := &hooked{Store: l.store, before: func(op, name string) {
		if op == "create" && strings.Contains(name, "/day=18/") {
			cancel()
		}
	}}
	_, err := l.compactor(store, compaction.Options{MaxCommitGroups: 2}).Run(ctx, []string{market})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	l.check()
	l.compact()
	if l.identities() != 36 {
		t.Errorf("%d rows", l.identities())
	}
}
