package schema

import "math/bits"

// settle makes null what is null in the rows that Commit has left for later: those
// from settled on, which all lack the same columns. Rows mostly do, and together they
// cost less. Who looks at nulls, or at what is under them, settles first.
func (c *Columns) settle() {
	if c.settled == c.n {
		return
	}
	for w := range c.def.words {
		for missing := c.all[w] &^ c.like[w]; missing != 0; missing &= missing - 1 {
			c.cols[w*64+bits.TrailingZeros64(missing)].null(c.settled, c.n)
		}
	}
	c.settled = c.n
}

// empty gives a row of a Binary no bytes.
func (col *column) empty(row int) {
	col.data = col.data[:col.ends[row]]
	col.ends[row+1] = col.ends[row]
}

// null makes rows null. The values under them are zeroed: buffers are compared and
// compressed as they are. (Those of a Binary are empty already.)
func (col *column) null(from, to int) {
	col.nulls += to - from
	clearBits(col.valid, from, to)
	switch col.kind {
	case String, Int32, Date:
		clear(col.i32[from:to])
	case Int64, Timestamp:
		clear(col.i64[from:to])
	case Float64:
		clear(col.f64[from:to])
	case Decimal:
		clear(col.dec[from:to])
	case Bool:
		clearBits(col.bits, from, to)
	}
}

// clearBits clears the bits [from, to).
func clearBits(bitmap []byte, from, to int) {
	for ; from < to && from%8 != 0; from++ {
		bitmap[from/8] &^= 1 << (from % 8)
	}
	for ; from+8 <= to; from += 8 {
		bitmap[from/8] = 0
	}
	for ; from < to; from++ {
		bitmap[from/8] &^= 1 << (from % 8)
	}
}

// isNull reports whether a settled row has no value in the column.
func (col *column) isNull(row int) bool {
	return col.nulls > 0 && col.valid[row/8]&(1<<(row%8)) == 0
}
