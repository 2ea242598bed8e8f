package columnar

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/buffetbot/ingest/schema"
)

// A corrector fills in _superseded_at of the rows that a Union writes, as Supersede
// does. What it needs of them it decodes from the chunks that were just encoded, so
// that it is about the rows that stayed. Rows of one key have one symbol and event
// time, a place: those of the place that is not over yet are kept, over row groups
// and windows, and so are the row groups that they are in.
type corrector struct {
	def    *schema.Definition
	column int   // _superseded_at
	fields []int // event time, _id, _index, _published_at, then those of the key
	pages  []decodedPage
	buf    []byte

	words []int64 // of the column that is encoded
	valid []byte

	place keyPlace
	last  int64 // event time of the last row
}

// correct goes through the window's rows, and says how many of the file's row groups
// are complete: in front of those that a place is in that goes on.
func (u *Union) correct(w *window, out *unionFile) (complete int, err error) {
	c := u.corrector
	if c == nil {
		return len(out.groups), nil
	}
	for g := range w.groups {
		if err := c.group(out.groups[len(out.groups)-len(w.groups)+g], w.groups[g].ops); err != nil {
			return 0, err
		}
	}
	more, err := u.goesOn()
	if err != nil {
		return 0, err
	}
	if !more {
		c.close()
	}
	if len(c.place.rows) == 0 {
		return len(out.groups), nil
	}
	return slices.Index(out.groups, c.place.rows[0].group), nil
}

// goesOn tells whether the row behind the window is at the place of its last row.
func (u *Union) goesOn() (bool, error) {
	// In front of the next row there may be one of its key that it has beaten.
	i := slices.IndexFunc(u.pending.ops, func(o op) bool { return o.kind == opKeep })
	if i < 0 || u.pending.ops[i].first { // the rows end, or another symbol begins
		return false, nil
	}
	next := u.pending.ops[i].src
	worker, cursor := u.workers[0], &u.columns[u.def.TimeField].cursors[next]
	defer cursor.release(&worker.pages)
	if _, err := worker.more(cursor); err != nil {
		return false, &SourceError{int(next), err}
	}
	return cursor.page.v.words[cursor.at] == u.corrector.last, nil
}

// Places of corrector.fields.
const (
	correctTime = iota
	correctID
	correctIndex
	correctPublished
	correctKey
)

// newCorrector gives nil where rows do not correct each other.
func newCorrector(def *schema.Definition) *corrector {
	if len(def.NaturalKey) == 0 {
		return nil
	}
	c := &corrector{def: def, column: def.Superseded(), fields: []int{def.TimeField, def.Own, def.Own + 1, def.Own + 2}}
	for _, f := range def.NaturalKey {
		if f != def.SymbolField && f != def.TimeField {
			c.fields = append(c.fields, f)
		}
	}
	c.pages = make([]decodedPage, len(c.fields))
	c.place.texts, c.place.words = make([]texts, len(c.fields)), make([][]int64, len(c.fields))
	c.place.clear()
	return c
}

// A keyPlace are rows of one symbol and event time.
type keyPlace struct {
	rows  []placeRow
	ids   texts
	texts []texts // of the fields of the key that are texts
	words [][]int64
}

// placeRow is where a row is and how it is ordered among those of its key.
type placeRow struct {
	group     *unionGroup
	row       int32
	hasIndex  bool
	keyed     bool // it has all of its key
	index     int64
	published int64
}

// placeBytes is how many bytes the ids and keys of one place may take each.
const placeBytes = 1 << 30

func (p *keyPlace) clear() {
	p.rows = p.rows[:0]
	p.ids.reset()
	for i := range p.texts {
		p.texts[i].reset()
		p.words[i] = p.words[i][:0]
	}
}

