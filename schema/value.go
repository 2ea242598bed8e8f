package schema

import (
	"encoding/base64"
	"math/bits"
)

func trailingZeros(w uint64) int { return bits.TrailingZeros64(w) }

// quoted reports whether a string starts at p. Where none does, a null may: then
// next is the index after it, or -1 with the failure set where there is no value
// at all; otherwise 0.
func (d *Decoder) quoted(p int) (yes bool, next int) {
	if p < len(d.data) && d.data[p] == '"' {
		return true, 0
	}
	return false, d.null(p)
}

// null is the index after the null at p; 0 where there is another value, and -1
// with the failure set where there is none.
func (d *Decoder) null(p int) int {
	switch {
	case p >= len(d.data):
		return d.fail(JSONSyntax, -1, p, "want a value")
	case hasPrefix(d.data[p:], "null"):
		return p + 4
	}
	return 0
}

// setInt sets a field that is stored as an integer.
func (d *Decoder) setInt(f int, v int64) {
	d.values[f] = v
	switch d.plans[f].kind {
	case Decimal:
		d.rows.SetDecimal(f, v)
	case Int32, Date:
		d.rows.SetInt32(f, int32(v))
	default:
		d.rows.SetInt64(f, v)
	}
}

func (d *Decoder) setFloat(f int, v float64) {
	d.values[f] = floatBits(v)
	d.rows.SetFloat64(f, v)
}

// longDecimal is decimal for what is not a short number.
func (d *Decoder) longDecimal(f, p int) int {
	_, n, next := d.number(f, p)
	if next < 0 || !n.given() {
		return next
	}
	return d.storeDecimal(f, p, next, &n)
}

// storeDecimal rounds a number to the field's scale and stores it. It returns
// next, or -1.
func (d *Decoder) storeDecimal(f, p, next int, n *number) int {
	v, round, reason := n.scaled(d.plans[f].scale, d.plans[f].limit)
	if round || reason != "" {
		kind := rounded
		if reason != "" {
			if reason != DecimalPrecision || d.level != Lenient {
				return d.failValue(reason, f, p, "")
			}
			kind = decimalLoss
		}
		if !d.coerce(f, kind, p) {
			return -1
		}
	}
	if v == 0 && n.neg && !d.coerce(f, negativeZero, p) {
		return -1
	}
	d.values[f] = v
	d.rows.SetDecimal(f, v)
	return next
}

// shortened is storeDecimal for digits of which point come after the point, where that
// may be too many: 123.45099639892578 is what 123.451 becomes in 32 bits. Whether such a
// tail is rounded up, no processor can guess.
func (d *Decoder) shortened(f, p, next int, digits uint64, point int32) int {
	plan := &d.plans[f]
	if point <= plan.scale {
		return d.failValue(NumberOverflow, f, p, "")
	}
	unit := pow10[point-plan.scale]
	u := digits / unit
	rest := digits - u*unit
	u += uint64(oneIf(2*rest+u&1 > unit)) // more than half, or half and odd
	hi, lo := bits.Mul64(min(rest, unit-rest), precision)
	if hi > 0 || lo > digits || u > uint64(plan.limit) {
		return d.storeDecimal(f, p, next, &number{digits: digits, exp: -point})
	}
	if rest != 0 && !d.coerce(f, rounded, p) {
		return -1
	}
	d.values[f] = int64(u)
	d.rows.SetDecimal(f, int64(u))
	return next
}

// float decodes a Float64.
func (d *Decoder) float(f, p int) int {
	// A quotient of two numbers that float64 holds exactly is rounded once.
	first, sign := p, 1.0
	if p < len(d.data) && d.data[p] == '-' {
		first, sign = p+1, -1
	}
	if digits, point, next := shortNumber(d.data, first); next >= 0 && digits-1 < 1<<53-1 {
		d.setFloat(f, sign*float64(digits)/exactPow10[point])
		return next
	}
	text, n, next := d.number(f, p)
	if next < 0 || !n.given() {
		return next
	}
	v, ok := n.float(text)
	if !ok {
		return d.failValue(NumberOverflow, f, p, "")
	}
	if v == 0 && n.neg && !d.coerce(f, negativeZero, p) {
		return -1
	}
	d.values[f] = floatBits(v)
	d.rows.SetFloat64(f, v)
	return next
}

// integer decodes an Int64 or Int32.
func (d *Decoder) integer(f, p int) int {
	narrow := d.plans[f].kind == Int32
	if digits, point, next := shortNumber(d.data, p); next >= 0 && point == 0 && !narrow {
		d.values[f] = int64(digits)
		d.rows.SetInt64(f, int64(digits))
		return next
	}
	text, n, next := d.number(f, p)
	if next < 0 || !n.given() {
		return next
	}
	v, fraction, overflow := n.integer()
	if overflow || narrow && v != int64(int32(v)) {
		return d.failValue(NumberOverflow, f, p, "")
	}
	if fraction {
		if d.level != Lenient {
			return d.failValue(FractionalInteger, f, p, "")
		}
		d.coerce(f, fractionLoss, p)
	} else if n.exp != 0 || n.pointed(text) {
		if !d.coerce(f, integerForm, p) {
			return -1
		}
	}
	if v == 0 && n.neg && !d.coerce(f, negativeZero, p) {
		return -1
	}
	d.values[f] = v
	if narrow {
		d.rows.SetInt32(f, int32(v))
	} else {
		d.rows.SetInt64(f, v)
	}
	return next
}

