package schema

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Columns are rows of one definition in buffers of their own, one a column, laid
// out as Arrow wants them, so that Record wraps them without copying.
//
// A row is atomic: between Begin and Commit its values are staged behind the
// last row, and Rollback leaves no trace of them, not even in a dictionary.
//
// Columns are for one goroutine at a time.
type Columns struct {
	def      *Definition
	schema   *arrow.Schema
	cols     []column
	n        int     // rows
	cap      int     // rows there is room for
	set      bitset  // columns that the open row has a value for
	all      bitset  // every column
	like     bitset  // columns that the rows from settled on have values for
	binaries bitset  // columns of Binary
	settled  int     // rows whose nulls are in the buffers
	added    []int32 // columns whose dictionary grew by an entry in the open row, in order
	bytes    int64
	remap    []int32 // scratch of Append
}

// A column is one column's buffers. Only those of its kind are used.
type column struct {
	kind  Kind
	nulls int
	valid []byte // Arrow's bitmap; the bits past the last row are ones

	i32  []int32 // Int32, Date, and the entry numbers of a String
	i64  []int64 // Int64, Timestamp
	f64  []float64
	dec  []decimal128.Num
	bits []byte // Bool
	dict dictionary

	ends []int32 // Binary: ends[row+1] is the end of the row's value
	data []byte
}

const minRows = 8 // divides into whole bytes of a bitmap

// NewColumns makes empty columns. They hold little until the first row: a
// backfill may open thousands of days at once.
func NewColumns(d *Definition) *Columns {
	c := &Columns{
		def:    d,
		schema: d.Arrow(),
		cols:   make([]column, len(d.Fields)),
		bytes:  int64(len(d.Fields)) * int64(unsafe.Sizeof(column{})),
	}
	for i := range d.Fields {
		c.cols[i].kind = d.Fields[i].Kind
		c.all.add(i)
		if d.Fields[i].Kind == Binary {
			c.binaries.add(i)
		}
	}
	return c
}

// Definition is what the rows are rows of.
func (c *Columns) Definition() *Definition { return c.def }

// Len is the number of committed rows.
func (c *Columns) Len() int { return c.n }

// Bytes is the memory the buffers hold, used or not: what a budget must count.
func (c *Columns) Bytes() int64 { return c.bytes }

// Reset forgets every row and keeps the memory. Records made of the rows must be
// done with.
func (c *Columns) Reset() {
	used := (c.n + 7) / 8
	for i := range c.cols {
		col := &c.cols[i]
		if col.nulls > 0 {
			fill(col.valid[:used])
			col.nulls = 0
		}
		switch col.kind {
		case String:
			col.dict.clear()
		case Binary:
			col.data = col.data[:0]
		}
	}
	c.n, c.settled = 0, 0
	c.set = bitset{}
	c.added = c.added[:0]
}

// fill sets every bit.
func fill(bitmap []byte) {
	for i := range bitmap {
		bitmap[i] = 0xff
	}
}

// Begin opens a row. A row left open is rolled back.
func (c *Columns) Begin() {
	c.Rollback()
	if c.n == c.cap {
		c.grow(c.n + 1)
	}
}

// Reserve makes room for so many rows at once. Rows that come one after the other
// find it by doubling.
func (c *Columns) Reserve(rows int) { c.grow(rows) }

// Room is how many rows may be added before the fixed-width buffers, which double,
// hold more than limit bytes with the rest.
func (c *Columns) Room(limit int64) int {
	var width int64
	for i := range c.cols {
		width += int64(c.cols[i].width())
	}
	if c.bytes+max(width, 1) <= limit {
		return math.MaxInt32
	}
	return c.cap - c.n
}

// grow makes room for at least rows rows.
func (c *Columns) grow(rows int) {
	if rows <= c.cap {
		return
	}
	c.cap = capacity(c.cap, rows)
	for i := range c.cols {
		col := &c.cols[i]
		before := col.width()
		col.grow(c.cap)
		c.bytes += int64(col.width() - before)
	}
}

func (col *column) grow(rows int) {
	was := len(col.valid)
	col.valid = extend(col.valid, rows/8)
	fill(col.valid[was:])
	switch col.kind {
	case String, Int32, Date:
		col.i32 = extend(col.i32, rows)
	case Int64, Timestamp:
		col.i64 = extend(col.i64, rows)
	case Float64:
		col.f64 = extend(col.f64, rows)
	case Decimal:
		col.dec = extend(col.dec, rows)
	case Bool:
		col.bits = extend(col.bits, rows/8)
	case Binary:
		col.ends = extend(col.ends, rows+1)
	}
}

