package columnar

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/schema"
)

// quotes is a small definition whose rows can be read in a test.
var quotes = define("quotes", 0, 1, everyKind.Fields[0], everyKind.Fields[1], everyKind.Fields[5])

// quote is a row of quotes.
func quote(symbol string, time int64, volume int64, id string, index int32, published int64) row {
	return row{symbol, time, volume, id, index, published, "v1.2.0", int64(0)}
}

func TestMergeByIdentity(t *testing.T) {
	base := quote("A", 10, 1, "e:1", 0, 100)
	for _, tt := range []struct {
		name      string
		other     row
		rows      int64
		conflicts int64
		firstHas  int64 // volume of the row that stays
	}{
		{"the same row again", base, 1, 0, 1},
		{"an event again, published later", quote("A", 10, 1, "e:1", 0, 200), 1, 0, 1},
		{"an event again, published earlier with other bytes", quote("A", 10, 2, "e:1", 0, 50), 1, 1, 2},
		{"an event again, other bytes", quote("A", 10, 2, "e:1", 0, 200), 1, 1, 1},
		{"another event", quote("A", 10, 1, "e:2", 0, 100), 2, 0, 1},
		{"another position in the message", quote("A", 10, 1, "e:1", 1, 100), 2, 0, 1},
		{"another symbol", quote("B", 10, 1, "e:1", 0, 100), 2, 0, 1},
		{"another event time", quote("A", 11, 1, "e:1", 0, 100), 2, 0, 1},
		{"a message id of the same digits", quote("A", 10, 1, "m:1", 0, 100), 2, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, dropped, err := Merge([]arrow.RecordBatch{record(quotes, base), record(quotes, tt.other)}, quotes)
			if err != nil {
				t.Fatal(err)
			}
			if got.NumRows() != tt.rows || dropped.Rows != 2-tt.rows || dropped.Conflicts != tt.conflicts {
				t.Errorf("%d rows, dropped %+v; want %d rows, %d conflicts", got.NumRows(), dropped, tt.rows, tt.conflicts)
			}
			if v := rowsOf(got)[0][2]; v != tt.firstHas {
				t.Errorf("volume = %v, want %d", v, tt.firstHas)
			}
		})
	}
	t.Run("a message id used again at another publish time", func(t *testing.T) {
		a, b := quote("A", 10, 1, "m:1", 0, 100), quote("A", 10, 1, "m:1", 0, 200)
		if got, _, _ := Merge([]arrow.RecordBatch{record(quotes, a, b, a)}, quotes); got.NumRows() != 2 {
			t.Errorf("%d rows, want 2", got.NumRows())
		}
	})
}

// A field that defaults to the publish time is none that a publisher told.
func TestARecordSentAgainIsNoConflict(t *testing.T) {
	stamped := define("stamped", 0, 1, append(slices.Clone(quotes.Fields[:2]),
		schema.Field{Name: "seen", Kind: schema.Int64, Defaults: []schema.Default{{Source: schema.FromPublishTime}}})...)
	a := record(stamped, quote("A", 10, 1, "e:1", 0, 100))
	b := record(stamped, quote("A", 10, 2, "e:1", 0, 200))
	if _, dropped, err := Merge([]arrow.RecordBatch{a, b}, stamped); err != nil || dropped.Rows != 1 || dropped.Conflicts != 0 {
		t.Errorf("dropped %+v, %v; want one row and no conflict", dropped, err)
	}
}

// union is Merge the slow way: sort everything, then keep the first of each identity.
func union(parts []arrow.RecordBatch) []row {
	var all []row
	for _, p := range parts {
		all = append(all, rowsOf(p)...)
	}
	rec := record(everyKind, all...)
	hashes := RowHashes(rec, nil)
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if c := rowLess(everyKind, all[a], all[b]); c != 0 {
			return c
		}
		return strings.Compare(hashes[a].String(), hashes[b].String())
	})
	seen := map[string]bool{}
	out := []row{}
	for _, i := range order {
		r := all[i]
		key := fmt.Sprintf("%#v", []any{r[0], r[1], r[11], r[12]})
		if id, _ := r[11].(string); strings.HasPrefix(id, "m:") {
			key += fmt.Sprintf("%#v", r[13])
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, r)
		}
	}
	return out
}

func TestMergeIsASetUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := shuffledParts(t, fewIdentities(t), true)
		var in SetHash
		for _, p := range parts {
			in = in.Add(hashSum(p))
		}
		merge := func(parts ...arrow.RecordBatch) arrow.RecordBatch {
			got, dropped, err := Merge(parts, everyKind)
			if err != nil {
				t.Fatal(err)
			}
			var rows int64
			var hash SetHash
			for _, p := range parts {
				rows, hash = rows+p.NumRows(), hash.Add(hashSum(p))
			}
			if rows != got.NumRows()+dropped.Rows || hash != hashSum(got).Add(dropped.Hash) {
				t.Fatalf("%d rows %s in, %d rows %s out, dropped %+v", rows, hash, got.NumRows(), hashSum(got), dropped)
			}
			return got
		}
		same := func(what string, a, b arrow.RecordBatch) {
			if !reflect.DeepEqual(rowsOf(a), rowsOf(b)) {
				t.Fatalf("%s: %v, want %v", what, rowsOf(a), rowsOf(b))
			}
		}
		want := merge(parts...)
		if got := rowsOf(want); !reflect.DeepEqual(got, union(parts)) {
			t.Fatalf("merge = %v, want %v", got, union(parts))
		}
		same("idempotent", merge(want, want), want)
		same("absorbs its inputs", merge(append(parts, want)...), want)
		same("commutative", merge(rapid.Permutation(parts).Draw(t, "parts")...), want)
		cut := rapid.IntRange(0, len(parts)).Draw(t, "cut")
		same("associative", merge(merge(parts[:cut]...), merge(parts[cut:]...)), want)
	})
}

func TestSortIsTheTotalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := fewIdentities(t)
		rec := record(everyKind, rows...)
		got := must(Sort(rec, everyKind))
		sorted := rowsOf(got)
		hashes := RowHashes(got, nil)
		for i := 1; i < len(sorted); i++ {
			c := rowLess(everyKind, sorted[i-1], sorted[i])
			if c > 0 || c == 0 && hashes[i-1].String() > hashes[i].String() {
				t.Fatalf("row %d %v after %v", i, sorted[i], sorted[i-1])
			}
		}
		if hashSum(rec) != hashSum(got) {
			t.Fatal("sorting lost or changed rows")
		}
		if again := must(Sort(got, everyKind)); again != got {
			t.Fatal("a sorted record was sorted again")
		}
	})
}

func TestMergeSortsWhatIsNotSorted(t *testing.T) {
	a := record(quotes, quote("B", 1, 1, "e:1", 0, 1), quote("A", 2, 2, "e:2", 0, 1), quote("A", 1, 3, "e:3", 0, 1))
	b := record(quotes, quote("A", 3, 4, "e:4", 0, 1))
	got, _, err := Merge([]arrow.RecordBatch{a, b}, quotes)
	if err != nil {
		t.Fatal(err)
	}
	if v := got.Column(2).(*array.Int64).Int64Values(); !slices.Equal(v, []int64{3, 2, 4, 1}) {
		t.Errorf("volumes = %v, want in order of the rows", v)
	}
}

func TestMergeOfNothing(t *testing.T) {
	for _, inputs := range [][]arrow.RecordBatch{nil, {record(everyKind)}, {record(everyKind), empty(everyKind)}} {
		got, dropped, err := Merge(inputs, everyKind)
		if err != nil || got.NumRows() != 0 || dropped != (Dropped{}) || int(got.NumCols()) != len(everyKind.Fields) {
			t.Errorf("Merge of %d = %v, %+v, %v", len(inputs), got, dropped, err)
		}
	}
	if _, _, err := Merge([]arrow.RecordBatch{record(quotes)}, everyKind); err == nil {
		t.Error("a record of another definition was merged")
	}
}

func TestRowHashes(t *testing.T) {
	base := quote("A", 10, 1, "e:1", 0, 100)
	hash := func(r row) SetHash { return RowHashes(record(quotes, r), nil)[0] }
	t.Run("depends on every column", func(t *testing.T) {
		seen := map[SetHash]bool{hash(base): true}
		for c, v := range []any{"B", int64(11), int64(2), "e:2", int32(1), int64(101), "v1.2.1", int64(1)} {
			for _, other := range []any{v, nil} {
				r := slices.Clone(base)
				r[c] = other
				if h := hash(r); seen[h] {
					t.Errorf("column %d = %v: the hash of another row", c, other)
				} else {
					seen[h] = true
				}
			}
		}
	})
	t.Run("values swapped between rows change the sum", func(t *testing.T) {
		a, b := quote("A", 10, 1, "e:1", 0, 100), quote("A", 10, 2, "e:2", 0, 100)
		x, y := quote("A", 10, 2, "e:1", 0, 100), quote("A", 10, 1, "e:2", 0, 100)
		if hashSum(record(quotes, a, b)) == hashSum(record(quotes, x, y)) {
			t.Error("the same sum")
		}
	})
	t.Run("a null column of a later definition changes nothing", func(t *testing.T) {
		wider := define("quotes", 0, 1, append(slices.Clone(quotes.Fields[:3]), schemaString("venue"))...)
		r := slices.Insert(slices.Clone(base), 3, any(nil))
		if RowHashes(record(wider, r), nil)[0] != hash(base) {
			t.Error("another hash")
		}
	})
	t.Run("equal floats have equal hashes", func(t *testing.T) {
		zero := 0.0
		if canonicalBits(zero) != canonicalBits(-1*zero) || canonicalBits(nan(1)) != canonicalBits(nan(2)) {
			t.Error("zeros or NaNs differ")
		}
	})
	t.Run("is frozen", func(t *testing.T) {
		if got, want := hash(base).String(), "c0ba47dfcaf54eba33e6dcb4c92f15ea"; got != want {
			t.Errorf("hash = %s, want %s: hashes in every footer and log would be wrong", got, want)
		}
		if got, err := ParseSetHash(hash(base).String()); err != nil || got != hash(base) {
			t.Errorf("ParseSetHash = %v, %v", got, err)
		}
	})
}

func TestSetHashArithmetic(t *testing.T) {
	a, b := SetHash{1 << 63, 5}, SetHash{1<<63 + 1, 7}
	if a.Add(b).Sub(b) != a || a.Add(b) != b.Add(a) || a.Sub(a) != (SetHash{}) {
		t.Error("Add and Sub do not undo each other")
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 32), strings.Repeat("0", 34)} {
		if _, err := ParseSetHash(bad); err == nil {
			t.Errorf("ParseSetHash(%q) gave no error", bad)
		}
	}
}
