package schema

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unsafe"
)

const maxInt64 = math.MaxInt64

// A number is a JSON number taken apart: (-)digits × 10^exp. No float is
// involved.
type number struct {
	digits uint64 // the first 19 significant digits
	exp    int32  // kept within ±maxExp
	neg    bool
	more   bool // digits were dropped that are not all zero
	start  int32
	end    int32
}

const maxExp = 1 << 20 // far outside every type, far inside int32

// scanNumber reads the JSON number at b[p:] and returns the index after it, or
// -1. Digits past the 19th only move the exponent, so neither their number nor
// the size of an exponent costs more than reading them.
func scanNumber(b []byte, p int) (n number, next int) {
	n.start = int32(p)
	if p < len(b) && b[p] == '-' {
		n.neg = true
		p++
	}
	first := p
	for p < len(b) && b[p]-'0' <= 9 {
		n.digits = n.digits*10 + uint64(b[p]-'0')
		p++
	}
	count := p - first
	if count == 0 || count > 1 && b[first] == '0' {
		return n, -1
	}
	if p < len(b) && b[p] == '.' {
		p++
		point := p
		for p < len(b) && b[p]-'0' <= 9 {
			n.digits = n.digits*10 + uint64(b[p]-'0')
			p++
		}
		if p == point {
			return n, -1
		}
		n.exp = int32(-(p - point))
		count += p - point
	}
	if count > 19 {
		n.long(b[first:p])
	}
	if p < len(b) && b[p]|0x20 == 'e' {
		p = n.exponent(b, p+1)
	}
	n.end = int32(p)
	return n, p
}

// shortNumber reads what most numbers are: no sign, no exponent, at most 18
// digits, point of them after the point. next is -1 for everything else, be it a
// number or not. It reads eight digits at a time: a loop over them ends where the
// processor does not expect it.
func shortNumber(b []byte, p int) (digits uint64, point int32, next int) {
	const room = 18
	if len(b)-p < room {
		return shortEnd(b, p)
	}
	q := (*[room]byte)(b[p:])
	w := binary.LittleEndian.Uint64(q[:]) ^ ones*'0'
	whole := digitsIn(w)
	if uint(whole-1) >= 7 {
		if whole == 0 {
			return 0, 0, -1
		}
		return longWhole(b, p, joinDigits(w))
	}
	digits = joinDigits(w << ((64 - 8*whole) & 63))
	if q[0] == '0' && whole > 1 {
		return 0, 0, -1
	}
	if q[whole] != '.' {
		if q[whole]|0x20 == 'e' {
			return 0, 0, -1
		}
		return digits, 0, p + whole
	}
	w = binary.LittleEndian.Uint64(q[whole+1:whole+9]) ^ ones*'0'
	n := digitsIn(w)
	if uint(n-1) >= 7 { // none, or float noise: a fraction of many digits
		if n == 0 || len(b)-p < 2*room {
			return shortEnd(b, p)
		}
		return longFraction(b, p, whole, digits*1e8+joinDigits(w))
	}
	digits = digits*pow10[n] + joinDigits(w<<((64-8*n)&63))
	if q[whole+1+n]|0x20 == 'e' {
		return 0, 0, -1
	}
	return digits, int32(n), p + whole + 1 + n
}

// longWhole is shortNumber of a number that begins with so much in eight digits.
func longWhole(b []byte, p int, eight uint64) (uint64, int32, int) {
	at := p + 8
	w := binary.LittleEndian.Uint64(b[at:]) ^ ones*'0'
	n := digitsIn(w)
	if n == 8 || b[p] == '0' || b[at+n] == '.' || b[at+n]|0x20 == 'e' {
		return shortEnd(b, p)
	}
	return eight*pow10[n] + joinDigits(w<<8<<((56-8*n)&63)), 0, at + n
}

// longFraction is shortNumber where so many digits before the point and eight after it
// are read.
func longFraction(b []byte, p, whole int, digits uint64) (uint64, int32, int) {
	at := p + whole + 1 + 8
	w := binary.LittleEndian.Uint64(b[at:]) ^ ones*'0'
	n := digitsIn(w)
	if n == 8 || whole+8+n > 18 || b[at+n]|0x20 == 'e' {
		return shortEnd(b, p)
	}
	return digits*pow10[n] + joinDigits(w<<8<<((56-8*n)&63)), int32(8 + n), at + n
}

// shortEnd is shortNumber of any length, and near the end of b.
func shortEnd(b []byte, p int) (digits uint64, point int32, next int) {
	first := p
	for p < len(b) && b[p]-'0' <= 9 {
		digits = digits*10 + uint64(b[p]-'0')
		p++
	}
	whole := p - first
	if p >= len(b) || whole == 0 || whole > 1 && b[first] == '0' {
		return 0, 0, -1
	}
	if b[p] == '.' {
		p++
		first = p
		if len(b)-p >= 8 {
			if w := binary.LittleEndian.Uint64(b[p:]) ^ ones*'0'; digitsIn(w) == 8 {
				digits = digits*1e8 + joinDigits(w)
				p += 8
			}
		}
		for p < len(b) && b[p]-'0' <= 9 {
			digits = digits*10 + uint64(b[p]-'0')
			p++
		}
		point = int32(p - first)
		if p >= len(b) || point == 0 {
			return 0, 0, -1
		}
	}
	if b[p]|0x20 == 'e' || whole+int(point) > 18 {
		return 0, 0, -1
	}
	return digits, point, p
}