// extend is s with length n, what is new being zero.
func extend[T any](s []T, n int) []T {
	longer := make([]T, n)
	copy(longer, s)
	return longer
}

// width is the memory of the buffers that grow with the rows.
func (col *column) width() int {
	return len(col.valid) + 4*len(col.i32) + 8*len(col.i64) + 8*len(col.f64) +
		16*len(col.dec) + len(col.bits) + 4*len(col.ends)
}

// mark notes that the open row has a value for the column.
func (c *Columns) mark(col int) { c.set.add(col) }

// SetString sets the open row's value of a String column, as the setters below
// do for theirs; the last value set counts. The bytes are copied.
func (c *Columns) SetString(col int, v []byte) {
	d := &c.cols[col].dict
	e, added := d.last, false
	if int(e) >= len(d.hashes) || string(d.value(e)) != string(v) {
		e, added = c.intern(col, v)
	}
	if added {
		c.added = append(c.added, int32(col))
	}
	c.cols[col].i32[c.n] = e
	c.mark(col)
}

// setKnown is SetString for a value that the column's dictionary has already. For
// one that it has not, nothing is set, and hash is the value's for setNew.
func (c *Columns) setKnown(col int, v []byte) (hash uint64, known bool) {
	d := &c.cols[col].dict
	e := d.last
	if int(e) >= len(d.hashes) || string(d.value(e)) != string(v) {
		if hash, e = d.find(v); e < 0 {
			return hash, false
		}
	}
	c.setEntry(col, e)
	return 0, true
}

// setNew is SetString for a value that setKnown did not know.
func (c *Columns) setNew(col int, v []byte, hash uint64) {
	d := &c.cols[col].dict
	before := d.held()
	e, _ := d.internHashed(v, hash)
	c.bytes += int64(d.held() - before)
	c.added = append(c.added, int32(col))
	c.setEntry(col, e)
}

// intern numbers v in the column's dictionary and accounts for what it grew by.
func (c *Columns) intern(col int, v []byte) (entry int32, added bool) {
	d := &c.cols[col].dict
	before := d.held()
	entry, added = d.intern(v)
	if added {
		c.bytes += int64(d.held() - before)
	}
	return entry, added
}

// setEntry sets a String column to an entry that its dictionary has already.
func (c *Columns) setEntry(col int, entry int32) {
	c.cols[col].i32[c.n] = entry
	c.mark(col)
}

// staged is the entry that the open row has in a String column.
func (c *Columns) staged(col int) int32 { return c.cols[col].i32[c.n] }

// SetBinary copies v.
func (c *Columns) SetBinary(col int, v []byte) {
	b := &c.cols[col]
	before := cap(b.data)
	b.data = append(b.data[:b.ends[c.n]], v...)
	c.bytes += int64(cap(b.data) - before)
	b.ends[c.n+1] = int32(len(b.data))
	c.mark(col)
}

// SetInt32 sets an Int32 column.
func (c *Columns) SetInt32(col int, v int32) {
	c.cols[col].i32[c.n] = v
	c.mark(col)
}

// SetInt64 sets an Int64 column.
func (c *Columns) SetInt64(col int, v int64) {
	c.cols[col].i64[c.n] = v
	c.mark(col)
}

// SetFloat64 sets a Float64 column.
func (c *Columns) SetFloat64(col int, v float64) {
	c.cols[col].f64[c.n] = v
	c.mark(col)
}

// SetBool sets a Bool column.
func (c *Columns) SetBool(col int, v bool) {
	b := c.cols[col].bits
	if v {
		b[c.n/8] |= 1 << (c.n % 8)
	} else {
		b[c.n/8] &^= 1 << (c.n % 8)
	}
	c.mark(col)
}

// SetDecimal sets a Decimal column to unscaled / 10^scale.
func (c *Columns) SetDecimal(col int, unscaled int64) {
	c.cols[col].dec[c.n] = decimal128.New(unscaled>>63, uint64(unscaled))
	c.mark(col)
}

// SetTimestamp sets a Timestamp column, in microseconds since the epoch.
func (c *Columns) SetTimestamp(col int, micros int64) { c.SetInt64(col, micros) }

