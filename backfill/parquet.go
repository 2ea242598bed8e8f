package backfill

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// Rows of a Parquet file that are decoded at once.
const parquetRows = 4096

// parquetFile reads the records of a Parquet file by its mapping. Values become
// JSON of the same meaning: decimals and integers with all their digits, floats
// with the digits that give the same float again, times in RFC 3339, bytes as
// text where the field is a String and as base64 where it is not.
type parquetFile struct {
	mapping *mapping
	reader  pqarrow.RecordReader
	columns []column // source is an index into batch's columns
	batch   arrow.RecordBatch
	row     int
	number  int64
}

// openParquet opens the file behind o. The library panics on some bytes that are
// no Parquet: that is an error like any other here.
func openParquet(o *opened) (r *pqarrow.FileReader, err error) {
	defer rescue("open Parquet", &err)
	props := parquet.NewReaderProperties(memory.DefaultAllocator)
	props.BufferedStreamEnabled = true // pages, not whole columns
	f, err := pqfile.NewParquetReader(io.NewSectionReader(o.contents, 0, o.input.Size), pqfile.WithReadProps(props))
	if err != nil {
		return nil, fmt.Errorf("open Parquet: %w", err)
	}
	return pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: parquetRows}, memory.DefaultAllocator)
}

func rescue(what string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: damaged: %v", what, r)
	}
}

// parquetColumns are the names of the columns that can be read; a column inside
// another has none.
func parquetColumns(o *opened) ([]string, error) {
	r, err := openParquet(o)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range r.Manifest.Fields {
		names = append(names, f.Field.Name)
	}
	return names, nil
}

func parquetRecords(o *opened, m *mapping) (_ records, err error) {
	r, err := openParquet(o)
	if err != nil {
		return nil, err
	}
	defer rescue("read Parquet", &err)
	p := &parquetFile{mapping: m}
	var leaves []int
	for _, c := range m.columns {
		f := r.Manifest.Fields[c.source]
		if !f.IsLeaf() || !readable(f.Field.Type) {
			return nil, fmt.Errorf("%w: column %q is %s, which no field can be read from", ErrSettings, f.Field.Name, f.Field.Type)
		}
		if !slices.Contains(leaves, f.ColIndex) { // m.columns are in the order of the file
			leaves = append(leaves, f.ColIndex)
		}
		c.source = len(leaves) - 1
		p.columns = append(p.columns, c)
	}
	if p.reader, err = r.GetRecordReader(o.ctx, leaves, nil); err != nil {
		return nil, fmt.Errorf("read Parquet: %w", err)
	}
	return p, nil
}

func readable(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.DICTIONARY:
		return readable(t.(*arrow.DictionaryType).ValueType)
	case arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY, arrow.BOOL,
		arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL32, arrow.DECIMAL64, arrow.DECIMAL128, arrow.DECIMAL256,
		arrow.TIMESTAMP, arrow.DATE32, arrow.DATE64, arrow.NULL:
		return true
	}
	return false
}

func (p *parquetFile) next(dst []byte) (out []byte, _ record, err error) {
	defer rescue(fmt.Sprintf("row %d", p.number+1), &err)
	for p.batch == nil || p.row == int(p.batch.NumRows()) {
		p.row = 0
		p.batch, err = p.reader.Read()
		if errors.Is(err, io.EOF) {
			return dst, record{}, io.EOF
		}
		if err != nil {
			return dst, record{}, fmt.Errorf("row %d: %w", p.number+1, err)
		}
	}
	before := len(dst)
	dst = p.render(dst)
	p.row++
	p.number++
	if size := len(dst) - before; size > maxMessage {
		start := append([]byte(nil), dst[before:before+keptOfBroken]...)
		return tooLong(dst[:before], "Parquet", line{p.number, start, int64(size)})
	}
	return dst, record{line: p.number}, nil
}

