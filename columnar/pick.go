package columnar

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
)

// pick gives the rows of rec in the order of rows, of which few lie together: what
// gather makes of runs it makes of single rows. No column is binary.
func pick(rec arrow.RecordBatch, rows []int32) arrow.RecordBatch {
	columns := make([]arrow.Array, rec.NumCols())
	for c := range columns {
		columns[c] = pickColumn(rec.Column(c), rows)
	}
	return array.NewRecordBatch(rec.Schema(), columns, int64(len(rows)))
}

func pickColumn(a arrow.Array, rows []int32) arrow.Array {
	dt, nulls := a.DataType(), a.NullN()
	var valid []byte
	if nulls > 0 {
		valid = pickBits(a, 0, rows)
		nulls = len(rows) - bitutil.CountSetBits(valid, 0, len(rows))
	}
	if nulls == 0 {
		valid = nil
	}
	var dict arrow.ArrayData
	var values []byte
	none := nulls == len(rows) // then the values stay zero
	switch dt.ID() {
	case arrow.DICTIONARY:
		dict = a.(*array.Dictionary).Dictionary().Data()
		codes := pickWords(a, rows, none, arrow.Int32Traits.CastFromBytes)
		for at, row := range rows {
			if nulls > 0 && a.IsNull(int(row)) {
				codes[at] = 0 // the code of a null may be anything
			}
		}
		values = arrow.Int32Traits.CastToBytes(codes)
	case arrow.BOOL:
		values = pickBits(a, 1, rows)
	case arrow.INT32, arrow.DATE32:
		values = arrow.Int32Traits.CastToBytes(pickWords(a, rows, none, arrow.Int32Traits.CastFromBytes))
	case arrow.INT64, arrow.TIMESTAMP, arrow.FLOAT64:
		values = arrow.Int64Traits.CastToBytes(pickWords(a, rows, none, arrow.Int64Traits.CastFromBytes))
	case arrow.DECIMAL128:
		values = arrow.Decimal128Traits.CastToBytes(pickWords(a, rows, none, arrow.Decimal128Traits.CastFromBytes))
	default:
		panic("pick: no column type " + dt.Name()) // check has seen the schema
	}
	return newArray(dt, len(rows), nulls, dict, valid, values)
}

func pickWords[T any](a arrow.Array, rows []int32, none bool, cast func([]byte) []T) []T {
	dst := make([]T, len(rows))
	if none {
		return dst
	}
	src := slicesOf([]arrow.Array{a}, cast)[0]
	for at, row := range rows {
		dst[at] = src[row]
	}
	return dst
}

// pickBits picks bits of a buffer; a missing one is all ones, as a missing validity
// bitmap is.
func pickBits(a arrow.Array, buffer int, rows []int32) []byte {
	dst := make([]byte, bitutil.BytesForBits(int64(len(rows))))
	buf := a.Data().Buffers()[buffer]
	if buffer == 0 && a.NullN() == a.Len() {
		return dst
	}
	if buf == nil || buf.Len() == 0 {
		bitutil.SetBitsTo(dst, 0, int64(len(rows)), true)
		return dst
	}
	src, offset := buf.Bytes(), a.Data().Offset()
	for at, row := range rows {
		from := offset + int(row)
		dst[at>>3] |= src[from>>3] >> (from & 7) & 1 << (at & 7)
	}
	return dst
}
