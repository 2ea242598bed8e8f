package schema

// Append copies the rows [from, to) of src, which must be of the same
// definition, column by column. Strings are numbered anew, each distinct one
// once. An open row of c is rolled back.
func (c *Columns) Append(src *Columns, from, to int) {
	c.Rollback()
	if from >= to {
		return
	}
	c.settle()
	src.settle()
	c.grow(c.n + to - from)
	for i := range c.cols {
		c.append(i, &src.cols[i], from, to)
	}
	c.n += to - from
	c.settled = c.n
}

func (c *Columns) append(i int, src *column, from, to int) {
	col, n := &c.cols[i], c.n
	switch col.kind {
	case String:
		c.appendStrings(i, src, from, to)
	case Int32, Date:
		copy(col.i32[n:], src.i32[from:to])
	case Int64, Timestamp:
		copy(col.i64[n:], src.i64[from:to])
	case Float64:
		copy(col.f64[n:], src.f64[from:to])
	case Decimal:
		copy(col.dec[n:], src.dec[from:to])
	case Bool:
		for row := from; row < to; row++ {
			copyBit(col.bits, n+row-from, src.bits, row)
		}
	case Binary:
		c.appendBinary(col, src, from, to)
	}
	if src.nulls == 0 {
		return
	}
	for row := from; row < to; row++ {
		if src.isNull(row) {
			at := n + row - from
			col.valid[at/8] &^= 1 << (at % 8)
			col.nulls++
		}
	}
}

func copyBit(dst []byte, at int, src []byte, from int) {
	if src[from/8]&(1<<(from%8)) != 0 {
		dst[at/8] |= 1 << (at % 8)
	} else {
		dst[at/8] &^= 1 << (at % 8)
	}
}

func (c *Columns) appendBinary(col, src *column, from, to int) {
	before := cap(col.data)
	shift := col.ends[c.n] - src.ends[from]
	col.data = append(col.data[:col.ends[c.n]], src.data[src.ends[from]:src.ends[to]]...)
	c.bytes += int64(cap(col.data) - before)
	for row := from; row < to; row++ {
		col.ends[c.n+row-from+1] = src.ends[row+1] + shift
	}
}

// appendStrings translates entry numbers. remap holds those already translated,
// unless the range is so short that clearing it would cost more than looking up.
func (c *Columns) appendStrings(i int, src *column, from, to int) {
	col := &c.cols[i]
	entries := src.dict.len()
	if entries == 0 { // all null
		clear(col.i32[c.n : c.n+to-from])
		return
	}
	if to-from < entries/4 || to-from == 1 {
		for row := from; row < to; row++ {
			col.i32[c.n+row-from] = c.translate(i, src, row)
		}
		return
	}
	remap := c.remapOf(entries)
	for row := from; row < to; row++ {
		if src.isNull(row) {
			col.i32[c.n+row-from] = 0
			continue
		}
		e := src.i32[row]
		if remap[e] == 0 {
			remap[e] = c.translate(i, src, row) + 1
		}
		col.i32[c.n+row-from] = remap[e] - 1
	}
}

// translate is the entry of c for the value of a row of src. A null keeps the
// zero that its row has, and adds no entry.
func (c *Columns) translate(i int, src *column, row int) int32 {
	if src.isNull(row) {
		return 0
	}
	e := src.i32[row]
	d := &c.cols[i].dict
	v := src.dict.value(e)
	if l := d.last; int(l) < d.len() && string(d.value(l)) == string(v) {
		return l
	}
	before := d.held()
	at, added := d.internHashed(v, src.dict.hashes[e])
	if added {
		c.bytes += int64(d.held() - before)
	}
	return at
}
