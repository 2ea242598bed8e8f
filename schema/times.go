package schema

import "encoding/binary"

// A cachedDay is the calendar date read last: neighbours mostly share it.
type cachedDay struct {
	text [10]byte
	days int32
}

// A moment is a date or time as it was read.
type moment struct {
	micros int64
	forms  uint32 // bit set of the coercions it took
}

func (m *moment) took(kind coercion) { m.forms |= 1 << kind }

// plainTime decodes a Timestamp in the forms that most have: on the day of the one
// before it, 2024-01-15T14:30:52, then a fraction of six digits or none, then Z or
// +00:00. It returns the index after it, or -1 for everything else.
func (d *Decoder) plainTime(f, p int) int {
	if len(d.data)-p < plainTimeRoom {
		return -1
	}
	b := d.data[p : p+plainTimeRoom]
	if b[0] != '"' || b[11] != 'T' || string(b[1:11]) != string(d.days[0].text[:]) {
		return -1
	}
	m := moment{micros: int64(d.days[0].days) * dayMicros}
	if !m.clock(b[12:20]) || m.forms != 0 {
		return -1
	}
	at := 20
	if b[20] == '.' {
		micros := int64(0)
		for at = 21; at < 27; at++ {
			if !isDigit(b[at]) {
				return -1
			}
			micros = micros*10 + int64(b[at]-'0')
		}
		m.micros += micros
	}
	switch {
	case b[at] == 'Z' && b[at+1] == '"':
		at += 2
	case string(b[at:at+7]) == `+00:00"`:
		at += 7
	default:
		return -1
	}
	d.values[f] = m.micros
	d.rows.SetInt64(f, m.micros)
	return p + at
}

const plainTimeRoom = len(`"2024-01-15T14:30:52.250000+00:00"`)

// time decodes a Timestamp or a Date.
func (d *Decoder) time(f, p int) int {
	if d.plans[f].kind == Timestamp {
		if next := d.plainTime(f, p); next >= 0 {
			return next
		}
	}
	quoted, next := d.quoted(p)
	if next != 0 {
		return next
	}
	if !quoted {
		return d.epoch(f, p)
	}
	text, next := d.text(p)
	if next < 0 {
		return -1
	}
	m, ok := calendar(text, &d.days[oneIf(d.plans[f].kind == Date)])
	if !ok {
		n, end := scanNumber(text, 0)
		if end != len(text) {
			if infinite, odd := nonFiniteText(text); odd {
				return d.toNull(f, p, next, infinite)
			}
			return d.failValue(BadTimestamp, f, p, "")
		}
		var reason Reason
		if m, reason = n.epoch(); reason != "" {
			return d.failValue(reason, f, p, "")
		}
		m.took(numberAsString)
	}
	if d.storeMoment(f, p, m) < 0 {
		return -1
	}
	return next
}

// epoch decodes a time that is written as a number.
func (d *Decoder) epoch(f, p int) int {
	n, next := scanNumber(d.data, p)
	if next < 0 {
		if next, infinite := nonFinite(d.data, p); next > 0 {
			return d.toNull(f, p, next, infinite)
		}
		return d.mismatch(f, p, "want a date or time")
	}
	m, reason := n.epoch()
	if reason != "" {
		return d.failValue(reason, f, p, "")
	}
	if d.storeMoment(f, p, m) < 0 {
		return -1
	}
	return next
}

// storeMoment stores a time in a Timestamp or a Date.
func (d *Decoder) storeMoment(f, p int, m moment) int {
	v := m.micros
	if d.plans[f].kind == Date {
		v = floorDiv(v, dayMicros)
		if v*dayMicros != m.micros {
			if d.level != Lenient {
				return d.failValue(DateHasTime, f, p, "")
			}
			m.took(timeOfDayLoss)
		}
		if m.forms&(1<<dateTimestamp) != 0 {
			m.forms &^= 1 << dateTimestamp
		} else {
			m.took(timestampDate)
		}
		d.values[f] = v
		d.rows.SetDate(f, int32(v))
	} else {
		d.values[f] = v
		d.rows.SetInt64(f, v)
	}
	if m.forms != 0 {
		return d.coerceMoment(f, p, m.forms)
	}
	return 0
}

// coerceMoment notes the coercions of a time.
func (d *Decoder) coerceMoment(f, p int, forms uint32) int {
	if forms&(1<<leapSecond) != 0 {
		d.flags |= d.program.eventBits[eventLeapSecond]
	}
	for kind := coercion(0); kind < coercions; kind++ {
		if forms&(1<<kind) != 0 && !d.coerce(f, kind, p) {
			return -1
		}
	}
	return 0
}

// calendar reads a date, or a date and time, in one of these forms:
//
//	2024-01-15
//	2024-01-15T14:30:52       T, t or a space
//	2024-01-15T14:30:52.25    any number of digits
//	2024-01-15T14:30:52Z      Z, z, +hh:mm, +hhmm or +hh; UTC where there is none
func calendar(b []byte, last *cachedDay) (m moment, ok bool) {
	if len(b) < 10 {
		return m, false
	}
	if string(b[:10]) != string(last.text[:]) {
		days, ok := readDate(b)
		if !ok {
			return m, false
		}
		copy(last.text[:], b)
		last.days = days
	}
	m.micros = int64(last.days) * dayMicros
	if len(b) == 10 {
		m.took(dateTimestamp)
		return m, true
	}
	if len(b) < 19 || b[10] != 'T' && b[10] != ' ' && b[10] != 't' {
		return m, false
	}
	if b[10] == ' ' {
		m.took(spaceTimestamp)
	}
	if !m.clock(b[11:19]) {
		return m, false
	}
	rest := b[19:]
	if len(rest) > 0 && rest[0] == '.' {
		if rest, ok = m.fraction(rest[1:]); !ok {
			return m, false
		}
	}
	return m, m.zone(rest)
}

