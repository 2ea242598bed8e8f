package columnar

import (
	"encoding/binary"
	"math/bits"
)

// bitWriter packs values of a few bits each, lowest bits first, as Parquet does.
type bitWriter struct {
	dst  []byte
	acc  uint64
	have uint // bits in acc, less than 64
}

func (w *bitWriter) put(v uint64, width uint) {
	w.acc |= v << w.have
	if w.have+width < 64 {
		w.have += width
		return
	}
	w.dst = binary.LittleEndian.AppendUint64(w.dst, w.acc)
	used := 64 - w.have
	w.have += width - 64
	if used == 64 {
		w.acc = 0
	} else {
		w.acc = v >> used
	}
}

// flush ends at a whole byte and gives what was written.
func (w *bitWriter) flush() []byte {
	for ; w.have > 0; w.have -= min(w.have, 8) {
		w.dst = append(w.dst, byte(w.acc))
		w.acc >>= 8
	}
	w.acc = 0
	return w.dst
}

// appendHybrid appends codes in the RLE and bit-packing hybrid of the bit width:
// runs of at least eight equal codes as runs, the rest packed in groups of eight.
func appendHybrid(dst []byte, codes []int32, width uint) []byte {
	for len(codes) > 0 {
		n := equalRun(codes)
		if n >= 8 || n == len(codes) {
			dst = appendRepeated(dst, codes[0], n, width)
			codes = codes[n:]
			continue
		}
		n = packedRun(codes)
		dst = appendPacked(dst, codes[:n], width)
		codes = codes[n:]
	}
	return dst
}

func equalRun(codes []int32) int {
	n := 1
	for n < len(codes) && codes[n] == codes[0] {
		n++
	}
	return n
}

// packedRun is how many codes, in whole groups of eight, come before the next
// run that is worth its head; all, if there is none.
func packedRun(codes []int32) int {
	for from := 8; from < len(codes); from += 8 {
		if rest := codes[from:]; len(rest) >= 8 && rest[0] == rest[7] && equalRun(rest[:8]) == 8 {
			return from
		}
	}
	return len(codes)
}

func appendRepeated(dst []byte, code int32, n int, width uint) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for w := uint(0); w < width; w += 8 {
		dst = append(dst, byte(uint32(code)>>w))
	}
	return dst
}

// appendPacked packs the codes and fills up the last group of eight with zeros.
func appendPacked(dst []byte, codes []int32, width uint) []byte {
	groups := (len(codes) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	w := bitWriter{dst: dst}
	for _, c := range codes {
		w.put(uint64(uint32(c)), width)
	}
	for range groups*8 - len(codes) {
		w.put(0, width)
	}
	return w.flush()
}

// codeWidth is the bit width of codes of a dictionary. One entry takes a bit too:
// not every reader knows what to do with none.
func codeWidth(entries int) uint { return max(1, uint(bits.Len(uint(max(entries, 1)-1)))) }

// Delta encoding: blocks of 128 differences in four miniblocks, each with a bit
// width of its own.
const (
	deltaBlock = 128
	deltaMini  = 32
)

// appendDeltas appends values as DELTA_BINARY_PACKED. Values of 32 bits wrap as
// such, so that no width is over 32.
func appendDeltas(dst []byte, values []int64, narrow bool) []byte {
	dst = binary.AppendUvarint(dst, deltaBlock)
	dst = binary.AppendUvarint(dst, deltaBlock/deltaMini)
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	if len(values) == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendVarint(dst, values[0])
	var deltas [deltaBlock]uint64
	for from := 1; from < len(values); from += deltaBlock {
		n := min(deltaBlock, len(values)-from)
		least := blockDeltas(&deltas, values[from-1:from+n], narrow)
		dst = binary.AppendVarint(dst, least)
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		for m := 0; m*deltaMini < n; m++ {
			part := deltas[m*deltaMini : (m+1)*deltaMini]
			width := miniWidth(part)
			dst[at+m] = byte(width)
			dst = packMini(dst, part, width)
		}
	}
	return dst
}

// blockDeltas gives the differences of values less the least of them, zeros
// behind the last.
func blockDeltas(deltas *[deltaBlock]uint64, values []int64, narrow bool) (least int64) {
	n := len(values) - 1
	if narrow {
		return narrowDeltas(deltas, values)
	}
	least = values[1] - values[0]
	last := values[0]
	for i, v := range values[1:] {
		d := v - last
		last = v
		deltas[i] = uint64(d)
		least = min(least, d)
	}
	for i := range deltas[:n] {
		deltas[i] -= uint64(least)
	}
	clear(deltas[n:])
	return least
}

// narrowDeltas wraps as 32 bits do.
func narrowDeltas(deltas *[deltaBlock]uint64, values []int64) (least int64) {
	n := len(values) - 1
	low := int32(values[1]) - int32(values[0])
	for i := range n {
		low = min(low, int32(values[i+1])-int32(values[i]))
	}
	for i := range n {
		deltas[i] = uint64(uint32(int32(values[i+1]) - int32(values[i]) - low))
	}
	clear(deltas[n:])
	return int64(low)
}

func miniWidth(part []uint64) uint {
	var all uint64
	for _, d := range part {
		all |= d
	}
	return uint(bits.Len64(all))
}

func packMini(dst []byte, part []uint64, width uint) []byte {
	if width == 0 {
		return dst
	}
	w := bitWriter{dst: dst}
	for _, d := range part {
		w.put(d, width)
	}
	return w.flush()
}

// deltaSamples is how many blocks, spread over the values, tell about the size.
const deltaSamples = 64

// deltaSize is about the length of what appendDeltas appends.
func deltaSize(values []int64, narrow bool) int {
	blocks := (len(values) - 1 + deltaBlock - 1) / deltaBlock
	if blocks == 0 {
		return 16
	}
	stride := max(1, blocks/deltaSamples)
	size, sampled := 0, 0
	var deltas [deltaBlock]uint64
	for b := 0; b < blocks; b += stride {
		from := 1 + b*deltaBlock
		n := min(deltaBlock, len(values)-from)
		blockDeltas(&deltas, values[from-1:from+n], narrow)
		size += 9
		for m := 0; m*deltaMini < n; m++ {
			size += int(miniWidth(deltas[m*deltaMini:(m+1)*deltaMini])) * deltaMini / 8
		}
		sampled++
	}
	return 16 + size*blocks/sampled
}
