package columnar

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/buffetbot/ingest/schema"
)

// A vector is one column's values in the form that rows are merged and written
// in: words of 64 bits for every kind of fixed width (the bits of a double, a
// decimal's unscaled value, 0 or 1 for a boolean), texts for strings and binary
// values. What stands at a null row means nothing.
type vector struct {
	n     int
	nulls int
	valid []byte // bitmap of the rows; nil: none is null

	words []int64

	codes []int32 // entries of text, row by row; nil: text holds the rows' own values
	text  texts
}

// texts are values one behind the other: value i is data[ends[i]:ends[i+1]].
type texts struct {
	ends []int32
	data []byte
}

func (t *texts) len() int { return max(len(t.ends)-1, 0) }

func (t *texts) at(i int) []byte { return t.data[t.ends[i]:t.ends[i+1]] }

func (t *texts) reset() {
	t.ends, t.data = append(t.ends[:0], 0), t.data[:0]
}

// room makes empty texts ready for n values of so many bytes.
func (t *texts) room(n, bytes int) {
	t.ends, t.data = growTo(t.ends, n+1)[:0], growTo(t.data, bytes)[:0]
	t.ends = append(t.ends, 0)
}

func (t *texts) add(v []byte) {
	t.data = append(t.data, v...)
	t.ends = append(t.ends, int32(len(t.data)))
}

func (v *vector) isNull(i int) bool { return v.valid != nil && !bitAt(v.valid, i) }

func bitAt(bitmap []byte, i int) bool { return bitmap[i>>3]>>(i&7)&1 != 0 }

// at is row i's text, nil where it is null. An empty text is not nil.
func (v *vector) at(i int) []byte {
	if v.isNull(i) {
		return nil
	}
	if v.codes != nil {
		i = int(v.codes[i])
	}
	t := v.text.data[v.text.ends[i]:v.text.ends[i+1]:v.text.ends[i+1]]
	if t == nil { // a piece of no data at all
		return []byte{}
	}
	return t
}

// vectorOf views an Arrow column of the field's type; decimals and what is narrower
// than a word are copied.
func vectorOf(arr arrow.Array, f *schema.Field) (vector, error) {
	v := vector{n: arr.Len(), nulls: arr.NullN()}
	if v.nulls > 0 {
		v.valid = ownValidity(arr)
	}
	switch a := arr.(type) {
	case *array.Int64:
		v.words = a.Int64Values()
	case *array.Timestamp, *array.Float64:
		v.words = slicesOf([]arrow.Array{a}, arrow.Int64Traits.CastFromBytes)[0]
	case *array.Int32:
		v.words = widen(a.Int32Values())
	case *array.Date32:
		v.words = widen(a.Date32Values())
	case *array.Decimal128:
		v.words = make([]int64, v.n)
		for i, d := range a.Values() {
			v.words[i] = int64(d.LowBits()) // precision <= 18: the low word says it all
		}
	case *array.Boolean:
		v.words = make([]int64, v.n)
		for i := range v.words {
			if a.Value(i) {
				v.words[i] = 1
			}
		}
	case *array.Dictionary:
		s := stringsOf(a)
		v.codes, v.text = s.codes, texts{s.offsets, s.data}
		if v.codes == nil {
			v.codes = []int32{}
		}
	case *array.Binary:
		v.text = texts{[]int32{0}, nil}
		if v.n > 0 {
			v.text = texts{a.ValueOffsets(), a.Data().Buffers()[2].Bytes()}
		}
	default:
		return v, fmt.Errorf("column %s of type %s: %w", f.Name, arr.DataType(), ErrRecord)
	}
	return v, nil
}

func widen[T ~int32](values []T) []int64 {
	words := make([]int64, len(values))
	for i, v := range values {
		words[i] = int64(v)
	}
	return words
}

// slice views rows [from, to).
func (v *vector) slice(from, to int) vector {
	s := vector{n: to - from, text: v.text}
	if v.words != nil {
		s.words = v.words[from:to]
	}
	if v.codes != nil {
		s.codes = v.codes[from:to]
	} else if v.text.ends != nil {
		s.text.ends = v.text.ends[from : to+1]
	}
	if v.nulls == 0 {
		return s
	}
	s.nulls = s.n - bitutil.CountSetBits(v.valid, from, s.n)
	if s.nulls > 0 {
		s.valid = make([]byte, bitutil.BytesForBits(int64(s.n)))
		bitutil.CopyBitmap(v.valid, from, s.n, s.valid, 0)
	}
	return s
}

// present appends the words of the rows that are not null, and gives v.words
// itself where none is.
func (v *vector) present(dst []int64) []int64 {
	if v.nulls == 0 {
		return v.words
	}
	dst = dst[:0]
	for i, w := range v.words {
		if bitAt(v.valid, i) {
			dst = append(dst, w)
		}
	}
	return dst
}

// upTo is the end of the rows behind from, at most to, whose texts reach the
// number of bytes.
func (v *vector) upTo(from, to, bytes int) int {
	for i := from; i < to; i++ {
		if bytes -= len(v.at(i)); bytes <= 0 {
			return i + 1
		}
	}
	return to
}

// Sizes are where row groups and pages end.
type sizes struct {
	groupRows  int
	groupTexts int // bytes of one column's texts: the row that reaches them is the group's last, which has to fit into memory
	pageRows   int // a page is what a merge holds of each column of each input; eight thousand rows still drown a page's header
	pageTexts  int
}

var standardSizes = sizes{groupRows: RowGroupRows, groupTexts: 32 << 20, pageRows: 8 << 10, pageTexts: 256 << 10}

// groupEnd is the end of the row group that begins at from.
func (s *sizes) groupEnd(columns []vector, from, rows int) int {
	to := min(from+s.groupRows, rows)
	for i := range columns {
		to = s.textsUpTo(&columns[i], from, to)
	}
	return to
}

// textsUpTo is the end of the rows from from whose texts fill a row group, at
// most to. Long texts are looked for only where there may be some.
func (s *sizes) textsUpTo(v *vector, from, to int) int {
	longest := 0
	for i := range v.text.len() {
		longest = max(longest, len(v.text.at(i)))
	}
	if longest*(to-from) < s.groupTexts {
		return to
	}
	return v.upTo(from, to, s.groupTexts)
}

// growTo gives s room for n values, without keeping those it has.
func growTo[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, 0, n+min(n/4, 1024)) // of small ones the next is often a little larger
	}
	return s
}
