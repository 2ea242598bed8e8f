package embedded

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
)

// A seqset is a set of message numbers that fills up from below: every number
// under its floor, and bits above it. A chunk of bits that is full ends when the
// floor passes it, so what it holds is bounded by the spread of what is missing.
type seqset struct {
	floor  uint64
	chunks map[uint64]*chunkBits
}

const chunkLen = 4096

type chunkBits [chunkLen / 64]uint64

// A span is the numbers from first, so many.
type span struct{ first, count uint64 }

func (s *seqset) has(n uint64) bool {
	if n < s.floor {
		return true
	}
	c := s.chunks[n/chunkLen]
	return c != nil && c[n%chunkLen/64]&(1<<(n%64)) != 0
}

// add reports whether n is new.
func (s *seqset) add(n uint64) bool {
	if s.has(n) {
		return false
	}
	if n == s.floor {
		s.floor++
		s.rise()
		return true
	}
	if s.chunks == nil {
		s.chunks = map[uint64]*chunkBits{}
	}
	c := s.chunks[n/chunkLen]
	if c == nil {
		c = new(chunkBits)
		s.chunks[n/chunkLen] = c
	}
	c[n%chunkLen/64] |= 1 << (n % 64)
	return true
}

// raise puts every number below n into the set.
func (s *seqset) raise(n uint64) {
	if n <= s.floor {
		return
	}
	if n/chunkLen-s.floor/chunkLen > uint64(len(s.chunks)) {
		maps.DeleteFunc(s.chunks, func(i uint64, _ *chunkBits) bool { return i < n/chunkLen })
	} else {
		for i := s.floor / chunkLen; i < n/chunkLen; i++ {
			delete(s.chunks, i)
		}
	}
	s.floor = n
	s.rise()
}

// rise moves the floor over the bits that are set right above it.
func (s *seqset) rise() {
	for len(s.chunks) > 0 {
		i := s.floor / chunkLen
		c := s.chunks[i]
		if c == nil {
			return
		}
		w := s.floor % chunkLen / 64
		run := uint64(bits.TrailingZeros64(^(c[w] >> (s.floor % 64))))
		run = min(run, 64-s.floor%64)
		s.floor += run
		if s.floor/chunkLen > i {
			delete(s.chunks, i)
			continue
		}
		if s.floor%64 != 0 || run == 0 {
			return
		}
	}
}

// next is the first number at or above n, below end, that is not in the set; end
// if there is none.
func (s *seqset) next(n, end uint64) uint64 {
	n = max(n, s.floor)
	for n < end {
		c := s.chunks[n/chunkLen]
		if c == nil {
			return n
		}
		free := ^c[n%chunkLen/64] >> (n % 64)
		if free != 0 {
			return min(n+uint64(bits.TrailingZeros64(free)), end)
		}
		n = (n/64 + 1) * 64
	}
	return end
}

// above lists what is in the set above its floor.
func (s *seqset) above() []span {
	var all []span
	for _, i := range slices.SortedFunc(maps.Keys(s.chunks), cmp.Compare) {
		for w, word := range s.chunks[i] {
			for at := uint64(0); word>>at != 0; {
				at += uint64(bits.TrailingZeros64(word >> at))
				run := uint64(bits.TrailingZeros64(^(word >> at)))
				first := i*chunkLen + uint64(w)*64 + at
				if last := len(all) - 1; last >= 0 && all[last].first+all[last].count == first {
					all[last].count += run
				} else {
					all = append(all, span{first, run})
				}
				if at += run; at >= 64 {
					break
				}
			}
		}
	}
	return trimmed(all, s.floor)
}

// trimmed leaves out what lies below a floor: bits of a chunk that the floor is in.
func trimmed(all []span, floor uint64) []span {
	kept := all[:0]
	for _, sp := range all {
		if end := sp.first + sp.count; end > floor {
			first := max(sp.first, floor)
			kept = append(kept, span{first, end - first})
		}
	}
	return kept
}

// count is how many numbers from the floor to end are not in the set.
func (s *seqset) missing(end uint64) uint64 {
	if end <= s.floor {
		return 0
	}
	n := end - s.floor
	for i, c := range s.chunks {
		for w, word := range c {
			base := i*chunkLen + uint64(w)*64
			if base+64 <= s.floor || base >= end {
				continue
			}
			if base < s.floor {
				word &^= 1<<(s.floor-base) - 1
			}
			if end-base < 64 {
				word &= 1<<(end-base) - 1
			}
			n -= uint64(bits.OnesCount64(word))
		}
	}
	return n
}

func (s *seqset) clone() seqset {
	c := seqset{floor: s.floor}
	if len(s.chunks) > 0 {
		c.chunks = make(map[uint64]*chunkBits, len(s.chunks))
		for i, b := range s.chunks {
			copied := *b
			c.chunks[i] = &copied
		}
	}
	return c
}

// spans packs numbers, which it sorts, into runs.
func spans(seqs []uint64) []span {
	slices.Sort(seqs)
	var all []span
	for _, n := range seqs {
		if last := len(all) - 1; last >= 0 && n < all[last].first+all[last].count {
			continue
		} else if last >= 0 && n == all[last].first+all[last].count {
			all[last].count++
			continue
		}
		all = append(all, span{n, 1})
	}
	return all
}
