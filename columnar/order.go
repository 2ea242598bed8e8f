package columnar

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

// keyed gives fast access to what a record's rows are ordered by: symbol, event
// time, _id, _index, _published_at, row hash; each ascending, nulls first.
type keyed struct {
	rec  arrow.RecordBatch
	n    int
	rank []uint32 // of each row's symbol, comparable within one ranking; 0 is null

	times     []int64 // event time, math.MinInt64 where null
	timeArr   arrow.Array
	id        stringColumn
	index     *array.Int32
	published *array.Timestamp
	hashes    []SetHash // computed when the rest of two keys is equal
}

// keysOf ranks the symbols of all records together, so that the keys of any two
// of them compare by integers first.
func keysOf(recs []arrow.RecordBatch, def *schema.Definition) []*keyed {
	symbols := make([]stringColumn, len(recs))
	for i, rec := range recs {
		symbols[i] = stringsOf(rec.Column(def.SymbolField).(*array.Dictionary))
	}
	ranks := rankEntries(symbols)
	all := make([]*keyed, len(recs))
	for i, rec := range recs {
		times := rec.Column(def.TimeField)
		all[i] = &keyed{
			rec: rec, n: int(rec.NumRows()),
			rank:      rowRanks(&symbols[i], ranks[i]),
			times:     eventTimes(times),
			timeArr:   times,
			id:        stringsOf(rec.Column(def.Own).(*array.Dictionary)),
			index:     rec.Column(def.Own + 1).(*array.Int32),
			published: rec.Column(def.Own + 2).(*array.Timestamp),
		}
	}
	return all
}

// rankEntries numbers the distinct dictionary values of all columns from 1 in
// byte order and gives each column's entries their numbers.
func rankEntries(columns []stringColumn) [][]uint32 {
	numbers := map[string]uint32{}
	for i := range columns {
		for code := range columns[i].dictLen() {
			if v := columns[i].entry(int32(code)); numbers[string(v)] == 0 {
				numbers[string(v)] = 1
			}
		}
	}
	values := make([]string, 0, len(numbers))
	for v := range numbers {
		values = append(values, v)
	}
	slices.Sort(values)
	for i, v := range values {
		numbers[v] = uint32(i + 1)
	}
	ranks := make([][]uint32, len(columns))
	for i := range columns {
		ranks[i] = make([]uint32, columns[i].dictLen())
		for code := range ranks[i] {
			ranks[i][code] = numbers[string(columns[i].entry(int32(code)))]
		}
	}
	return ranks
}

func rowRanks(s *stringColumn, ranks []uint32) []uint32 {
	rows := make([]uint32, len(s.codes))
	for i, code := range s.codes {
		if s.nulls && s.arr.IsNull(i) {
			continue
		}
		rows[i] = ranks[code]
	}
	return rows
}

// microsPerDay is the length of a day in event-time units.
const microsPerDay = 24 * 60 * 60 * 1_000_000

// eventTimes gives event times in µs; a date counts from its midnight UTC.
func eventTimes(arr arrow.Array) []int64 {
	var times []int64
	switch a := arr.(type) {
	case *array.Timestamp:
		values := a.TimestampValues()
		times = make([]int64, len(values))
		for i, v := range values {
			times[i] = int64(v)
		}
	case *array.Date32:
		times = make([]int64, a.Len())
		for i, v := range a.Date32Values() {
			times[i] = int64(v) * microsPerDay
		}
	}
	if arr.NullN() > 0 {
		for i := range times {
			if arr.IsNull(i) {
				times[i] = math.MinInt64
			}
		}
	}
	return times
}

// compare orders row i of k against row j of o.
func (k *keyed) compare(i int, o *keyed, j int) int {
	if c := k.comparePlace(i, o, j); c != 0 {
		return c
	}
	return k.compareTie(i, o, j)
}

