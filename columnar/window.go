package columnar

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/sourcegraph/conc/pool"
)

// A window is the rows that are worked on at once: whole row groups, which each
// column goes through by itself, from the files' pages to encoded chunks.
type window struct {
	groups  []windowGroup
	differs []uint8 // for each duplicate, bits of differs*
	chunks  [][]windowChunk
	full    fullGroup
	dropped Dropped // what was counted
}

// A windowGroup is the plan of one row group.
type windowGroup struct {
	ops  []op
	rows int
	dups int // duplicates before
}

// A windowChunk is one column of one row group.
type windowChunk struct {
	encodedChunk
	piece piece
	first string // texts of the first and last row, of the symbol's column only
	last  string
}

// A fullGroup is a row group whose texts fill it before its rows do.
type fullGroup struct {
	set   bool
	group int
	rows  int
}

func (f *fullGroup) note(group, rows int) {
	if !f.set || group < f.group || group == f.group && rows < f.rows {
		*f = fullGroup{set: true, group: group, rows: rows}
	}
}

// at notes that the window ends after so many rows.
func (f *fullGroup) at(w *window, rows int) {
	*f = fullGroup{set: true, rows: rows}
	for f.rows > w.groups[f.group].rows {
		f.rows -= w.groups[f.group].rows
		f.group++
	}
}

func (w *window) rows() (n int) {
	for g := range w.groups {
		n += w.groups[g].rows
	}
	return n
}

// How a duplicate differs from the row that stays.
const (
	differsAny  = 1 << iota // in some column
	differsTold             // in one that publishers tell
)

// window works on the planned rows and writes them.
func (u *Union) window(ctx context.Context, p *plan, out *unionFile) error {
	w := &window{}
	w.split(p, u.o.sizes.groupRows)
	u.spill = u.spareSpill(out)
	marks := u.marks()
	for {
		if err := u.gather(ctx, w); err != nil {
			return err
		}
		d, err := u.settle(ctx, w, marks)
		if err != nil {
			return err
		}
		if !d.swapped && !w.full.set && out.rows == 0 {
			if err := u.measure(w, out); err != nil {
				return err
			}
		}
		if !d.swapped && !w.full.set {
			return u.take(w, out)
		}
		// Once more from the start: other rows stay, or fewer fit.
		d.skip()
		if !d.swapped {
			u.putBack(w)
		}
		u.rewind(marks)
	}
}

// footerBytes is about what a column chunk takes in the footer.
const footerBytes = 150

// measure says where the file ends, from the size of its first row group, but for
// what corrections take: its bytes are then a function of its rows alone.
func (u *Union) measure(w *window, out *unionFile) error {
	if u.o.Target == math.MaxInt64 || out.full > 0 {
		return nil
	}
	bytes, group := len(w.chunks)*footerBytes, &w.groups[0]
	for c := range w.chunks {
		if w.chunks[c] != nil {
			bytes += int(w.chunks[c][0].piece.n)
		}
	}
	out.full = int(max(1, min(math.MaxInt32, float64(u.o.Target)/float64(bytes)*float64(group.rows))))
	var ops [][]op
	for g := range w.groups {
		ops = append(ops, w.groups[g].ops)
	}
	planned := w.rows()
	if err := u.findEnd(out, planned, ops...); err != nil {
		return err
	}
	if out.end < planned {
		w.full.at(w, out.end)
	}
	return nil
}

// split makes row groups of the plan.
func (w *window) split(p *plan, groupRows int) {
	ops := p.ops
	for left := p.rows; left > 0; {
		g := windowGroup{rows: min(left, groupRows)}
		g.ops, ops = cut(ops, g.rows)
		left -= g.rows
		w.groups = append(w.groups, g)
	}
}

func duplicates(ops []op) int {
	n := 0
	for _, o := range ops {
		if o.duplicate() {
			n += int(o.n)
		}
	}
	return n
}