// pointed reports whether the number was written with a point or an exponent.
// It matters only where neither shows in exp: 0.0e1 is as rare as that.
func (n *number) pointed(b []byte) bool {
	for _, ch := range b[n.start:n.end] {
		if ch == '.' || ch|0x20 == 'e' {
			return true
		}
	}
	return false
}

// given reports whether there is a number at all: a NaN that became null has
// none.
func (n *number) given() bool { return n.end > n.start }

// number reads what is at p where a number is wanted: a number, one in a string,
// a null, or one of the spellings of NaN and Infinity, which become null. The
// number's text is returned with it; none is given for a null. next is -1 where
// the value cannot be accepted.
func (d *Decoder) number(f, p int) (text []byte, n number, next int) {
	if n, next = scanNumber(d.data, p); next >= 0 {
		return d.data, n, next
	}
	quoted, next := d.quoted(p)
	if next != 0 {
		return nil, number{}, next
	}
	if !quoted {
		next, infinite := nonFinite(d.data, p)
		if next < 0 {
			return nil, n, d.mismatch(f, p, "want a number")
		}
		return nil, number{}, d.toNull(f, p, next, infinite)
	}
	text, next = d.text(p)
	if next < 0 {
		return nil, n, -1
	}
	n, end := scanNumber(text, 0)
	if end == len(text) {
		if !d.coerce(f, numberAsString, p) {
			return nil, n, -1
		}
		return text, n, next
	}
	if infinite, ok := nonFiniteText(text); ok {
		return nil, number{}, d.toNull(f, p, next, infinite)
	}
	return nil, n, d.failValue(TypeMismatch, f, p, "want a number")
}

// mismatch is the failure of a value at p that is not of the field's type: the
// value's own, if it is not even JSON.
func (d *Decoder) mismatch(f, p int, want string) int {
	if d.skip(p) < 0 {
		return -1
	}
	return d.failValue(TypeMismatch, f, p, want)
}

// toNull makes a NaN or an Infinity null.
func (d *Decoder) toNull(f, p, next int, infinite bool) int {
	if d.plans[f].required {
		return d.fail(NotFinite, f, p, "")
	}
	kind := nanToNull
	if infinite {
		kind = infinityToNull
		d.flags |= d.program.eventBits[eventInfinity]
	}
	if !d.coerce(f, kind, p) {
		return -1
	}
	return next
}

// nonFinite reads a bare NaN, Infinity or -Infinity, as Python writes them.
func nonFinite(b []byte, p int) (next int, infinite bool) {
	for _, token := range [...]string{"NaN", "Infinity", "-Infinity"} {
		if len(b)-p >= len(token) && string(b[p:p+len(token)]) == token {
			return p + len(token), token != "NaN"
		}
	}
	return -1, false
}

// nonFiniteText recognises the spellings that a string may have.
func nonFiniteText(b []byte) (infinite, ok bool) {
	switch string(b) {
	case "NaN", "nan", "NAN", "-nan", "-NaN":
		return false, true
	case "Infinity", "+Infinity", "-Infinity", "inf", "+inf", "-inf", "Inf", "+Inf", "-Inf", "infinity", "-infinity":
		return true, true
	}
	return false, false
}

// boolean decodes a Bool.
func (d *Decoder) boolean(f, p int) int {
	if next := d.null(p); next != 0 {
		return next
	}
	v, next := false, p
	rest := d.data[p:]
	switch {
	case hasPrefix(rest, "true"):
		v, next = true, p+4
	case hasPrefix(rest, "false"):
		next = p + 5
	case hasPrefix(rest, `"true"`), hasPrefix(rest, `"false"`):
		v, next = rest[1] == 't', p+7
		if v {
			next = p + 6
		}
		if !d.coerce(f, boolAsString, p) {
			return -1
		}
	default:
		return d.mismatch(f, p, "want true or false")
	}
	d.rows.SetBool(f, v)
	return next
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

// binary decodes a Binary: base64, as JSON has no bytes.
func (d *Decoder) binary(f, p int) int {
	quoted, next := d.quoted(p)
	if next != 0 {
		return next
	}
	if !quoted {
		return d.mismatch(f, p, "want base64 in a string")
	}
	text, next := d.text(p)
	if next < 0 {
		return -1
	}
	d.key = append(d.key[:0], make([]byte, base64.StdEncoding.DecodedLen(len(text)))...)
	n, err := base64.StdEncoding.Strict().Decode(d.key, text)
	if err != nil {
		return d.failValue(BadBinary, f, p, "")
	}
	d.rows.SetBinary(f, d.key[:n])
	return next
}