// comparePlace orders by symbol and event time, which nearly always decides.
func (k *keyed) comparePlace(i int, o *keyed, j int) int {
	if k.rank[i] != o.rank[j] {
		return cmp.Compare(k.rank[i], o.rank[j])
	}
	return cmp.Compare(k.times[i], o.times[j])
}

// compareTie orders rows of one symbol and event time.
func (k *keyed) compareTie(i int, o *keyed, j int) int {
	if c := k.compareIdentity(i, o, j); c != 0 {
		return c
	}
	if c := compareValues(k.published, i, o.published, j, k.published.Value, o.published.Value); c != 0 {
		return c
	}
	a, b := k.hash(i), o.hash(j)
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
}

// compareIdentity orders by _id and _index. Rows whose event time is the
// smallest integer and rows without one meet here, hence its validity.
func (k *keyed) compareIdentity(i int, o *keyed, j int) int {
	if k.times[i] == math.MinInt64 {
		if c := compareBools(k.timeArr.IsValid(i), o.timeArr.IsValid(j)); c != 0 {
			return c
		}
	}
	a, b := k.id.value(i), o.id.value(j)
	if c := compareBools(a != nil, b != nil); c != 0 {
		return c
	}
	if c := bytes.Compare(a, b); c != 0 {
		return c
	}
	return compareValues(k.index, i, o.index, j, k.index.Value, o.index.Value)
}

// same says whether two rows have one identity. _published_at belongs to the
// identity of a broker's message id only, which is unique for a while and a
// topic; an event_id is the producer's and holds for ever.
func (k *keyed) same(i int, o *keyed, j int) bool {
	if k.comparePlace(i, o, j) != 0 || k.compareIdentity(i, o, j) != 0 {
		return false
	}
	return !bytes.HasPrefix(k.id.value(i), []byte("m:")) ||
		compareValues(k.published, i, o.published, j, k.published.Value, o.published.Value) == 0
}

func (k *keyed) hash(i int) SetHash {
	if k.hashes == nil {
		k.hashes = RowHashes(k.rec, make([]SetHash, 0, k.n))
	}
	return k.hashes[i]
}

func compareValues[T cmp.Ordered](a arrow.Array, i int, b arrow.Array, j int, av, bv func(int) T) int {
	x, y := a.IsValid(i), b.IsValid(j)
	if !x || !y {
		return compareBools(x, y)
	}
	return cmp.Compare(av(i), bv(j))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// sorted says whether the rows are in order.
func (k *keyed) sorted() bool {
	for i := 1; i < k.n; i++ {
		if k.compare(i-1, k, i) > 0 {
			return false
		}
	}
	return true
}

// permutation is the order the rows belong in: by counting into symbols, then
// by comparison within each symbol, where rows mostly arrived in order.
func (k *keyed) permutation() []int32 {
	var last uint32
	for _, r := range k.rank {
		last = max(last, r)
	}
	starts := make([]int32, last+2)
	for _, r := range k.rank {
		starts[r+1]++
	}
	for r := range last + 1 {
		starts[r+1] += starts[r]
	}
	next := slices.Clone(starts)
	rows := make([]int32, k.n)
	for i, r := range k.rank {
		rows[next[r]] = int32(i)
		next[r]++
	}
	order := func(a, b int32) int { return k.compare(int(a), k, int(b)) }
	for r := range last + 1 {
		if group := rows[starts[r]:starts[r+1]]; !slices.IsSortedFunc(group, order) {
			slices.SortFunc(group, order)
		}
	}
	return rows
}

// Sort returns rec in the total order of rows, and rec itself if it already is.
func Sort(rec arrow.RecordBatch, def *schema.Definition) (arrow.RecordBatch, error) {
	if err := check(rec, def); err != nil {
		return nil, err
	}
	k := keysOf([]arrow.RecordBatch{rec}, def)[0]
	if k.sorted() {
		return rec, nil
	}
	return take(rec, k.permutation()), nil
}
