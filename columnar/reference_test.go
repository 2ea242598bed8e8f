package columnar

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/schema"
)

// What a Union must come to, the slow and plain way: on values, with maps.
type reference struct {
	rows      []row
	dropped   int64
	conflicts int64 // dropped rows that tell another story than the one that stays
	hash      SetHash
}

// referenceOf is that of rows of def, whose column _superseded_at, if it has one,
// is filled in.
func referenceOf(def *schema.Definition, all []row) reference {
	hashes := RowHashes(record(def, all...), nil)
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if c := rowLess(def, all[a], all[b]); c != 0 {
			return c
		}
		return strings.Compare(hashes[a].String(), hashes[b].String())
	})
	var ref reference
	stays := map[string]row{}
	for _, i := range order {
		r := slices.Clone(all[i])
		id := fmt.Sprintf("%#v", []any{r[def.SymbolField], r[def.TimeField], r[def.Own], r[def.Own+1]})
		if text, _ := r[def.Own].(string); strings.HasPrefix(text, "m:") {
			id += fmt.Sprintf("%#v", r[def.Own+2])
		}
		first, known := stays[id]
		if !known {
			stays[id] = r
			ref.rows = append(ref.rows, r)
			continue
		}
		ref.dropped, ref.hash = ref.dropped+1, ref.hash.Add(hashes[i])
		if shown(first[:def.Own]) != shown(r[:def.Own]) {
			ref.conflicts++
		}
	}
	if def.Superseded() >= 0 {
		supersede(def, ref.rows)
	}
	return ref
}

// supersede marks all but the latest of the rows with one natural key.
func supersede(def *schema.Definition, rows []row) {
	keys := map[string][]row{}
	for _, r := range rows {
		key, whole := "", r[def.Own+2] != nil
		for _, f := range def.NaturalKey {
			key, whole = key+fmt.Sprintf("%#v|", r[f]), whole && r[f] != nil
		}
		r[def.Superseded()] = nil
		if whole {
			keys[key] = append(keys[key], r)
		}
	}
	for _, of := range keys {
		slices.SortStableFunc(of, func(a, b row) int {
			x, _ := a[def.Own].(string)
			y, _ := b[def.Own].(string) // none is as an empty one
			return cmp.Or(valueLess(a[def.Own+2], b[def.Own+2]), cmp.Compare(x, y), valueLess(a[def.Own+1], b[def.Own+1]))
		})
		for i := range of[1:] {
			of[i][def.Superseded()] = of[i+1][def.Own+2]
		}
	}
}

// shown tells rows apart as their hashes do.
func shown(r row) string {
	var b strings.Builder
	for _, v := range r {
		if f, ok := v.(float64); ok {
			v = fmt.Sprintf("%x", canonicalBits(f))
		}
		fmt.Fprintf(&b, "%T %#v|", v, v)
	}
	return b.String()
}

// awkward are values that have been, or may be, mistaken for others. Every row has
// an event time.
var awkward = [][]any{
	{"A", "A\x00", "A\x00\x00", "ABCDEFGH", "ABCDEFGHI", "ABCDEFG\x00", "", "\xff\xfe", "É", nil},
	{int64(1), int64(2), int64(-4)},
	{int64(1), nil, int64(-1)},
	{int64(5), nil},
	{nil, 0.0, math.Copysign(0, -1), nan(1), nan(2), math.Inf(1), -1.5},
	{int64(0), int64(math.MaxInt64), int64(math.MinInt64), nil},
	{int32(1), int32(2), nil},
	{true, false, nil},
	{int32(9), nil},
	{nil, []byte{}, []byte(strings.Repeat("x", 30)), []byte(strings.Repeat("y", 70)), []byte{0xff}},
	{"", nil, "NYSE", "\xf0\x28", "A\x00"},
	{"m:1", "m:2", "e:1", "e:2", "m:", "", nil},
	{int32(0), int32(1), nil},
	{int64(7), int64(8), nil},
	{"v1.2.0", nil},
	{int64(0), int64(1)},
}

