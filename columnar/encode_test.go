package columnar

import (
	"bytes"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRoundTrip(t *testing.T) {
	all := someRows(random(1), 1000, 0)
	edges := someRows(random(2), 12, 0)
	for c, values := range map[int][]any{
		0: {"", "\x00", "^VIX"}, 1: {int64(math.MinInt64), int64(math.MaxInt64), int64(-1)},
		2: {int64(-999_999_999_999_999_999), int64(999_999_999_999_999_999), int64(0)}, 3: {int64(-999_999_999), int64(999_999_999)},
		4: {math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64}, 5: {int64(math.MinInt64), int64(math.MaxInt64)},
		6: {int32(math.MinInt32), int32(math.MaxInt32)}, 8: {int32(math.MinInt32), int32(math.MaxInt32)},
	} {
		for i, v := range values {
			edges[i][c] = v
		}
	}
	nullColumns := someRows(random(3), 100, 0)
	for i := range nullColumns {
		for c := 2; c < everyKind.Own; c++ {
			nullColumns[i][c] = nil
		}
	}
	huge := someRows(random(4), 20, 0.2)
	for i := range huge {
		huge[i][9] = bytes.Repeat([]byte{byte(i)}, 100_000*i)
		huge[i][10] = strings.Repeat("x", 300_000) + string(rune('a'+i))
	}
	hugeRepeated := someRows(random(5), 20, 0.2)
	for i := range hugeRepeated {
		hugeRepeated[i][10] = strings.Repeat("x", 400_000) + string(rune('a'+i%5))
	}
	for _, tt := range []struct {
		name string
		rows []row
	}{
		{"no rows", nil},
		{"one row", all[:1]},
		{"one row of nulls", someRows(random(6), 1, 1)},
		{"no nulls", all},
		{"a few nulls", someRows(random(7), 5000, 0.01)},
		{"half nulls", someRows(random(8), 3000, 0.5)},
		{"nearly all nulls", someRows(random(9), 3000, 0.99)},
		{"only nulls", someRows(random(10), 100, 1)},
		{"whole columns of nulls", nullColumns},
		{"extreme values", edges},
		{"huge strings, all different", huge},
		{"huge strings that repeat, over the dictionary's limit", hugeRepeated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, s, sorted := encoded(t, record(everyKind, tt.rows...))
			if s.Rows != int64(len(tt.rows)) || s.Hash != hashSum(sorted) {
				t.Errorf("summary = %+v of %d rows", s, len(tt.rows))
			}
			f, err := OpenBytes("o", data)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.Summary(); err != nil || got != s {
				t.Errorf("Summary = %+v, %v; want %+v", got, err, s)
			}
			got, err := f.Read(t.Context(), everyKind, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !equalRows(sorted, got) {
				t.Errorf("rows differ (-wrote +read):\n%.2000s", gocmp.Diff(rowsOf(sorted), rowsOf(got)))
			}
			if got := hashSum(got); got != s.Hash {
				t.Errorf("hash of rows read = %s, want %s", got, s.Hash)
			}
		})
	}
}

func TestRoundTripOfSeveralRowGroups(t *testing.T) {
	rows := someRows(random(11), 1000, 0.1)
	var parts []arrow.RecordBatch
	rec := record(everyKind, rows...)
	for range 2*RowGroupRows/1000 + 3 {
		parts = append(parts, rec)
	}
	data, s, sorted := encoded(t, must(Concat(parts, everyKind)))
	f := must(OpenBytes("o", data))
	if f.NumRowGroups() != 3 || f.NumRows() != s.Rows || s.Rows <= 2*RowGroupRows || f.RowGroupRows(0) != RowGroupRows {
		t.Fatalf("%d row groups, %d rows, summary %+v", f.NumRowGroups(), f.NumRows(), s)
	}
	got := must(f.Read(t.Context(), everyKind, nil, nil))
	if !equalRows(got, sorted) {
		t.Error("rows differ")
	}
	last := must(f.Read(t.Context(), everyKind, []int{1, 0}, []int{2}))
	if last.NumCols() != 2 || last.ColumnName(0) != "symbol" || !equalRows(last, must(f.Read(t.Context(), everyKind, []int{0, 1}, nil)).NewSlice(2*RowGroupRows, s.Rows)) {
		t.Errorf("last row group = %d rows of %d columns", last.NumRows(), last.NumCols())
	}
	if none := must(f.Read(t.Context(), everyKind, nil, []int{})); none.NumRows() != 0 {
		t.Errorf("no row groups = %d rows", none.NumRows())
	}
}

func equalRows(a, b arrow.RecordBatch) bool {
	return reflect.DeepEqual(rowsOf(a), rowsOf(b))
}

func TestEncodeRefuses(t *testing.T) {
	rows := someRows(random(12), 3, 0)
	rows[0][0], rows[1][0], rows[2][0] = "C", "B", "A"
	if _, _, err := Encode(record(everyKind, rows...), everyKind); !errors.Is(err, ErrUnsorted) {
		t.Errorf("unsorted rows: %v", err)
	}
	other := define("other", 0, 1, everyKind.Fields[:2]...)
	if _, _, err := Encode(record(everyKind, rows...), other); !errors.Is(err, ErrRecord) {
		t.Errorf("another definition's record: %v", err)
	}
}

// shuffledParts splits rows into records in random order, some rows twice over
// when twice is set, with dictionaries of all sorts.
func shuffledParts(t *rapid.T, rows []row, twice bool) []arrow.RecordBatch {
	rows = rapid.Permutation(rows).Draw(t, "order")
	if twice && len(rows) > 0 {
		for range rapid.IntRange(0, len(rows)).Draw(t, "again") {
			rows = append(rows, rows[rapid.IntRange(0, len(rows)-1).Draw(t, "row")])
		}
	}
	var parts []arrow.RecordBatch
	for len(rows) > 0 {
		n := rapid.IntRange(1, len(rows)).Draw(t, "size")
		// The first rows of a part are cut off again: values without rows stay
		// behind in its dictionaries.
		extra := rapid.IntRange(0, 2).Draw(t, "unused")
		part := record(everyKind, append(someRows(random(uint64(n)), extra, 0), rows[:n]...)...)
		parts = append(parts, part.NewSlice(int64(extra), part.NumRows()))
		rows = rows[n:]
	}
	return parts
}

// fewIdentities are rows that often share symbol, event time, id or all of them.
func fewIdentities(t *rapid.T) []row {
	n := rapid.IntRange(0, 40).Draw(t, "rows")
	rows := someRows(random(rapid.Uint64().Draw(t, "seed")), n, 0.05)
	for i := range rows {
		pick := func(name string, values ...any) any { return rapid.SampledFrom(values).Draw(t, name) }
		rows[i][0] = pick("symbol", "A", "B", nil)
		rows[i][1] = pick("time", int64(1), int64(2), int64(math.MinInt64), nil)
		rows[i][11] = pick("id", "m:1", "m:2", "e:1", "e:2", "", nil)
		rows[i][12] = pick("index", int32(0), int32(1))
		rows[i][13] = pick("published", int64(7), int64(8), nil)
	}
	return rows
}

func TestSameRowsSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := fewIdentities(t)
		bytesOf := func(parts []arrow.RecordBatch) []byte {
			merged, _, err := Merge(parts, everyKind)
			if err != nil {
				t.Fatal(err)
			}
			data, _, err := Encode(merged, everyKind)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		want := bytesOf([]arrow.RecordBatch{record(everyKind, rows...)})
		if got := bytesOf(shuffledParts(t, rows, true)); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes differ from %d", len(got), len(want))
		}
		whole := must(Sort(record(everyKind, rows...), everyKind))
		again := must(Sort(must(Concat(shuffledParts(t, rows, false), everyKind)), everyKind))
		a, _, _ := Encode(whole, everyKind)
		b, _, _ := Encode(again, everyKind)
		if !bytes.Equal(a, b) {
			t.Fatal("the same rows, sorted, give other bytes")
		}
	})
}