func (p *parquetFile) render(dst []byte) []byte {
	dst = append(dst, '{')
	empty := len(dst)
	for _, c := range p.columns {
		before := len(dst)
		if before > empty {
			dst = append(dst, ',')
		}
		key := len(dst) + len(c.key)
		if dst = appendValue(append(dst, c.key...), p.batch.Column(c.source), p.row, c.style); len(dst) == key {
			dst = dst[:before] // no value
		}
	}
	if len(p.mapping.constants) > 0 {
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = append(dst, p.mapping.constants...)
	}
	return append(dst, '}')
}

// appendValue appends a value of a column, or nothing for a null.
func appendValue(dst []byte, col arrow.Array, i int, s style) []byte {
	if col.IsNull(i) {
		return dst
	}
	switch a := col.(type) {
	case *array.Dictionary:
		return appendValue(dst, a.Dictionary(), a.GetValueIndex(i), s)
	case *array.String:
		return appendCell(dst, []byte(a.Value(i)), s)
	case *array.LargeString:
		return appendCell(dst, []byte(a.Value(i)), s)
	case *array.Boolean:
		return strconv.AppendBool(dst, a.Value(i))
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		return appendTime(dst, a.Value(i).ToTime(unit))
	case *array.Date32:
		return appendDate(dst, a.Value(i).ToTime())
	case *array.Date64:
		return appendDate(dst, a.Value(i).ToTime())
	case *array.Float16:
		return appendFloat(dst, float64(a.Value(i).Float32()), 32)
	case *array.Float32:
		return appendFloat(dst, float64(a.Value(i)), 32)
	case *array.Float64:
		return appendFloat(dst, a.Value(i), 64)
	}
	if b, ok := bytesOf(col, i); ok {
		if s == asBytes {
			return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
		}
		return appendCell(dst, b, s)
	}
	if unscaled := decimalOf(col, i); unscaled != nil {
		return appendDecimal(dst, unscaled, int(col.DataType().(arrow.DecimalType).GetScale()))
	}
	return append(dst, col.ValueStr(i)...) // integers: their digits
}

// decimalOf is the unscaled value of a decimal, or nil. The library's own text
// of one goes through a float of limited precision.
func decimalOf(col arrow.Array, i int) *big.Int {
	switch a := col.(type) {
	case *array.Decimal32:
		return big.NewInt(int64(a.Value(i)))
	case *array.Decimal64:
		return big.NewInt(int64(a.Value(i)))
	case *array.Decimal128:
		return a.Value(i).BigInt()
	case *array.Decimal256:
		return a.Value(i).BigInt()
	}
	return nil
}

// appendDecimal appends unscaled / 10^scale with all its digits.
func appendDecimal(dst []byte, unscaled *big.Int, scale int) []byte {
	if unscaled.Sign() < 0 {
		dst = append(dst, '-')
	}
	text := new(big.Int).Abs(unscaled).String()
	if scale <= 0 {
		dst = append(dst, text...)
		if scale < 0 {
			dst = strconv.AppendInt(append(dst, 'e'), int64(-scale), 10)
		}
		return dst
	}
	if short := scale + 1 - len(text); short > 0 {
		text = strings.Repeat("0", short) + text
	}
	point := len(text) - scale
	return append(append(append(dst, text[:point]...), '.'), text[point:]...)
}

func bytesOf(col arrow.Array, i int) ([]byte, bool) {
	switch a := col.(type) {
	case *array.Binary:
		return a.Value(i), true
	case *array.LargeBinary:
		return a.Value(i), true
	case *array.FixedSizeBinary:
		return a.Value(i), true
	}
	return nil, false
}

func appendTime(dst []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
}

func appendDate(dst []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), time.DateOnly), '"')
}

// appendFloat appends the shortest text that is this float again; NaN and the
// infinities as the strings that the decoder knows.
func appendFloat(dst []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(strconv.AppendFloat(append(dst, '"'), v, 'g', -1, bits), '"')
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, bits)
}
