package schema

import (
	"math/bits"
	"unsafe"
)

// record decodes the object at p into an open row of d.rows and returns the
// index after it; -1 with the failure set if the record cannot be accepted. The
// caller settles the row.
func (d *Decoder) record(p int, index int32) int {
	if d.guarded {
		return d.guard(p, index)
	}
	return d.bareRecord(p, index)
}

// bareRecord is record without a guard. It does not know of one: the few instructions cost
// a record some ten per cent here.
func (d *Decoder) bareRecord(p int, index int32) int {
	d.rows.Begin()
	d.flags = 0
	d.coerced = d.coerced[:d.counted]
	d.seen = bitset{}
	d.forgetNames()
	start := p
	if p = d.members(p); p < 0 {
		return -1
	}
	if !d.complete(start) || !d.inWindow() || !d.keepsRules() {
		return -1
	}
	d.system(index)
	return p
}

// Whose names d.others holds: the record's own, those of its fields that came
// twice, and from there on those of one nested object each.
const (
	itself uint32 = iota
	aliases
)

// forgetNames empties d.others.
func (d *Decoder) forgetNames() {
	d.objectID = aliases
	if d.others.len() > 0 {
		d.others.clear()
	}
}

// members decodes what is between the braces. p is at the opening one; the
// result is after the closing one.
func (d *Decoder) members(p int) int {
	data := d.data
	p = skipSpace(data, p+1, d.space)
	if p < len(data) && data[p] == '}' {
		return p + 1
	}
	s, p := d.named(p, -1)
	for last := int32(-1); p >= 0; {
		if s >= 0 {
			last = s
			p = d.field(s, p)
		} else {
			p = d.unknown(p)
		}
		if p < 0 {
			return -1
		}
		s = d.next[last+1]
		if k := &d.slots[s].keys[d.style&1]; len(data)-p >= keyRoom && k.odd((*[keyRoom]byte)(data[p:])) == 0 && (k.rest == "" || hasPrefix(data[p+keyRoom:], k.rest)) {
			if p += k.n; p < len(data) && data[p] <= ' ' {
				p = skipSpace(data, p, d.space)
			}
			continue
		}
		if p < len(data) && data[p] <= ' ' {
			p = skipSpace(data, p, d.space)
		}
		if p >= len(data) || data[p] != ',' {
			return d.memberEnd(p)
		}
		d.style = compact
		if p++; p < len(data) && data[p] <= ' ' {
			d.style = spaced
			p = skipSpace(data, p, d.space)
		}
		s, p = d.named(p, last)
	}
	return -1
}

// memberEnd is the index after the brace at p; -1 where there is none.
func (d *Decoder) memberEnd(p int) int {
	switch {
	case p >= len(d.data):
		return d.fail(JSONSyntax, -1, p, "the object does not end")
	case d.data[p] == '}':
		return p + 1
	}
	return d.fail(JSONSyntax, -1, p, "want , or } after a value")
}

// named reads the name at p, its colon and the space after it. It returns the name's
// slot, or -1 with the name in d.key where the definition has no such name, and the
// index of the value.
func (d *Decoder) named(p int, last int32) (s int32, next int) {
	s = d.next[last+1]
	if q := &d.slots[s]; p < len(d.data) && q.matches(d.data[p:]) {
		p += len(q.quoted)
	} else if s, p = d.name(p, last); p < 0 {
		return -1, -1
	}
	return s, skipSpace(d.data, p, d.space)
}

// name is named for a name that is not the one that was expected, to the colon.
func (d *Decoder) name(p int, last int32) (s int32, next int) {
	if p >= len(d.data) || d.data[p] != '"' {
		return -1, d.fail(JSONSyntax, -1, p, "want a name in quotes")
	}
	name, next := d.text(p)
	if next < 0 {
		return -1, -1
	}
	s, ok := d.names[string(name)]
	if ok {
		d.next[last+1] = s
	} else {
		s = -1
		if next = d.unseen(itself, name, p, next); next < 0 {
			return -1, -1
		}
		d.key = append(d.key[:0], name...)
	}
	if next = skipSpace(d.data, next, d.space); next >= len(d.data) || d.data[next] != ':' {
		return -1, d.fail(JSONSyntax, -1, next, "want : after a name")
	}
	return s, next + 1
}

// unknown drops a value whose name the definition does not have.
func (d *Decoder) unknown(p int) int {
	if !d.coerce(-1, unknownField, p) {
		return -1
	}
	next := d.skip(p)
	if next > p+2 && d.data[p] == '"' && len(d.def.foreign) > 0 && (string(d.key) == "message_type" || string(d.key) == "data_type") {
		if d.def.foreign[string(d.data[p+1:next-1])] != "" {
			return d.fail(WrongDataType, -1, p, string(d.key))
		}
	}
	return next
}

