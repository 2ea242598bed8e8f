package query

import (
	"bytes"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/buffetbot/ingest/schema"
)

// A run is rows [from, to) of record src.
type run struct{ src, from, to int32 }

// gather gives the rows of the runs, one after the other, as one record of the
// schema; column i is column[i] of every record. Its dictionaries hold only the
// values that are used: a small result does not drag the row group's along.
func gather(schema *arrow.Schema, column []int, recs []arrow.RecordBatch, runs []run) (arrow.RecordBatch, error) {
	rows := 0
	for _, r := range runs {
		rows += int(r.to - r.from)
	}
	columns := make([]arrow.Array, len(column))
	arrs := make([]arrow.Array, len(recs))
	for i, c := range column {
		for j, rec := range recs {
			arrs[j] = rec.Column(c)
		}
		col, err := gatherColumn(schema.Field(i).Type, arrs, runs, rows)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", schema.Field(i).Name, err)
		}
		columns[i] = col
	}
	return array.NewRecordBatch(schema, columns, int64(rows)), nil
}

func gatherColumn(dt arrow.DataType, arrs []arrow.Array, runs []run, rows int) (arrow.Array, error) {
	valid, nulls := gatherValidity(arrs, runs, rows)
	switch dt.ID() {
	case arrow.DICTIONARY:
		return gatherDictionary(dt, arrs, runs, rows, valid, nulls)
	case arrow.BINARY:
		return gatherBinary(dt, arrs, runs, rows, valid, nulls)
	case arrow.BOOL:
		bits := gatherBits(arrs, 1, runs, rows)
		return newArray(dt, rows, nulls, valid, bits), nil
	}
	fixed, ok := dt.(arrow.FixedWidthDataType)
	if !ok {
		return nil, fmt.Errorf("no column type %s", dt)
	}
	width := fixed.BitWidth() / 8
	values := make([]byte, 0, rows*width)
	for _, r := range runs {
		data := arrs[r.src].Data()
		from := (data.Offset() + int(r.from)) * width
		values = append(values, data.Buffers()[1].Bytes()[from:from+int(r.to-r.from)*width]...)
	}
	return newArray(dt, rows, nulls, valid, values), nil
}

// newArray wraps buffers; valid is nil where nothing is null.
func newArray(dt arrow.DataType, rows, nulls int, valid []byte, buffers ...[]byte) arrow.Array {
	return array.MakeFromData(newData(dt, rows, nulls, valid, buffers...))
}

func newData(dt arrow.DataType, rows, nulls int, valid []byte, buffers ...[]byte) *array.Data {
	all := make([]*memory.Buffer, 1, len(buffers)+1)
	if valid != nil {
		all[0] = memory.NewBufferBytes(valid)
	}
	for _, b := range buffers {
		all = append(all, memory.NewBufferBytes(b))
	}
	return array.NewData(dt, rows, all, nil, nulls, 0)
}

func gatherValidity(arrs []arrow.Array, runs []run, rows int) (valid []byte, nulls int) {
	some := false
	for _, a := range arrs {
		some = some || a.NullN() > 0
	}
	if !some {
		return nil, 0
	}
	valid = gatherBits(arrs, 0, runs, rows)
	if nulls = rows - bitutil.CountSetBits(valid, 0, rows); nulls == 0 {
		return nil, 0
	}
	return valid, nulls
}

// gatherBits copies bits of a buffer; a missing validity bitmap is all ones.
func gatherBits(arrs []arrow.Array, buffer int, runs []run, rows int) []byte {
	dst := make([]byte, bitutil.BytesForBits(int64(rows)))
	at := 0
	for _, r := range runs {
		a, n := arrs[r.src], int(r.to-r.from)
		if buf := a.Data().Buffers()[buffer]; buf == nil || buffer == 0 && a.NullN() == 0 {
			bitutil.SetBitsTo(dst, int64(at), int64(n), true)
		} else {
			bitutil.CopyBitmap(buf.Bytes(), a.Data().Offset()+int(r.from), n, dst, at)
		}
		at += n
	}
	return dst
}

