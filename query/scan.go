package query

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// batchRows is about how many merged rows make a record: enough to make the cost
// of a record small, few enough to come soon.
const batchRows = 16 << 10

// Result is what an execution did.
type Result struct {
	Rows            int64 // given
	RowsRead        int64 // in the row groups read
	Duplicates      int64 // left out: their identity was there already
	Conflicts       int64 // duplicates whose values differ from the row that stayed
	Files           int   // opened
	RowGroups       int   // of those files
	RowGroupsPruned int
	Requests        int64 // to the store for data, footers included
	Bytes           int64
	Restarts        int // new plans, after objects had gone
}

// Execute reads the rows and yields them as records, which are the callee's. It
// ends at the first error, yield's included; rows that were yielded before it
// are part of the result, each once.
func (p *Plan) Execute(ctx context.Context, yield func(arrow.RecordBatch) error) (Result, error) {
	var result Result
	var given given
	correct := newCorrector(p.q)
	for {
		err := p.pass(ctx, yield, &result, &given, correct)
		var gone *goneError
		if err == nil || !errors.As(err, &gone) || ctx.Err() != nil {
			p.result = &result
			return result, err
		}
		if err := p.startOver(ctx, gone, &result, &given); err != nil {
			p.result = &result
			return result, err
		}
	}
}

// startOver makes a new plan after an object has gone: a raw object because its
// rows are in the table now, a processed one because newer files replace it. The
// rows given so far are not given again.
func (p *Plan) startOver(ctx context.Context, gone *goneError, result *Result, given *given) error {
	switch {
	case !p.q.AsOf.IsZero():
		return fmt.Errorf("version %d of %s: %w: %w", p.Version(), p.q.DataType, ErrSnapshotExpired, gone)
	case result.Restarts >= p.opts.Restarts:
		return fmt.Errorf("query %s: objects went %d times: %w: %w", p.q.DataType, result.Restarts+1, ErrSnapshotExpired, gone)
	case given.some && !given.known && given.key.day == gone.in.day:
		return fmt.Errorf("query %s: in the middle of %s: %w: %w", p.q.DataType, given.key.day, ErrSnapshotExpired, gone)
	}
	result.Restarts++
	from := partition.Day(math.MinInt32)
	if given.some {
		from = given.key.day
		if !given.known {
			from++
		}
	}
	if err := p.load(ctx, from); err != nil {
		return fmt.Errorf("plan query of %s again: %w", p.q.DataType, err)
	}
	if given.known { // the day's rows have to be told apart from those given
		for _, in := range p.inputs {
			in.keyed = in.keyed || in.day == from
			in.settled = in.settled && !(p.q.corrects && in.day == from)
		}
	}
	return nil
}

// given is how far the rows given reach: up to a key, or, if that is not known,
// into a day.
type given struct {
	some, known bool
	key         key
}

// A scan is one pass over a plan's inputs.
type scan struct {
	ctx    context.Context
	q      *compiled
	store  objstore.Reader
	pool   *pool.Pool
	result *Result
	given  *given
	yield  func(arrow.RecordBatch) error

	correct *corrector // nil: no row corrects another

	keyed, plain columns // of keyed inputs and of others
	queue        queue
	window       int  // pieces that may be in flight
	eager        bool // read ahead of what the merge surely needs
	inFlight     int

	last    key    // of the row merged last
	lastOf  *piece // nil: given by an earlier pass
	lastRow int
	merged  bool // there is a last
	pending []pendingRun
	rows    int // in pending
}

// A pendingRun is rows that were merged and not given yet.
type pendingRun struct {
	of       *piece
	from, to int
}

// columns is what is read of an input and where it stands in the record.
type columns struct {
	read     []int  // columns of the definition, ascending
	position []int  // of each column of the definition; -1: not read
	identity [5]int // positions of the identity columns
	output   []int  // positions of the columns to give, in order
}

func (s *scan) columns(in *input) *columns {
	if in.keyed {
		return &s.keyed
	}
	return &s.plain
}

func newColumns(q *compiled, keyed bool) columns {
	read := append(columnsOf(q.conditions), q.output...)
	if keyed || q.corrects {
		read = append(read, identityColumns(q.def)...)
	}
	if q.corrects {
		read = append(append(read, q.def.NaturalKey...), q.def.Superseded())
	}
	slices.Sort(read)
	c := columns{read: slices.Compact(read), position: make([]int, len(q.def.Fields))}
	for i := range c.position {
		c.position[i] = slices.Index(c.read, i)
	}
	for i, col := range identityColumns(q.def) {
		c.identity[i] = c.position[col]
	}
	output := q.output
	if q.corrects {
		output = c.read // until it is known which rows are current
	}
	for _, col := range output {
		c.output = append(c.output, c.position[col])
	}
	return c
}

// errDone ends a pass early: the limit is reached.
var errDone = errors.New("done")

