package backfill

import (
	"bytes"
	"fmt"
	"io"
)

// The most lines that one record of CSV may spread over, by newlines in quotes.
const maxRecordLines = 100

// csv reads the records of a CSV file by its mapping (RFC 4180: cells in quotes
// may hold the delimiter, doubled quotes and newlines).
//
// What is wrong costs its own line alone: where quotes do not fit together, the
// first line is the broken record and reading goes on at the next, so that one
// stray quote does not swallow what follows. Empty lines are no records, an
// empty cell is no value.
type csv struct {
	lines     *lines
	delimiter byte
	null      map[string]bool
	mapping   *mapping

	joined []byte // a record over several lines
	cells  [][]byte
	spare  []byte // cells without their quotes
}

func (r *csv) next(dst []byte) ([]byte, record, error) {
	for {
		first, err := r.lines.next()
		if err != nil {
			return dst, record{}, err
		}
		if first.number == 1 {
			first.withoutMark()
		}
		if len(bytes.TrimSuffix(first.text, []byte{'\r'})) == 0 && !first.cut() {
			continue
		}
		if first.cut() {
			return tooLong(dst, "CSV", first)
		}
		return r.record(dst, first)
	}
}

// record renders the record that starts with this line.
func (r *csv) record(dst []byte, first line) ([]byte, record, error) {
	text, wrong, err := r.take(first)
	if err != nil {
		return dst, record{}, err
	}
	if wrong == "" && len(r.cells) != len(r.mapping.names) {
		wrong = fmt.Sprintf("%d cells where the header has %d", len(r.cells), len(r.mapping.names))
	}
	if wrong != "" {
		return appendBroken(dst, fmt.Sprintf("CSV line %d: %s", first.number, wrong), text, int64(len(text))), record{first.number, wrong}, nil
	}
	before := len(dst)
	dst = r.render(dst)
	if len(dst)-before > maxMessage {
		return tooLong(dst[:before], "CSV", line{first.number, text, int64(len(dst) - before)})
	}
	return dst, record{line: first.number}, nil
}

// take splits the record that starts with this line into r.cells, and gives its
// text. wrong says why it cannot be split; then the text is the first line's.
func (r *csv) take(first line) (text []byte, wrong string, err error) {
	open, wrong := r.split(first.text)
	if !open {
		return first.text, wrong, nil
	}
	first = first.keep()
	r.joined = append(r.joined[:0], first.text...)
	var more []line
	for len(more) < maxRecordLines-1 {
		ln, err := r.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, "", err
		}
		more = append(more, ln.keep())
		if ln.cut() || len(r.joined)+len(ln.text) > maxLine {
			break
		}
		r.joined = append(append(r.joined, '\n'), ln.text...)
		if bytes.IndexByte(ln.text, '"') < 0 {
			continue // still inside the quotes
		}
		if open, wrong = r.split(r.joined); !open {
			break
		}
	}
	if !open && wrong == "" {
		return r.joined, "", nil
	}
	if open {
		wrong = "a quote is not closed"
	}
	r.lines.putBack(more)
	return first.text, wrong, nil
}

// split splits a record into r.cells. open means that it ends inside quotes.
func (r *csv) split(text []byte) (open bool, wrong string) {
	text = bytes.TrimSuffix(text, []byte{'\r'})
	r.cells, r.spare = r.cells[:0], r.spare[:0]
	if cap(r.spare) < len(text) { // it never moves while cells point into it
		r.spare = make([]byte, 0, len(text)+len(text)/2)
	}
	for {
		var cell []byte
		if len(text) > 0 && text[0] == '"' {
			cell, text, open = r.unquote(text[1:])
			if open {
				return true, ""
			}
			if len(text) > 0 && text[0] != r.delimiter {
				return false, fmt.Sprintf("cell %d goes on after its closing quote", len(r.cells)+1)
			}
		} else {
			end := bytes.IndexByte(text, r.delimiter)
			if end < 0 {
				end = len(text)
			}
			cell, text = text[:end], text[end:]
			if bytes.IndexByte(cell, '"') >= 0 {
				return false, fmt.Sprintf("a quote inside cell %d, which does not start with one", len(r.cells)+1)
			}
		}
		r.cells = append(r.cells, cell)
		if len(text) == 0 {
			return false, ""
		}
		text = text[1:]
	}
}

// unquote reads a cell after its opening quote. open means that it does not end.
func (r *csv) unquote(text []byte) (cell, rest []byte, open bool) {
	from := len(r.spare)
	for {
		end := bytes.IndexByte(text, '"')
		if end < 0 {
			return nil, nil, true
		}
		r.spare = append(r.spare, text[:end]...)
		text = text[end+1:]
		if len(text) == 0 || text[0] != '"' {
			return r.spare[from:len(r.spare):len(r.spare)], text, false
		}
		r.spare = append(r.spare, '"')
		text = text[1:]
	}
}

// render appends the record that r.cells are.
func (r *csv) render(dst []byte) []byte {
	dst = append(dst, '{')
	empty := len(dst)
	for i := range r.mapping.columns {
		c := &r.mapping.columns[i]
		cell := r.cells[c.source]
		if len(cell) == 0 || r.null[string(cell)] {
			continue
		}
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = appendCell(append(dst, c.key...), cell, c.style)
	}
	if len(r.mapping.constants) > 0 {
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = append(dst, r.mapping.constants...)
	}
	return append(dst, '}')
}

// header reads the names of the columns from the first line that is not empty.
func (r *csv) header() ([]string, error) {
	for {
		first, err := r.lines.next()
		if err != nil {
			return nil, err
		}
		if first.number == 1 {
			first.withoutMark()
		}
		if len(bytes.TrimSuffix(first.text, []byte{'\r'})) == 0 {
			continue
		}
		if first.cut() {
			return nil, fmt.Errorf("line %d: a header of %d bytes", first.number, first.size)
		}
		_, wrong, err := r.take(first)
		if err != nil {
			return nil, err
		}
		if wrong != "" {
			return nil, fmt.Errorf("line %d: the header: %s", first.number, wrong)
		}
		names := make([]string, len(r.cells))
		for i, c := range r.cells {
			names[i] = string(c)
		}
		return names, nil
	}
}
