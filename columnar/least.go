package columnar

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/schema"
)

// bounds are the least and greatest value of a vector, exact or absent.
type bounds struct {
	nulls    int64
	empty    bool  // no value but nulls
	known    bool  // the values have bounds …
	ok       bool  // … and no engine leaves a value out by them
	low      int64 // of words
	high     int64
	min, max []byte // of texts; copies
}

// maxBound is the length of the longest bound of a text that is written.
const maxBound = 4 << 10

func boundsOf(v *vector, f *schema.Field) bounds {
	b := bounds{nulls: int64(v.nulls), empty: v.nulls == v.n}
	if b.empty {
		return b
	}
	switch f.Kind {
	case schema.String, schema.Binary:
		b.texts(v)
	case schema.Float64:
		b.floats(v)
	default:
		b.words(v)
	}
	return b
}

func (b *bounds) words(v *vector) {
	b.low, b.high, b.known, b.ok = math.MaxInt64, math.MinInt64, true, true
	if v.nulls == 0 {
		for _, w := range v.words {
			b.low, b.high = min(b.low, w), max(b.high, w)
		}
		return
	}
	for i, w := range v.words {
		if bitAt(v.valid, i) {
			b.low, b.high = min(b.low, w), max(b.high, w)
		}
	}
}

// floats gives no bounds where there is a NaN, which is beyond any bound in some
// engines; a bound of zero is the zero farther out.
func (b *bounds) floats(v *vector) {
	low, high := math.Inf(1), math.Inf(-1)
	for i, w := range v.words {
		if v.isNull(i) {
			continue
		}
		d := math.Float64frombits(uint64(w))
		if d != d {
			return
		}
		low, high = min(low, d), max(high, d)
	}
	b.known, b.ok = true, true
	b.low, b.high = int64(math.Float64bits(widenZero(low, -1))), int64(math.Float64bits(widenZero(high, 1)))
}

// texts gives bounds that are not ok where there is an empty text, which some
// engines take for no value, or where one is too long.
func (b *bounds) texts(v *vector) {
	var least, most []byte
	last := int32(-1)
	for i := range v.n {
		if v.codes != nil && v.codes[i] == last || v.isNull(i) {
			continue
		}
		if v.codes != nil {
			last = v.codes[i]
		}
		t := v.at(i)
		if least == nil || bytes.Compare(t, least) < 0 {
			least = t
		}
		if most == nil || bytes.Compare(t, most) > 0 {
			most = t
		}
	}
	b.known = true
	b.ok = len(least) > 0 && len(least) <= maxBound && len(most) <= maxBound
	b.min, b.max = bytes.Clone(least), bytes.Clone(most)
}

// bytes are the bounds as statistics have them.
func (b *bounds) bytes(f *schema.Field) (low, high []byte) {
	switch phys := physical(f); phys {
	case physByteArray:
		return b.min, b.max
	case physBoolean:
		return []byte{byte(b.low)}, []byte{byte(b.high)}
	case physInt32:
		return binary.LittleEndian.AppendUint32(nil, uint32(b.low)), binary.LittleEndian.AppendUint32(nil, uint32(b.high))
	default:
		return binary.LittleEndian.AppendUint64(nil, uint64(b.low)), binary.LittleEndian.AppendUint64(nil, uint64(b.high))
	}
}

// add takes in the bounds of more rows.
func (b *bounds) add(o *bounds, f *schema.Field) {
	b.nulls += o.nulls
	switch {
	case o.empty:
		return
	case b.empty:
		nulls := b.nulls
		*b = *o
		b.nulls = nulls
		return
	}
	b.known, b.ok = b.known && o.known, b.ok && o.ok
	switch f.Kind {
	case schema.String, schema.Binary:
		if bytes.Compare(o.min, b.min) < 0 {
			b.min = o.min
		}
		if bytes.Compare(o.max, b.max) > 0 {
			b.max = o.max
		}
	case schema.Float64:
		b.low = floatBits(min(bitsFloat(b.low), bitsFloat(o.low)))
		b.high = floatBits(max(bitsFloat(b.high), bitsFloat(o.high)))
	default:
		b.low, b.high = min(b.low, o.low), max(b.high, o.high)
	}
}

func bitsFloat(w int64) float64 { return math.Float64frombits(uint64(w)) }

func floatBits(f float64) int64 { return int64(math.Float64bits(f)) }

// A Range is the least and greatest value of a column, and how many rows have none.
// Bounds are string, []byte, bool, int32, int64, float64, Decimal, arrow.Timestamp
// (µs) or arrow.Date32, and nil where there is no value, or a NaN.
type Range struct {
	Nulls    int64
	Min, Max any
}

// Ranges gives the range of each column of a record of the definition.
func Ranges(rec arrow.RecordBatch, def *schema.Definition) ([]Range, error) {
	all := make([]Range, len(def.Fields))
	for c := range all {
		v, err := vectorOf(rec.Column(c), &def.Fields[c])
		if err != nil {
			return nil, err
		}
		b := boundsOf(&v, &def.Fields[c])
		all[c] = b.rangeOf(&def.Fields[c])
	}
	return all, nil
}

func (b *bounds) rangeOf(f *schema.Field) Range {
	r := Range{Nulls: b.nulls}
	if b.known {
		r.Min, r.Max = b.value(f, b.low, b.min), b.value(f, b.high, b.max)
	}
	return r
}

func (b *bounds) value(f *schema.Field, w int64, t []byte) any {
	switch f.Kind {
	case schema.String:
		return string(t)
	case schema.Binary:
		return t
	case schema.Bool:
		return w != 0
	case schema.Float64:
		return bitsFloat(w)
	}
	return typed(&columnMeta{kind: f.Kind, scale: f.Scale}, w)
}
