package columnar

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/buffetbot/ingest/schema"
)

// A cursor reads one column of one file from its first row to its last, a page at
// a time. It may let go of its page and take it up again later: what it keeps
// between is a few words.
type cursor struct {
	f     *File
	field *schema.Field
	leaf  int   // the file's column, -1 if it lacks it
	left  int64 // rows behind the page

	group  int   // row group of the page; the one before the next, if it has no rows left
	inside int64 // rows of the group behind the page
	off    int64 // where the page begins
	next   int64 // and where the one behind it does
	coded  bool  // the chunk has a dictionary

	page *decodedPage // nil: let go of, or none yet
	null bool         // the page's rows are null; it has no bytes
	at   int          // rows of the page that were passed
	n    int          // rows of the page
}

func newCursor(f *File, field *schema.Field) (cursor, error) {
	c := cursor{f: f, field: field, leaf: f.leaf(field), left: f.meta.rows, group: -1}
	if c.leaf >= 0 {
		if _, err := newColumn(field, f.meta.columns[c.leaf], 0); err != nil {
			return c, err
		}
	}
	return c, nil
}

// A decodedPage is a page's values, and the buffers they are in, which are used
// again for other columns and files.
type decodedPage struct {
	columnBuilder
	v     vector // what the page holds
	own   bool   // its strings are its own, not codes of a dictionary
	bools []int64

	recode []uint64 // for a code of the dictionary: see lane.codedRows
}

// A pagePool is for one goroutine: pages nobody holds, and what it takes to decode
// one, which is needed only while that lasts.
type pagePool struct {
	free  []*decodedPage
	texts bool // pages keep their texts' memory: the next holds some too

	raw    []byte // bytes of a file from rawAt on
	rawAt  int64
	rawOf  *File
	guess  int64 // length of a page
	pages  pageReader
	levels []int32
	narrow []int32
}

func (p *pagePool) get() *decodedPage {
	if n := len(p.free); n > 0 {
		d := p.free[n-1]
		p.free = p.free[:n-1]
		return d
	}
	return &decodedPage{}
}

// lend gives a page what it needs to decode, and takes it back.
func (p *pagePool) lend(d *decodedPage, decode func() error) error {
	d.levels, d.words32 = p.levels, p.narrow
	err := decode()
	p.levels, p.narrow = d.levels, d.words32
	d.levels, d.words32 = nil, nil
	return err
}

// keptTexts is how many bytes of texts a page nobody holds may keep for the next.
const keptTexts = 4 << 10

// release lets go of the page. One of long texts is not kept: most columns are
// numbers, and there is a page for each file.
func (c *cursor) release(p *pagePool) {
	if c.page == nil {
		return
	}
	if s := &c.page.columnBuilder.values; cap(s.data) > keptTexts && !p.texts {
		s.data, s.offsets, c.page.codes, c.page.recode = nil, nil, nil, nil
	}
	p.free = append(p.free, c.page)
	c.page = nil
}

// rest says how many rows of the page are left, and takes up the next page, or the
// one let go of, if there is need. It is 0 at the end of the file only.
func (c *cursor) rest(p *pagePool) (n int, err error) {
	if c.at < c.n && (c.page != nil || c.null) {
		return c.n - c.at, nil
	}
	defer func() {
		if r := recover(); r != nil { // as File.decode does
			err = fmt.Errorf("decode: %v: %w", r, ErrCorrupt)
		}
		if err != nil {
			n, err = 0, fmt.Errorf("column %s: row group %d: %w", c.field.Name, c.group, err)
		}
	}()
	if c.at < c.n {
		return c.n - c.at, c.again(p)
	}
	for c.at == c.n && c.left > 0 {
		if err := c.advance(p); err != nil {
			return 0, err
		}
	}
	return c.n - c.at, nil
}

// advance goes to the next page.
func (c *cursor) advance(p *pagePool) error {
	if c.leaf < 0 {
		c.nulls(c.left)
		return nil
	}
	if c.inside == 0 {
		return c.enter(p)
	}
	return c.load(p, c.next)
}

// nulls makes a page without bytes.
func (c *cursor) nulls(rows int64) {
	c.null, c.at, c.n = true, 0, int(rows)
	c.left -= rows
}

// enter begins the next row group.
func (c *cursor) enter(p *pagePool) error {
	c.group++
	g := &c.f.meta.groups[c.group]
	chunk := &g.chunks[c.leaf]
	if chunk.nulls == g.rows {
		c.nulls(g.rows)
		return nil
	}
	c.null, c.inside, c.coded = false, g.rows, false
	return c.load(p, chunk.start)
}

func (c *cursor) chunk() *chunkMeta { return &c.f.meta.groups[c.group].chunks[c.leaf] }

// again takes up the page that was let go of.
func (c *cursor) again(p *pagePool) error {
	if err := c.hold(p); err != nil {
		return err
	}
	pg, _, err := p.read(c.f, c.off, c.chunk())
	if err == nil && pg.values != c.n {
		err = fmt.Errorf("page of %d values had %d before: %w", pg.values, c.n, ErrCorrupt)
	}
	if err != nil {
		return err
	}
	return c.page.dataPage(p, &pg)
}

// hold takes buffers, if the page was let go of, and reads the dictionary of the
// chunk again.
func (c *cursor) hold(p *pagePool) error {
	if c.page != nil {
		return nil
	}
	c.page = p.get()
	c.page.begin(c)
	if !c.coded {
		return nil
	}
	pg, _, err := p.read(c.f, c.chunk().start, c.chunk())
	if err == nil {
		err = c.page.codesOf(p, &pg)
	}
	return err
}