// pass reads the plan's inputs once.
func (p *Plan) pass(ctx context.Context, yield func(arrow.RecordBatch) error, result *Result, given *given, correct *corrector) error {
	ctx, cancel := context.WithCancel(ctx)
	counted := &counting{Reader: p.store}
	s := &scan{
		ctx: ctx, q: p.q, store: counted, pool: pool.New().WithMaxGoroutines(p.opts.Parallel),
		result: result, given: given, yield: yield, correct: correct,
		keyed: newColumns(p.q, true), plain: newColumns(p.q, false),
		window: p.opts.Parallel, eager: p.q.Limit == 0, // the first rows may be enough
		last: given.key, merged: given.known,
	}
	defer func() {
		cancel()
		s.pool.Wait()
		result.Requests += counted.requests.Load()
		result.Bytes += counted.bytes.Load()
	}()
	for i, in := range p.inputs {
		s.queue = append(s.queue, &piece{in: in, seq: i, key: lowest(in.day, in.lo)})
	}
	heap.Init(&s.queue)
	if err := s.run(); err != nil && err != errDone {
		return err
	}
	return nil
}

// run merges until the queue is empty or the limit reached.
func (s *scan) run() error {
	for len(s.queue) > 0 {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		p := heap.Pop(&s.queue).(*piece)
		if len(s.pending) > 0 && s.pending[0].of.in.day != p.in.day { // no duplicate can come any more
			if err := s.flush(0); err != nil {
				return err
			}
		}
		var err error
		switch {
		case p.rec != nil && p.in.keyed:
			err = s.merge(p)
		case p.rec != nil:
			err = s.give(p)
		default:
			s.begin(p)
			s.prefetch(p.in.day)
			err = s.await(p)
		}
		if err != nil {
			return err
		}
	}
	if err := s.flush(0); err != nil || s.correct == nil {
		return err
	}
	rec, err := s.correct.end(s.left())
	if err != nil {
		return err
	}
	return s.hand(rec)
}

// await waits for a piece to be opened or read.
func (s *scan) await(p *piece) error {
	if p.file != nil {
		return s.loadPiece(p)
	}
	if _, err := p.opening.wait(); err != nil {
		s.inFlight--
		return p.in.failed(err)
	}
	s.breakUp(p)
	return nil
}

// give gives rows that need no merge.
func (s *scan) give(p *piece) error {
	if err := s.flush(0); err != nil {
		return err
	}
	s.merged = false
	s.pending, s.rows = append(s.pending, pendingRun{p, p.row, p.end}), p.end-p.row
	return s.flush(0)
}

// merge takes rows of p, which has the smallest key, up to the next piece's.
func (s *scan) merge(p *piece) error {
	var limit *key
	if len(s.queue) > 0 {
		limit = &s.queue[0].key
	}
	if err := s.mergeRow(p); err != nil {
		return err
	}
	p.row++
	if p.in.raw {
		if err := s.mergeRaw(p, limit); err != nil {
			return err
		}
	} else if to := p.before(limit); to > p.row {
		s.add(p, p.row, to)
		p.row = to
	}
	if p.row < p.end {
		p.keys.read(p.row, &p.key)
		heap.Push(&s.queue, p)
	}
	if s.rows > s.batch() {
		return s.flush(1)
	}
	return nil
}

// mergeRaw takes rows less than limit one by one: a raw object may hold an
// identity twice.
func (s *scan) mergeRaw(p *piece, limit *key) error {
	var k key
	for ; p.row < p.end; p.row++ {
		p.keys.read(p.row, &k)
		if limit != nil && compareKeys(&k, limit) >= 0 {
			return nil
		}
		p.key = k
		if err := s.mergeRow(p); err != nil {
			return err
		}
	}
	return nil
}

// before is the end of the rows from p.row on that are less than limit. The
// steps double, since runs are mostly short or whole.
func (p *piece) before(limit *key) int {
	if limit == nil {
		return p.end
	}
	var k key
	less := func(row int) bool {
		p.keys.read(row, &k)
		return compareKeys(&k, limit) < 0
	}
	step, from := 1, p.row
	for from+step-1 < p.end && less(from+step-1) {
		from += step
		step *= 2
	}
	return from + sort.Search(min(step-1, p.end-from), func(i int) bool { return !less(from + i) })
}

// mergeRow takes the row p stands at, whose key is p.key, unless its identity is
// there already.
func (s *scan) mergeRow(p *piece) error {
	if s.merged && p.key.same(&s.last) {
		return s.duplicate(p)
	}
	s.add(p, p.row, p.row+1)
	return nil
}

// add takes rows [from, to) of p.
func (s *scan) add(p *piece, from, to int) {
	if n := len(s.pending); n > 0 && s.pending[n-1].of == p && s.pending[n-1].to == from {
		s.pending[n-1].to = to
	} else {
		s.pending = append(s.pending, pendingRun{p, from, to})
	}
	s.rows += to - from
	s.lastOf, s.lastRow, s.merged = p, to-1, true
	p.keys.read(to-1, &s.last)
}