// number counts the duplicates before each group.
func (w *window) number() (dups int) {
	for g := range w.groups {
		w.groups[g].dups = dups
		dups += duplicates(w.groups[g].ops)
	}
	return dups
}

// putBack ends the window at the row group that was full early.
func (u *Union) putBack(w *window) {
	g := &w.groups[w.full.group]
	first, rest := cut(g.ops, w.full.rows)
	back := plan{rows: g.rows - w.full.rows, ops: slices.Clone(rest)}
	for _, later := range w.groups[w.full.group+1:] {
		back.rows += later.rows
		back.ops = append(back.ops, later.ops...)
	}
	back.rows += u.pending.rows
	back.ops = append(back.ops, u.pending.ops...)
	u.pending = back
	g.ops, g.rows = first, w.full.rows
	w.groups = w.groups[:w.full.group+1]
}

// marks says where each cursor is.
func (u *Union) marks() [][]cursor {
	marks := make([][]cursor, len(u.columns))
	for c := range u.columns {
		if !u.columns[c].null {
			marks[c] = slices.Clone(u.columns[c].cursors)
		}
	}
	return marks
}

func (u *Union) rewind(marks [][]cursor) {
	for c := range u.columns {
		copy(u.columns[c].cursors, marks[c])
	}
}

// gather takes every column's values of the window, and encodes them.
func (u *Union) gather(ctx context.Context, w *window) error {
	u.spill.reset()
	dups := w.number()
	w.full = fullGroup{}
	w.differs = make([]uint8, dups)
	w.chunks = make([][]windowChunk, len(u.columns))
	for _, worker := range u.workers {
		worker.begin(dups)
	}
	for len(u.hashes) < len(w.groups) {
		u.hashes = append(u.hashes, rowHashes{})
	}
	for g := range w.groups {
		h := &u.hashes[g]
		h.rows = growTo(h.rows, w.groups[g].rows)[:w.groups[g].rows]
		clear(h.rows)
	}
	if err := u.eachColumn(ctx, func(worker *unionWorker, c int) error { return worker.column(ctx, w, c) }); err != nil {
		return err
	}
	for _, worker := range u.workers {
		for i, d := range worker.differs {
			w.differs[i] |= d
		}
		if worker.full.set {
			w.full.note(worker.full.group, worker.full.rows)
		}
	}
	return nil
}

// eachColumn lets the workers take one column after the other, the texts first:
// they take longest.
func (u *Union) eachColumn(ctx context.Context, work func(worker *unionWorker, c int) error) error {
	order := make([]int, 0, len(u.columns))
	for c := range u.columns {
		if u.corrector == nil || c != u.corrector.column { // which is filled in later
			order = append(order, c)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(u.weight(b), u.weight(a)) })
	var next atomic.Int64
	run := func(worker *unionWorker) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(order) {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := work(worker, order[i]); err != nil {
				return fmt.Errorf("column %s: %w", u.def.Fields[order[i]].Name, err)
			}
		}
	}
	if len(u.workers) == 1 {
		return run(u.workers[0])
	}
	all := pool.New().WithErrors().WithFirstError()
	for _, worker := range u.workers {
		all.Go(func() error { return run(worker) })
	}
	return all.Wait()
}

func (u *Union) weight(c int) int64 {
	weight := int64(0)
	for i := range u.columns[c].cursors {
		if leaf := u.columns[c].cursors[i].leaf; leaf >= 0 {
			for g := range u.files[i].meta.groups {
				weight += u.files[i].meta.groups[g].chunks[leaf].length
			}
		}
	}
	return weight
}

// A unionGroup is a row group whose columns are encoded, all but _superseded_at
// where rows correct each other.
type unionGroup struct {
	rows       int
	chunks     []windowChunk // of each column
	spill      *spill
	superseded []superseded
}

