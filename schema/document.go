package schema

import "bytes"

// document takes a payload apart that is one object, an array of objects, or
// objects on lines of their own.
func (d *Decoder) document(p int) {
	all := d.data
	p = skipSpace(all, p, documentSpace)
	switch {
	case p == len(all):
		d.fail(EmptyPayload, -1, p, "")
	case all[p] == '{':
		d.objects(p)
		return
	case all[p] == '[':
		d.array(p)
		return
	case string(bytes.TrimSpace(all[p:])) == "null":
		d.fail(NullPayload, -1, p, "")
	default:
		d.notAnObject(p)
	}
	d.reject(0, 0, len(all))
}

// mark is the index after a byte-order mark, or -1 where one is not welcome.
func (d *Decoder) mark() int {
	if len(d.data) < 3 || d.data[0] != 0xef || !hasPrefix(d.data, "\xef\xbb\xbf") {
		return 0
	}
	if d.level != Lenient {
		return d.fail(ByteOrderMark, -1, 0, "")
	}
	d.totals[0][byteOrderMark]++
	return 3
}

// notAnObject sets the failure for something at p that does not start an object:
// valid JSON or not. It returns the index after it, or -1.
func (d *Decoder) notAnObject(p int) int {
	next := d.skip(p)
	if next >= 0 {
		d.fail(NotAnObject, -1, p, "")
	}
	return next
}

// objects takes apart a payload that starts with an object at p. Whether it is
// the only one, or the first of several lines, shows at its end; where it has
// none, because it is broken, a later line that starts with { decides.
func (d *Decoder) objects(p int) {
	all := d.data
	end := d.record(p, 0)
	good := end >= 0
	if !good {
		end = extent(all, p)
	}
	if end >= 0 {
		rest := skipSpace(all, end, documentSpace)
		switch {
		case rest == len(all):
			d.settle(good, 0, 0, len(all))
			return
		case bytes.IndexByte(all[end:rest], '\n') >= 0:
			d.settle(good, 0, p, end)
			d.lines(rest, 1)
			return
		case good:
			d.fail(TrailingData, -1, rest, "")
		}
	}
	if line := bytes.Index(all[p:], []byte("\n{")); line >= 0 {
		first := p + bytes.IndexByte(all[p:], '\n')
		d.reject(0, p, trimRight(all, p, first))
		d.lines(first, 1)
		return
	}
	d.reject(0, 0, len(all))
}

// settle makes the open record a row or, where it is not good, a rejection.
func (d *Decoder) settle(good bool, index int32, from, to int) {
	if !good {
		d.reject(index, from, to)
		return
	}
	d.keepCoercions()
	d.rows.Commit()
}

// lines takes every line from p on as one record; blank lines are none. However
// a line is broken, the next one is whole: a newline is no white space here, and
// in a string it is an error, so that no record runs on past its line.
func (d *Decoder) lines(p int, index int32) {
	all := d.data
	d.space = lineSpace
	first := index
	for {
		p = skipSpace(all, p, documentSpace)
		if p == len(all) {
			break
		}
		p = d.line(p, index)
		index++
	}
	d.space = documentSpace
	if index == 0 && first == 0 {
		d.fail(EmptyPayload, -1, len(all), "")
		d.reject(0, 0, len(all))
	}
}

// line decodes and settles the record that starts at p, and returns the index of
// the end of its line.
func (d *Decoder) line(p int, index int32) int {
	all := d.data
	end := -1
	if all[p] == '{' {
		if end = d.record(p, index); end >= 0 {
			end = skipSpace(all, end, lineSpace)
			if end == len(all) || all[end] == '\n' {
				d.settle(true, index, p, end)
				return end
			}
			d.fail(TrailingData, -1, end, "")
		}
	} else if end = d.notAnObject(p); end >= 0 {
		end = skipSpace(all, end, lineSpace)
		if end < len(all) && all[end] != '\n' {
			d.fail(TrailingData, -1, end, "")
		}
	}
	end = len(all)
	if i := bytes.IndexByte(all[p:], '\n'); i >= 0 {
		end = p + i
	}
	d.reject(index, p, trimRight(all, p, end))
	return end
}

// array takes apart an array of records. A bad element costs itself alone; where
// the syntax is broken nothing after it can be told apart, so all from there on
// is one rejection.
func (d *Decoder) array(open int) {
	all := d.data
	p := skipSpace(all, open+1, documentSpace)
	if p < len(all) && all[p] == ']' {
		d.emptyArray(p + 1)
		return
	}
	for index := int32(0); ; index++ {
		from, end := p, 0
		p, end = d.element(p, index)
		if p < 0 {
			d.reject(index, from, len(all))
			return
		}
		p = skipSpace(all, p, documentSpace)
		switch {
		case p < len(all) && all[p] == ',':
			p = skipSpace(all, p+1, documentSpace)
		case p < len(all) && all[p] == ']':
			if p = skipSpace(all, p+1, documentSpace); p < len(all) {
				d.fail(TrailingData, -1, p, "after the array")
				d.reject(index+1, p, len(all))
			}
			return
		default:
			d.fail(JSONSyntax, -1, p, "want , or ] after an element")
			d.reject(index+1, end, len(all))
			return
		}
	}
}

// element decodes and settles one element and returns the index after it; -1
// where it has no end, with nothing settled.
func (d *Decoder) element(p int, index int32) (next, end int) {
	if p == len(d.data) {
		return d.fail(JSONSyntax, -1, p, "the array does not end"), 0
	}
	if d.data[p] != '{' {
		if end = d.notAnObject(p); end < 0 {
			end = extent(d.data, p)
		}
		if end >= 0 {
			d.reject(index, p, end)
		}
		return end, end
	}
	end = d.record(p, index)
	good := end >= 0
	if !good {
		end = extent(d.data, p)
	}
	if end >= 0 {
		d.settle(good, index, p, end)
	}
	return end, end
}

func (d *Decoder) emptyArray(p int) {
	reason := EmptyArray
	if p = skipSpace(d.data, p, documentSpace); p < len(d.data) {
		reason = TrailingData
	}
	d.fail(reason, -1, p, "")
	d.reject(0, 0, len(d.data))
}

// White space as bit sets of characters. In lines a newline is none.
const (
	lineSpace     uint64 = 1<<' ' | 1<<'\t' | 1<<'\r'
	documentSpace        = lineSpace | 1<<'\n'
)

// skipSpace is the index of the first byte from p on that is not white space.
func skipSpace(b []byte, p int, space uint64) int {
	for p < len(b) && b[p] <= ' ' && space>>b[p]&1 != 0 {
		p++
	}
	return p
}

// trimRight is to, or less by the white space before it.
func trimRight(b []byte, from, to int) int {
	for to > from && (b[to-1] == ' ' || b[to-1] == '\r' || b[to-1] == '\t' || b[to-1] == '\n') {
		to--
	}
	return to
}