// digitsIn is how many digits a little-endian word of text, xor '0' each, starts with.
func digitsIn(w uint64) int {
	return bits.TrailingZeros64((w|(w+ones*0x76))&highs) / 8
}

// joinDigits is the number that eight digits write, of a little-endian word of their
// values. Neighbours are joined to pairs, pairs to fours, fours to the whole.
func joinDigits(w uint64) uint64 {
	w = w*10 + w>>8
	return (w&0x000000ff_000000ff*(100+1000000<<32) + w>>16&0x000000ff_000000ff*(1+10000<<32)) >> 32
}

// long reads the mantissa again, keeping the first 19 significant digits: the
// quick sum has overflowed, or may have.
func (n *number) long(mantissa []byte) {
	n.digits, n.exp = 0, 0
	kept, fraction := 0, false
	for _, ch := range mantissa {
		if ch == '.' {
			fraction = true
			continue
		}
		keep := kept < 19
		if keep {
			n.digits = n.digits*10 + uint64(ch-'0')
			if n.digits > 0 {
				kept++
			}
		} else if ch != '0' {
			n.more = true
		}
		if fraction && keep {
			n.exp--
		} else if !fraction && !keep {
			n.exp++
		}
	}
}

// exponent reads the digits after the e and adds them to exp.
func (n *number) exponent(b []byte, p int) int {
	neg := false
	if p < len(b) && (b[p] == '+' || b[p] == '-') {
		neg = b[p] == '-'
		p++
	}
	first := p
	e := int32(0)
	for p < len(b) && b[p]-'0' <= 9 {
		if e < maxExp {
			e = e*10 + int32(b[p]-'0')
		}
		p++
	}
	if p == first {
		return -1
	}
	if neg {
		e = -e
	}
	n.exp = max(-maxExp, min(maxExp, n.exp+e))
	return p
}

var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// scaled is the number × 10^scale as an integer of at most limit, rounded half
// to even. reason is NumberOverflow, or DecimalPrecision where rounding changes
// the value by more than one part in a million; v is still the rounded value
// then.
func (n *number) scaled(scale int32, limit int64) (v int64, rounded bool, reason Reason) {
	if n.digits == 0 {
		return 0, false, ""
	}
	u := n.digits
	switch shift := n.exp + scale; {
	case shift == 0:
		rounded = n.more
	case shift > 0:
		if shift > 19 {
			return 0, false, NumberOverflow
		}
		hi, lo := bits.Mul64(u, pow10[shift])
		if hi != 0 {
			return 0, false, NumberOverflow
		}
		u, rounded = lo, n.more
	default:
		u, rounded, reason = n.shorten(-shift)
	}
	if u > uint64(limit) {
		return 0, false, NumberOverflow
	}
	v = int64(u)
	if n.neg {
		v = -v
	}
	return v, rounded, reason
}

// precision is the share of itself that rounding may change a decimal by: one part in so
// many.
const precision = 1_000_000

// shorten divides by 10^by, rounding half to even.
func (n *number) shorten(by int32) (u uint64, rounded bool, reason Reason) {
	if by > 19 {
		return 0, true, DecimalPrecision
	}
	unit := pow10[by]
	u = n.digits / unit
	rest := n.digits - u*unit
	if rest == 0 && !n.more {
		return u, false, ""
	}
	half := unit / 2 // 10^by is even, by being at least 1
	lost := rest
	if rest > half || rest == half && (n.more || u%2 == 1) {
		u++
		lost = unit - rest
	}
	// lost/digits > 1e-6, in 128 bits; digits that were dropped are below 1e-18
	hi, lo := bits.Mul64(lost, precision)
	if hi > 0 || lo > n.digits {
		reason = DecimalPrecision
	}
	return u, true, reason
}

// integer is the number as an int64. fraction reports that it has one; v is then
// rounded half to even.
func (n *number) integer() (v int64, fraction, overflow bool) {
	if n.neg && n.digits == 1<<63 && n.exp == 0 {
		return math.MinInt64, false, false
	}
	v, fraction, reason := n.scaled(0, math.MaxInt64)
	return v, fraction, reason == NumberOverflow
}

// exactPow10 are the powers of ten that float64 holds exactly.
var exactPow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10,
	1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// float is the float64 nearest to the number; ok is false beyond its range. b is
// what scanNumber read it from.
func (n *number) float(b []byte) (f float64, ok bool) {
	if n.digits == 0 {
		return 0, true // of -0 too
	}
	// Both factors are exact in a float64, so that one rounding is all there is.
	if n.digits < 1<<53 && n.exp >= -22 && n.exp <= 22 && !n.more {
		f = float64(n.digits)
		if n.exp < 0 {
			f /= exactPow10[-n.exp]
		} else {
			f *= exactPow10[n.exp]
		}
		if n.neg {
			f = -f
		}
		return f, true
	}
	text := b[n.start:n.end]
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	if f == 0 {
		f = 0 // an underflow keeps no sign
	}
	return f, err == nil
}

func floatBits(f float64) int64 { return int64(math.Float64bits(f)) }
