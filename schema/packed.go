package schema

import (
	"encoding/binary"
	"math"
)

// AppendPacked appends the rows [from, to) to dst in a form of their own, row by
// row: a bitmap of the fields that have a value, and the values. It takes about
// what the values take, however few the rows are, where columns take a buffer for
// every field. What Unpack makes of it are the same rows.
//
// The form is for memory only: it depends on the definition and on nothing that is
// kept.
func (c *Columns) AppendPacked(dst []byte, from, to int) []byte {
	c.settle()
	for row := from; row < to; row++ {
		dst = c.packRow(dst, row)
	}
	return dst
}

func (c *Columns) packRow(dst []byte, row int) []byte {
	at := len(dst)
	for range (len(c.cols) + 7) / 8 {
		dst = append(dst, 0)
	}
	for i := range c.cols {
		col := &c.cols[i]
		if col.isNull(row) {
			continue
		}
		dst[at+i/8] |= 1 << (i % 8)
		dst = col.packValue(dst, row)
	}
	return dst
}

func (col *column) packValue(dst []byte, row int) []byte {
	switch col.kind {
	case String:
		v := col.dict.value(col.i32[row])
		return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	case Binary:
		v := col.data[col.ends[row]:col.ends[row+1]]
		return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	case Int32, Date:
		return binary.AppendVarint(dst, int64(col.i32[row]))
	case Int64, Timestamp:
		return binary.AppendVarint(dst, col.i64[row])
	case Float64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(col.f64[row]))
	case Decimal: // of at most 18 digits: the high half is the sign
		return binary.AppendVarint(dst, int64(col.dec[row].LowBits()))
	case Bool:
		return append(dst, col.bits[row/8]>>(row%8)&1)
	}
	return dst
}

// Unpack appends the rows that AppendPacked made of Columns of the same definition,
// of which there are rows in all.
func (c *Columns) Unpack(packed []byte, rows int) {
	c.Rollback()
	c.grow(c.n + rows)
	for range rows {
		packed = c.unpackRow(packed)
	}
}

func (c *Columns) unpackRow(b []byte) []byte {
	c.Begin()
	bitmap := b[:(len(c.cols)+7)/8]
	b = b[len(bitmap):]
	for i := range c.cols {
		if bitmap[i/8]&(1<<(i%8)) != 0 {
			b = c.unpackValue(i, b)
		}
	}
	c.Commit()
	return b
}

func (c *Columns) unpackValue(i int, b []byte) []byte {
	switch c.cols[i].kind {
	case String, Binary:
		n, width := binary.Uvarint(b)
		v := b[width : width+int(n)]
		if c.cols[i].kind == String {
			c.SetString(i, v)
		} else {
			c.SetBinary(i, v)
		}
		return b[width+int(n):]
	case Float64:
		c.SetFloat64(i, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		return b[8:]
	case Bool:
		c.SetBool(i, b[0] != 0)
		return b[1:]
	}
	v, width := binary.Varint(b)
	switch c.cols[i].kind {
	case Int32, Date:
		c.SetInt32(i, int32(v))
	case Decimal:
		c.SetDecimal(i, v)
	default:
		c.SetInt64(i, v)
	}
	return b[width:]
}
