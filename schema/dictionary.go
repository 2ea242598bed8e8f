package schema

import (
	"hash/maphash"
	"unsafe"
)

// seed is the one hash seed of the process, so that a hash made for one
// dictionary serves every other. Nothing that is stored depends on it: entries
// are numbered in the order they come.
var seed = maphash.MakeSeed()

// A dictionary numbers the distinct values of a String column. It is an
// open-addressing table over one arena of bytes; the last value is tried first,
// because neighbours mostly agree.
type dictionary struct {
	arena  []byte
	ends   []int32  // ends[i+1] is the end of entry i in arena; ends[0] is 0
	hashes []uint64 // of the entries
	table  []int32  // entry+1, or 0; a power of two long, at most half full
	last   int32    // the entry met last
	raw    int32    // the entry of a string that JSON last wrote as it is, without escapes, +1; or 0
}

const minTable = 16

func (d *dictionary) len() int { return len(d.hashes) }

// value is an entry's bytes; it aliases the arena.
func (d *dictionary) value(i int32) []byte {
	return d.arena[d.ends[i]:d.ends[i+1]:d.ends[i+1]]
}

// text is value as a string, valid until the dictionary is cleared.
func (d *dictionary) text(i int32) string {
	v := d.value(i)
	return unsafe.String(unsafe.SliceData(v), len(v))
}

// intern is the number of v, and whether v is new.
func (d *dictionary) intern(v []byte) (entry int32, added bool) {
	if l := d.last; int(l) < len(d.hashes) && string(d.value(l)) == string(v) {
		return l, false
	}
	return d.internHashed(v, maphash.Bytes(seed, v))
}

// find is the hash of v and its number, which is -1 where it has none yet.
func (d *dictionary) find(v []byte) (hash uint64, entry int32) {
	hash = maphash.Bytes(seed, v)
	if len(d.hashes) == 0 {
		return hash, -1
	}
	mask := uint64(len(d.table) - 1)
	for at := hash & mask; d.table[at] != 0; at = (at + 1) & mask {
		e := d.table[at] - 1
		if d.hashes[e] == hash && string(d.value(e)) == string(v) {
			d.last = e
			return hash, e
		}
	}
	return hash, -1
}

// internHashed is intern for a value whose hash is known.
func (d *dictionary) internHashed(v []byte, h uint64) (entry int32, added bool) {
	if 2*(len(d.hashes)+1) > len(d.table) {
		d.rehash()
	}
	mask := uint64(len(d.table) - 1)
	at := h & mask
	for ; d.table[at] != 0; at = (at + 1) & mask {
		e := d.table[at] - 1
		if d.hashes[e] == h && string(d.value(e)) == string(v) {
			d.last = e
			return e, false
		}
	}
	e := int32(len(d.hashes))
	d.table[at] = e + 1
	d.hashes = append(d.hashes, h)
	d.arena = append(d.arena, v...)
	d.ends = append(d.ends, int32(len(d.arena)))
	d.last = e
	return e, true
}

func (d *dictionary) rehash() {
	d.table = make([]int32, max(minTable, 2*len(d.table)))
	if len(d.ends) == 0 {
		d.ends = append(d.ends, 0)
	}
	mask := uint64(len(d.table) - 1)
	for e, h := range d.hashes {
		at := h & mask
		for d.table[at] != 0 {
			at = (at + 1) & mask
		}
		d.table[at] = int32(e) + 1
	}
}

// truncate forgets the entries from n on. Taking them out newest first leaves
// every probe sequence whole: no older entry was ever placed past a newer one.
func (d *dictionary) truncate(n int) {
	for e := len(d.hashes) - 1; e >= n; e-- {
		d.table[d.slot(int32(e))] = 0
	}
	if n < len(d.hashes) {
		d.hashes = d.hashes[:n]
		d.ends = d.ends[:n+1]
		d.arena = d.arena[:d.ends[n]]
	}
	d.last, d.raw = 0, 0
}

func (d *dictionary) slot(e int32) uint64 {
	mask := uint64(len(d.table) - 1)
	at := d.hashes[e] & mask
	for d.table[at] != e+1 {
		at = (at + 1) & mask
	}
	return at
}

// clear forgets every entry and keeps the memory. A table that is nearly empty
// is emptied entry by entry: one large message must not make every later small
// one pay for its table.
func (d *dictionary) clear() {
	if 8*len(d.hashes) < len(d.table) {
		d.truncate(0)
		return
	}
	clear(d.table)
	d.hashes, d.arena, d.last, d.raw = d.hashes[:0], d.arena[:0], 0, 0
	if len(d.ends) > 0 {
		d.ends = d.ends[:1]
	}
}

// held is the memory the dictionary holds, in bytes.
func (d *dictionary) held() int {
	return cap(d.arena) + 4*cap(d.ends) + 8*cap(d.hashes) + 4*len(d.table)
}
