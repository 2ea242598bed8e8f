package columnar

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/schema"
)

// keyedBy is everyKind with a natural key.
func keyedBy(fields ...int) *schema.Definition {
	def := *everyKind
	def.NaturalKey = append([]int{def.SymbolField, def.TimeField}, fields...)
	def.Fields = append(slices.Clone(def.Fields), schema.Field{Name: schema.ColSupersededAt, Kind: schema.Timestamp})
	return &def
}

// unionOf merges parts in a way that t draws: as files of any page sizes, some of
// them merged before, duplicates and all.
func unionOf(t *rapid.T, def *schema.Definition, parts []arrow.RecordBatch, o UnionOptions) (files [][]byte, written []Written, dropped Dropped) {
	var inputs []*File
	open := func(data []byte) *File { return must(OpenBytes("input", data)) }
	for _, p := range parts {
		inputs = append(inputs, open(encodedAs(def, p, rapid.SampledFrom([]*sizes{&small, &standardSizes}).Draw(t, "sizes"))))
	}
	if n := rapid.IntRange(0, len(inputs)).Draw(t, "cascade"); n > 1 {
		u := must(NewUnion(inputs[:n], def, UnionOptions{KeepAll: true, sizes: &small}))
		step, _, err := readUnion(context.Background(), u)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append([]*File{open(step[0])}, inputs[n:]...)
		u.Close()
	}
	u, err := NewUnion(inputs, def, o)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	files, written, err = readUnion(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	return files, written, u.Dropped()
}

// A Union marks what Supersede marks, with the bytes of Encode, though the rows of a
// key lie in several files, pages, row groups and windows, and whatever the column
// held before.
func TestUnionMarksWhatIsSuperseded(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		def := rapid.SampledFrom([]*schema.Definition{keyedBy(), keyedBy(6), keyedBy(10), keyedBy(2, 7), keyedBy(10, 8, 3)}).Draw(t, "key")
		pick := func(name string, values ...any) any { return rapid.SampledFrom(values).Draw(t, name) }
		rows := unionRows(t)
		for i := range rows {
			rows[i][2], rows[i][3] = pick("price", int64(1), int64(-1)), pick("tick", int64(5), nil)
			rows[i][6], rows[i][7], rows[i][8] = pick("horizon", int32(1), int32(2)), pick("open", true, false), pick("expiry", int32(9), nil)
			rows[i][10] = pick("exchange", "", "NYSE", nil)
			rows[i][11] = pick("unique id", rows[i][11], fmt.Sprintf("e:%02d", i))
			rows[i] = append(rows[i], pick("before", nil, int64(1)))
		}
		var parts []arrow.RecordBatch
		for rest := rapid.Permutation(append(rows, rows[len(rows)/2:]...)).Draw(t, "order"); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "size")
			parts = append(parts, record(def, rest[:n]...))
			rest = rest[n:]
		}
		merged, dropped, err := Merge(parts, def)
		if err != nil {
			t.Fatal(err)
		}
		merged = must(Supersede(merged, def))
		o := UnionOptions{
			Groups: rapid.IntRange(1, 3).Draw(t, "groups"), Workers: rapid.IntRange(1, 2).Draw(t, "workers"),
			Target: int64(rapid.SampledFrom([]int{0, 1, 5000, 20000}).Draw(t, "target")), Dir: dir, sizes: &small,
		}
		files, written, d := unionOf(t, def, parts, o)
		checkUnionAs(t, def, merged, files, written)
		if d != dropped {
			t.Fatalf("dropped %+v, want %+v", d, dropped)
		}
		o.Groups, o.Workers = 1, 1
		if again, _, _ := unionOf(t, def, []arrow.RecordBatch{merged}, o); !slices.EqualFunc(files, again, bytes.Equal) {
			t.Fatalf("%d files, then %d of the same rows; or other bytes", len(files), len(again))
		}
	})
}

// Rows of one symbol and event time, more than there is room for in windows, are
// marked over all of them, and the row groups that wait go through temporary files.
func TestUnionMarksOverManyWindows(t *testing.T) {
	def := keyedBy(6)
	payload, rng := make([]byte, 50*80<<10), random(3)
	for i := range payload {
		payload[i] = byte(rng.Uint32())
	}
	var rows []row
	for i := range 300 {
		r := append(someRows(random(uint64(i)), 1, 0)[0], nil)
		r[0], r[1], r[6], r[9] = "A", int64(5), int32(i%3), payload[i%50*80<<10:(i%50+1)*80<<10]
		r[11], r[12], r[13] = fmt.Sprintf("e:%03d", (i*7)%300), int32(0), int64(1000-i)
		rows = append(rows, r)
	}
	first := append(someRows(random(1), 1, 0)[0], nil) // in front of them, alone
	first[0], first[1] = "A", int64(4)
	last := append(someRows(random(2), 1, 0)[0], nil) // of another symbol at the same time
	last[0], last[1], last[6] = "B", int64(5), int32(0)
	rows = append(rows, first, last)
	var parts []arrow.RecordBatch
	for i := range 5 {
		var part []row
		for n := i; n < len(rows); n += 5 {
			part = append(part, rows[n])
		}
		parts = append(parts, record(def, part...))
	}
	rec, _, err := Merge(parts, def)
	if err != nil {
		t.Fatal(err)
	}
	merged := must(Supersede(rec, def))
	if n := merged.NumRows() - int64(merged.Column(def.Superseded()).NullN()); n != 297 {
		t.Fatalf("%d of %d rows are superseded, want all but the three latest of their key and the two others", n, merged.NumRows())
	}
	pages := sizes{groupRows: 20, groupTexts: 32 << 20, pageRows: 3, pageTexts: 1 << 20}
	var inputs []*File
	for _, p := range parts {
		inputs = append(inputs, must(OpenBytes("o", encodedAs(def, p, &pages))))
	}
	u := must(NewUnion(inputs, def, UnionOptions{sizes: &pages, Groups: 3, Dir: t.TempDir()}))
	files, _, err := readUnion(t.Context(), u)
	if err != nil || len(files) != 1 || !bytes.Equal(files[0], encodedAs(def, merged, &pages)) {
		t.Fatalf("%d files, or other bytes than those of the rows, error %v", len(files), err)
	}
	if len(u.spills) < 3 {
		t.Errorf("%d spills: the row groups of each window should wait in one of their own", len(u.spills))
	}

	if !slices.ContainsFunc(u.spills, func(s *spill) bool { return s.file != nil }) {
		t.Error("nothing was spilled: the test shows less than it says")
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
}