// group goes through a row group's rows. ops are its plan: they say where symbols
// begin.
func (c *corrector) group(g *unionGroup, ops []op) error {
	if err := c.decode(g); err != nil {
		return fmt.Errorf("read back what was encoded: %w", err)
	}
	times, starts := c.pages[correctTime].v.words, symbolStarts(ops)
	for row := 0; row < g.rows; {
		if len(starts) > 0 && starts[0] == row || times[row] != c.last {
			c.close()
		}
		if len(starts) > 0 && starts[0] == row {
			starts = starts[1:]
		}
		end, to := g.rows, row+1
		if len(starts) > 0 {
			end = starts[0]
		}
		for to < end && times[to] == times[row] {
			to++
		}
		c.last = times[row]
		if to == row+1 && to < g.rows && len(c.place.rows) == 0 {
			row = to // nothing else is at its place
		}
		for ; row < to; row++ {
			if err := c.add(g, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// symbolStarts are the rows at which symbols begin.
func symbolStarts(ops []op) (starts []int) {
	row := 0
	for _, o := range ops {
		if o.kind != opKeep {
			continue
		}
		if o.first {
			starts = append(starts, row)
		}
		row += int(o.n)
	}
	return starts
}

// decode decodes the columns that are needed of a row group.
func (c *corrector) decode(g *unionGroup) error {
	for i, f := range c.fields {
		e, err := g.encoded(f, &c.buf)
		if err != nil {
			return err
		}
		if err := c.pages[i].decode(&e, &c.def.Fields[f], g.rows); err != nil {
			return fmt.Errorf("column %s: %w", c.def.Fields[f].Name, err)
		}
	}
	return nil
}

// add puts a row into the place.
func (c *corrector) add(g *unionGroup, row int) error {
	p, published, index := &c.place, &c.pages[correctPublished].v, &c.pages[correctIndex].v
	r := placeRow{group: g, row: int32(row), hasIndex: !index.isNull(row), index: index.words[row], published: published.words[row]}
	// Rows without a symbol come first of all.
	r.keyed = !published.isNull(row) && int64(row) >= g.chunks[c.def.SymbolField].bounds.nulls
	p.ids.add(c.pages[correctID].v.at(row))
	for i := correctKey; i < len(c.fields); i++ {
		v := &c.pages[i].v
		r.keyed = r.keyed && !v.isNull(row)
		if c.def.Fields[c.fields[i]].Kind == schema.String {
			p.texts[i].add(v.at(row))
		} else {
			p.words[i] = append(p.words[i], v.words[row])
		}
		if len(p.texts[i].data) > placeBytes {
			return fmt.Errorf("more than %d rows of one symbol and event time: %w", len(p.rows), ErrUnsupported)
		}
	}
	if p.rows = append(p.rows, r); len(p.ids.data) > placeBytes {
		return fmt.Errorf("more than %d rows of one symbol and event time: %w", len(p.rows), ErrUnsupported)
	}
	return nil
}

// close ends the place: all of its rows are known.
func (c *corrector) close() {
	p := &c.place
	if len(p.rows) > 1 {
		var order []int
		for i := range p.rows {
			if p.rows[i].keyed {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Or(c.compareKeys(i, j), p.compareAges(i, j)) })
		for n := 1; n < len(order); n++ {
			if i, next := order[n-1], order[n]; c.compareKeys(i, next) == 0 {
				r := &p.rows[i]
				r.group.superseded = append(r.group.superseded, superseded{r.row, p.rows[next].published})
			}
		}
	}
	p.clear()
}

func (c *corrector) compareKeys(i, j int) int {
	for n := correctKey; n < len(c.fields); n++ {
		d := 0
		if c.def.Fields[c.fields[n]].Kind == schema.String {
			d = bytes.Compare(c.place.texts[n].at(i), c.place.texts[n].at(j))
		} else {
			d = cmp.Compare(c.place.words[n][i], c.place.words[n][j])
		}
		if d != 0 {
			return d
		}
	}
	return 0
}

// compareAges orders rows of one key, the current one last.
func (p *keyPlace) compareAges(i, j int) int {
	a, b := &p.rows[i], &p.rows[j]
	if d := cmp.Or(cmp.Compare(a.published, b.published), bytes.Compare(p.ids.at(i), p.ids.at(j))); d != 0 {
		return d
	}
	if !a.hasIndex || !b.hasIndex {
		return compareBools(a.hasIndex, b.hasIndex)
	}
	return cmp.Compare(a.index, b.index)
}

// A superseded row of a row group, and when the next of its key was published.
type superseded struct {
	row int32
	at  int64
}

// chunk encodes the column of a row group whose places are over, and decodes it
// again.
func (c *corrector) chunk(g *unionGroup, e *chunkEncoder, again *decodedPage) (encodedChunk, error) {
	f := &c.def.Fields[c.column]
	n := int(bitutil.BytesForBits(int64(g.rows)))
	c.words, c.valid = growTo(c.words, g.rows)[:g.rows], growTo(c.valid, n)[:n]
	clear(c.words)
	clear(c.valid)
	for _, s := range g.superseded {
		c.words[s.row] = s.at
		bitutil.SetBit(c.valid, int(s.row))
	}
	v := vector{n: g.rows, nulls: g.rows - len(g.superseded), words: c.words, valid: c.valid}
	chunk := e.encode(&v, f)
	if v.nulls == v.n {
		return chunk, nil
	}
	if err := again.decode(&chunk, f, g.rows); err != nil {
		return chunk, fmt.Errorf("column %s: read back what was encoded: %w", f.Name, err)
	}
	for i := range g.rows {
		if null := again.v.isNull(i); null != v.isNull(i) || !null && again.v.words[i] != v.words[i] {
			return chunk, fmt.Errorf("column %s: row %d is not what was encoded: %w", f.Name, i, ErrCorrupt)
		}
	}
	return chunk, nil
}