// awkwardRows are rows of which many share a key, and differ in one column or a few.
func awkwardRows(t *rapid.T) []row {
	exact := rapid.Bool().Draw(t, "exact") // so that the hash, too, tells zeros and NaNs apart from what is equal
	var all []row
	for range rapid.IntRange(0, 40).Draw(t, "rows") {
		var r row
		if len(all) > 0 && rapid.IntRange(0, 3).Draw(t, "like another") > 0 {
			r = slices.Clone(rapid.SampledFrom(all).Draw(t, "like"))
		} else {
			for _, values := range awkward {
				r = append(r, values[0])
			}
			for _, c := range []int{0, 1, 11} {
				r[c] = rapid.SampledFrom(awkward[c]).Draw(t, "key")
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			c := rapid.IntRange(0, len(awkward)-1).Draw(t, "column")
			r[c] = rapid.SampledFrom(awkward[c]).Draw(t, "value")
		}
		if f, ok := r[4].(float64); ok && exact && (f == 0 || f != f) {
			r[4] = math.Float64frombits(canonicalBits(f))
		}
		all = append(all, r)
	}
	return all
}

// The columns that an older version lacks, or has by another name.
var lacking = []int{5, 6, 10}

// aged is everyKind as it is now, and as it was.
func aged(keyed bool, key []int) (now, then *schema.Definition) {
	now = keyedBy(key...)
	if !keyed {
		def := *everyKind
		def.Fields = slices.Clone(def.Fields)
		now = &def
	}
	now.Fields[3].Aliases = []string{"tick_size"}
	def := *everyKind
	def.Fields, def.Version.Minor = nil, 1
	for i, f := range everyKind.Fields {
		if i == 3 {
			f.Name = "tick_size"
		}
		if slices.Contains(lacking, i) {
			def.Own--
			continue
		}
		def.Fields = append(def.Fields, f)
	}
	return now, &def
}

// A parcel is a file and the rows in it, as now has them.
type parcel struct {
	file *File
	rows []row
}

// parcels makes files of rows: of any page sizes, in memory or on disk, some by the
// older definition, some without rows.
func parcels(t *rapid.T, rows []row, now, then *schema.Definition) (all []parcel) {
	rows = rapid.Permutation(rows).Draw(t, "order")
	for range rapid.IntRange(0, len(rows)).Draw(t, "again") {
		rows = append(rows, rapid.SampledFrom(rows).Draw(t, "row"))
	}
	for len(rows) > 0 || rapid.IntRange(0, 3).Draw(t, "one without rows") == 0 {
		n := min(len(rows), rapid.IntRange(0, 12).Draw(t, "size"))
		all = append(all, pack(t, rows[:n], now, then))
		rows = rows[n:]
	}
	return all
}

func pack(t *rapid.T, rows []row, now, then *schema.Definition) parcel {
	def, p := now, parcel{}
	if rapid.IntRange(0, 2).Draw(t, "older") == 0 {
		def = then
	}
	var written []row
	for _, r := range rows {
		full, w := slices.Clone(r), slices.Clone(r)
		if def == then {
			for i, c := range lacking {
				full[c] = nil
				w = slices.Delete(w, c-i, c-i+1)
			}
		}
		if now.Superseded() >= 0 {
			full = append(full, any(nil))
			if def == now {
				w = append(w, rapid.SampledFrom([]any{nil, int64(3)}).Draw(t, "marked before"))
			}
		}
		p.rows, written = append(p.rows, full), append(written, w)
	}
	data := encodedAs(def, record(def, written...), rapid.SampledFrom([]*sizes{&small, &standardSizes}).Draw(t, "sizes"))
	if rapid.Bool().Draw(t, "on disk") {
		p.file = must(OpenAt("o", bytes.NewReader(data), int64(len(data))))
	} else {
		p.file = must(OpenBytes("o", data))
	}
	return p
}

// cascade merges some of the files before the others, duplicates and all, and some
// of what came of it again.
func cascade(t *rapid.T, def *schema.Definition, files []*File) []*File {
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		if len(files) == 0 {
			return files
		}
		from := rapid.IntRange(0, len(files)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(files)).Draw(t, "to")
		u := must(NewUnion(files[from:to], def, UnionOptions{KeepAll: true, sizes: &small, Workers: 1}))
		step, _, err := readUnion(context.Background(), u)
		if err == nil {
			err = u.Close()
		}
		if d := u.Dropped(); err != nil || d != (Dropped{}) {
			t.Fatalf("a step dropped %+v, error %v", d, err)
		}
		files = slices.Delete(slices.Clone(files), from, to)
		for _, data := range step {
			files = slices.Insert(files, from, must(OpenBytes("step", data)))
		}
	}
	return files
}

