package columnar

import (
	"bytes"

	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/buffetbot/ingest/schema"
)

// A lane collects one column's values of a row group from many cursors.
type lane struct {
	f      *schema.Field
	isText bool
	v      vector

	// While all pages have dictionaries the lane has one too: entries in order of
	// first occurrence. A page's codes are looked up once for each row group, which
	// generation tells apart.
	coded      bool
	entries    map[string]int32
	generation uint64

	hasher *cellHasher
}

func (l *lane) begin(f *schema.Field) {
	l.f, l.isText = f, f.Kind == schema.String || f.Kind == schema.Binary
	l.hasher = newCellHasher(f.Name)
	l.reset()
}

// reset empties the lane for the next row group.
func (l *lane) reset() {
	l.v.n, l.v.nulls, l.v.words, l.v.codes = 0, 0, l.v.words[:0], l.v.codes[:0]
	l.v.valid = l.v.valid[:0]
	l.v.text.reset()
	l.coded = false
	if l.entries == nil {
		l.entries = map[string]int32{}
	}
	clear(l.entries)
	l.generation++
}

// vector is what the lane holds, for the encoder.
func (l *lane) vector() vector {
	v := l.v
	if v.nulls == 0 {
		v.valid = nil
	}
	if l.isText && !l.coded {
		v.codes = nil
	}
	if !l.isText {
		v.codes, v.text = nil, texts{}
	}
	return v
}

// validity notes whether n more rows are null; page is nil where all are.
func (l *lane) validity(page *vector, at, n int) {
	if l.v.nulls == 0 && page != nil && page.nulls == 0 {
		return
	}
	if l.v.nulls == 0 {
		l.growValid(l.v.n)
		bitutil.SetBitsTo(l.v.valid, 0, int64(l.v.n), true)
	}
	l.growValid(l.v.n + n)
	switch {
	case page == nil:
		bitutil.SetBitsTo(l.v.valid, int64(l.v.n), int64(n), false)
		l.v.nulls += n
	case page.nulls == 0:
		bitutil.SetBitsTo(l.v.valid, int64(l.v.n), int64(n), true)
	default:
		for i := range n {
			ok := bitAt(page.valid, at+i)
			bitutil.SetBitTo(l.v.valid, l.v.n+i, ok)
			if !ok {
				l.v.nulls++
			}
		}
	}
}

func (l *lane) growValid(rows int) {
	for need := int(bitutil.BytesForBits(int64(rows))); len(l.v.valid) < need; {
		l.v.valid = append(l.v.valid, 0)
	}
}

// nulls appends null rows.
func (l *lane) nulls(n int) {
	l.validity(nil, 0, n)
	for range n {
		l.blank()
	}
	l.v.n += n
}

// blank appends something that stands at a null row.
func (l *lane) blank() {
	switch {
	case !l.isText:
		l.v.words = append(l.v.words, 0)
	case l.coded:
		l.v.codes = append(l.v.codes, 0)
	default:
		l.v.text.add(nil)
	}
}

// rows appends rows [at, at+n) of a cursor's page.
func (l *lane) rows(c *cursor, n int) {
	page := &c.page.v
	if l.v.nulls > 0 || page.nulls > 0 {
		l.validity(page, c.at, n)
	}
	switch {
	case !l.isText && n == 1:
		l.v.words = append(l.v.words, page.words[c.at])
	case !l.isText:
		l.v.words = append(l.v.words, page.words[c.at:c.at+n]...)
	case page.codes == nil || c.page.own || l.v.n > 0 && !l.coded:
		l.denseRows(page, c.at, n)
	default:
		l.codedRows(c.page, c.at, n)
	}
	l.v.n += n
}

// denseRows appends texts as they are, which ends the lane's dictionary.
func (l *lane) denseRows(page *vector, at, n int) {
	if l.coded {
		l.spell()
	}
	for i := at; i < at+n; i++ {
		l.v.text.add(page.at(i))
	}
}

// spell turns a lane with a dictionary into one without.
func (l *lane) spell() {
	coded := vector{n: l.v.n, codes: l.v.codes, text: l.v.text}
	var dense texts
	dense.reset()
	for i := range coded.n {
		if l.v.nulls > 0 && !bitAt(l.v.valid, i) {
			dense.add(nil)
			continue
		}
		dense.add(coded.at(i))
	}
	l.v.text, l.coded = dense, false
}

// codedRows appends codes of the lane's dictionary.
func (l *lane) codedRows(page *decodedPage, at, n int) {
	if !l.coded { // it is empty, or has nulls only
		l.coded = true
		l.v.codes = growTo(l.v.codes, l.v.n+n)[:l.v.n]
		clear(l.v.codes)
		l.v.text.reset()
	}
	for i := at; i < at+n; i++ {
		if page.v.isNull(i) {
			l.v.codes = append(l.v.codes, 0)
			continue
		}
		code := page.v.codes[i]
		known := page.recode[code]
		if known>>32 != l.generation {
			known = l.generation<<32 | uint64(l.entry(page.v.text.at(int(code))))
			page.recode[code] = known
		}
		l.v.codes = append(l.v.codes, int32(uint32(known)))
	}
}

func (l *lane) entry(t []byte) int32 {
	code, ok := l.entries[string(t)]
	if !ok {
		code = int32(l.v.text.len())
		l.v.text.add(t)
		l.entries[string(t)] = code
	}
	return code
}

// lastCell is the hash of the cell appended last.
func (l *lane) lastCell() SetHash {
	i := l.v.n - 1
	if l.v.nulls > 0 && !bitAt(l.v.valid, i) {
		return SetHash{}
	}
	if !l.isText {
		return l.hashWord(l.v.words[i])
	}
	return l.hasher.bytes(l.lastText())
}

func (l *lane) lastText() []byte {
	i := l.v.n - 1
	if l.coded {
		i = int(l.v.codes[i])
	}
	return l.v.text.at(i)
}

func (l *lane) hashWord(w int64) SetHash {
	if l.f.Kind == schema.Float64 {
		return l.hasher.word(canonicalWord(w))
	}
	return l.hasher.word(uint64(w))
}

// cell is the hash of a cursor's next row.
func (l *lane) cell(c *cursor) SetHash {
	switch {
	case c.null || c.page.v.isNull(c.at):
		return SetHash{}
	case l.isText:
		return l.hasher.bytes(c.page.v.at(c.at))
	}
	return l.hashWord(c.page.v.words[c.at])
}

// equal tells whether a cursor's next cell hashes as the one appended last does.
func (l *lane) equal(c *cursor) bool {
	null := l.v.nulls > 0 && !bitAt(l.v.valid, l.v.n-1)
	if n := c.null || c.page.v.isNull(c.at); n || null {
		return n == null
	}
	if l.isText {
		return bytes.Equal(c.page.v.at(c.at), l.lastText())
	}
	a, b := c.page.v.words[c.at], l.v.words[l.v.n-1]
	return a == b || l.f.Kind == schema.Float64 && canonicalWord(a) == canonicalWord(b)
}
