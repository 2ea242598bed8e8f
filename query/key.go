package query

import (
	"cmp"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/partition"
)

// A key is where a row stands in the order of rows, and which identity it has.
// A null is less than any value: its ok is false, or its number the smallest.
type key struct {
	day              partition.Day
	symbol           string
	time             int64
	id               string
	index, published int64
	hasSymbol, hasID bool
}

// lowest is the key that no row at or behind the place is less than.
func lowest(day partition.Day, lo place) key {
	k := key{day: day, time: math.MinInt64, index: math.MinInt64, published: math.MinInt64}
	if !lo.open {
		k.symbol, k.hasSymbol, k.time = lo.symbol, true, lo.time
	}
	return k
}

// compareIdentities orders by all that the order of rows has before
// _published_at.
func compareIdentities(a, b *key) int {
	if a.day != b.day {
		return cmp.Compare(a.day, b.day)
	}
	if a.hasSymbol != b.hasSymbol {
		return cmp.Compare(bit(a.hasSymbol), bit(b.hasSymbol))
	}
	if c := strings.Compare(a.symbol, b.symbol); c != 0 {
		return c
	}
	if a.time != b.time {
		return cmp.Compare(a.time, b.time)
	}
	if a.hasID != b.hasID {
		return cmp.Compare(bit(a.hasID), bit(b.hasID))
	}
	if c := strings.Compare(a.id, b.id); c != 0 {
		return c
	}
	return cmp.Compare(a.index, b.index)
}

func compareKeys(a, b *key) int {
	if c := compareIdentities(a, b); c != 0 {
		return c
	}
	return cmp.Compare(a.published, b.published)
}

// same tells whether two rows are one. A broker's message id is unique for a
// while only, so its publish time belongs to it.
func (a *key) same(b *key) bool {
	return compareIdentities(a, b) == 0 && (a.published == b.published || !strings.HasPrefix(a.id, "m:"))
}

// keyColumns reads the keys of a record's rows.
type keyColumns struct {
	day              partition.Day
	symbols, ids     strings32
	times            []int64
	index            []int32
	published        []arrow.Timestamp
	timeArr          arrow.Array
	indexArr, pubArr arrow.Array
}

// strings32 is a dictionary column.
type strings32 struct {
	arr    *array.Dictionary
	values *array.String
	codes  []int32
	nulls  bool
}

func stringsOf(a arrow.Array) strings32 {
	d := a.(*array.Dictionary)
	return strings32{arr: d, values: d.Dictionary().(*array.String), codes: d.Indices().(*array.Int32).Int32Values(), nulls: d.NullN() > 0}
}

func (s *strings32) value(row int) (string, bool) {
	if s.nulls && s.arr.IsNull(row) {
		return "", false
	}
	return s.values.Value(int(s.codes[row])), true
}

// keysOf reads the identity columns, which stand at the given positions.
func keysOf(day partition.Day, rec arrow.RecordBatch, at [5]int) *keyColumns {
	k := &keyColumns{day: day, symbols: stringsOf(rec.Column(at[0])), ids: stringsOf(rec.Column(at[2])),
		timeArr: rec.Column(at[1]), indexArr: rec.Column(at[3]), pubArr: rec.Column(at[4])}
	switch a := k.timeArr.(type) {
	case *array.Timestamp:
		k.times = arrow.Int64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(a.TimestampValues()))
	case *array.Date32:
		k.times = make([]int64, a.Len())
		for i, v := range a.Date32Values() {
			k.times[i] = int64(v)
		}
	}
	k.index = k.indexArr.(*array.Int32).Int32Values()
	k.published = k.pubArr.(*array.Timestamp).TimestampValues()
	return k
}

// read sets out to the key of a row. Its strings alias the record.
func (k *keyColumns) read(row int, out *key) {
	out.day = k.day
	out.symbol, out.hasSymbol = k.symbols.value(row)
	out.id, out.hasID = k.ids.value(row)
	out.time, out.index, out.published = k.times[row], int64(k.index[row]), int64(k.published[row])
	if k.timeArr.IsNull(row) {
		out.time = math.MinInt64
	}
	if k.indexArr.IsNull(row) {
		out.index = math.MinInt64
	}
	if k.pubArr.IsNull(row) {
		out.published = math.MinInt64
	}
}
