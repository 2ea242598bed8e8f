package columnar

// A plan is the order of the next rows: which feed each comes from, and whether
// it is kept. Since a feed's rows are taken in their order, a count says enough.
type plan struct {
	ops  []op
	rows int // kept
}

// An op is n rows of a feed. There may be millions of them, in eight bytes each.
type op struct {
	n     int32
	src   uint16
	kind  opKind
	first bool // the first of them is a symbol's first
}

type opKind uint8

const (
	opKeep opKind = iota
	opDrop        // a duplicate of the row kept before
	opTie         // one that has its whole key, so that it may be the one that stays
	opSkip        // one that was counted already
)

func (o *op) duplicate() bool { return o.kind == opDrop || o.kind == opTie }

// keep notes n rows of one symbol, of which first says whether it is a new one.
func (p *plan) keep(src int32, n int, first bool) {
	p.rows += n
	p.add(op{src: uint16(src), n: int32(n), first: first})
}

// drop notes a duplicate of the row last kept.
func (p *plan) drop(src int32, tied bool) {
	if tied {
		p.add(op{src: uint16(src), n: 1, kind: opTie})
	} else {
		p.add(op{src: uint16(src), n: 1, kind: opDrop})
	}
}

func (p *plan) add(o op) {
	if k := len(p.ops) - 1; k >= 0 && p.ops[k].src == o.src && p.ops[k].kind == o.kind && !o.first {
		p.ops[k].n += o.n
		return
	}
	p.ops = append(p.ops, o)
}

// take removes the first rows, with the duplicates behind the last of them.
func (p *plan) take(rows int) plan {
	t := plan{rows: min(rows, p.rows)}
	t.ops, p.ops = cut(p.ops, t.rows)
	p.rows -= t.rows
	return t
}

// cut gives the ops of the first rows, with the duplicates behind the last of
// them, as a copy, and the others.
func cut(ops []op, rows int) (first, rest []op) {
	for i := range ops {
		o := &ops[i]
		switch {
		case o.kind != opKeep:
		case rows == 0:
			return append(first, ops[:i]...), ops[i:]
		case int(o.n) > rows:
			first = append(append(make([]op, 0, i+1), ops[:i]...), op{src: o.src, n: int32(rows), first: o.first})
			o.n -= int32(rows)
			o.first = false
			return first, ops[i:]
		default:
			rows -= int(o.n)
		}
	}
	return append(first, ops...), nil
}

// end finds where a file ends that has room for full rows: in front of the first
// symbol that does not fit whole. A file has one symbol at least. The ops begin at a
// row of the file; start is where the last symbol before it begins that does fit, 0
// for the file's first. The end is 0 if it is farther than the ops go; start is then
// that of the last symbol in them.
func end(full, row, start int, parts ...[]op) (end, last int) {
	for _, ops := range parts {
		for _, o := range ops {
			if o.kind != opKeep {
				continue
			}
			if o.first && row > 0 {
				if row > full && start > 0 {
					return start, start
				}
				if start = row; row > full {
					return start, start
				}
			}
			row += int(o.n)
		}
	}
	if row > full && start > 0 {
		return start, start
	}
	return 0, start
}

// swaps puts, where a duplicate takes the place of the row kept before it, the one
// for the other. winners has for each duplicate the number of the one that stays
// in its place, -1 where the row that was kept does; counted says which are
// skipped from now on.
func swaps(ops []op, winners []int32, counted []bool) []op {
	var out plan
	duplicate := int32(0)
	first := false // a symbol's first row has been beaten
	for i, o := range ops {
		switch {
		case o.kind == opKeep:
			if i+1 < len(ops) && ops[i+1].duplicate() && winners[duplicate] >= 0 {
				o.n--
				first = o.first && o.n == 0
				if o.n > 0 {
					out.add(o)
				}
				o.n, o.kind, o.first = 1, opSkip, false
			}
			out.add(o)
			continue
		case o.kind == opSkip:
			out.add(o)
			continue
		}
		for range o.n {
			one := op{src: o.src, n: 1, kind: o.kind}
			switch {
			case winners[duplicate] == duplicate:
				one.kind, one.first, first = opKeep, first, false
			case counted[duplicate]:
				one.kind = opSkip
			}
			out.add(one)
			duplicate++
		}
	}
	return out.ops
}
