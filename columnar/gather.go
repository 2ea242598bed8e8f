package columnar

import (
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/buffetbot/ingest/schema"
)

// A run is rows [from, to) of input src. Rows move between records as runs,
// column by column: most of a merge is long runs, and copying those is memcpy.
type run struct {
	src      int32
	from, to int32
}

// take gives the rows of rec in the order of rows.
func take(rec arrow.RecordBatch, rows []int32) arrow.RecordBatch {
	runs := make([]run, 0, len(rows)/4+1)
	for _, r := range rows {
		if n := len(runs); n > 0 && runs[n-1].to == r {
			runs[n-1].to++
			continue
		}
		runs = append(runs, run{0, r, r + 1})
	}
	if len(runs) > len(rows)/4 && !hasBinary(rec.Schema()) {
		return pick(rec, rows)
	}
	out, err := gather([]arrow.RecordBatch{rec}, runs)
	if err != nil {
		panic(err) // the rows of one record always fit one record
	}
	return out
}

func hasBinary(s *arrow.Schema) bool {
	for _, f := range s.Fields() {
		if f.Type.ID() == arrow.BINARY {
			return true
		}
	}
	return false
}

// gather gives the rows of the runs, one after the other. All records have the
// same schema.
func gather(recs []arrow.RecordBatch, runs []run) (arrow.RecordBatch, error) {
	rows := 0
	for _, r := range runs {
		rows += int(r.to - r.from)
	}
	if rows > math.MaxInt32 {
		return nil, fmt.Errorf("gather %d rows: more than one record holds: %w", rows, ErrRecord)
	}
	columns := make([]arrow.Array, recs[0].NumCols())
	arrs := make([]arrow.Array, len(recs))
	for c := range columns {
		for i, rec := range recs {
			arrs[i] = rec.Column(c)
		}
		col, err := gatherColumn(arrs, runs, rows)
		if err != nil {
			return nil, fmt.Errorf("gather column %s: %w", recs[0].ColumnName(c), err)
		}
		columns[c] = col
	}
	return array.NewRecordBatch(recs[0].Schema(), columns, int64(rows)), nil
}

func gatherColumn(arrs []arrow.Array, runs []run, rows int) (arrow.Array, error) {
	valid, nulls := gatherValidity(arrs, runs, rows)
	var values []byte
	dt := arrs[0].DataType()
	switch dt.ID() {
	case arrow.DICTIONARY:
		return gatherDictionary(arrs, runs, rows, valid, nulls)
	case arrow.BINARY:
		return gatherBinary(arrs, runs, rows, valid, nulls)
	case arrow.BOOL:
		values = gatherBits(arrs, 1, runs, rows)
	case arrow.INT32, arrow.DATE32:
		values = gatherWords(slicesOf(arrs, arrow.Int32Traits.CastFromBytes), runs, rows, arrow.Int32Traits.CastToBytes)
	case arrow.INT64, arrow.TIMESTAMP, arrow.FLOAT64:
		values = gatherWords(slicesOf(arrs, arrow.Int64Traits.CastFromBytes), runs, rows, arrow.Int64Traits.CastToBytes)
	case arrow.DECIMAL128:
		values = gatherWords(slicesOf(arrs, arrow.Decimal128Traits.CastFromBytes), runs, rows, arrow.Decimal128Traits.CastToBytes)
	default:
		return nil, fmt.Errorf("no column type %s: %w", dt, ErrRecord)
	}
	return newArray(dt, rows, nulls, nil, valid, values), nil
}

// newArray wraps buffers; valid is nil where nothing is null.
func newArray(dt arrow.DataType, rows, nulls int, dict arrow.ArrayData, valid []byte, buffers ...[]byte) arrow.Array {
	all := make([]*memory.Buffer, 1, len(buffers)+1)
	if valid != nil {
		all[0] = memory.NewBufferBytes(valid)
	}
	for _, b := range buffers {
		all = append(all, memory.NewBufferBytes(b))
	}
	data := array.NewData(dt, rows, all, nil, nulls, 0)
	if dict != nil {
		data.SetDictionary(dict)
	}
	return array.MakeFromData(data)
}

