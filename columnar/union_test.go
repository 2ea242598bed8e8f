package columnar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/schema"
)

// small are sizes at which a few rows are many pages and row groups.
var small = sizes{groupRows: 7, groupTexts: 60, pageRows: 3, pageTexts: 20}

func encodedIn(rec arrow.RecordBatch, s *sizes) []byte { return encodedAs(everyKind, rec, s) }

func encodedAs(def *schema.Definition, rec arrow.RecordBatch, s *sizes) []byte {
	sorted := must(Sort(rec, def))
	k := keysOf([]arrow.RecordBatch{sorted}, def)[0]
	return must(write(sorted, def, summarize(k, def), newEncoder(s)))
}

// unionRows are rows that meet in every way: few keys, few values, with an event
// time.
func unionRows(t *rapid.T) []row {
	rows := fewIdentities(t)
	for i := range rows {
		rows[i][0] = rapid.SampledFrom([]any{"A", "B", "A\x00", "LONGSYMBOL1", "LONGSYMBOL2", "", nil}).Draw(t, "symbol")
		rows[i][1] = rapid.SampledFrom([]any{int64(1), int64(2), int64(3), int64(-4)}).Draw(t, "time")
		if rapid.Bool().Draw(t, "long payload") {
			rows[i][9] = bytes.Repeat([]byte("x"), rapid.IntRange(0, 40).Draw(t, "length"))
		}
	}
	return rows
}

func readUnion(ctx context.Context, u *Union) (files [][]byte, written []Written, err error) {
	for {
		var buf bytes.Buffer
		w, err := u.Next(ctx, &buf)
		if err == io.EOF {
			return files, written, nil
		}
		if err != nil {
			return nil, nil, err
		}
		files, written = append(files, buf.Bytes()), append(written, w)
	}
}

// A Union gives the bytes that Merge and Encode give, whatever the files, the
// sizes of their pages, the number of row groups at once, and of workers.
func TestUnionIsMergeAndEncode(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		parts := shuffledParts(t, unionRows(t), true)
		merged, dropped, err := Merge(parts, everyKind)
		if err != nil {
			t.Fatal(err)
		}
		var files []*File
		for i, p := range parts {
			data := encodedIn(p, rapid.SampledFrom([]*sizes{&small, &standardSizes}).Draw(t, "sizes"))
			if rapid.Bool().Draw(t, "on disk") {
				files = append(files, must(OpenAt(fmt.Sprint(i), bytes.NewReader(data), int64(len(data)))))
			} else {
				files = append(files, must(OpenBytes(fmt.Sprint(i), data)))
			}
		}
		o := UnionOptions{
			Groups: rapid.IntRange(1, 3).Draw(t, "groups"), Workers: rapid.IntRange(1, 2).Draw(t, "workers"),
			Target: int64(rapid.SampledFrom([]int{0, 1, 5000, 20000}).Draw(t, "target")), Dir: dir, sizes: &small,
		}
		u, err := NewUnion(files, everyKind, o)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		got, written, err := readUnion(context.Background(), u)
		if err != nil {
			t.Fatal(err)
		}
		checkUnion(t, merged, got, written)
		if o.Target == 0 && len(got) > 1 {
			t.Fatalf("%d files without a target", len(got))
		}
		if d := u.Dropped(); d != dropped {
			t.Fatalf("dropped %+v, want %+v", d, dropped)
		}
		// The same rows come in another way: as one file, already sorted.
		o.Groups, o.Workers = 1, 1
		again := must(NewUnion([]*File{must(OpenBytes("o", encodedIn(merged, &standardSizes)))}, everyKind, o))
		same, _, err := readUnion(context.Background(), again)
		if err != nil || !slices.EqualFunc(got, same, bytes.Equal) {
			t.Fatalf("%d files, then %d of the same rows; or other bytes; %v", len(got), len(same), err)
		}
	})
}

