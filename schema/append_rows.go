package schema

// AppendRows is Append for rows that do not lie together: a copy of each run would
// cost more than the rows.
func (c *Columns) AppendRows(src *Columns, rows []int32) {
	c.Rollback()
	if len(rows) == 0 {
		return
	}
	c.settle()
	src.settle()
	c.grow(c.n + len(rows))
	for i := range c.cols {
		c.appendRows(i, &src.cols[i], rows)
	}
	c.n += len(rows)
	c.settled = c.n
}

func (c *Columns) appendRows(i int, src *column, rows []int32) {
	col, n := &c.cols[i], c.n
	switch col.kind {
	case String:
		c.appendStringsOf(i, src, rows)
	case Int32, Date:
		pick(col.i32[n:], src.i32, rows)
	case Int64, Timestamp:
		pick(col.i64[n:], src.i64, rows)
	case Float64:
		pick(col.f64[n:], src.f64, rows)
	case Decimal:
		pick(col.dec[n:], src.dec, rows)
	case Bool:
		for at, row := range rows {
			copyBit(col.bits, n+at, src.bits, int(row))
		}
	case Binary:
		for at, row := range rows {
			before := cap(col.data)
			col.data = append(col.data[:col.ends[n+at]], src.data[src.ends[row]:src.ends[row+1]]...)
			c.bytes += int64(cap(col.data) - before)
			col.ends[n+at+1] = int32(len(col.data))
		}
	}
	if src.nulls == 0 {
		return
	}
	for at, row := range rows {
		if src.isNull(int(row)) {
			col.valid[(n+at)/8] &^= 1 << ((n + at) % 8)
			col.nulls++
		}
	}
}

// pick copies the values of rows.
func pick[T any](dst, src []T, rows []int32) {
	dst = dst[:len(rows)]
	for at, row := range rows {
		dst[at] = src[row]
	}
}

// appendStringsOf is appendStrings of rows that do not lie together.
func (c *Columns) appendStringsOf(i int, src *column, rows []int32) {
	to := c.cols[i].i32[c.n : c.n+len(rows)]
	entries := src.dict.len()
	if entries == 0 { // all null
		clear(to)
		return
	}
	if len(rows) < entries/4 {
		for at, row := range rows {
			to[at] = c.translate(i, src, int(row))
		}
		return
	}
	remap := c.remapOf(entries)
	for at, row := range rows {
		if src.nulls > 0 && src.isNull(int(row)) { // the zero under it is no entry of its own
			to[at] = 0
			continue
		}
		e := src.i32[row]
		if remap[e] == 0 {
			remap[e] = c.translate(i, src, int(row)) + 1
		}
		to[at] = remap[e] - 1
	}
}

// remapOf is scratch for the entries of a dictionary, all zero.
func (c *Columns) remapOf(entries int) []int32 {
	if cap(c.remap) < entries {
		c.remap = make([]int32, entries)
	}
	remap := c.remap[:entries]
	clear(remap)
	return remap
}

// AppendPackedRows is AppendPacked for rows that do not lie together.
func (c *Columns) AppendPackedRows(dst []byte, rows []int32) []byte {
	c.settle()
	for _, row := range rows {
		dst = c.packRow(dst, int(row))
	}
	return dst
}
