package columnar

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/buffetbot/ingest/schema"
)

// A feed gives the keys of one sorted file's rows: symbol, event time, _id,
// _index and _published_at; a page or so at a time.
type feed struct {
	cursors [5]cursor
	dates   bool  // event times are days
	within  Times // where they must lie
	rows    int64 // before the batch

	n       int // rows of the batch
	symbols []symbolRun
	names   []byte // of the symbols
	times   []int64
	ids     texts
	noID    []bool // nil: every row has one
	index   numbers
	at      int // the row that is next …
	run     int // … and the run of its symbol

	published numbers
	tail      key // of the batch before
}

// Times are the event times from From up to, but not including, To, in µs.
type Times struct{ From, To int64 }

// An OutsideError says which row of a file has an event time that its file must
// not have, or none.
type OutsideError struct {
	Row     int64
	At      int64 // µs
	Missing bool
}

// Error implements error.
func (e *OutsideError) Error() string {
	if e.Missing {
		return fmt.Sprintf("row %d has no event time", e.Row)
	}
	return fmt.Sprintf("row %d is of %s, which is out of bounds", e.Row, formatMicros(e.At))
}

// A symbolRun is rows of one symbol.
type symbolRun struct {
	prefix   uint64 // the symbol's first eight bytes, as a number that orders alike
	exact    bool   // and these are all of it
	null     bool
	from, to int32 // in feed.names
	end      int   // behind its last row
}

// numbers are a column of integers, of which often all are the same.
type numbers struct {
	words []int64 // one, if it is every row's
	valid []byte  // nil: none is null
}

func (x *numbers) at(i int) (v int64, ok bool) {
	if x.valid != nil && !bitAt(x.valid, i) {
		return 0, false
	}
	if len(x.words) == 1 {
		return x.words[0], true
	}
	return x.words[i], true
}

func (x *numbers) compare(i int, o *numbers, j int) int {
	a, aok := x.at(i)
	b, bok := o.at(j)
	if !aok || !bok {
		return compareBools(aok, bok)
	}
	return cmp.Compare(a, b)
}

// set takes n words of a page's rows; of none, if they are null.
func (x *numbers) set(v *vector, from, n int) {
	x.words, x.valid = x.words[:0], nil
	if v == nil {
		x.words, x.valid = append(x.words, 0), make([]byte, (n+7)/8)
		return
	}
	if v.nulls > 0 {
		part := v.slice(from, from+n)
		x.valid = part.valid
	}
	words := v.words[from : from+n]
	if slices.ContainsFunc(words, func(w int64) bool { return w != words[0] }) {
		x.words = append(x.words, words...)
	} else {
		x.words = append(x.words, words[0])
	}
}

// one is row i of o alone.
func (x *numbers) one(o *numbers, i int) {
	v, ok := o.at(i)
	x.words, x.valid = append(x.words[:0], v), nil
	if !ok {
		x.valid = []byte{0}
	}
}

// A key is one row's, kept while its batch goes.
type key struct {
	set       bool
	symbol    symbolRun
	name      []byte
	time      int64
	id        []byte
	noID      bool
	index     numbers
	published numbers
}

