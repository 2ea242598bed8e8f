package query

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/schema"
)

// correctionConditions are those by which rows count as known and current.
func correctionConditions(def *schema.Definition, q DataQuery) []condition {
	var all []condition
	bound := knownAt(q)
	if bound != nil {
		c := newCondition(def, def.Field(schema.ColPublishedAt), "known at")
		c.ints = bound.comparing(opLe)
		c.text = schema.ColPublishedAt + " <= " + instant(q.KnownAt)
		all = append(all, c)
	}
	if def.Superseded() < 0 || q.Superseded {
		return all
	}
	c := newCondition(def, def.Superseded(), "current")
	if bound == nil {
		c.null = true
		c.text = schema.ColSupersededAt + " is null (the current rows)"
	} else {
		c.ints, c.orNull = bound.comparing(opGt), true
		c.text = schema.ColSupersededAt + " is null or > " + instant(q.KnownAt) + " (the rows current then)"
	}
	return append(all, c)
}

// knownAt is q.KnownAt as a value of the columns that it is compared with; nil: it
// is not set.
func knownAt(q DataQuery) *bound {
	if q.KnownAt.IsZero() {
		return nil
	}
	return &bound{floor: q.KnownAt.UnixMicro(), exact: q.KnownAt.Nanosecond()%1000 == 0}
}

// decided are the conditions that a row of the input can be left out by before it
// is known which rows are current: all where its rows say that themselves, else
// those that rows of one key share.
func (s *scan) decided(in *input) []condition {
	if s.correct == nil || in.settled {
		return s.q.conditions
	}
	return s.correct.shared
}

// A corrector finds out which of the merged rows are current, where they do not
// say so themselves, and then leaves out what the query does not ask for. Rows of
// one key follow each other at one symbol and event time, so it holds back the last
// of these until another comes. It goes on over several passes.
type corrector struct {
	q      *compiled
	all    columns       // as the merge makes them
	schema *arrow.Schema // of those columns
	output []int         // positions of the columns to give
	shared []condition   // that rows of one key share

	held arrow.RecordBatch // merged, not yet told apart; nil: none
}

func newCorrector(q *compiled) *corrector {
	if !q.corrects {
		return nil
	}
	c := &corrector{q: q, all: newColumns(q, true)}
	fields := make([]arrow.Field, len(c.all.read))
	for i, col := range c.all.read {
		fields[i] = q.def.Arrow().Field(col)
	}
	c.schema = arrow.NewSchema(fields, nil)
	for _, col := range q.output {
		c.output = append(c.output, c.all.position[col])
	}
	for _, condition := range q.conditions {
		if condition.identical {
			c.shared = append(c.shared, condition)
		}
	}
	return c
}

// take takes the next merged rows, which say themselves whether they are superseded
// if settled, and gives at most so many rows of the result; nil if there are none.
func (c *corrector) take(rec arrow.RecordBatch, settled bool, most int) (arrow.RecordBatch, error) {
	if settled {
		return c.giveBoth(c.release(), rec, most)
	}
	if c.held != nil {
		both := []arrow.RecordBatch{c.held, rec}
		joined, err := gather(c.schema, every(len(c.all.read)), both, []run{{0, 0, int32(c.held.NumRows())}, {1, 0, int32(rec.NumRows())}})
		if err != nil {
			return nil, err
		}
		rec = joined
	}
	from := c.lastPlace(rec)
	c.held = rec.NewSlice(int64(from), rec.NumRows())
	return c.giveBoth(c.mark(rec.NewSlice(0, int64(from))), nil, most)
}

// end gives what is held back.
func (c *corrector) end(most int) (arrow.RecordBatch, error) {
	return c.giveBoth(c.release(), nil, most)
}

// release is what is held back, marked; nil if nothing is.
func (c *corrector) release() arrow.RecordBatch {
	held := c.held
	c.held = nil
	if held == nil {
		return nil
	}
	return c.mark(held)
}

// mark fills in _superseded_at.
func (c *corrector) mark(rec arrow.RecordBatch) arrow.RecordBatch {
	rows, at := int(rec.NumRows()), c.all.position[c.q.def.Superseded()]
	by := columnar.SupersededBy(func(field int) arrow.Array { return rec.Column(c.all.position[field]) }, rows, c.q.def)
	if by == nil && rec.Column(at).NullN() == rows {
		return rec
	}
	cols := make([]arrow.Array, rec.NumCols())
	copy(cols, rec.Columns())
	cols[at] = columnar.Timestamps(rec.Column(at).DataType(), rows, by)
	return array.NewRecordBatch(c.schema, cols, rec.NumRows())
}

// lastPlace is the first of the last rows that have one symbol and event time.
func (c *corrector) lastPlace(rec arrow.RecordBatch) int {
	keys := keysOf(0, rec, c.all.identity)
	var last, k key
	row := int(rec.NumRows()) - 1
	for keys.read(row, &last); row > 0; row-- {
		if keys.read(row-1, &k); k.time != last.time || k.symbol != last.symbol || k.hasSymbol != last.hasSymbol {
			break
		}
	}
	return row
}

// giveBoth gives the rows of the result among those of two records, of which either
// may be nil.
func (c *corrector) giveBoth(a, b arrow.RecordBatch, most int) (arrow.RecordBatch, error) {
	var recs []arrow.RecordBatch
	var runs []run
	for _, rec := range []arrow.RecordBatch{a, b} {
		if rec == nil || rec.NumRows() == 0 {
			continue
		}
		m, from, to := apply(c.q.conditions, rec, c.all.position)
		for most > 0 && from < to {
			from = m.next(true, from, to)
			end := from + min(m.next(false, from, to)-from, most)
			if from == end {
				break
			}
			runs = append(runs, run{int32(len(recs)), int32(from), int32(end)})
			most -= end - from
			from = end
		}
		recs = append(recs, rec)
	}
	if len(runs) == 0 {
		return nil, nil
	}
	return gather(c.q.schema, c.output, recs, runs)
}

func every(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