// duplicate chooses between the row p stands at and the last one, of the same
// identity: the earlier published stays (it came first), then the smaller hash.
func (s *scan) duplicate(p *piece) error {
	s.result.Duplicates++
	if s.lastOf == nil || sameRow(p.rec, p.row, s.lastOf.rec, s.lastRow) {
		return nil
	}
	s.result.Conflicts++
	if p.key.published != s.last.published {
		return nil
	}
	mine, err := s.hash(s.ctx, p, p.row)
	if err != nil {
		return err
	}
	theirs, err := s.hash(s.ctx, s.lastOf, s.lastRow)
	if err != nil {
		return err
	}
	if cmp.Or(cmp.Compare(mine[0], theirs[0]), cmp.Compare(mine[1], theirs[1])) < 0 {
		s.pending[len(s.pending)-1].to-- // the last row is always pending still
		s.rows--
		s.add(p, p.row, p.row+1)
	}
	return nil
}

// batch is the number of rows to give at once.
func (s *scan) batch() int {
	if s.correct != nil {
		return batchRows
	}
	return min(batchRows, s.left())
}

// flush gives the pending rows but for the last keep, which a duplicate may
// still replace.
func (s *scan) flush(keep int) error {
	if s.rows <= keep {
		return nil
	}
	runs := s.pending
	s.pending, s.rows = nil, 0
	if keep > 0 {
		last := &runs[len(runs)-1]
		last.to -= keep
		s.pending, s.rows = []pendingRun{{last.of, last.to, last.to + keep}}, keep
	}
	rec, err := s.record(runs)
	if err != nil {
		return fmt.Errorf("gather rows: %w", err)
	}
	s.advance(runs)
	if rec != nil && s.correct != nil {
		if rec, err = s.correct.take(rec, runs[0].of.in.settled, s.left()); err != nil {
			return err
		}
	}
	return s.hand(rec)
}

// left is how many rows may still be given.
func (s *scan) left() int {
	if s.q.Limit > 0 {
		return int(min(s.q.Limit-s.result.Rows, math.MaxInt32))
	}
	return math.MaxInt
}

// hand gives a record, if there is one.
func (s *scan) hand(rec arrow.RecordBatch) error {
	if rec == nil {
		return nil
	}
	s.result.Rows += rec.NumRows()
	if err := s.yield(rec); err != nil {
		return err
	}
	if s.q.Limit > 0 && s.result.Rows >= s.q.Limit {
		return errDone
	}
	s.eager = true
	return nil
}

// advance notes how far the rows given reach.
func (s *scan) advance(runs []pendingRun) {
	for len(runs) > 0 && runs[len(runs)-1].to == runs[len(runs)-1].from { // its only row is kept back, or was replaced
		runs = runs[:len(runs)-1]
	}
	if len(runs) == 0 {
		return
	}
	last := runs[len(runs)-1]
	*s.given = given{some: true, known: last.of.in.keyed}
	s.given.key.day = last.of.in.day
	if last.of.in.keyed {
		last.of.keys.read(last.to-1, &s.given.key)
	}
}

// record makes one record of the runs' rows that satisfy the conditions, at most
// as many as the limit leaves; nil if there are none.
func (s *scan) record(pending []pendingRun) (arrow.RecordBatch, error) {
	left := s.left()
	if s.correct != nil {
		left = math.MaxInt
	}
	var runs []run
	var recs []arrow.RecordBatch
	sources := map[*piece]int32{}
	for _, r := range pending {
		for from := r.from; from < r.to && left > 0; {
			from = r.of.mask.next(true, from, r.to)
			to := from + min(r.of.mask.next(false, from, r.to)-from, left)
			if from == to {
				break
			}
			src, ok := sources[r.of]
			if !ok {
				src = int32(len(recs))
				sources[r.of] = src
				recs = append(recs, r.of.rec)
			}
			runs = append(runs, run{src, int32(from), int32(to)})
			left -= to - from
			from = to
		}
	}
	switch len(runs) {
	case 0:
		return nil, nil
	case 1:
		if n := int64(runs[0].to - runs[0].from); n*2 >= recs[0].NumRows() { // no need to copy
			return s.slice(s.columns(pending[0].of.in), recs[0], runs[0]), nil
		}
	}
	return gather(s.schema(), s.columns(pending[0].of.in).output, recs, runs)
}

// slice is the rows of a run without copying.
func (s *scan) slice(cols *columns, rec arrow.RecordBatch, r run) arrow.RecordBatch {
	out := make([]arrow.Array, len(cols.output))
	for i, c := range cols.output {
		out[i] = array.NewSlice(rec.Column(c), int64(r.from), int64(r.to))
	}
	return array.NewRecordBatch(s.schema(), out, int64(r.to-r.from))
}

// schema is that of the records that the merge makes.
func (s *scan) schema() *arrow.Schema {
	if s.correct != nil {
		return s.correct.schema
	}
	return s.q.schema
}

// next is the first row from row on that has the given verdict, or end.
func (m mask) next(verdict bool, row, end int) int {
	if m == nil {
		if verdict {
			return row
		}
		return end
	}
	for row < end && m[row] != verdict {
		row++
	}
	return row
}
