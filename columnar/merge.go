package columnar

import (
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

// Dropped is what a merge left out because an identity was already there.
type Dropped struct {
	Rows      int64
	Hash      SetHash // sum of the dropped rows' hashes
	Conflicts int64   // dropped rows whose own fields differ from those of the row that stayed
}

// Merge is the union by identity of records: sorted, and of rows with one
// identity the first in order. Inputs should be sorted; one that is not is sorted
// first. The sum of the inputs' hashes is the hash of merged plus dropped.Hash.
//
// All inputs are in memory, and so is the result: a Union does the same in bounded
// memory.
func Merge(inputs []arrow.RecordBatch, def *schema.Definition) (merged arrow.RecordBatch, dropped Dropped, err error) {
	recs, keys, err := mergeInputs(inputs, def)
	if err != nil {
		return nil, Dropped{}, fmt.Errorf("merge %d records of %s: %w", len(inputs), def.Name, err)
	}
	if len(recs) == 0 {
		return empty(def), Dropped{}, nil
	}
	m := newMerger(keys)
	m.merge()
	if len(recs) == 1 && len(m.dropped) == 0 {
		return recs[0], Dropped{}, nil
	}
	if merged, err = gather(recs, m.kept); err != nil {
		return nil, Dropped{}, fmt.Errorf("merge %d records of %s: %w", len(inputs), def.Name, err)
	}
	if len(m.dropped) > 0 {
		dropped, err = weigh(recs, m, def)
	}
	return merged, dropped, err
}

// mergeInputs checks and ranks the inputs that have rows, and sorts those that
// are not.
func mergeInputs(inputs []arrow.RecordBatch, def *schema.Definition) ([]arrow.RecordBatch, []*keyed, error) {
	var recs []arrow.RecordBatch
	for _, rec := range inputs {
		if err := check(rec, def); err != nil {
			return nil, nil, err
		}
		if rec.NumRows() > math.MaxInt32 {
			return nil, nil, fmt.Errorf("%d rows in one record: %w", rec.NumRows(), ErrRecord)
		}
		if rec.NumRows() > 0 {
			recs = append(recs, rec)
		}
	}
	keys := keysOf(recs, def)
	unsorted := false
	for i, k := range keys {
		if !k.sorted() {
			recs[i], unsorted = take(recs[i], k.permutation()), true
		}
	}
	if unsorted {
		keys = keysOf(recs, def)
	}
	return recs, keys, nil
}

// weigh says what was dropped: each row's hash, and whether its own fields agree
// with the row that stayed.
func weigh(recs []arrow.RecordBatch, m *merger, def *schema.Definition) (Dropped, error) {
	gone, err := gather(recs, m.dropped)
	if err != nil {
		return Dropped{}, err
	}
	stayed, err := gather(recs, m.stayed)
	if err != nil {
		return Dropped{}, err
	}
	d := Dropped{Rows: gone.NumRows(), Hash: hashSum(gone)}
	a, b := hashTold(gone, def), hashTold(stayed, def)
	for i := range a {
		if a[i] != b[i] {
			d.Conflicts++
		}
	}
	return d, nil
}

// hashTold hashes what publishers told: the definition's own fields, except those
// that default to the publish time. A record that is sent again has another
// publish time, and is the same record.
func hashTold(rec arrow.RecordBatch, def *schema.Definition) []SetHash {
	var fields []arrow.Field
	var columns []arrow.Array
	for i := range def.Fields[:def.Own] {
		if told(&def.Fields[i]) {
			fields, columns = append(fields, rec.Schema().Field(i)), append(columns, rec.Column(i))
		}
	}
	return RowHashes(array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, rec.NumRows()), nil)
}

// told says whether a field of the definition's own is always a publisher's.
func told(f *schema.Field) bool {
	return !slices.ContainsFunc(f.Defaults, func(d schema.Default) bool { return d.Source == schema.FromPublishTime })
}

// A merger merges sorted inputs by a tree of losers: each inner node holds the
// input that lost there, so that finding the next winner compares along one path.
// It then gallops: the winner's rows up to the next best input's form one run.
type merger struct {
	keys []*keyed
	at   []int   // next row of each input
	head []place // and where it belongs, beside each other for the tree
	tree []int32 // tree[0] is the winner, the rest the losers

	kept    []run
	dropped []run // single rows …
	stayed  []run // … and for each the row of its identity that was kept

	last    int32 // input and row last kept
	lastRow int
}

