package schema

import "math"

// keepsRules derives what rules compare, sets the flags of the rules that the
// open row meets, and is false if one of them rejects.
func (d *Decoder) keepsRules() bool {
	for i := range d.program.derived {
		d.derive(&d.program.derived[i])
	}
	flags, set, values := int64(0), d.rows.set[0], (*[quickSlots]int64)(d.values)
	if d.program.quickNeeds&^set == 0 {
		for i := range d.program.quick {
			t := &d.program.quick[i]
			flags |= t.bit & -oneIf(values[t.left%quickSlots] > values[t.right%quickSlots])
		}
	} else {
		for i := range d.program.quick {
			t := &d.program.quick[i]
			met := oneIf(values[t.left%quickSlots] > values[t.right%quickSlots])
			missing := int64(t.needs &^ set)
			flags |= t.bit & -met &^ ((missing | -missing) >> 63)
		}
	}
	for i := range d.program.slow {
		if t := &d.program.slow[i]; d.rows.set.holds(&t.needs) && d.meets(t) {
			r := &d.def.Rules[t.rule]
			if r.Reject {
				return d.blames()
			}
			flags |= 1 << r.Bit
		}
	}
	if flags < 0 {
		return d.blames()
	}
	d.flags |= flags
	return true
}

// oneIf is 1 for true, without a jump.
func oneIf(b bool) (n int64) {
	if b {
		n = 1
	}
	return n
}

// blames finds the first test that the open row meets and whose rule rejects.
func (d *Decoder) blames() bool {
	for i := range d.program.tests {
		t := &d.program.tests[i]
		if r := &d.def.Rules[t.rule]; r.Reject && d.rows.set.holds(&t.needs) && d.meets(t) {
			return d.breaks(t, r)
		}
	}
	return true
}

// breaks sets the failure of a rejecting rule. The field to blame is the first
// that the test names.
func (d *Decoder) breaks(t *test, r *Rule) bool {
	field := t.fields[0]
	d.fail(RuleBroken, field, int(d.marks[field].from), r.Name+" ("+r.When+")")
	return false
}

func (d *Decoder) derive(v *derived) {
	x := d.values[v.field]
	switch v.fn {
	case derivedAbs:
		x = floatBits(math.Abs(math.Float64frombits(uint64(x))))
	case derivedDay:
		x = floorDiv(x, dayMicros)
	case derivedMicros:
		x *= dayMicros
	}
	d.values[v.slot] = x
}

// meets reports whether the open row, which has the fields, meets the test.
func (d *Decoder) meets(t *test) bool {
	switch t.op {
	case opIntGreater:
		return d.values[t.left] > d.values[t.right]
	case opIntGreaterEqual:
		return d.values[t.left] >= d.values[t.right]
	case opFloatGreater:
		return math.Float64frombits(uint64(d.values[t.left])) > math.Float64frombits(uint64(d.values[t.right]))
	case opFloatGreaterEqual:
		return math.Float64frombits(uint64(d.values[t.left])) >= math.Float64frombits(uint64(d.values[t.right]))
	case opEmpty:
		return len(d.staged(t.fields[0])) == 0
	default:
		return d.contradicts(t.fields)
	}
}

// staged is the open row's value of a String.
func (d *Decoder) staged(f int) []byte {
	col := &d.rows.cols[f]
	return col.dict.value(col.i32[d.rows.n])
}

// contradicts reports whether a contract symbol says something else than the
// fields it is made of: contract, underlying, expiration, type, strike.
func (d *Decoder) contradicts(f []int) bool {
	o, ok := readOCC(d.staged(f[0]))
	if !ok {
		return false
	}
	scale := d.def.Fields[f[4]].Scale
	kind := d.staged(f[3])
	return !sameRoot(o.root, d.staged(f[1])) ||
		int64(o.days) != d.values[f[2]] ||
		len(kind) > 0 && kind[0]&^0x20 != o.kind ||
		scale >= 3 && o.strike*int64(pow10[scale-3]) != d.values[f[4]]
}

// An occ is what an OCC contract symbol says.
type occ struct {
	root   []byte
	days   int32
	kind   byte  // 'C' or 'P'
	strike int64 // in thousandths
}

// readOCC reads SPY260817C00580000 or GOOG  151231C00460000: a root of up to six
// characters, padded or not, yymmdd, C or P, and the strike in thousandths. What
// is written otherwise is not an OCC symbol, and says nothing.
func readOCC(b []byte) (o occ, ok bool) {
	const tail = len("260817C00580000")
	if len(b) <= tail || len(b) > tail+6 {
		return o, false
	}
	o.root = b[:len(b)-tail]
	for len(o.root) > 0 && o.root[len(o.root)-1] == ' ' {
		o.root = o.root[:len(o.root)-1]
	}
	b = b[len(b)-tail:]
	for i, ch := range b {
		if i != 6 && !isDigit(ch) {
			return o, false
		}
	}
	y, m, day := 2000+two(b, 0), two(b, 2), two(b, 4)
	o.kind = b[6]
	if m < 1 || m > 12 || day < 1 || day > daysIn(y, m) || o.kind != 'C' && o.kind != 'P' || len(o.root) == 0 {
		return o, false
	}
	o.days = daysFromCivil(y, m, day)
	for _, ch := range b[7:] {
		o.strike = o.strike*10 + int64(ch-'0')
	}
	return o, true
}

// sameRoot reports whether a contract's root can be an underlying's. Roots drop
// punctuation (BRK.B is BRKB, ^SPX is SPX) and add letters or digits for weekly
// and adjusted contracts (SPXW, AAPL1), so one need only begin with the other.
func sameRoot(root, underlying []byte) bool {
	i, j := 0, 0
	for {
		for i < len(root) && !alphanumeric(root[i]) {
			i++
		}
		for j < len(underlying) && !alphanumeric(underlying[j]) {
			j++
		}
		if i == len(root) || j == len(underlying) {
			return true
		}
		if upper(root[i]) != upper(underlying[j]) {
			return false
		}
		i, j = i+1, j+1
	}
}

func alphanumeric(ch byte) bool { return isDigit(ch) || upper(ch) >= 'A' && upper(ch) <= 'Z' }

func upper(ch byte) byte {
	if ch >= 'a' && ch <= 'z' {
		ch -= 'a' - 'A'
	}
	return ch
}