// slicesOf gives each array's fixed-width values from its first row on.
func slicesOf[T any](arrs []arrow.Array, cast func([]byte) []T) [][]T {
	out := make([][]T, len(arrs))
	for i, a := range arrs {
		if buf := a.Data().Buffers()[1]; buf != nil && a.Len() > 0 {
			out[i] = cast(buf.Bytes())[a.Data().Offset():][:a.Len()]
		}
	}
	return out
}

func gatherWords[T any](src [][]T, runs []run, rows int, bytes func([]T) []byte) []byte {
	dst := make([]T, rows)
	at := 0
	for _, r := range runs {
		if r.to-r.from == 1 {
			dst[at] = src[r.src][r.from]
			at++
			continue
		}
		at += copy(dst[at:], src[r.src][r.from:r.to])
	}
	return bytes(dst)
}

func gatherValidity(arrs []arrow.Array, runs []run, rows int) (valid []byte, nulls int) {
	any := false
	for _, a := range arrs {
		any = any || a.NullN() > 0
	}
	if !any {
		return nil, 0
	}
	valid = gatherBits(arrs, 0, runs, rows)
	if nulls = rows - bitutil.CountSetBits(valid, 0, rows); nulls == 0 {
		return nil, 0
	}
	return valid, nulls
}

// gatherBits copies bits of the arrays' buffers; a missing buffer is all ones,
// as a missing validity bitmap is.
func gatherBits(arrs []arrow.Array, buffer int, runs []run, rows int) []byte {
	dst := make([]byte, bitutil.BytesForBits(int64(rows)))
	at := 0
	for _, r := range runs {
		n := int(r.to - r.from)
		a := arrs[r.src]
		buf := a.Data().Buffers()[buffer]
		switch from := a.Data().Offset() + int(r.from); {
		case buf == nil || buf.Len() == 0 || buffer == 0 && a.NullN() == 0:
			bitutil.SetBitsTo(dst, int64(at), int64(n), true)
		case n == 1:
			bitutil.SetBitTo(dst, at, bitutil.BitIsSet(buf.Bytes(), from))
		default:
			bitutil.CopyBitmap(buf.Bytes(), from, n, dst, at)
		}
		at += n
	}
	return dst
}

func gatherBinary(arrs []arrow.Array, runs []run, rows int, valid []byte, nulls int) (arrow.Array, error) {
	offsets := make([]int32, 1, rows+1)
	var data []byte
	for _, r := range runs {
		a := arrs[r.src].(*array.Binary)
		for i := int(r.from); i < int(r.to); i++ {
			if a.IsValid(i) {
				data = append(data, a.Value(i)...)
			}
			if len(data) > math.MaxInt32 {
				return nil, fmt.Errorf("more than 2 GiB in one column: %w", ErrRecord)
			}
			offsets = append(offsets, int32(len(data)))
		}
	}
	return newArray(arrow.BinaryTypes.Binary, rows, nulls, nil, valid, arrow.Int32Traits.CastToBytes(offsets), data), nil
}

func gatherDictionary(arrs []arrow.Array, runs []run, rows int, valid []byte, nulls int) (arrow.Array, error) {
	recodings, builder := unify(arrs)
	codes := make([]int32, rows)
	at := 0
	for _, r := range runs {
		n := int(r.to - r.from)
		recodings[r.src].translate(codes[at:at+n], int(r.from), int(r.to))
		at += n
	}
	dict := arrs[0].(*array.Dictionary).Dictionary()
	if builder != nil {
		if builder.full() {
			return nil, fmt.Errorf("more than 2 GiB of strings in one column: %w", ErrRecord)
		}
		dict = builder.array()
	}
	return newArray(arrs[0].DataType(), rows, nulls, dict.Data(), valid, arrow.Int32Traits.CastToBytes(codes)), nil
}

// A recoding maps one input's codes to those of the common dictionary. A value
// enters that dictionary when the first row with it does, so values that no row
// has any more are left behind. Without a builder the codes stay as they are.
type recoding struct {
	src   stringColumn
	table []int32 // common code + 1
	to    *dictionaryBuilder
}

