package schema

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// text reads the string at p, which is at its opening quote. It returns the
// string's bytes, which alias the message or d.scratch, and the index after the
// closing quote.
func (d *Decoder) text(p int) (v []byte, next int) {
	data := d.data
	i := plainText(data, p+1)
	if i < len(data) && data[i] == '"' {
		return data[p+1 : i], i + 1
	}
	return d.oddText(p+1, i)
}

// plainText is the index of the first byte from p on that is a quote, a
// backslash, a control character or not ASCII. Eight bytes are looked at at
// once: in each word below, the lowest high bit set marks the first such byte.
func plainText(b []byte, p int) int {
	for p+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[p:])
		quote := w ^ ones*'"'
		slash := w ^ ones*'\\'
		odd := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((w - ones*' ') &^ w) | w
		if odd &= highs; odd != 0 {
			return p + bits.TrailingZeros64(odd)/8
		}
		p += 8
	}
	for p < len(b) && b[p] != '"' && b[p] != '\\' && b[p] >= ' ' && b[p] < utf8.RuneSelf {
		p++
	}
	return p
}

// oddText reads on from i, in a string that starts at start, where something
// needs a second look.
func (d *Decoder) oddText(start, i int) (v []byte, next int) {
	data := d.data
	done := start // data[start:done] is in scratch, if escaped
	escaped := false
	for {
		if i >= len(data) {
			return nil, d.fail(JSONSyntax, -1, start-1, "the string does not end")
		}
		switch ch := data[i]; {
		case ch == '"':
			if !escaped {
				return data[start:i], i + 1
			}
			d.scratch = append(d.scratch, data[done:i]...)
			return d.scratch, i + 1
		case ch == '\\':
			if !escaped {
				d.scratch, escaped = d.scratch[:0], true
			}
			d.scratch = append(d.scratch, data[done:i]...)
			if i = d.escape(i); i < 0 {
				return nil, -1
			}
			done = i
		case ch < ' ':
			return nil, d.fail(JSONSyntax, -1, i, "a control character in a string")
		default:
			_, n := utf8.DecodeRune(data[i:])
			if n == 1 {
				return nil, d.fail(InvalidUTF8, -1, i, "")
			}
			i += n
		}
		i = plainText(data, i)
	}
}

// escape appends what the escape at i means to scratch and returns the index
// after it.
func (d *Decoder) escape(i int) int {
	data := d.data
	if i+1 >= len(data) {
		return d.fail(JSONSyntax, -1, i, "the string does not end")
	}
	switch ch := data[i+1]; ch {
	case '"', '\\', '/':
		d.scratch = append(d.scratch, ch)
	case 'b':
		d.scratch = append(d.scratch, '\b')
	case 'f':
		d.scratch = append(d.scratch, '\f')
	case 'n':
		d.scratch = append(d.scratch, '\n')
	case 'r':
		d.scratch = append(d.scratch, '\r')
	case 't':
		d.scratch = append(d.scratch, '\t')
	case 'u':
		return d.unicodeEscape(i)
	default:
		return d.fail(JSONSyntax, -1, i, "no such escape")
	}
	return i + 2
}

// unicodeEscape is escape for \u, and for the two of a surrogate pair.
func (d *Decoder) unicodeEscape(i int) int {
	r, ok := hex4(d.data, i+2)
	if !ok {
		return d.fail(JSONSyntax, -1, i, `\u wants four hexadecimal digits`)
	}
	next := i + 6
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), false
		if hasPrefix(d.data[next:], `\u`) {
			low, ok = hex4(d.data, next+2)
		}
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return d.fail(LoneSurrogate, -1, i, "")
		}
		next += 6
	}
	d.scratch = utf8.AppendRune(d.scratch, r)
	return next
}