func newFeed(f *File, def *schema.Definition, within Times) (*feed, error) {
	d := &feed{dates: def.Fields[def.TimeField].Kind == schema.Date, within: within}
	for i, c := range sortingColumns(def) {
		var err error
		if d.cursors[i], err = newCursor(f, &def.Fields[c]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// fill reads the next batch; n is 0 at the end of the file.
func (d *feed) fill(pool *pagePool) error {
	if d.n > 0 {
		d.rows += int64(d.n)
		d.key(d.n-1, len(d.symbols)-1, &d.tail)
	}
	d.n, d.at, d.run = 0, 0, 0
	n := math.MaxInt
	for i := range d.cursors {
		rest, err := d.cursors[i].rest(pool)
		if err != nil {
			return err
		}
		n = min(n, rest)
	}
	if n == 0 { // nothing is needed any more
		d.symbols, d.names, d.times, d.ids, d.noID, d.index, d.published = nil, nil, nil, texts{}, nil, numbers{}, numbers{}
		return nil
	}
	d.take(n)
	for i := range d.cursors {
		d.cursors[i].at += n
		d.cursors[i].release(pool)
	}
	d.n = n
	return d.check()
}

// take copies the keys of n rows.
func (d *feed) take(n int) {
	d.takeSymbols(&d.cursors[0], n)
	d.takeTimes(&d.cursors[1], n)
	d.takeIDs(&d.cursors[2], n)
	for i, x := range []*numbers{&d.index, &d.published} {
		c := &d.cursors[3+i]
		if c.null {
			x.set(nil, 0, n)
		} else {
			x.set(&c.page.v, c.at, n)
		}
	}
}

func (d *feed) takeSymbols(c *cursor, n int) {
	d.symbols, d.names = d.symbols[:0], d.names[:0]
	if c.null {
		d.symbols = append(d.symbols, symbolRun{null: true, end: n})
		return
	}
	v := &c.page.v
	last := int32(-1) // the code of the row before
	for i := range n {
		code := v.codes[c.at+i]
		null := v.isNull(c.at + i)
		if null {
			code = -2
		}
		if i > 0 && code == last {
			continue
		}
		last = code
		var name []byte
		if !null {
			name = v.text.at(int(code))
		}
		if k := len(d.symbols) - 1; k >= 0 {
			if s := &d.symbols[k]; s.null == null && bytes.Equal(d.names[s.from:s.to], name) {
				continue // the dictionary has it twice
			}
			d.symbols[k].end = i
		}
		s := symbolRun{null: null, from: int32(len(d.names))}
		d.names = append(d.names, name...)
		s.to = int32(len(d.names))
		s.prefix, s.exact = prefix(name)
		d.symbols = append(d.symbols, s)
	}
	d.symbols[len(d.symbols)-1].end = n
}

// prefix orders as the name does, as far as it goes. Names that end with a zero
// byte, or have no bytes, are told apart by comparing them whole.
func prefix(name []byte) (p uint64, exact bool) {
	if len(name) >= 8 {
		return binary.BigEndian.Uint64(name), len(name) == 8 && name[7] != 0
	}
	var b [8]byte
	copy(b[:], name)
	return binary.BigEndian.Uint64(b[:]), len(name) > 0 && name[len(name)-1] != 0
}

func (d *feed) takeTimes(c *cursor, n int) {
	d.times = growTo(d.times, n)[:n]
	if c.null {
		for i := range d.times {
			d.times[i] = math.MinInt64 // check refuses them
		}
		return
	}
	copy(d.times, c.page.v.words[c.at:c.at+n])
	for i := range d.times {
		switch {
		case c.page.v.isNull(c.at + i):
			d.times[i] = math.MinInt64
		case d.dates:
			d.times[i] *= microsPerDay
		}
	}
}

func (d *feed) takeIDs(c *cursor, n int) {
	d.ids.reset()
	d.noID = nil
	if c.null || c.page.v.nulls > 0 {
		d.noID = make([]bool, n)
	}
	if !c.null && c.page.own { // as long as the page's
		text := &c.page.v.text
		d.ids.room(n, len(text.data))
	}
	for i := range n {
		switch {
		case c.null || c.page.v.isNull(c.at+i):
			d.noID[i] = true
			d.ids.add(nil)
		default:
			d.ids.add(c.page.v.text.at(int(c.page.v.codes[c.at+i])))
		}
	}
}

// check makes sure that the batch is in order and in time.
func (d *feed) check() error {
	start := 0
	for r := range d.symbols {
		s := &d.symbols[r]
		if r > 0 && compareSymbols(&d.symbols[r-1], d.names, s, d.names) >= 0 {
			return d.unsorted(start)
		}
		for i := start; i < s.end; i++ {
			if t := d.times[i]; t < d.within.From || t >= d.within.To {
				return d.outside(i)
			}
			if i > start && (d.times[i] < d.times[i-1] || d.times[i] == d.times[i-1] && d.compareTie(i-1, d, i) > 0) {
				return d.unsorted(i)
			}
		}
		start = s.end
	}
	if d.tail.set && d.tail.compare(d) > 0 {
		return d.unsorted(0)
	}
	return nil
}

func (d *feed) unsorted(row int) error {
	return fmt.Errorf("row %d: %w", d.rows+int64(row), ErrUnsorted)
}

func (d *feed) outside(row int) error {
	return &OutsideError{Row: d.rows + int64(row), At: d.times[row], Missing: d.times[row] == math.MinInt64}
}

func compareSymbols(a *symbolRun, aNames []byte, b *symbolRun, bNames []byte) int {
	switch {
	case a.null || b.null:
		return compareBools(!a.null, !b.null)
	case a.prefix != b.prefix:
		return cmp.Compare(a.prefix, b.prefix)
	case a.exact && b.exact:
		return 0
	}
	return bytes.Compare(aNames[a.from:a.to], bNames[b.from:b.to])
}

// compareTie orders rows of one symbol and event time as far as the key goes.
func (d *feed) compareTie(i int, o *feed, j int) int {
	if c := d.compareIdentity(i, o, j); c != 0 {
		return c
	}
	return d.published.compare(i, &o.published, j)
}

func (d *feed) compareIdentity(i int, o *feed, j int) int {
	aok, bok := d.noID == nil || !d.noID[i], o.noID == nil || !o.noID[j]
	if !aok || !bok {
		if c := compareBools(aok, bok); c != 0 {
			return c
		}
	} else if c := bytes.Compare(d.ids.at(i), o.ids.at(j)); c != 0 {
		return c
	}
	return d.index.compare(i, &o.index, j)
}

// key copies row i's key, whose symbol is that of a run.
func (d *feed) key(i, run int, k *key) {
	s := d.symbols[run]
	k.set = true
	k.name = append(k.name[:0], d.names[s.from:s.to]...)
	s.from, s.to = 0, s.to-s.from
	k.symbol = s
	k.time = d.times[i]
	k.noID = d.noID != nil && d.noID[i]
	k.id = append(k.id[:0], d.ids.at(i)...)
	k.index.one(&d.index, i)
	k.published.one(&d.published, i)
}

// compare orders the key against a feed's next row.
func (k *key) compare(d *feed) int {
	if c := compareSymbols(&k.symbol, k.name, &d.symbols[d.run], d.names); c != 0 {
		return c
	}
	if c := cmp.Compare(k.time, d.times[d.at]); c != 0 {
		return c
	}
	if c := k.compareIdentity(d, d.at); c != 0 {
		return c
	}
	return k.published.compare(0, &d.published, d.at)
}

func (k *key) compareIdentity(d *feed, i int) int {
	noID := d.noID != nil && d.noID[i]
	if k.noID || noID {
		if c := compareBools(!k.noID, !noID); c != 0 {
			return c
		}
	} else if c := bytes.Compare(k.id, d.ids.at(i)); c != 0 {
		return c
	}
	return k.index.compare(0, &d.index, i)
}