// A golden object: its bytes are what a function of the rows gives for ever.
func TestFormatIsFrozen(t *testing.T) {
	const golden = "testdata/every_kind_v2.parquet"
	data, s, sorted := encoded(t, record(everyKind, someRows(random(42), 300, 0.1)...))
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%d bytes differ from the %d of %s: the format changed", len(data), len(want), golden)
	}
	got := must(must(OpenBytes(golden, want)).Read(t.Context(), everyKind, nil, nil))
	if !equalRows(got, sorted) || hashSum(got).String() != s.Hash.String() {
		t.Error("rows of the golden object differ")
	}
}

// What the first version wrote is read as it was.
func TestOldFormatIsRead(t *testing.T) {
	const old = "testdata/every_kind_v1.parquet"
	f := must(OpenBytes(old, must(os.ReadFile(old))))
	got := must(f.Read(t.Context(), everyKind, nil, nil))
	want := must(Sort(record(everyKind, someRows(random(42), 300, 0.1)...), everyKind))
	if s := must(f.Summary()); !equalRows(got, want) || hashSum(got) != s.Hash {
		t.Error("rows of an object of the first version differ")
	}
}

func TestHighlyDistinctStringsArePlain(t *testing.T) {
	rec := record(everyKind, someRows(random(13), 4000, 0)...)
	chosen := func(column int) bool {
		v := must(vectorOf(rec.Column(column), &everyKind.Fields[column]))
		return newEncoder(&standardSizes).chooseTexts(&v, &everyKind.Fields[column])
	}
	if !chosen(0) || chosen(everyKind.Own) {
		t.Error("want symbols in a dictionary and ids plain")
	}
}
