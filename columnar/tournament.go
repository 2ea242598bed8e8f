package columnar

import (
	"bytes"
	"sync/atomic"

	"github.com/sourcegraph/conc"
)

// A tournament finds the order of the rows of many feeds by a tree of losers:
// each inner node holds the feed that lost there, so that finding the next winner
// compares along one path. It then gallops: the winner's rows up to the next best
// feed's form one run.
type tournament struct {
	feeds []*feed
	pool  pagePool
	heads []head  // of the feeds, beside each other for the tree
	tree  []int32 // tree[0] is the winner, the rest the losers
	all   bool    // duplicates are kept

	last    int32 // the feed and row last kept; lastCopied: its key was; lastNone: none
	lastRow int
	lastAt  int64 // its event time
	kept    key
	ended   bool // there are no more rows

	lastPrefix uint64 // of its symbol
}

const (
	lastNone   = -1
	lastCopied = -2
)

// A head is the part of a feed's next key that nearly always decides.
type head struct {
	prefix uint64
	time   int64
	exact  bool
	done   bool // the feed has no more rows
}

// newTournament fills every feed, as many at once as there are workers. An error is
// a SourceError.
func newTournament(feeds []*feed, keepAll bool, workers int) (*tournament, error) {
	t := &tournament{feeds: feeds, heads: make([]head, len(feeds)), tree: make([]int32, max(len(feeds), 1)), all: keepAll, last: lastNone}
	t.pool.texts = true
	if err := t.fillAll(workers); err != nil {
		return nil, err
	}
	if len(feeds) > 0 {
		t.tree[0] = t.play(1)
	}
	return t, nil
}