// readDate reads yyyy-mm-dd as days since the epoch, for years from 0001.
func readDate(b []byte) (days int32, ok bool) {
	const digits, hyphens = 0x00ff_ff00_ffff_ffff, 0x2d00_002d_0000_0000 // of yyyy-mm-
	w := binary.LittleEndian.Uint64(b)
	if w&^uint64(digits) != hyphens || !isDigit(b[8]) || !isDigit(b[9]) {
		return 0, false
	}
	for _, i := range [...]int{0, 1, 2, 3, 5, 6} {
		if !isDigit(b[i]) {
			return 0, false
		}
	}
	y := two(b, 0)*100 + two(b, 2)
	month, day := two(b, 5), two(b, 8)
	if y < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(y, month) {
		return 0, false
	}
	return daysFromCivil(y, month, day), true
}

func isDigit(ch byte) bool { return ch-'0' <= 9 }

// two is the number that two digits write.
func two(b []byte, i int) int { return int(b[i]-'0')*10 + int(b[i+1]-'0') }

// clock adds hh:mm:ss. All eight characters are checked at once: less the
// pattern, digits are 0 to 9 and colons 0, and adding the complement of what is
// allowed carries into a high bit for all else.
func (m *moment) clock(b []byte) bool {
	const (
		pattern = 0x3030_3a30_303a_3030
		allowed = 0x7676_7f76_767f_7676
	)
	x := binary.LittleEndian.Uint64(b) - pattern
	if (x|(x+allowed))&highs != 0 {
		return false
	}
	h, min, s := two(b, 0), two(b, 3), two(b, 6)
	if h > 23 || min > 59 || s > 60 {
		return false
	}
	if s == 60 { // one second past :59 is the next minute's :00
		m.took(leapSecond)
	}
	m.micros += int64(h*3600+min*60+s) * secondMicros
	return true
}

// fraction adds the digits after the point, to the microsecond.
func (m *moment) fraction(b []byte) (rest []byte, ok bool) {
	micros, i := int64(0), 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		if i < 6 {
			micros = micros*10 + int64(b[i]-'0')
		} else if b[i] != '0' {
			m.took(subMicrosecond)
		}
	}
	if i == 0 {
		return nil, false
	}
	for digits := i; digits < 6; digits++ {
		micros *= 10
	}
	m.micros += micros
	return b[i:], true
}

// zone reads the offset from UTC.
func (m *moment) zone(b []byte) bool {
	switch {
	case len(b) == 0:
		m.took(naiveTimestamp)
		return true
	case len(b) == 1:
		return b[0]|0x20 == 'z'
	case b[0] != '+' && b[0] != '-':
		return false
	}
	sign, b := b[0], b[1:]
	if len(b) == 5 && b[2] == ':' {
		b = []byte{b[0], b[1], b[3], b[4]}
	}
	if len(b) != 2 && len(b) != 4 {
		return false
	}
	minutes := 0
	for i := 0; i < len(b); i += 2 {
		if !isDigit(b[i]) || !isDigit(b[i+1]) {
			return false
		}
		n := two(b, i)
		if i == 0 && n > 23 || i == 2 && n > 59 {
			return false
		}
		minutes = minutes*60 + n
	}
	if len(b) == 2 {
		minutes *= 60
	}
	if sign == '+' {
		minutes = -minutes
	}
	m.micros += int64(minutes) * 60 * secondMicros
	return true
}

// The magnitudes by which an epoch time's unit is told: from 1e8 a number counts
// seconds (from March 1973, and before November 1966), from 1e11 milliseconds,
// from 1e14 microseconds, from 1e17 nanoseconds; each unit's range ends in the
// year 5138. Below 1e8 it could be several, or the digits of a date.
var epochUnits = [...]struct {
	from float64
	exp  int32 // 10^exp microseconds
	kind coercion
}{
	{1e17, -3, epochNanos},
	{1e14, 0, epochMicros},
	{1e11, 3, epochMillis},
	{1e8, 6, epochSeconds},
}

// epoch reads a number as a time.
func (n *number) epoch() (m moment, reason Reason) {
	switch {
	case n.digits == 0 || n.exp < -40:
		return m, AmbiguousTimestamp
	case n.exp > 18:
		return m, BadTimestamp
	}
	size := float64(n.digits) * pow(n.exp)
	if size >= 9.2e18 {
		return m, BadTimestamp
	}
	for _, unit := range epochUnits {
		if size < unit.from {
			continue
		}
		m.took(unit.kind)
		m.micros = n.shift(n.exp+unit.exp, &m)
		return m, ""
	}
	return m, AmbiguousTimestamp
}

// pow is 10^exp as a float, to tell magnitudes by.
func pow(exp int32) float64 {
	f := 1.0
	for ; exp > 0; exp-- {
		f *= 10
	}
	for ; exp < 0; exp++ {
		f /= 10
	}
	return f
}

// shift is the number's digits × 10^by, rounded down. The caller has seen that
// it fits.
func (n *number) shift(by int32, m *moment) int64 {
	u, cut := n.digits, n.more
	switch {
	case by >= 0:
		u *= pow10[min(by, 19)]
	case by < -19:
		u, cut = 0, true
	default:
		cut = cut || u%pow10[-by] != 0
		u /= pow10[-by]
	}
	if cut {
		m.took(subMicrosecond)
	}
	v := int64(u)
	if n.neg {
		v = -v
		if cut {
			v--
		}
	}
	return v
}