// A Union keeps, drops and marks what the plain reference does, of rows that are easy
// to mistake for one another, from files old and new, after any steps before; and its
// bytes are those that the same rows give from one file.
func TestUnionAgainstThePlainReference(t *testing.T) {
	dir := t.TempDir()
	for range 10 { // a thousand checks: some of what can go wrong needs several things at once
		rapid.Check(t, func(t *rapid.T) { againstReference(t, dir) })
	}
}

func againstReference(t *rapid.T, dir string) {
	key := rapid.SampledFrom([][]int{{}, {6}, {10}, {2, 7}, {10, 8, 3}}).Draw(t, "key")
	now, then := aged(rapid.Bool().Draw(t, "keyed"), key)
	var files []*File
	var all []row
	for _, p := range parcels(t, awkwardRows(t), now, then) {
		files, all = append(files, p.file), append(all, p.rows...)
	}
	o := UnionOptions{
		Groups: rapid.IntRange(1, 3).Draw(t, "groups"), Workers: rapid.IntRange(1, 2).Draw(t, "workers"),
		Target: int64(rapid.SampledFrom([]int{0, 1, 5000, 20000}).Draw(t, "target")), Dir: dir, sizes: &small,
	}
	outputs := checkReference(t, now, referenceOf(now, all), cascade(t, now, files), o)
	if slices.ContainsFunc(all, func(r row) bool {
		f, ok := r[4].(float64)
		return ok && math.Float64bits(f) != canonicalBits(f)
	}) {
		return // which of two equal values stays is nobody's business
	}
	o.Groups, o.Workers = 1, 1
	whole := must(OpenBytes("whole", encodedAs(now, record(now, all...), &standardSizes)))
	if again := checkReference(t, now, referenceOf(now, all), []*File{whole}, o); !slices.EqualFunc(outputs, again, bytes.Equal) {
		t.Fatalf("%d files, then %d of the same rows; or other bytes", len(outputs), len(again))
	}
}