// field decodes the value at p of the field that a slot names, into the open row,
// and returns the index after it.
func (d *Decoder) field(s int32, p int) int {
	q := &d.slots[s]
	f := int(q.field)
	if seen := &d.seen[q.word&3]; *seen&q.bit == 0 {
		*seen |= q.bit
	} else {
		return d.again(s, f, p)
	}
	d.marks[f] = mark{int32(p), s}
	next := -1
	switch q.kind {
	case Decimal:
		digits, point, end := shortNumber(d.data, p)
		if end < 0 {
			next = d.longDecimal(f, p)
			break
		}
		if point <= q.scale {
			if hi, v := bits.Mul64(digits, q.unit[point]); hi == 0 && v <= q.limit {
				d.values[f] = int64(v)
				d.rows.SetDecimal(f, int64(v))
				return end
			}
		}
		next = d.shortened(f, p, end, digits, point)
	case String:
		next = d.stringValue(f, p)
	case Float64:
		next = d.float(f, p)
	case Int64, Int32:
		next = d.integer(f, p)
	case Timestamp, Date:
		next = d.time(f, p)
	case Bool:
		next = d.boolean(f, p)
	default:
		next = d.binary(f, p)
	}
	if next < 0 {
		next = d.failed(f, p)
	}
	return next
}

// failed is what becomes of a value that could not be decoded: LENIENT makes
// null of it if it can, otherwise -1.
func (d *Decoder) failed(f, p int) int {
	if d.failure.field < 0 {
		d.failure.field = f
	}
	if !d.failure.lossy || d.level != Lenient || d.plans[f].required {
		return -1
	}
	d.rows.set.remove(f)
	next := d.skip(p)
	if next >= 0 {
		d.coerce(f, nulled, p)
	}
	return next
}

// again meets a field for the second time: under the same name that is never
// allowed, under another of its names only with the same bytes for a value.
func (d *Decoder) again(s int32, f, p int) int {
	next := d.skip(p)
	if next < 0 {
		return -1
	}
	m := &d.marks[f]
	first := extent(d.data, int(m.from))
	if len(d.def.Fields[f].Aliases) == 0 || first < 0 || string(d.data[p:next]) != string(d.data[m.from:first]) {
		return d.fail(DuplicateKey, f, p, "")
	}
	name := d.slots[s].quoted
	if s == m.via || d.unseen(aliases, []byte(name), p, next) < 0 {
		return d.fail(DuplicateKey, f, p, "")
	}
	return next
}

// complete fills in defaults and sees that nothing required is missing.
func (d *Decoder) complete(start int) bool {
	for w := range d.def.words {
		missing := d.wanted[w] &^ d.rows.set[w]
		for ; missing != 0; missing &= missing - 1 {
			f := w*64 + trailingZeros(missing)
			if !d.absent(f, start) {
				return false
			}
		}
	}
	return true
}

// absent deals with a field that has no value but is required or has a default.
func (d *Decoder) absent(f, start int) bool {
	required := d.plans[f].required
	sent := d.seen.has(f)
	if sent && !required {
		return true // null is what was sent
	}
	defaults := d.def.Fields[f].Defaults
	for i := range defaults {
		ok, bad := d.fill(f, &defaults[i], start)
		if bad {
			return false
		}
		if ok {
			return d.coerce(f, defaulted, start)
		}
	}
	if !required {
		return true
	}
	if sent {
		d.fail(MissingRequired, f, int(d.marks[f].from), "it is null")
	} else {
		d.fail(MissingRequired, f, start, "it is absent")
	}
	return false
}

// fill sets a field to a default. ok is false where the default has nothing to
// give, bad where what it gives cannot be accepted.
func (d *Decoder) fill(f int, def *Default, start int) (ok, bad bool) {
	switch def.Source {
	case FromPublishTime:
		d.setInt(f, d.published)
	case FromSchemaVersion:
		d.rows.SetString(f, d.version)
	case FromAttribute:
		v := d.message.Attributes[def.Attribute]
		if v == "" {
			return false, false
		}
		return true, d.storeText(f, bytesOf(v), start) < 0
	case FromLiteral:
		switch v := def.Literal.(type) {
		case string:
			return true, d.storeText(f, bytesOf(v), start) < 0
		case int64:
			d.setInt(f, v)
		case float64:
			d.setFloat(f, v)
		case bool:
			d.rows.SetBool(f, v)
		}
	}
	return true, false
}

// inWindow sees that the event time is inside the definition's window.
func (d *Decoder) inWindow() bool {
	f := d.def.TimeField
	at := d.values[f]
	if d.plans[f].kind == Date {
		at *= dayMicros
	}
	until := d.published + int64(d.def.WindowDays)*dayMicros
	if at >= d.def.WindowFrom && at <= until {
		return true
	}
	d.fail(EventTimeWindow, f, int(d.marks[f].from), "")
	return false
}

// system sets the columns that every row has.
func (d *Decoder) system(index int32) {
	c, own := d.rows, d.def.Own
	if d.entries.id < 0 {
		c.SetString(own+sysID, d.id)
		c.SetString(own+sysSchemaVersion, d.version)
		d.entries.id, d.entries.version = c.staged(own+sysID), c.staged(own+sysSchemaVersion)
	} else {
		c.setEntry(own+sysID, d.entries.id)
		c.setEntry(own+sysSchemaVersion, d.entries.version)
	}
	c.SetInt32(own+sysIndex, d.message.Index+index)
	c.SetTimestamp(own+sysPublishedAt, d.published)
	c.SetInt64(own+sysFlags, d.flags)
}

// bytesOf is s as bytes that must not be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