// A file ends in front of the first symbol that does not fit whole.
func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		symbols string // a letter a row
		full    int
		want    []int
	}{
		{"aaabbb", 6, nil},
		{"aaabbb", 3, []int{3}},
		{"aaabbb", 1, []int{3}},
		{"abcdef", 2, []int{2, 4}},
		{"abcdef", 4, []int{4}},
		{"aaaaab", 2, []int{5}},
		{"abbbbb", 2, []int{1}},
		{"abbbbbc", 6, []int{6}},
		{"a", 1, nil},
	} {
		var p plan
		for i := range tt.symbols {
			p.keep(int32(i%2), 1, i == 0 || tt.symbols[i] != tt.symbols[i-1])
		}
		var got []int
		for at := 0; ; {
			n, _ := end(tt.full, 0, 0, p.ops)
			if n == 0 {
				break
			}
			at += n
			p.take(n)
			got = append(got, at)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s in files of %d: %v, want %v", tt.symbols, tt.full, got, tt.want)
		}
	}
}

// checkUnion holds what was written against the rows that had to come.
func checkUnion(t *rapid.T, merged arrow.RecordBatch, files [][]byte, written []Written) {
	checkUnionAs(t, everyKind, merged, files, written)
}

func checkUnionAs(t *rapid.T, def *schema.Definition, merged arrow.RecordBatch, files [][]byte, written []Written) {
	from := int64(0)
	last := ""
	for i, data := range files {
		w := written[i]
		part := merged.NewSlice(from, from+w.Rows)
		from += w.Rows
		want := encodedAs(def, part, &small)
		if !bytes.Equal(data, want) || w.Bytes != int64(len(want)) {
			t.Fatalf("file %d of %d rows: %d bytes, not %d, or others; row groups of %v, want %v", i, w.Rows, len(data), len(want), groupSizes(data), groupSizes(want))
		}
		if s := must(must(OpenBytes("o", data)).Summary()); s != w.Summary {
			t.Fatalf("file %d: summary %+v, want %+v", i, s, w.Summary)
		}
		symbols := stringsOf(part.Column(0).(*array.Dictionary))
		first := string(symbols.value(0))
		if w.First != first || w.Last != string(symbols.value(int(w.Rows)-1)) || i > 0 && first == last && first != "" {
			t.Fatalf("file %d: symbols %q to %q after %q", i, w.First, w.Last, last)
		}
		last = w.Last
		for c, r := range w.Columns {
			v := must(vectorOf(part.Column(c), &def.Fields[c]))
			b := boundsOf(&v, &def.Fields[c])
			if want := b.rangeOf(&def.Fields[c]); fmt.Sprint(r) != fmt.Sprint(want) {
				t.Fatalf("file %d: column %s: range %v, want %v", i, def.Fields[c].Name, r, want)
			}
		}
	}
	if from != merged.NumRows() {
		t.Fatalf("%d rows in %d files, want %d", from, len(files), merged.NumRows())
	}
}

func groupSizes(data []byte) (rows []int64) {
	f := must(OpenBytes("o", data))
	for g := range f.NumRowGroups() {
		rows = append(rows, f.RowGroupRows(g))
	}
	return rows
}

// Files that were merged with their duplicates give what the files themselves do.
func TestUnionInTwoSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := shuffledParts(t, unionRows(t), true)
		merged, dropped, err := Merge(parts, everyKind)
		if err != nil {
			t.Fatal(err)
		}
		half := len(parts) / 2
		var files []*File
		for _, group := range [][]arrow.RecordBatch{parts[:half], parts[half:]} {
			var inputs []*File
			for _, p := range group {
				inputs = append(inputs, must(OpenBytes("o", encodedIn(p, &small))))
			}
			u := must(NewUnion(inputs, everyKind, UnionOptions{KeepAll: true, sizes: &small}))
			step, _, err := readUnion(context.Background(), u)
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range step {
				files = append(files, must(OpenBytes("o", data)))
			}
		}
		u := must(NewUnion(files, everyKind, UnionOptions{sizes: &small, Groups: 2}))
		got, written, err := readUnion(context.Background(), u)
		if err != nil {
			t.Fatal(err)
		}
		checkUnion(t, merged, got, written)
		if d := u.Dropped(); d != dropped {
			t.Fatalf("dropped %+v, want %+v", d, dropped)
		}
	})
}

