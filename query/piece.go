package query

import (
	"container/heap"
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A piece is a part of an input that waits for its turn: first the whole file,
// not opened yet; then each of its row groups, not read yet; then the rows. It
// waits under the lowest key that any of its rows can have, so that a file is
// opened and a row group read only when the merge gets there, or shortly before.
type piece struct {
	in  *input
	seq int // of the input in the plan
	key key

	opening *future[*columnar.File] // set once begun
	file    *columnar.File
	group   int
	reading *future[arrow.RecordBatch] // set once begun

	rec      arrow.RecordBatch // nil: not read yet
	mask     mask
	keys     *keyColumns // of keyed inputs
	row, end int         // rows still to be merged
	hashes   []columnar.SetHash
}

func (p *piece) begun() bool { return p.reading != nil || p.file == nil && p.opening != nil }

// A queue is a heap of pieces. The key of what has not been read has no _id, so
// that it comes before rows with the same symbol and event time. The row groups
// of an input that is not merged all have its lowest key, and stay in order.
type queue []*piece

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if c := compareKeys(&a.key, &b.key); c != 0 {
		return c < 0
	}
	if a.seq != b.seq {
		return a.seq < b.seq
	}
	return a.group < b.group
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*piece)) }

func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

// A future is the result of work that goes on in the pool.
type future[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func start[T any](p *pool.Pool, work func() (T, error)) *future[T] {
	f := &future[T]{done: make(chan struct{}), err: errors.New("the read panicked")}
	p.Go(func() {
		defer close(f.done)
		f.value, f.err = work()
	})
	return f
}

func (f *future[T]) ready() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// wait ends with the work, which ends with its context.
func (f *future[T]) wait() (T, error) {
	<-f.done
	return f.value, f.err
}

// A goneError says that an object of the plan does not exist any more.
type goneError struct {
	in  *input
	err error
}

func (e *goneError) Error() string { return e.err.Error() }
func (e *goneError) Unwrap() error { return e.err }

// failed is an error of package columnar, which names the step and the object.
func (in *input) failed(err error) error {
	if errors.Is(err, objstore.ErrNotExist) {
		return &goneError{in, err}
	}
	return err
}

// begin starts whatever the piece waits for.
func (s *scan) begin(p *piece) {
	switch {
	case p.rec != nil || p.begun():
	case p.file == nil:
		s.inFlight++
		p.opening = start(s.pool, func() (*columnar.File, error) {
			return columnar.Open(s.ctx, s.store, p.in.name, p.in.size)
		})
	default:
		s.inFlight++
		p.reading = start(s.pool, func() (arrow.RecordBatch, error) {
			return p.file.Read(s.ctx, s.q.def, s.columns(p.in).read, []int{p.group})
		})
	}
}

// prefetch begins what the merge will want soon, and breaks up the files that
// have been opened meanwhile. A heap's first entries are its smallest, roughly.
// While the limit may be near, only what is merged on the present day is wanted.
func (s *scan) prefetch(day partition.Day) {
	for i := 0; i < len(s.queue) && i < 2*s.window; i++ {
		if p := s.queue[i]; p.file == nil && p.opening != nil && p.opening.ready() && p.opening.err == nil {
			heap.Remove(&s.queue, i)
			s.breakUp(p)
			i = -1
		}
	}
	for i := 0; i < len(s.queue) && i < 2*s.window && s.inFlight < s.window; i++ {
		if in := s.queue[i].in; s.eager || in.keyed && in.day == day {
			s.begin(s.queue[i])
		}
	}
}

// breakUp turns an opened file into its row groups that may hold rows of the
// result.
func (s *scan) breakUp(p *piece) {
	s.inFlight--
	file := p.opening.value
	in := p.in
	s.result.Files++
	for g := range file.NumRowGroups() {
		s.result.RowGroups++
		group := rowGroup{s.q.def, file, g}
		if !s.wanted(in, group) {
			s.result.RowGroupsPruned++
			continue
		}
		k := p.key
		if in.keyed { // else the row groups follow one another as they stand
			k = later(k, lowest(in.day, group.lo()))
		}
		heap.Push(&s.queue, &piece{in: in, seq: p.seq, key: k, file: file, group: g})
	}
}

func later(a, b key) key {
	if compareKeys(&a, &b) < 0 {
		return b
	}
	return a
}

// wanted tells whether a row group may hold rows that the result needs.
func (s *scan) wanted(in *input, group rowGroup) bool {
	for i := range s.q.conditions {
		c := &s.q.conditions[i]
		if (c.identical || in.settled) && !c.mayHold(group) {
			return false
		}
	}
	return true
}

// lo is the first place a row of the group may have.
func (g rowGroup) lo() place {
	symbol, when := g.bounds(g.def.SymbolField), g.bounds(g.def.TimeField)
	if !symbol.known || !when.known || symbol.nulls != 0 || when.nulls != 0 {
		return place{open: true}
	}
	return place{symbol: symbol.min.text, time: when.min.int}
}

// loadPiece reads the piece's rows and puts it back into the queue under its
// first row's key.
func (s *scan) loadPiece(p *piece) error {
	rec, err := p.reading.wait()
	s.inFlight--
	if err != nil {
		return p.in.failed(err)
	}
	p.reading = nil
	cols := s.columns(p.in)
	s.result.RowsRead += rec.NumRows()
	p.rec = rec
	p.mask, p.row, p.end = apply(s.decided(p.in), rec, cols.position)
	if p.in.keyed {
		p.keys = keysOf(p.in.day, rec, cols.identity)
		s.skipGiven(p)
	}
	if p.row == p.end {
		return nil
	}
	if p.in.keyed {
		p.keys.read(p.row, &p.key)
	}
	heap.Push(&s.queue, p)
	return nil
}

// skipGiven moves behind the rows that were given before a new plan was made.
func (s *scan) skipGiven(p *piece) {
	if !s.given.known || s.given.key.day != p.in.day {
		return
	}
	var k key
	for ; p.row < p.end; p.row++ {
		p.keys.read(p.row, &k)
		if compareKeys(&k, &s.given.key) > 0 && !k.same(&s.given.key) {
			return
		}
	}
}

// hash is the hash of a row with all its columns, which decides between rows of
// one identity that differ.
func (s *scan) hash(ctx context.Context, p *piece, row int) (columnar.SetHash, error) {
	if p.hashes == nil {
		full, err := p.file.Read(ctx, s.q.def, nil, []int{p.group})
		if err != nil {
			return columnar.SetHash{}, p.in.failed(err)
		}
		p.hashes = columnar.RowHashes(full, nil)
	}
	return p.hashes[row], nil
}