// SetDate sets a Date column, in days since the epoch.
func (c *Columns) SetDate(col int, days int32) { c.SetInt32(col, days) }

// Commit makes the open row a row; what was not set is null.
func (c *Columns) Commit() {
	if c.set != c.like {
		c.settle()
		c.like = c.set
	}
	for w := range c.def.words {
		for missing := c.binaries[w] &^ c.set[w]; missing != 0; missing &= missing - 1 {
			c.cols[w*64+bits.TrailingZeros64(missing)].empty(c.n)
		}
		c.set[w] = 0
	}
	c.added = c.added[:0]
	c.n++
}

// Rollback forgets the open row.
func (c *Columns) Rollback() {
	for i := len(c.added) - 1; i >= 0; i-- {
		d := &c.cols[c.added[i]].dict
		d.truncate(d.len() - 1)
	}
	c.added = c.added[:0]
	c.set = bitset{}
}

// EventMicros is the row's event time in microseconds since the epoch.
func (c *Columns) EventMicros(row int) int64 {
	col := &c.cols[c.def.TimeField]
	if col.kind == Date {
		return int64(col.i32[row]) * dayMicros
	}
	return col.i64[row]
}

// Day is the row's partition: the UTC day of its event time, as days since the
// epoch.
func (c *Columns) Day(row int) int32 {
	col := &c.cols[c.def.TimeField]
	if col.kind == Date {
		return col.i32[row]
	}
	return int32(floorDiv(col.i64[row], dayMicros))
}

// Symbol is the row's symbol. It aliases a buffer: valid until Reset.
func (c *Columns) Symbol(row int) string {
	c.settle()
	col := &c.cols[c.def.SymbolField]
	if col.isNull(row) {
		return ""
	}
	return col.dict.text(col.i32[row])
}

// Record wraps the rows as an Arrow record without copying them. The columns must
// not be touched until the record is done with.
func (c *Columns) Record() arrow.RecordBatch {
	c.settle()
	arrays := make([]arrow.Array, len(c.cols))
	for i := range c.cols {
		arrays[i] = c.cols[i].array(c.schema.Field(i).Type, c.n)
	}
	rec := array.NewRecordBatch(c.schema, arrays, int64(c.n))
	for _, a := range arrays {
		a.Release()
	}
	return rec
}

func (col *column) array(t arrow.DataType, n int) arrow.Array {
	var valid *memory.Buffer
	if col.nulls > 0 {
		valid = memory.NewBufferBytes(col.valid[:(n+7)/8])
	}
	var data *array.Data
	switch col.kind {
	case String:
		values := col.dict.array()
		defer values.Release()
		data = array.NewDataWithDictionary(t, n, []*memory.Buffer{valid, buffer(col.i32[:n])}, col.nulls, 0, values.(*array.Data))
	case Binary:
		ends := []int32{0}
		if n > 0 {
			ends = col.ends[:n+1]
		}
		data = array.NewData(t, n, []*memory.Buffer{valid, buffer(ends), memory.NewBufferBytes(col.data)}, nil, col.nulls, 0)
	default:
		data = array.NewData(t, n, []*memory.Buffer{valid, col.fixed(n)}, nil, col.nulls, 0)
	}
	defer data.Release()
	return array.MakeFromData(data)
}

// fixed is the buffer of a kind whose values are all of one width.
func (col *column) fixed(n int) *memory.Buffer {
	switch col.kind {
	case Int32, Date:
		return buffer(col.i32[:n])
	case Float64:
		return buffer(col.f64[:n])
	case Decimal:
		return buffer(col.dec[:n])
	case Bool:
		return memory.NewBufferBytes(col.bits[:(n+7)/8])
	default:
		return buffer(col.i64[:n])
	}
}

func (d *dictionary) array() arrow.ArrayData {
	ends := []int32{0}
	if len(d.ends) > 0 {
		ends = d.ends
	}
	return array.NewData(arrow.BinaryTypes.String, d.len(), []*memory.Buffer{nil, buffer(ends), memory.NewBufferBytes(d.arena)}, nil, 0, 0)
}

// buffer is the memory of s as an Arrow buffer.
func buffer[T int32 | int64 | float64 | decimal128.Num](s []T) *memory.Buffer {
	size := len(s) * int(unsafe.Sizeof(*new(T)))
	return memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size))
}