func (r *recoding) translate(dst []int32, from, to int) {
	for i, c := range r.src.codes[from:to] {
		if r.src.nulls && r.src.arr.IsNull(from+i) {
			dst[i] = 0 // the code of a null may be anything
			continue
		}
		if r.to == nil {
			dst[i] = c
			continue
		}
		if r.table[c] == 0 {
			r.table[c] = r.to.add(r.src.entry(c)) + 1
		}
		dst[i] = r.table[c] - 1
	}
}

// unifyShare is the number of rows a dictionary value must stand for, on
// average, for values to be looked up rather than appended.
const unifyShare = 4

// unify makes one dictionary of several. Values of small dictionaries are unified
// by value; those of large ones (ids) are put one after the other, since looking
// up every value costs more than it saves. So values may occur twice: codes are
// not identities, here as everywhere.
func unify(arrs []arrow.Array) ([]recoding, *dictionaryBuilder) {
	all := make([]recoding, len(arrs))
	first := arrs[0].(*array.Dictionary).Dictionary()
	common, entries, rows := true, 0, 0
	for i, a := range arrs {
		all[i].src = stringsOf(a.(*array.Dictionary))
		common = common && a.(*array.Dictionary).Dictionary() == first
		entries += all[i].src.dictLen()
		rows += a.Len()
	}
	if common {
		return all, nil
	}
	b := &dictionaryBuilder{offsets: make([]int32, 1, 1024)}
	if entries*unifyShare <= rows {
		b.codes = map[string]int32{}
	}
	for i := range all {
		all[i].to, all[i].table = b, make([]int32, all[i].src.dictLen())
	}
	return all, b
}

// A dictionaryBuilder collects dictionary values.
type dictionaryBuilder struct {
	offsets []int32 // of values; starts with 0
	data    []byte
	codes   map[string]int32 // nil where values are appended unseen
	over    bool
}

// room makes room for n values of so many bytes, as the bytes promise that are to
// be decoded.
func (b *dictionaryBuilder) room(n, bytes int) {
	if bytes < 0 {
		return // they lie
	}
	b.offsets = slices.Grow(b.offsets, min(n, bytes+n))
	b.data = slices.Grow(b.data, bytes)
}

// full says whether a value did not fit 32-bit offsets.
func (b *dictionaryBuilder) full() bool { return b.over }

// code is the code of v, which is added if it is new.
func (b *dictionaryBuilder) code(v []byte) int32 {
	if c, ok := b.codes[string(v)]; ok {
		return c
	}
	c := b.append(v)
	if !b.over {
		b.codes[string(v)] = c
	}
	return c
}

// add is the code of v, by value if values are looked up.
func (b *dictionaryBuilder) add(v []byte) int32 {
	if b.codes == nil {
		return b.append(v)
	}
	return b.code(v)
}

// append adds v as a value of its own.
func (b *dictionaryBuilder) append(v []byte) int32 {
	if b.over = b.over || len(b.data)+len(v) > math.MaxInt32; b.over {
		return 0
	}
	b.data = append(b.data, v...)
	b.offsets = append(b.offsets, int32(len(b.data)))
	return int32(len(b.offsets) - 2)
}

func (b *dictionaryBuilder) array() *array.String {
	n := len(b.offsets) - 1
	return newArray(arrow.BinaryTypes.String, n, 0, nil, nil, arrow.Int32Traits.CastToBytes(b.offsets), b.data).(*array.String)
}

// Concat returns the rows of all records, one after the other. Without records
// the result has no rows.
func Concat(recs []arrow.RecordBatch, def *schema.Definition) (arrow.RecordBatch, error) {
	runs := make([]run, 0, len(recs))
	for i, rec := range recs {
		if err := check(rec, def); err != nil {
			return nil, err
		}
		if rec.NumRows() > math.MaxInt32 {
			return nil, fmt.Errorf("concat: %d rows: %w", rec.NumRows(), ErrRecord)
		}
		runs = append(runs, run{int32(i), 0, int32(rec.NumRows())})
	}
	switch len(recs) {
	case 0:
		return empty(def), nil
	case 1:
		return recs[0], nil
	}
	return gather(recs, runs)
}

func empty(def *schema.Definition) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, def.Arrow())
	defer b.Release()
	return b.NewRecordBatch()
}
