package schema

import (
	"unicode"
	"unicode/utf8"
)

// sameString decodes a String that is the one that JSON wrote last for the field. It
// returns the index after it, or -1 for everything else.
func (d *Decoder) sameString(f, p int) int {
	dict := &d.rows.cols[f].dict
	if dict.raw == 0 {
		return -1
	}
	v := dict.value(dict.raw - 1)
	if p++; len(d.data)-p <= len(v) || d.data[p-1] != '"' || d.data[p+len(v)] != '"' || string(d.data[p:p+len(v)]) != string(v) {
		return -1
	}
	d.rows.setEntry(f, dict.raw-1)
	return p + len(v) + 1
}

// stringValue decodes a String.
func (d *Decoder) stringValue(f, p int) int {
	if next := d.sameString(f, p); next >= 0 {
		return next
	}
	quoted, next := d.quoted(p)
	if next != 0 {
		return next
	}
	if quoted {
		v, next := d.text(p)
		dict := &d.rows.cols[f].dict
		last := dict.last
		if next < 0 || d.storeText(f, v, p) < 0 {
			return -1
		}
		dict.raw = 0
		if e := d.rows.staged(f); e == last && len(v) == next-p-2 && string(dict.value(e)) == string(v) {
			dict.raw = e + 1 // it came twice, and will again
		}
		return next
	}
	if next, infinite := nonFinite(d.data, p); next > 0 {
		return d.toNull(f, p, next, infinite)
	}
	if d.def.Fields[f].JSON && (d.data[p] == '{' || d.data[p] == '[') {
		return d.jsonText(f, p)
	}
	return d.mismatch(f, p, "want a string")
}

// jsonText keeps an object or array as the text it is.
func (d *Decoder) jsonText(f, p int) int {
	before := len(d.coerced)
	next := d.skip(p)
	if next < 0 {
		return -1
	}
	if len(d.coerced) > before { // a NaN inside: the text would not be JSON
		d.coerced = d.coerced[:before]
		return d.failValue(NotFinite, f, p, "inside JSON text")
	}
	if !d.coerce(f, jsonText, p) || d.storeText(f, d.data[p:next], p) < 0 {
		return -1
	}
	return next
}

// storeText checks a string against its field and stores it. It returns 0, or -1
// with the failure set. What the column has already is taken as it is: it was
// checked when it came in.
func (d *Decoder) storeText(f int, v []byte, at int) int {
	hash, known := d.rows.setKnown(f, v)
	if known && d.plans[f].known {
		return 0
	}
	field := &d.def.Fields[f]
	if field.MaxLength > 0 && len(v) > field.MaxLength {
		return d.failValue(TooLong, f, at, "")
	}
	if field.Identifier && !identifier(v) {
		return d.failValue(BadCharacters, f, at, "")
	}
	if field.Enum != nil {
		value, exact, ok := field.Enum.find(v)
		if !ok {
			return d.failValue(NotInEnum, f, at, "")
		}
		if !exact {
			if !d.coerce(f, normalised, at) {
				return -1
			}
			d.scratch = append(d.scratch[:0], value...)
			d.rows.SetString(f, d.scratch)
			return 0
		}
	}
	if !known {
		d.rows.setNew(f, v, hash)
	}
	return 0
}

// find is the enumerated value that v spells.
func (e *Enum) find(v []byte) (value string, exact, ok bool) {
	for _, value := range e.Values {
		if string(v) == value {
			return value, true, true
		}
	}
	value, ok = e.Spelling[string(v)]
	return value, false, ok
}

// identifier reports whether v has no character that cannot be seen or that
// changes how others are seen.
func identifier(v []byte) bool {
	for i, ch := range v {
		if ch < ' ' || ch == 0x7f {
			return false
		}
		if ch >= utf8.RuneSelf {
			return visible(v[i:])
		}
	}
	return true
}

// visible is identifier beyond ASCII. Category Cf holds the bidirectional
// controls, the zero-width characters and the byte-order mark; Zl and Zp break
// lines.
func visible(v []byte) bool {
	for len(v) > 0 {
		r, n := utf8.DecodeRune(v)
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return false
		}
		v = v[n:]
	}
	return true
}