// take adds up what is in the window's row groups, and writes those that are
// complete.
func (u *Union) take(w *window, out *unionFile) error {
	symbols := w.chunks[u.def.SymbolField]
	if out.rows == 0 {
		out.first = symbols[0].first
	}
	out.last = symbols[len(w.groups)-1].last
	for g := range w.groups {
		out.hash = out.hash.Add(u.hashGroup(w, g))
		out.rows += int64(w.groups[g].rows)
		time := &w.chunks[u.def.TimeField][g].bounds
		out.low, out.high = min(out.low, time.low), max(out.high, time.high)
		group := &unionGroup{rows: w.groups[g].rows, spill: u.spill, chunks: make([]windowChunk, len(u.columns))}
		for c := range u.columns {
			if w.chunks[c] != nil {
				group.chunks[c] = w.chunks[c][g]
			}
		}
		out.groups = append(out.groups, group)
	}
	u.dropped.Rows += w.dropped.Rows
	u.dropped.Conflicts += w.dropped.Conflicts
	u.dropped.Hash = u.dropped.Hash.Add(w.dropped.Hash)
	complete, err := u.correct(w, out)
	if err != nil {
		return err
	}
	return u.write(out, complete)
}

// write writes the file's next n row groups.
func (u *Union) write(out *unionFile, n int) error {
	if out.writer == nil {
		var err error
		if out.writer, err = newFileWriter(out.w, u.def); err != nil {
			return err
		}
		out.columns = make([]bounds, len(u.columns))
		for c := range out.columns {
			out.columns[c].empty = true
		}
	}
	var buf []byte
	for _, g := range out.groups[:n] {
		out.writer.begin(g.rows)
		for c := range u.columns {
			e, err := u.encoded(g, c, &buf)
			if err != nil {
				return err
			}
			if err := out.writer.chunk(e); err != nil {
				return err
			}
			out.columns[c].add(&e.bounds, &u.def.Fields[c])
		}
	}
	out.groups = slices.Delete(out.groups, 0, n)
	return nil
}

// encoded is a column of a row group, with its bytes.
func (u *Union) encoded(g *unionGroup, c int, buf *[]byte) (encodedChunk, error) {
	if u.corrector != nil && c == u.corrector.column {
		return u.corrector.chunk(g, u.workers[0].encoder, &u.workers[0].again)
	}
	return g.encoded(c, buf)
}

func (g *unionGroup) encoded(c int, buf *[]byte) (encodedChunk, error) {
	e := g.chunks[c].encodedChunk
	data, err := g.spill.get(g.chunks[c].piece, *buf)
	if g.chunks[c].piece.file {
		*buf = data
	}
	e.data = data
	return e, err
}

// spareSpill gives a spill with nothing in it that the file still needs.
func (u *Union) spareSpill(out *unionFile) *spill {
	for _, s := range u.spills {
		if !slices.ContainsFunc(out.groups, func(g *unionGroup) bool { return g.spill == s }) {
			return s
		}
	}
	s := &spill{dir: u.o.Dir}
	if len(u.spills) < 2 { // more of them wait only for places of very many rows
		s.memory = spillMemory
	}
	u.spills = append(u.spills, s)
	return s
}

// hashGroup is the hash of the rows of a group as a set. The duplicates that are
// like the rows that stayed have these rows' hashes.
func (u *Union) hashGroup(w *window, g int) SetHash {
	var sum SetHash
	group := &w.groups[g]
	rows := u.hashes[g].rows
	for i := range rows {
		rows[i] = finishHash(rows[i])
		sum = sum.Add(rows[i])
	}
	row, dup := 0, group.dups
	for _, o := range group.ops {
		switch {
		case o.kind == opKeep:
			row += int(o.n)
		case o.duplicate():
			for range o.n {
				if w.differs[dup] == 0 {
					w.dropped.Rows++
					w.dropped.Hash = w.dropped.Hash.Add(rows[row-1])
				}
				dup++
			}
		}
	}
	return sum
}

func finishHash(sum SetHash) SetHash { return SetHash{mix(sum[0] + 1), mix(sum[1] + 2)} }
