package schema

// MaxFields is how many columns a definition may have, the system's included.
const MaxFields = 256

// A bitset is a set of fields.
type bitset [MaxFields / 64]uint64

func (s *bitset) add(f int)      { s[uint8(f)/64] |= 1 << (uint8(f) % 64) }
func (s *bitset) remove(f int)   { s[uint8(f)/64] &^= 1 << (uint8(f) % 64) }
func (s *bitset) has(f int) bool { return s[uint8(f)/64]&(1<<(uint8(f)%64)) != 0 }

// holds reports whether all of o is in s.
func (s *bitset) holds(o *bitset) bool {
	return (o[0]&^s[0])|(o[1]&^s[1])|(o[2]&^s[2])|(o[3]&^s[3]) == 0
}