// A fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// checkReference merges files, and holds what comes of it against what must.
func checkReference(t fataler, def *schema.Definition, want reference, files []*File, o UnionOptions) [][]byte {
	u := must(NewUnion(files, def, o))
	defer u.Close()
	outputs, written, err := readUnion(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	var got []row
	for i, data := range outputs {
		rec := must(must(OpenBytes("output", data)).Read(context.Background(), def, nil, nil))
		got = append(got, rowsOf(rec)...)
		if w := written[i]; w.Rows != rec.NumRows() || w.Hash != hashSum(rec) {
			t.Fatalf("file %d of %d bytes: %d rows with hash %s, told are %+v", i, len(data), rec.NumRows(), hashSum(rec), w.Summary)
		}
		if a, b := fmt.Sprint(written[i].Columns), fmt.Sprint(must(Ranges(rec, def))); a != b {
			t.Fatalf("file %d: ranges %s, want %s", i, a, b)
		}
	}
	if len(got) != len(want.rows) {
		t.Fatalf("%d rows, want %d", len(got), len(want.rows))
	}
	for i := range got {
		if a, b := shown(got[i]), shown(want.rows[i]); a != b {
			t.Fatalf("row %d:\n%s, want\n%s", i, a, b)
		}
	}
	if d := u.Dropped(); d.Rows != want.dropped || d.Conflicts != want.conflicts || d.Hash != want.hash {
		t.Fatalf("dropped %+v, want %d rows with hash %s, %d conflicts", d, want.dropped, want.hash, want.conflicts)
	}
	return outputs
}

// like is a row of keyedBy() that has nothing in the columns that do not matter.
func like(symbol string, time int64, payload string, price any, id string, published int64) row {
	return row{symbol, time, price, nil, nil, nil, nil, nil, nil, []byte(payload), nil, id, int32(0), published, nil, nil, nil}
}

// filesOf are parts as files, and all of their rows.
func filesOf(def *schema.Definition, parts ...[]row) (files []*File, all []row) {
	for _, rows := range parts {
		files = append(files, must(OpenBytes("o", encodedAs(def, record(def, rows...), &small))))
		all = append(all, rows...)
	}
	return files, all
}

// checkMerged holds the merge of files, cut at targets of any size, against the reference.
func checkMerged(t *testing.T, def *schema.Definition, parts ...[]row) {
	t.Helper()
	for _, groups := range []int{1, 2, 5} {
		for _, target := range []int64{0, 1, 3000, 5000, 20000} {
			files, all := filesOf(def, parts...)
			checkReference(t, def, referenceOf(def, all), files, UnionOptions{Groups: groups, Target: target, sizes: &small})
		}
	}
}

// A symbol may begin with a row that another of its key beats, just where a file
// ends: the place before it is over, and what waits for it is written.
func TestUnionBeginsAFileWithABeatenRow(t *testing.T) {
	def := keyedBy()
	var a, b []row
	for n := range 12 {
		symbol := fmt.Sprintf("S%02d", n)
		for i := range small.groupRows { // a row group ends with each symbol
			a = append(a, like(symbol, 5, "", int64(n), fmt.Sprint("e:", i), 7))
		}
		b = append(b, like(symbol, 5, "", int64(100+n), "e:0", 7)) // one of the two beats the other, as their hashes are
	}
	checkMerged(t, def, a, b)
	checkMerged(t, def, b, a)
}

// Of three rows of one key, two of which differ in the very column that fills a row
// group, each counts as what it is.
func TestUnionSettlesWhatLiesBehindAFullRowGroup(t *testing.T) {
	def := keyedBy()
	long := strings.Repeat("x", 40)
	var a, b, c []row
	for n := range 12 {
		id := fmt.Sprintf("e:%02d", n)
		a = append(a, like("A", 5, long+"a", int64(1), id, 7))
		b = append(b, like("A", 5, long+"b", int64(1), id, 7))
		c = append(c, like("A", 5, long+"a", int64(2), id, 7))
	}
	checkMerged(t, def, a, b, c)
	checkMerged(t, def, c, b, a)
}

// Dictionaries of forty thousand values, in another order in each file, are joined
// to one of all of them, and values stay with their rows.
func TestUnionOfLongDictionaries(t *testing.T) {
	const rows, values = 100_000, 40_000
	def := define("venues", 0, 1, schemaString("symbol"), everyKind.Fields[1], schemaString("venue"))
	parts := make([]arrow.RecordBatch, 2)
	for p := range parts {
		c := schema.NewColumns(def)
		for i := range rows {
			n := (i*7919 + p*31) % values
			venue := n
			if i >= 2*values {
				venue = 0 // so many of one that a dictionary pays
			}
			c.Begin()
			c.SetString(0, fmt.Appendf(nil, "S%05d", n))
			c.SetTimestamp(1, int64(i/values))
			c.SetString(2, fmt.Appendf(nil, "V%05d", (venue+p*values/2)%(values+values/2)))
			c.SetString(def.Own, fmt.Appendf(nil, "e:%d", i%2*p)) // half of them duplicates
			c.SetInt32(def.Own+1, 0)
			c.SetTimestamp(def.Own+2, int64(p))
			c.SetString(def.Own+3, []byte("v1.2.0"))
			c.SetInt64(def.Own+4, 0)
			c.Commit()
		}
		parts[p] = must(Sort(c.Record(), def))
		v := must(vectorOf(parts[p].Column(2), &def.Fields[2]))
		if e := newEncoder(&standardSizes); !e.chooseTexts(&v, &def.Fields[2]) || e.entries.len() < values*9/10 {
			t.Fatalf("a dictionary of %d values: the test shows less than it says", e.entries.len())
		}
	}
	merged, dropped, err := Merge(parts, def)
	if err != nil {
		t.Fatal(err)
	}
	if dropped.Rows == 0 || dropped.Conflicts == 0 {
		t.Fatalf("dropped %+v: the test shows less than it says", dropped)
	}
	var files []*File
	for _, p := range parts {
		files = append(files, must(OpenBytes("o", encodedAs(def, p, &standardSizes))))
	}
	u := must(NewUnion(files, def, UnionOptions{Groups: 2}))
	defer u.Close()
	got, _, err := readUnion(t.Context(), u)
	if err != nil || len(got) != 1 || !bytes.Equal(got[0], encodedAs(def, merged, &standardSizes)) || u.Dropped() != dropped {
		t.Errorf("%d files, dropped %+v, want %+v; or other bytes; %v", len(got), u.Dropped(), dropped, err)
	}
}
