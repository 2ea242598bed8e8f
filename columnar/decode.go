package columnar

import (
	"encoding/binary"
	"fmt"
	"math"
)

var errShort = fmt.Errorf("values end early: %w", ErrCorrupt)

// hybrid decodes len(dst) values of the RLE and bit-packing hybrid of the given
// bit width.
func hybrid(b []byte, width uint, dst []int32) error {
	if width > 32 {
		return fmt.Errorf("bit width %d: %w", width, ErrCorrupt)
	}
	for len(dst) > 0 {
		head, n := binary.Uvarint(b)
		if n <= 0 || head > math.MaxUint32 {
			return errShort
		}
		b = b[n:]
		var done int
		var err error
		if head&1 == 0 {
			done, b, err = repeated(b, width, int(head>>1), dst)
		} else {
			done, b, err = packed(b, width, int(head>>1)*8, dst)
		}
		if err != nil {
			return err
		}
		dst = dst[done:]
	}
	return nil
}

func repeated(b []byte, width uint, count int, dst []int32) (int, []byte, error) {
	size := int(width+7) / 8
	if len(b) < size || count == 0 {
		return 0, nil, errShort
	}
	var v uint32
	for i := range size {
		v |= uint32(b[i]) << (8 * i)
	}
	count = min(count, len(dst))
	for i := range dst[:count] {
		dst[i] = int32(v)
	}
	return count, b[size:], nil
}

// packed unpacks groups of eight values. The last group may be cut short.
func packed(b []byte, width uint, count int, dst []int32) (int, []byte, error) {
	size := (count*int(width) + 7) / 8
	count = min(count, len(dst))
	if count == 0 || len(b) < (count*int(width)+7)/8 {
		return 0, nil, errShort
	}
	mask := uint64(1)<<width - 1
	bit := uint(0)
	for i := range dst[:count] {
		dst[i] = int32(load(b, bit>>3) >> (bit & 7) & mask)
		bit += width
	}
	return count, b[min(size, len(b)):], nil
}

// load reads eight bytes from at, zeros beyond the end.
func load(b []byte, at uint) uint64 {
	if at+8 <= uint(len(b)) {
		return binary.LittleEndian.Uint64(b[at:])
	}
	var v uint64
	for i := at; i < uint(len(b)); i++ {
		v |= uint64(b[i]) << (8 * (i - at))
	}
	return v
}

// deltas decodes DELTA_BINARY_PACKED into dst, which it must fill exactly.
func deltas[T int32 | int64](b []byte, dst []T) error {
	d := deltaHeader{b: b}
	block, minis, total := d.uvarint(), d.uvarint(), d.uvarint()
	value := d.varint()
	if d.bad || total != uint64(len(dst)) || minis == 0 || minis > 1024 || block > 1<<20 ||
		block%128 != 0 || block%minis != 0 || block/minis%32 != 0 || block == 0 {
		return fmt.Errorf("delta header of %d values in blocks of %d, want %d values: %w", total, block, len(dst), ErrCorrupt)
	}
	if len(dst) == 0 {
		return nil
	}
	dst[0] = T(value)
	dst = dst[1:]
	for len(dst) > 0 {
		least := d.varint()
		widths := d.take(int(minis))
		if d.bad {
			return errShort
		}
		for _, w := range widths {
			if len(dst) == 0 {
				break
			}
			n := min(int(block/minis), len(dst))
			body := d.takeUpTo(int(block/minis)*int(w)/8, (n*int(w)+7)/8)
			if d.bad || w > 64 {
				return errShort
			}
			value = addDeltas(body, uint(w), least, value, dst[:n])
			dst = dst[n:]
		}
	}
	return nil
}

func addDeltas[T int32 | int64](body []byte, width uint, least, value int64, dst []T) int64 {
	if width == 0 {
		for i := range dst {
			value += least
			dst[i] = T(value)
		}
		return value
	}
	bit := uint(0)
	mask := ^uint64(0) >> (64 - width)
	for i := range dst {
		v := load(body, bit>>3) >> (bit & 7)
		if over := bit&7 + width; over > 64 {
			v |= uint64(body[bit>>3+8]) << (64 - bit&7)
		}
		value += least + int64(v&mask)
		dst[i] = T(value)
		bit += width
	}
	return value
}

type deltaHeader struct {
	b   []byte
	bad bool
}

func (d *deltaHeader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *deltaHeader) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *deltaHeader) take(n int) []byte { return d.takeUpTo(n, n) }

// takeUpTo takes n bytes, or fewer at the end, but not less than least.
func (d *deltaHeader) takeUpTo(n, least int) []byte {
	if len(d.b) < least {
		d.bad = true
		return nil
	}
	n = min(n, len(d.b))
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}