// load goes to the page at off, or the first behind it that has values.
func (c *cursor) load(p *pagePool, off int64) error {
	chunk := c.chunk()
	if off == chunk.start && c.page != nil {
		c.page.begin(c)
	}
	if err := c.hold(p); err != nil {
		return err
	}
	for {
		if off >= chunk.end {
			return fmt.Errorf("%d values are missing: %w", c.inside, ErrCorrupt)
		}
		pg, used, err := p.read(c.f, off, chunk)
		if err != nil {
			return err
		}
		c.off, c.next = off, off+used
		off += used
		switch {
		case pg.typ == pageIndex:
		case pg.typ == pageDict:
			if c.coded = true; c.off != chunk.start {
				return fmt.Errorf("dictionary behind values: %w", ErrCorrupt)
			}
			if err := c.page.codesOf(p, &pg); err != nil {
				return err
			}
		case int64(pg.values) > c.inside:
			return fmt.Errorf("page of %d values where %d are missing: %w", pg.values, c.inside, ErrCorrupt)
		case pg.values > 0:
			c.at, c.n = 0, pg.values
			c.inside -= int64(c.n)
			c.left -= int64(c.n)
			return c.page.dataPage(p, &pg)
		}
	}
}

// begin forgets what the buffers were used for.
func (d *decodedPage) begin(c *cursor) {
	d.field, d.meta, d.wide = c.field, c.f.meta.columns[c.leaf], true
	d.recode = d.recode[:0]
	d.restart(0)
}

// restart empties the builder for want rows.
func (d *decodedPage) restart(want int) {
	d.rows, d.want, d.nulls = 0, want, 0
	if d.valid != nil {
		d.spare, d.valid = d.valid, nil
	}
	d.words64, d.codes, d.bits = d.words64[:0], d.codes[:0], d.bits[:0]
	d.columnBuilder.values.offsets = append(d.columnBuilder.values.offsets[:0], 0)
	d.columnBuilder.values.data, d.columnBuilder.values.over = d.columnBuilder.values.data[:0], false
	d.base, d.entries = 0, -1
}

// codesOf decodes a dictionary page.
func (d *decodedPage) codesOf(p *pagePool, pg *page) error {
	if pg.typ != pageDict || pg.values > maxRowGroupRows {
		return fmt.Errorf("no dictionary, or one of %d values: %w", pg.values, ErrCorrupt)
	}
	if d.field.Kind == schema.String {
		d.recode = growTo(d.recode, pg.values)[:pg.values]
		clear(d.recode)
	}
	return p.lend(d, func() error { return d.dictionary(pg) })
}

// dataPage decodes a data page.
func (d *decodedPage) dataPage(p *pagePool, pg *page) error {
	d.rows, d.want, d.nulls = 0, pg.values, 0
	if d.valid != nil {
		d.spare, d.valid = d.valid, nil
	}
	entries := 0
	if d.field.Kind == schema.String {
		entries = max(int(d.entries), 0)
	}
	s := &d.columnBuilder.values
	s.offsets = s.offsets[:entries+1]
	s.data = s.data[:s.offsets[entries]]
	d.words64, d.codes, d.bits = d.words64[:0], d.codes[:0], d.bits[:0]
	d.own = !pg.coded()
	if err := p.lend(d, func() error { return d.columnBuilder.page(pg) }); err != nil {
		return err
	}
	d.view()
	return nil
}

// view fills in the vector.
func (d *decodedPage) view() {
	d.v = vector{n: d.rows, nulls: d.nulls, valid: d.bitmap()}
	switch d.field.Kind {
	case schema.String:
		d.v.codes = d.codes
		d.v.text = texts{d.columnBuilder.values.offsets, d.columnBuilder.values.data}
	case schema.Binary:
		d.v.text = texts{d.columnBuilder.values.offsets, d.columnBuilder.values.data}
	case schema.Bool:
		d.bools = growTo(d.bools, d.rows)[:d.rows]
		for i := range d.bools {
			d.bools[i] = 0
			if bitutil.BitIsSet(d.bits, i) {
				d.bools[i] = 1
			}
		}
		d.v.words = d.bools
	default:
		d.v.words = d.words64
	}
}

// leastRead is how much of a chunk is read at once at least.
const leastRead = 16 << 10

// read reads the page at off, which lies in the chunk, and says how long it is.
func (p *pagePool) read(f *File, off int64, chunk *chunkMeta) (page, int64, error) {
	p.pages.codec = chunk.codec
	for want := max(leastRead, p.guess); ; want *= 2 {
		data, all, err := p.bytes(f, off, chunk.end, want)
		if err != nil {
			return page{}, 0, err
		}
		p.pages.data = data
		pg, ok, err := p.pages.next()
		if err != nil && !all && errors.Is(err, errShortPage) {
			continue
		}
		if err == nil && !ok {
			err = fmt.Errorf("no page: %w", ErrCorrupt)
		}
		used := int64(len(data) - len(p.pages.data))
		p.guess = used + used/8
		return pg, used, err
	}
}

// bytes gives at least want bytes from off, or those up to end; all says which.
func (p *pagePool) bytes(f *File, off, end, want int64) (data []byte, all bool, err error) {
	if f.data != nil {
		return f.data[off:end], true, nil
	}
	want = min(want, end-off)
	if p.rawOf != f || off < p.rawAt || off+want > p.rawAt+int64(len(p.raw)) {
		p.raw = growTo(p.raw, int(want))[:want]
		p.rawAt, p.rawOf = off, f
		if n, err := f.at.ReadAt(p.raw, off); int64(n) < want {
			p.rawOf = nil
			return nil, false, err
		}
	}
	data = p.raw[off-p.rawAt:]
	data = data[:min(int64(len(data)), end-off)]
	return data, int64(len(data)) == end-off, nil
}