func (t *tournament) fillAll(workers int) error {
	errs := make([]error, len(t.feeds))
	var next atomic.Int64
	var all conc.WaitGroup
	for range min(workers, len(t.feeds)) {
		all.Go(func() {
			pool := pagePool{texts: true}
			for i := next.Add(1) - 1; i < int64(len(t.feeds)); i = next.Add(1) - 1 {
				errs[i] = t.feeds[i].fill(&pool)
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return &SourceError{i, err}
		}
		t.setHead(int32(i))
	}
	return nil
}

func (t *tournament) refill(i int32) error {
	if t.last == i {
		t.copyLast()
	}
	if err := t.feeds[i].fill(&t.pool); err != nil {
		return &SourceError{int(i), err}
	}
	t.setHead(i)
	return nil
}

func (t *tournament) copyLast() {
	d := t.feeds[t.last]
	run := 0
	for d.symbols[run].end <= t.lastRow {
		run++
	}
	d.key(t.lastRow, run, &t.kept)
	t.last = lastCopied
}

func (t *tournament) setHead(i int32) {
	d := t.feeds[i]
	if d.at == d.n {
		t.heads[i] = head{done: true}
		return
	}
	s := &d.symbols[d.run]
	t.heads[i] = head{prefix: s.prefix, exact: s.exact, time: d.times[d.at]}
}

// play fills the tree below node and returns the winner there. Leaves are the
// nodes from len(tree) on.
func (t *tournament) play(node int) int32 {
	n := len(t.tree)
	if node >= n {
		return int32(node - n)
	}
	a, b := t.play(2*node), t.play(2*node+1)
	if t.less(b, a) {
		a, b = b, a
	}
	t.tree[node] = b
	return a
}

// less says whether feed a's next row comes before b's. A feed without rows
// loses; of equal rows the lower feed's comes first.
func (t *tournament) less(a, b int32) bool {
	x, y := &t.heads[a], &t.heads[b]
	switch {
	case x.done || y.done:
		return !x.done
	case x.prefix != y.prefix:
		return x.prefix < y.prefix
	case !x.exact || !y.exact:
		if c := t.compareSymbols(a, b); c != 0 {
			return c < 0
		}
	}
	if x.time != y.time {
		return x.time < y.time
	}
	d, o := t.feeds[a], t.feeds[b]
	if c := d.compareTie(d.at, o, o.at); c != 0 {
		return c < 0
	}
	return a < b
}

func (t *tournament) compareSymbols(a, b int32) int {
	d, o := t.feeds[a], t.feeds[b]
	return compareSymbols(&d.symbols[d.run], d.names, &o.symbols[o.run], o.names)
}

// replay finds the next winner after the last one's feed moved on.
func (t *tournament) replay() {
	n := len(t.tree)
	w := t.tree[0]
	for node := (int(w) + n) / 2; node > 0; node /= 2 {
		if t.less(t.tree[node], w) {
			t.tree[node], w = w, t.tree[node]
		}
	}
	t.tree[0] = w
}

// rival is the best of the feeds that lost to the winner, which is on the
// winner's path; -1 if no other has rows.
func (t *tournament) rival() int32 {
	best := int32(-1)
	n := len(t.tree)
	for node := (int(t.tree[0]) + n) / 2; node > 0; node /= 2 {
		l := t.tree[node]
		if !t.heads[l].done && (best < 0 || t.less(l, best)) {
			best = l
		}
	}
	return best
}

// fill makes the plan one of at least so many rows, unless there are no more. The
// last row's duplicates are in it too.
func (t *tournament) fill(p *plan, rows int) error {
	if p.rows >= rows {
		return nil
	}
	for len(t.feeds) > 0 && !t.heads[t.tree[0]].done {
		w := t.tree[0]
		d := t.feeds[w]
		to := d.symbols[d.run].end
		if r := t.rival(); r >= 0 {
			to = t.gallop(w, r)
		}
		more := t.pass(p, w, to, rows)
		if d.at == d.n {
			if err := t.refill(w); err != nil {
				return err
			}
		} else {
			if d.at == d.symbols[d.run].end {
				d.run++
			}
			t.setHead(w)
		}
		t.replay()
		if !more {
			return nil
		}
	}
	t.ended = true
	return nil
}

// sameSymbol tells whether a feed's next row has the symbol of the row last kept.
func (t *tournament) sameSymbol(d *feed) bool {
	switch t.last {
	case lastNone:
		return true
	case lastCopied:
		return compareSymbols(&t.kept.symbol, t.kept.name, &d.symbols[d.run], d.names) == 0
	}
	o := t.feeds[t.last]
	run := o.run
	for run > 0 && o.symbols[run-1].end > t.lastRow {
		run--
	}
	return compareSymbols(&o.symbols[run], o.names, &d.symbols[d.run], d.names) == 0
}

// gallop gives the first row of the winner's symbol that does not come before
// r's next row: by doubling steps, then by halving them.
func (t *tournament) gallop(w, r int32) int {
	d, o := t.feeds[w], t.feeds[r]
	end := d.symbols[d.run].end
	x, y := &t.heads[w], &t.heads[r]
	if x.prefix != y.prefix || (!x.exact || !y.exact) && t.compareSymbols(w, r) != 0 {
		return end
	}
	time := y.time
	before := func(i int) bool {
		if d.times[i] != time {
			return d.times[i] < time
		}
		c := d.compareTie(i, o, o.at)
		return c < 0 || c == 0 && w < r
	}
	low, step := d.at, 1 // low comes before: w won
	for low+step < end && before(low+step) {
		low += step
		step *= 2
	}
	high := min(low+step, end)
	for low+1 < high {
		if mid := (low + high) / 2; before(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// pass moves rows of feed w up to to, all of one symbol, into the plan: those of a
// new identity are kept, the others dropped. It ends before a row that the plan has no room for,
// and says whether there may be room for more.
func (t *tournament) pass(p *plan, w int32, to, room int) bool {
	d := t.feeds[w]
	for i := d.at; i < to; {
		if d.times[i] == t.lastAt && !t.all && t.same(d, i) {
			p.drop(w, t.tied(d, i))
			i++
			continue
		}
		if p.rows == room {
			d.at = i
			return false
		}
		first := d.symbols[d.run].prefix != t.lastPrefix || t.last == lastNone || !t.sameSymbol(d)
		from, most := i, min(to, i+room-p.rows)
		for i++; i < most && d.times[i] != d.times[i-1]; {
			i++
		}
		p.keep(w, i-from, first)
		t.last, t.lastRow, t.lastAt, t.lastPrefix = w, i-1, d.times[i-1], d.symbols[d.run].prefix
	}
	d.at = to
	return true
}

// same says whether row i of d, whose event time is that of the row last kept, has
// its identity. _published_at belongs to the identity of a broker's message id
// only, which is unique for a while and a topic; an event_id is the producer's and
// holds for ever.
func (t *tournament) same(d *feed, i int) bool {
	if t.last == lastNone || !t.sameSymbol(d) {
		return false
	}
	c := 0
	if t.last == lastCopied {
		c = t.kept.compareIdentity(d, i)
	} else {
		c = t.feeds[t.last].compareIdentity(t.lastRow, d, i)
	}
	return c == 0 && (!bytes.HasPrefix(d.ids.at(i), []byte("m:")) || t.tied(d, i))
}

// tied says whether row i of d was published when the row last kept was: then
// the rows' hashes decide which of them stays.
func (t *tournament) tied(d *feed, i int) bool {
	if t.last == lastCopied {
		return t.kept.published.compare(0, &d.published, i) == 0
	}
	return t.feeds[t.last].published.compare(t.lastRow, &d.published, i) == 0
}
