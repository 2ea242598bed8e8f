package schema

import "unsafe"

// Growth is the most that Append of so many rows of src adds to Bytes, so that the
// memory can be had, or refused, before it is taken.
func (c *Columns) Growth(src *Columns, rows int) int64 {
	grown := 0
	if room := capacity(c.cap, c.n+rows); room > c.cap {
		grown = rowsWidth(c.def, room) - rowsWidth(c.def, c.cap)
	}
	for i := range c.cols {
		switch col, from := &c.cols[i], &src.cols[i]; col.kind {
		case String:
			grown += col.dict.growth(min(rows, from.dict.len()), len(from.dict.arena))
		case Binary:
			grown += appended(len(col.data), cap(col.data), len(from.data), 1)
		}
	}
	return int64(grown)
}

// Text is the bytes of the distinct strings and the binaries of all rows.
func (c *Columns) Text() int {
	n := 0
	for i := range c.cols {
		n += len(c.cols[i].dict.arena) + len(c.cols[i].data)
	}
	return n
}

// ColumnsBytes is the most that columns of a definition take with room for so many
// rows, of which some have values, with text bytes in their strings.
func ColumnsBytes(def *Definition, room, rows, text int) int64 {
	bytes := len(def.Fields)*int(unsafe.Sizeof(column{})) + rowsWidth(def, capacity(0, room)) + appended(0, 0, text, 1)
	for i := range def.Fields {
		switch def.Fields[i].Kind {
		case String:
			bytes += new(dictionary).growth(rows, 1)
		case Binary:
			bytes += appended(0, 0, 1, 1)
		}
	}
	return int64(bytes)
}

// capacity is the room that columns with room for so many rows make for more.
func capacity(room, rows int) int {
	if rows <= room {
		return room
	}
	return max(minRows, 2*room, (rows+7)&^7)
}

// rowsWidth is the memory of the buffers that grow with the rows, see column.width.
func rowsWidth(def *Definition, rows int) int {
	if rows == 0 {
		return 0
	}
	bits, extra := 0, 0
	for i := range def.Fields {
		bits++ // whether it is null
		switch def.Fields[i].Kind {
		case String, Int32, Date:
			bits += 32
		case Binary: // ends, one more than rows
			bits += 32
			extra += 4
		case Int64, Timestamp, Float64:
			bits += 64
		case Decimal:
			bits += 128
		case Bool:
			bits++
		}
	}
	return bits*rows/8 + extra
}

// growth is the most that so many more entries of so many bytes add to held.
func (d *dictionary) growth(entries, text int) int {
	n := len(d.hashes)
	table := 0
	if 2*(n+entries) > len(d.table) {
		table = 4*max(minTable, 4*(n+entries)) - 4*len(d.table)
	}
	return table + appended(n, cap(d.hashes), entries, 8) + appended(n+1, cap(d.ends), entries, 4) +
		appended(len(d.arena), cap(d.arena), text, 1)
}

// appended is the most that a slice grows by, in bytes, when more elements of that
// size are appended, one by one or at once: it doubles at most, and is rounded up to
// what the allocator has.
func appended(length, capacity, more, size int) int {
	if length+more <= capacity {
		return 0
	}
	n := 2 * (length + more) * size
	return n + n/4 + 64 - capacity*size
}
