package columnar

import (
	"context"
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/buffetbot/ingest/schema"
)

// A unionWorker works on one column of a window at a time, and keeps its buffers.
type unionWorker struct {
	u       *Union
	encoder *chunkEncoder
	lane    lane
	pages   pagePool
	again   decodedPage // what was encoded, decoded
	blank   []byte      // bitmap of nulls

	differs []uint8
	full    fullGroup
	pairs   []pair
}

func (w *unionWorker) begin(dups int) {
	w.full = fullGroup{}
	w.differs = growTo(w.differs, dups)[:dups]
	clear(w.differs)
}

// column takes a column through the window.
func (w *unionWorker) column(ctx context.Context, win *window, c int) error {
	col := &w.u.columns[c]
	chunks := make([]windowChunk, len(win.groups))
	w.lane.begin(col.field)
	defer w.release(col)
	for g := range win.groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		group := &win.groups[g]
		v, full, err := w.rows(col, group)
		if err != nil {
			return err
		}
		if full > 0 {
			w.full.note(g, full)
			return nil
		}
		if chunks[g], err = w.chunk(&v, col.field, &w.u.hashes[g]); err != nil {
			return err
		}
		if c == w.u.def.SymbolField {
			chunks[g].first, chunks[g].last = string(v.at(0)), string(v.at(v.n-1))
		}
		w.lane.reset()
	}
	win.chunks[c] = chunks
	return nil
}

func (w *unionWorker) release(col *unionColumn) {
	for i := range col.cursors {
		col.cursors[i].release(&w.pages)
	}
}

// rows collects the column's values of a row group. full is after how many rows
// the group is, if it is before its end.
func (w *unionWorker) rows(col *unionColumn, group *windowGroup) (v vector, full int, err error) {
	if col.null {
		return w.nulls(group.rows), 0, nil
	}
	dup := group.dups
	for _, o := range group.ops {
		switch o.kind {
		case opKeep:
			if w.lane.isText && len(w.lane.v.text.data) >= w.u.o.sizes.groupTexts {
				v = w.lane.vector() // it is full, and the duplicates of its last row were compared
				return v, w.u.o.sizes.textsUpTo(&v, 0, v.n), nil
			}
			err = w.keep(&col.cursors[o.src], int(o.n))
		case opSkip:
			err = w.skip(&col.cursors[o.src], int(o.n))
		default:
			err = w.compare(col, &col.cursors[o.src], w.differs[dup:dup+int(o.n)])
			dup += int(o.n)
		}
		if err != nil {
			return v, 0, &SourceError{int(o.src), err}
		}
	}
	v = w.lane.vector()
	if end := w.u.o.sizes.textsUpTo(&v, 0, v.n); end < group.rows {
		return v, end, nil
	}
	return v, 0, nil
}

// nulls is a vector of nothing but nulls.
func (w *unionWorker) nulls(rows int) vector {
	n := int(bitutil.BytesForBits(int64(rows)))
	w.blank = growTo(w.blank, n)[:n]
	clear(w.blank)
	return vector{n: rows, nulls: rows, valid: w.blank}
}

// more is how many rows of a cursor's page are left: one at least.
func (w *unionWorker) more(c *cursor) (int, error) {
	rest, err := c.rest(&w.pages)
	if err == nil && rest == 0 {
		err = fmt.Errorf("column %s ends before the others: %w", c.field.Name, ErrCorrupt)
	}
	return rest, err
}

func (w *unionWorker) keep(c *cursor, n int) error {
	for n > 0 {
		rest, err := w.more(c)
		if err != nil {
			return err
		}
		k := min(n, rest)
		if c.null {
			w.lane.nulls(k)
		} else {
			w.lane.rows(c, k)
		}
		c.at += k
		n -= k
	}
	return nil
}

func (w *unionWorker) skip(c *cursor, n int) error {
	for n > 0 {
		rest, err := w.more(c)
		if err != nil {
			return err
		}
		k := min(n, rest)
		c.at += k
		n -= k
	}
	return nil
}

// compare notes how duplicates differ from the row kept last.
func (w *unionWorker) compare(col *unionColumn, c *cursor, differs []uint8) error {
	for i := range differs {
		if _, err := w.more(c); err != nil {
			return err
		}
		if !w.lane.equal(c) {
			differs[i] |= differsAny
			if col.told {
				differs[i] |= differsTold
			}
		}
		c.at++
	}
	return nil
}

// chunk encodes a vector, decodes it again, adds the hashes of what was decoded to
// those of the rows, and keeps the bytes.
func (w *unionWorker) chunk(v *vector, f *schema.Field, hashes *rowHashes) (windowChunk, error) {
	c := windowChunk{encodedChunk: w.encoder.encode(v, f)}
	var err error
	if c.piece, err = w.u.spill.put(c.data); err != nil {
		return c, err
	}
	if err = w.hash(&c.encodedChunk, f, hashes); err != nil {
		return c, fmt.Errorf("read back what was encoded: %w", err)
	}
	c.data = nil
	return c, nil
}

// hash adds the hashes of an encoded chunk's cells to those of the rows.
func (w *unionWorker) hash(c *encodedChunk, f *schema.Field, hashes *rowHashes) error {
	if c.bounds.empty { // nulls hash to nothing
		return nil
	}
	if err := w.again.decode(c, f, len(hashes.rows)); err != nil {
		return err
	}
	d := &w.again
	hashes.mu.Lock()
	defer hashes.mu.Unlock()
	if d.v.words != nil {
		w.lane.hasher.words(&d.v, f.Kind == schema.Float64, hashes.rows)
	} else {
		w.lane.hasher.texts(&d.v, hashes.rows)
	}
	return nil
}

// rowHashes are, for each row of a row group, the sum of its cells' hashes so far.
type rowHashes struct {
	mu   sync.Mutex
	rows []SetHash
}

// decode decodes an encoded chunk again.
func (d *decodedPage) decode(c *encodedChunk, f *schema.Field, rows int) error {
	d.field, d.wide = f, true
	d.meta = columnMeta{name: f.Name, phys: physical(f), optional: true, kind: f.Kind, precision: f.Precision, scale: f.Scale}
	d.restart(rows)
	if err := d.chunk(c.data, c.codec, rows); err != nil {
		return err
	}
	d.view()
	return nil
}

// words adds the cells of a column of words.
func (h *cellHasher) words(v *vector, floats bool, rows []SetHash) {
	var last int64
	var cell SetHash
	have := false
	for i, w := range v.words {
		if v.isNull(i) {
			continue
		}
		if !have || w != last {
			have, last = true, w
			if floats {
				cell = h.word(canonicalWord(w))
			} else {
				cell = h.word(uint64(w))
			}
		}
		rows[i][0] += cell[0]
		rows[i][1] += cell[1]
	}
}

// texts adds the cells of a column of texts. Entries are hashed once.
func (h *cellHasher) texts(v *vector, rows []SetHash) {
	var cells []SetHash
	if v.codes != nil && v.text.len() <= len(rows) {
		cells = make([]SetHash, v.text.len())
		for i := range cells {
			cells[i] = h.bytes(v.text.at(i))
		}
	}
	for i := range rows {
		switch {
		case v.isNull(i):
		case cells != nil:
			rows[i] = rows[i].Add(cells[v.codes[i]])
		default:
			rows[i] = rows[i].Add(h.bytes(v.at(i)))
		}
	}
}
