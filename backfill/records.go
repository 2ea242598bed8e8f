package backfill

import (
	"bytes"
	"fmt"
)

// A record is one record of a file, as one line of JSON.
type record struct {
	line   int64 // where it starts in the file; of Parquet, the row; from 1
	broken string
}

// records reads the records of a file in order.
type records interface {
	// next appends the next record to dst; io.EOF after the last. A record that
	// cannot be taken apart is no error: it is appended as a JSON string, and
	// broken says what is wrong with it.
	next(dst []byte) ([]byte, record, error)
}

// tooLong is a record in place of one that no message can hold.
func tooLong(dst []byte, kind string, ln line) ([]byte, record, error) {
	broken := fmt.Sprintf("%d bytes, which no message can hold", ln.size)
	what := fmt.Sprintf("%s line %d: %s; it starts", kind, ln.number, broken)
	return appendBroken(dst, what, ln.text, ln.size), record{ln.number, broken}, nil
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// withoutMark takes away a byte-order mark at the line's start.
func (ln *line) withoutMark() {
	n := len(ln.text)
	ln.text = bytes.TrimPrefix(ln.text, byteOrderMark)
	ln.size -= int64(n - len(ln.text))
}

// ndjson reads newline-delimited JSON. Lines are passed on as they are, unless
// fields are mapped or set; blank lines are no records, and byte-order marks at
// the start of a line, as files that were joined have them, are left out.
type ndjson struct {
	lines *lines
	names *renaming // or nil
}

func (r *ndjson) next(dst []byte) ([]byte, record, error) {
	for {
		ln, err := r.lines.next()
		if err != nil {
			return dst, record{}, err
		}
		ln.withoutMark()
		if len(bytes.Trim(ln.text, " \t\r")) == 0 && !ln.cut() {
			continue
		}
		if ln.cut() {
			return tooLong(dst, "NDJSON", ln)
		}
		if r.names != nil {
			before := len(dst)
			if dst, ok := r.names.rename(dst, ln.text); ok {
				if len(dst)-before > maxMessage {
					return tooLong(dst[:before], "NDJSON", ln)
				}
				return dst, record{line: ln.number}, nil
			}
			dst = dst[:before]
		}
		return append(dst, ln.text...), record{line: ln.number}, nil
	}
}

// A renaming maps and sets fields of JSON objects.
type renaming struct {
	targets   map[string][][]byte // name -> the fields it is mapped to, as JSON with a colon
	drop      map[string]bool     // names that a map or a set takes the place of
	constants []byte
}

// renaming is nil where nothing is mapped or set.
func (s *Settings) renaming() *renaming {
	if len(s.Map)+len(s.Set) == 0 {
		return nil
	}
	r := &renaming{targets: map[string][][]byte{}, drop: map[string]bool{}, constants: s.constants()}
	for _, target := range sortedKeys(s.Map) {
		source := s.Map[target]
		r.targets[source] = append(r.targets[source], append(appendString(nil, []byte(target)), ':'))
		if s.Definition.Field(source) < 0 {
			r.drop[source] = true
		}
	}
	for _, m := range []map[string]string{s.Map, s.Set} {
		for target := range m {
			f := &s.Definition.Fields[s.Definition.Field(target)]
			for _, name := range append([]string{f.Name}, f.Aliases...) {
				r.drop[name] = true
			}
		}
	}
	return r
}

// String is the renaming for the settings' fingerprint.
func (r *renaming) String() string {
	if r == nil {
		return "as it is"
	}
	var b bytes.Buffer
	for _, source := range sortedKeys(r.targets) {
		fmt.Fprintf(&b, "%q:%q ", source, bytes.Join(r.targets[source], nil))
	}
	fmt.Fprintf(&b, "drop %q set {%s}", sortedKeys(r.drop), r.constants)
	return b.String()
}

// rename appends the object in text under the fields' names; every value keeps
// its text. It reports false for a text that is no JSON object: that is for the
// decoder to judge.
func (r *renaming) rename(dst, text []byte) ([]byte, bool) {
	dst = append(dst, '{')
	empty := len(dst)
	comma := func() {
		if len(dst) > empty {
			dst = append(dst, ',')
		}
	}
	err := members(text, func(name string, key, value []byte) {
		for _, target := range r.targets[name] {
			comma()
			dst = append(append(dst, target...), value...)
		}
		if !r.drop[name] {
			comma()
			dst = append(append(append(dst, key...), ':'), value...)
		}
	})
	if err != nil {
		return dst, false
	}
	if len(r.constants) > 0 {
		comma()
		dst = append(dst, r.constants...)
	}
	return append(dst, '}'), true
}
