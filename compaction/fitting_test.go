package compaction

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A step merges as many sources as there is room for, two at least, and no more than
// a merge can number.
func TestFitting(t *testing.T) {
	_, def := closesDefinition(t)
	store := objstore.NewMem()
	closingFiles(t, store, def, stepFiles)
	var data []byte
	for o := range store.List(t.Context(), "raw/", "") {
		var err error
		if data, err = store.Read(t.Context(), o.Name, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	f, err := columnar.OpenBytes("raw", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		sources, room int64
		want          string
	}{
		{1, 0, "[1]"},
		{2, 0, "[2]"},
		{3, 0, "[2 1]"},
		{7, 3, "[3 3 1]"},
		{7, 7, "[7]"},
		{8, 7, "[7 1]"},
		{columnar.MaxSources + 5, columnar.MaxSources + 9, fmt.Sprintf("[%d 5]", columnar.MaxSources)},
	} {
		m := merge{job: &job{def: def, o: Options{leastSources: max(1, tt.room*f.Weight())}}, group: Group{Key: partition.Key{Type: def.Name}}}
		sources := make([]source, tt.sources)
		for i := range sources {
			sources[i] = source{closed{weight: f.Weight()}, i}
		}
		var got []int
		next := 0
		for _, g := range m.fitting(sources) {
			got = append(got, len(g))
			for _, s := range g {
				if s.input != next {
					t.Fatalf("input %d where %d is next", s.input, next)
				}
				next++
			}
		}
		if fmt.Sprint(got) != tt.want || next != len(sources) {
			t.Errorf("%d sources, room for %d: %v, want %s", tt.sources, tt.room, got, tt.want)
		}
	}
}

// What is kept of an input while others are read and merged is a few hundred bytes,
// so that tens of thousands of small ones, a day's that nobody has compacted, fit.
func TestManyInputsTakeLittle(t *testing.T) {
	const inputs, most = 2000, 1 << 10
	def := builtin(t)
	store := objstore.NewMem()
	data := encodedOf(t, def, "AAPL")
	if _, err := store.Create(t.Context(), "raw/x", data, nil); err != nil {
		t.Fatal(err)
	}
	m := merge{job: &job{def: def, store: store, o: Options{}.withDefaults()}, scratch: newScratch(t.TempDir(), 0)}
	defer m.scratch.close()
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := heap()
	for range inputs {
		in, err := m.fetch(t.Context(), object{name: "raw/x", size: int64(len(data))})
		if err != nil {
			t.Fatal(err)
		}
		if in.object.weight < 10<<10 {
			t.Fatalf("a file of %d columns weighs %d bytes when it is open, want what its footer takes", len(def.Fields), in.object.weight)
		}
		m.inputs = append(m.inputs, in)
	}
	if each := (heap() - before) / inputs; each > most {
		t.Errorf("%d bytes are kept of an input, want at most %d", each, most)
	}
	runtime.KeepAlive(m.inputs)
}
