package columnar

import (
	"context"
	"slices"
)

// Duplicates are mostly the same record sent again: every cell is that of the row
// that was kept, and so is the hash. The others are settled here, by reading their
// cells once more.

// A pair are the hashes of a duplicate that differs, and of the row kept before it:
// of all cells, and of those that publishers told.
type pair struct{ gone, stayed, goneTold, stayedTold SetHash }

func (p *pair) add(o *pair) {
	p.gone, p.stayed = p.gone.Add(o.gone), p.stayed.Add(o.stayed)
	p.goneTold, p.stayedTold = p.goneTold.Add(o.goneTold), p.stayedTold.Add(o.stayedTold)
}

// compared is how many duplicates were compared in every column: where a row group
// is full early, the column that fills it goes no farther.
func (w *window) compared() (dups int) {
	if !w.full.set {
		return len(w.differs)
	}
	g := &w.groups[w.full.group]
	dups = g.dups
	rows := 0
	for i := range g.ops {
		o := &g.ops[i]
		switch {
		case o.duplicate():
			dups += int(o.n)
		case o.kind == opKeep:
			if rows += int(o.n); rows > w.full.rows {
				return dups
			}
		}
	}
	return dups
}

// settle counts the duplicates of a window that differ from the row that was kept,
// and decides which row stays.
func (u *Union) settle(ctx context.Context, w *window, marks [][]cursor) (*decision, error) {
	d := &decision{w: w, slots: make([]int32, len(w.differs))}
	n, known := int32(0), w.compared()
	for dup, differs := range w.differs {
		d.slots[dup] = -1
		if differs != 0 && dup < known {
			d.slots[dup] = n
			n++
		}
	}
	if n == 0 {
		return d, nil
	}
	d.winners, d.counted = make([]int32, len(d.slots)), make([]bool, len(d.slots))
	var err error
	if d.pairs, err = u.pairs(ctx, w, marks, d.slots, int(n)); err != nil {
		return d, err
	}
	for g := range w.groups {
		d.group(&w.groups[g])
	}
	return d, nil
}

// skip changes the ops of the window as decided: where another row stays, that
// one is kept, and what was counted is skipped.
func (d *decision) skip() {
	if d.winners == nil {
		return
	}
	for g := range d.w.groups {
		group := &d.w.groups[g]
		winners := d.winners[group.dups:]
		for i, last := 0, duplicates(group.ops); i < last; i++ {
			if winners[i] >= 0 {
				winners[i] -= int32(group.dups)
			}
		}
		group.ops = swaps(group.ops, winners, d.counted[group.dups:])
	}
}

// pairs hashes the duplicates that have a slot.
func (u *Union) pairs(ctx context.Context, w *window, marks [][]cursor, slots []int32, n int) ([]pair, error) {
	u.rewind(marks)
	for _, worker := range u.workers {
		worker.pairs = make([]pair, n)
	}
	if err := u.eachColumn(ctx, func(worker *unionWorker, c int) error { return worker.hashPairs(w, c, slots) }); err != nil {
		return nil, err
	}
	pairs := u.workers[0].pairs
	for _, worker := range u.workers {
		if worker != u.workers[0] {
			for i := range pairs {
				pairs[i].add(&worker.pairs[i])
			}
		}
		worker.pairs = nil
	}
	return pairs, nil
}

// hashPairs adds the hashes of one column's cells.
func (w *unionWorker) hashPairs(win *window, c int, slots []int32) error {
	col := &w.u.columns[c]
	if col.null {
		return nil
	}
	w.lane.begin(col.field)
	defer w.release(col)
	for g := range win.groups {
		dup := win.groups[g].dups
		for _, o := range win.groups[g].ops {
			cur := &col.cursors[o.src]
			var err error
			switch o.kind {
			case opKeep:
				w.lane.reset() // the last of them is all that is compared with
				if err = w.skip(cur, int(o.n)-1); err == nil {
					err = w.keep(cur, 1)
				}
			case opSkip:
				err = w.skip(cur, int(o.n))
			default:
				for range o.n {
					if err = w.hashPair(col, cur, slots[dup]); err != nil {
						break
					}
					dup++
				}
			}
			if err != nil {
				return &SourceError{int(o.src), err}
			}
		}
	}
	return nil
}

func (w *unionWorker) hashPair(col *unionColumn, cur *cursor, slot int32) error {
	if _, err := w.more(cur); err != nil {
		return err
	}
	if slot >= 0 {
		p := pair{gone: w.lane.cell(cur), stayed: w.lane.lastCell()}
		if col.told {
			p.goneTold, p.stayedTold = p.gone, p.stayed
		}
		w.pairs[slot].add(&p)
	}
	cur.at++
	return nil
}

// A decision is which rows stay. Of rows with the same key the one of the least
// hash has to.
type decision struct {
	slots   []int32
	pairs   []pair
	w       *window
	winners []int32 // for each duplicate the number of the one that stays; -1: the row kept before
	counted []bool  // in the window's Dropped
	swapped bool
}

// group decides on each row of a row group that has duplicates.
func (d *decision) group(g *windowGroup) {
	dup := g.dups
	for i := 0; i < len(g.ops); {
		if !g.ops[i].duplicate() {
			i++
			continue
		}
		from, ties := dup, []bool(nil)
		for ; i < len(g.ops) && g.ops[i].kind != opKeep; i++ {
			if g.ops[i].duplicate() {
				for range g.ops[i].n {
					ties = append(ties, g.ops[i].kind == opTie)
					dup++
				}
			}
		}
		d.row(from, ties)
	}
}

// A candidate is a row that may stay.
type candidate struct{ whole, told SetHash }

// row decides on one row, whose duplicates are numbered from from on.
func (d *decision) row(from int, ties []bool) {
	stayed, known := candidate{}, false
	for i := range ties {
		d.winners[from+i] = -1
		if slot := d.slots[from+i]; slot >= 0 {
			p := &d.pairs[slot]
			stayed, known = candidate{finishHash(p.stayed), p.stayedTold}, true
		}
	}
	if !known {
		return // they are alike: hashGroup counts them
	}
	winner, best := -1, stayed
	for i := range ties {
		if c := d.candidate(from+i, stayed); ties[i] && lessHash(c.whole, best.whole) {
			winner, best = i, c
		}
	}
	for i := range ties {
		if winner < 0 && d.slots[from+i] < 0 {
			continue // alike
		}
		c := d.candidate(from+i, stayed)
		if i == winner {
			c = stayed
		}
		d.counted[from+i] = true
		d.w.dropped.Rows++
		d.w.dropped.Hash = d.w.dropped.Hash.Add(c.whole)
		if c.told != best.told {
			d.w.dropped.Conflicts++
		}
		if winner >= 0 {
			d.winners[from+i] = int32(from + winner)
			d.swapped = true
		}
	}
}

func (d *decision) candidate(dup int, stayed candidate) candidate {
	if slot := d.slots[dup]; slot >= 0 {
		p := &d.pairs[slot]
		return candidate{finishHash(p.gone), p.goneTold}
	}
	return stayed
}

func lessHash(a, b SetHash) bool { return slices.Compare(a[:], b[:]) < 0 }
