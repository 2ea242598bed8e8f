package columnar

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/buffetbot/ingest/schema"
)

// bounds are the least and greatest value of a vector, exact or absent.
type bounds struct {
	nulls    int64
	ok       bool
	low      int64 // of words
	high     int64
	min, max []byte // of texts; copies
}

// maxBound is the length of the longest bound of a text that is written.
const maxBound = 4 << 10

func boundsOf(v *vector, f *schema.Field) bounds {
	b := bounds{nulls: int64(v.nulls)}
	if v.nulls == v.n {
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
	b.low, b.high, b.ok = math.MaxInt64, math.MinInt64, true
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
	b.ok = true
	b.low, b.high = int64(math.Float64bits(widenZero(low, -1))), int64(math.Float64bits(widenZero(high, 1)))
}

// texts gives no bounds where there is an empty text, which some engines take
// for no value, or where one is too long.
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
		if len(t) == 0 {
			return
		}
		if least == nil || bytes.Compare(t, least) < 0 {
			least = t
		}
		if most == nil || bytes.Compare(t, most) > 0 {
			most = t
		}
	}
	if b.ok = len(least) <= maxBound && len(most) <= maxBound; b.ok {
		b.min, b.max = bytes.Clone(least), bytes.Clone(most)
	}
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