func newMerger(keys []*keyed) *merger {
	m := &merger{keys: keys, at: make([]int, len(keys)), head: make([]place, len(keys)), tree: make([]int32, len(keys)), last: -1}
	for i := range keys {
		m.setHead(int32(i))
	}
	m.tree[0] = m.play(1)
	return m
}

// A place is the part of a key that nearly always decides.
type place struct {
	rank uint32
	done bool // the input has no more rows
	time int64
}

func (m *merger) setHead(i int32) {
	k, row := m.keys[i], m.at[i]
	if row == k.n {
		m.head[i].done = true
		return
	}
	m.head[i] = place{rank: k.rank[row], time: k.times[row]}
}

// play fills the tree below node and returns the winner there. Leaves are the
// nodes from len(tree) on.
func (m *merger) play(node int) int32 {
	n := len(m.tree)
	if node >= n {
		return int32(node - n)
	}
	a, b := m.play(2*node), m.play(2*node+1)
	if m.less(b, a) {
		a, b = b, a
	}
	m.tree[node] = b
	return a
}

// less says whether input a's next row comes before b's. An input without rows
// loses; of equal rows the lower input's comes first.
func (m *merger) less(a, b int32) bool {
	x, y := &m.head[a], &m.head[b]
	switch {
	case x.done || y.done:
		return !x.done
	case x.rank != y.rank:
		return x.rank < y.rank
	case x.time != y.time:
		return x.time < y.time
	}
	if c := m.keys[a].compareTie(m.at[a], m.keys[b], m.at[b]); c != 0 {
		return c < 0
	}
	return a < b
}

// replay finds the next winner after the last one's input moved on.
func (m *merger) replay() {
	n := len(m.tree)
	w := m.tree[0]
	for node := (int(w) + n) / 2; node > 0; node /= 2 {
		if m.less(m.tree[node], w) {
			m.tree[node], w = w, m.tree[node]
		}
	}
	m.tree[0] = w
}

// rival is the best of the inputs that lost to the winner, which is on the
// winner's path; -1 if no other has rows.
func (m *merger) rival() int32 {
	best := int32(-1)
	n := len(m.tree)
	for node := (int(m.tree[0]) + n) / 2; node > 0; node /= 2 {
		l := m.tree[node]
		if !m.head[l].done && (best < 0 || m.less(l, best)) {
			best = l
		}
	}
	return best
}

func (m *merger) merge() {
	for !m.head[m.tree[0]].done {
		w := m.tree[0]
		to := m.keys[w].n
		if r := m.rival(); r >= 0 {
			to = m.gallop(w, r)
		}
		m.advance(w, to)
		m.replay()
	}
}

// gallop gives the first row of input w that does not come before r's next row:
// by doubling steps, then by halving them.
func (m *merger) gallop(w, r int32) int {
	k, o, row := m.keys[w], m.keys[r], m.at[r]
	before := func(i int) bool {
		c := k.compare(i, o, row)
		return c < 0 || c == 0 && w < r
	}
	low, step := m.at[w], 1 // low comes before: w won
	for low+step < k.n && before(low+step) {
		low += step
		step *= 2
	}
	high := min(low+step, k.n)
	for low+1 < high {
		if mid := (low + high) / 2; before(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// advance passes rows of input w up to to: keeps those of a new identity as runs
// and drops the others.
func (m *merger) advance(w int32, to int) {
	k := m.keys[w]
	for i := m.at[w]; i < to; i++ {
		if m.last >= 0 && k.same(i, m.keys[m.last], m.lastRow) {
			m.dropped = append(m.dropped, run{w, int32(i), int32(i + 1)})
			m.stayed = append(m.stayed, run{m.last, int32(m.lastRow), int32(m.lastRow + 1)})
			continue
		}
		m.last, m.lastRow = w, i
		if n := len(m.kept); n > 0 && m.kept[n-1].src == w && m.kept[n-1].to == int32(i) {
			m.kept[n-1].to++
		} else {
			m.kept = append(m.kept, run{w, int32(i), int32(i + 1)})
		}
	}
	m.at[w] = to
	m.setHead(w)
}