func hex4(b []byte, p int) (r rune, ok bool) {
	if len(b)-p < 4 {
		return 0, false
	}
	for _, ch := range b[p : p+4] {
		switch {
		case ch >= '0' && ch <= '9':
			ch -= '0'
		case ch|0x20 >= 'a' && ch|0x20 <= 'f':
			ch = ch | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(ch)
	}
	return r, true
}

// A frame is an open object or array of skip.
type frame struct {
	object bool
	id     uint32 // of an object: tells its names from those of others
}

// skip reads the value at p for its syntax alone: everything that a JSON text
// must keep is checked, names that come twice included. A bare NaN or Infinity
// is let pass and counted.
func (d *Decoder) skip(p int) int {
	data := d.data
	d.stack = d.stack[:0]
	for {
		p = skipSpace(data, p, d.space)
		if p >= len(data) {
			return d.fail(JSONSyntax, -1, p, "want a value")
		}
		if ch := data[p]; ch == '{' || ch == '[' {
			if len(d.stack)+2 > MaxDepth { // the record is one deep already
				return d.fail(TooDeep, -1, p, "")
			}
			d.objectID++
			d.stack = append(d.stack, frame{ch == '{', d.objectID})
			p = skipSpace(data, p+1, d.space)
			if p >= len(data) || data[p] != ch+2 { // { and }, [ and ] are two apart
				if p = d.skipName(p); p < 0 {
					return -1
				}
				continue
			}
			p++
			d.stack = d.stack[:len(d.stack)-1]
		} else if p = d.skipScalar(p); p < 0 {
			return -1
		}
		if p = d.skipEnds(p); p < 0 || len(d.stack) == 0 {
			return p
		}
		if p = d.skipName(p); p < 0 {
			return -1
		}
	}
}

// skipEnds reads, after a value, the ends of what it ends, and a comma.
func (d *Decoder) skipEnds(p int) int {
	data := d.data
	for len(d.stack) > 0 {
		p = skipSpace(data, p, d.space)
		end := byte(']')
		if d.stack[len(d.stack)-1].object {
			end = '}'
		}
		switch {
		case p < len(data) && data[p] == ',':
			return p + 1
		case p < len(data) && data[p] == end:
			p++
			d.stack = d.stack[:len(d.stack)-1]
		default:
			return d.fail(JSONSyntax, -1, p, "want , or the end after a value")
		}
	}
	return p
}

// skipName reads the name and colon that come next inside an object; inside an
// array there are none.
func (d *Decoder) skipName(p int) int {
	top := d.stack[len(d.stack)-1]
	if !top.object {
		return p
	}
	p = skipSpace(d.data, p, d.space)
	if p >= len(d.data) || d.data[p] != '"' {
		return d.fail(JSONSyntax, -1, p, "want a name in quotes")
	}
	name, next := d.text(p)
	if next < 0 {
		return -1
	}
	if next = d.unseen(top.id, name, p, next); next < 0 {
		return -1
	}
	if next = skipSpace(d.data, next, d.space); next >= len(d.data) || d.data[next] != ':' {
		return d.fail(JSONSyntax, -1, next, "want : after a name")
	}
	return next + 1
}

// unseen notes a name of an object and returns next; -1 if it was there before.
func (d *Decoder) unseen(object uint32, name []byte, p, next int) int {
	d.key = append(binary.LittleEndian.AppendUint32(d.key[:0], object), name...)
	if _, added := d.others.intern(d.key); !added {
		return d.fail(DuplicateKey, -1, p, "")
	}
	return next
}

// skipScalar reads a value that is no object or array.
func (d *Decoder) skipScalar(p int) int {
	rest := d.data[p:]
	switch rest[0] {
	case '"':
		_, next := d.text(p)
		return next
	case 't':
		if hasPrefix(rest, "true") {
			return p + 4
		}
	case 'f':
		if hasPrefix(rest, "false") {
			return p + 5
		}
	case 'n':
		if hasPrefix(rest, "null") {
			return p + 4
		}
	default:
		if _, next := scanNumber(d.data, p); next >= 0 {
			return next
		}
		if next, _ := nonFinite(d.data, p); next >= 0 {
			if !d.coerce(-1, nonFiniteDropped, p) {
				return -1
			}
			return next
		}
	}
	return d.fail(JSONSyntax, -1, p, "want a value")
}

// extent is the index after the value at p, or -1 where it has no certain end.
// It serves to cut a rejected record out of its message, so it minds brackets
// and quotes and the spelling of what lies between, but not what only spoils a
// record: bytes in strings, names that come twice, depth.
func extent(b []byte, p int) int {
	var open []byte // the ends that are due
	wantName := false
	for {
		p = skipSpace(b, p, documentSpace)
		if p >= len(b) {
			return -1
		}
		switch ch := b[p]; {
		case wantName && ch != '"':
			return -1
		case ch == '{' || ch == '[':
			open = append(open, ch+2)
			p = skipSpace(b, p+1, documentSpace)
			if p >= len(b) || b[p] != ch+2 {
				wantName = ch == '{'
				continue
			}
			p, open = p+1, open[:len(open)-1]
		default:
			if p = scalarExtent(b, p); p < 0 {
				return -1
			}
		}
		if wantName {
			if p = skipSpace(b, p, documentSpace); p >= len(b) || b[p] != ':' {
				return -1
			}
			p, wantName = p+1, false
			continue
		}
		for {
			if len(open) == 0 {
				return p
			}
			if p = skipSpace(b, p, documentSpace); p >= len(b) {
				return -1
			}
			if b[p] == ',' {
				wantName = open[len(open)-1] == '}'
				p++
				break
			}
			if b[p] != open[len(open)-1] {
				return -1
			}
			p, open = p+1, open[:len(open)-1]
		}
	}
}

// scalarExtent is extent for a string, a number or a word.
func scalarExtent(b []byte, p int) int {
	if b[p] == '"' {
		for p++; p < len(b); p++ {
			switch b[p] {
			case '"':
				return p + 1
			case '\\':
				p++
			}
		}
		return -1
	}
	for _, word := range [...]string{"true", "false", "null", "NaN", "Infinity", "-Infinity"} {
		if hasPrefix(b[p:], word) {
			return p + len(word)
		}
	}
	_, next := scanNumber(b, p)
	return next
}