func TestUnionRefuses(t *testing.T) {
	timed := func(seed uint64) []row {
		rows := someRows(random(seed), 30, 0.1)
		for i := range rows {
			rows[i][1] = int64(i)
		}
		return rows
	}
	good := must(OpenBytes("good", encodedIn(record(everyKind, timed(1)...), &small)))
	rows := timed(2)
	unsorted := record(everyKind, rows...)
	k := keysOf([]arrow.RecordBatch{unsorted}, everyKind)[0]
	bad := must(OpenBytes("bad", must(write(unsorted, everyKind, summarize(k, everyKind), newEncoder(&small)))))
	timeless := timed(3)
	timeless[7][1] = nil
	for _, tt := range []struct {
		name   string
		file   *File
		within Times
		want   string
	}{
		{"rows in no order", bad, Times{}, "not sorted"},
		{"a row without an event time", must(OpenBytes("o", encodedIn(record(everyKind, timeless...), &small))), Times{}, "has no event time"},
		{"rows of another day", must(OpenBytes("o", encodedIn(record(everyKind, rows...), &small))), Times{math.MaxInt64 - 1, math.MaxInt64}, "out of bounds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := []*File{good, tt.file}
			if tt.within != (Times{}) {
				files = []*File{tt.file}
			}
			u, err := NewUnion(files, everyKind, UnionOptions{Within: tt.within, sizes: &small})
			if err == nil {
				_, _, err = readUnion(t.Context(), u)
			}
			var source *SourceError
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &source) || source.Index != len(files)-1 {
				t.Errorf("error %v, want %v of file %d", err, tt.want, len(files)-1)
			}
		})
	}
	t.Run("an end asked for", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		u := must(NewUnion([]*File{good}, everyKind, UnionOptions{sizes: &small}))
		if _, _, err := readUnion(ctx, u); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("no folder for temporary files", func(t *testing.T) {
		if _, err := TempFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}

func TestUnionOfNothing(t *testing.T) {
	empty := must(OpenBytes("o", encodedIn(record(everyKind), &small)))
	for _, files := range [][]*File{nil, {empty}, {empty, empty}} {
		u := must(NewUnion(files, everyKind, UnionOptions{}))
		if got, _, err := readUnion(t.Context(), u); err != nil || len(got) != 0 {
			t.Errorf("%d files: %d files, %v", len(files), len(got), err)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Where a file ends is known at the start of the next symbol behind what is written:
// the order of the rows behind it is not found, and not kept, before it is needed.
func TestUnionLooksNoFartherAheadThanItHasTo(t *testing.T) {
	const symbols, each = 300, 10
	parts := make([][]row, 3)
	for i := range symbols * each {
		r := someRows(random(uint64(i)), 1, 0)[0]
		r[0], r[1] = fmt.Sprintf("S%03d", i/each), int64(i)
		parts[i%3] = append(parts[i%3], r)
	}
	var files []*File
	for _, rows := range parts {
		files = append(files, must(OpenBytes("o", encodedIn(record(everyKind, rows...), &small))))
	}
	u := must(NewUnion(files, everyKind, UnionOptions{sizes: &small, Groups: 2, Target: 1 << 20}))
	defer u.Close()
	first := must(u.Next(t.Context(), io.Discard))
	if first.Rows < 100 || first.Rows >= symbols*each || first.Rows%each != 0 {
		t.Fatalf("%d rows in the first file, want whole symbols, many and not all", first.Rows)
	}
	if most := 2*small.groupRows + 4*each; u.pending.rows > most {
		t.Errorf("the order of %d rows is kept ahead, want at most %d", u.pending.rows, most)
	}
	if all := int64(must(u.Next(t.Context(), io.Discard)).Rows); all == 0 {
		t.Error("no second file")
	}
}