func gatherBinary(dt arrow.DataType, arrs []arrow.Array, runs []run, rows int, valid []byte, nulls int) (arrow.Array, error) {
	offsets := make([]int32, 1, rows+1)
	var data []byte
	for _, r := range runs {
		a := arrs[r.src].(*array.Binary)
		for i := int(r.from); i < int(r.to); i++ {
			if a.IsValid(i) {
				data = append(data, a.Value(i)...)
			}
			if len(data) > math.MaxInt32 {
				return nil, fmt.Errorf("more than 2 GiB in %d rows", rows)
			}
			offsets = append(offsets, int32(len(data)))
		}
	}
	return newArray(dt, rows, nulls, valid, arrow.Int32Traits.CastToBytes(offsets), data), nil
}

func gatherDictionary(dt arrow.DataType, arrs []arrow.Array, runs []run, rows int, valid []byte, nulls int) (arrow.Array, error) {
	offsets, data := []int32{0}, []byte(nil)
	codeOf := map[string]int32{}
	tables := make([][]int32, len(arrs)) // code in arrs[i] -> code here, plus one
	codes := make([]int32, 0, rows)
	for _, r := range runs {
		a := arrs[r.src].(*array.Dictionary)
		values, from := a.Dictionary().(*array.String), a.Indices().(*array.Int32).Int32Values()
		if tables[r.src] == nil {
			tables[r.src] = make([]int32, values.Len())
		}
		table, some := tables[r.src], a.NullN() > 0
		for i := r.from; i < r.to; i++ {
			if some && a.IsNull(int(i)) {
				codes = append(codes, 0)
				continue
			}
			if table[from[i]] == 0 {
				v := values.Value(int(from[i]))
				c, ok := codeOf[v]
				if !ok {
					c = int32(len(offsets) - 1)
					codeOf[v] = c
					data = append(data, v...)
					offsets = append(offsets, int32(len(data)))
				}
				table[from[i]] = c + 1
			}
			codes = append(codes, table[from[i]]-1)
		}
		if len(data) > math.MaxInt32/2 {
			return nil, fmt.Errorf("more than 1 GiB of strings in %d rows", rows)
		}
	}
	dict := newData(arrow.BinaryTypes.String, len(offsets)-1, 0, nil, arrow.Int32Traits.CastToBytes(offsets), data)
	all := newData(dt, rows, nulls, valid, arrow.Int32Traits.CastToBytes(codes))
	all.SetDictionary(dict)
	return array.MakeFromData(all), nil
}

// sameRow tells whether two rows of records of one schema are equal. Whether they
// are superseded is not theirs to say.
func sameRow(a arrow.RecordBatch, i int, b arrow.RecordBatch, j int) bool {
	for c := range int(a.NumCols()) {
		if a.ColumnName(c) != schema.ColSupersededAt && !sameCell(a.Column(c), i, b.Column(c), j) {
			return false
		}
	}
	return true
}

func sameCell(a arrow.Array, i int, b arrow.Array, j int) bool {
	if a.IsNull(i) || b.IsNull(j) {
		return a.IsNull(i) == b.IsNull(j)
	}
	switch x := a.(type) {
	case *array.Dictionary:
		y := b.(*array.Dictionary)
		return x.Dictionary().(*array.String).Value(x.GetValueIndex(i)) == y.Dictionary().(*array.String).Value(y.GetValueIndex(j))
	case *array.Binary:
		return bytes.Equal(x.Value(i), b.(*array.Binary).Value(j))
	case *array.Boolean:
		return x.Value(i) == b.(*array.Boolean).Value(j)
	}
	return bytes.Equal(cellBytes(a, i), cellBytes(b, j))
}

// cellBytes are the bytes of a fixed-width value.
func cellBytes(a arrow.Array, i int) []byte {
	width := a.DataType().(arrow.FixedWidthDataType).BitWidth() / 8
	at := (a.Data().Offset() + i) * width
	return a.Data().Buffers()[1].Bytes()[at : at+width]
}
