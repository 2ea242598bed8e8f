package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/sourcegraph/conc/panics"
	"github.com/sourcegraph/conc/pool"
	"golang.org/x/sync/semaphore"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// Memory that a group takes while it is worked on, estimated.
const (
	copies      = 3  // of every row: as input, as output, and read back
	inflated    = 4  // text and binary values, as a multiple of the bytes stored
	leastPerRow = 24 // bytes stored, where the number of rows is not known
)

func memory(c Cost, def *schema.Definition) int64 {
	rows := c.RawRows + c.LiveRows + c.Untold/leastPerRow
	return copies*rows*width(def) + inflated*c.bytes()
}

// width is the bytes of a row in columns, long values apart.
func width(def *schema.Definition) int64 {
	bytes := int64(0)
	for _, f := range def.Fields {
		bytes += 8
		if f.Kind == schema.Decimal {
			bytes += 8
		}
	}
	return bytes
}

// A result is what a group comes to: its share of a commit.
type result struct {
	report   PartitionReport
	add      []partition.File
	remove   []partition.File
	consumed []string
}

// execute works on the groups of one commit, several at once as far as the
// memory budget allows. The results are in the order of the groups.
func (j *job) execute(ctx context.Context, groups []Group, done *int) []result {
	results := make([]result, len(groups))
	budget := semaphore.NewWeighted(j.o.MemoryBudget)
	var mu sync.Mutex
	finish := func(i int, r result) {
		mu.Lock()
		defer mu.Unlock()
		results[i] = r
		*done++
		j.progress(*done)
	}
	p := pool.New().WithMaxGoroutines(j.o.Workers)
	for i, g := range groups {
		need := min(memory(g.Cost, j.def), j.o.MemoryBudget)
		if err := budget.Acquire(ctx, need); err != nil {
			finish(i, failed(g, err))
			continue
		}
		p.Go(func() {
			defer budget.Release(need)
			finish(i, j.merge(ctx, g))
		})
	}
	p.Wait()
	return results
}

func failed(g Group, err error) result {
	r := result{report: reportOf(g)}
	r.fail(err)
	return r
}

// merge does everything about a group but its commit.
func (j *job) merge(ctx context.Context, g Group) result {
	ctx, done := j.step(ctx, "merge", g.Key.String())
	m := merge{job: j, group: g, result: result{report: reportOf(g)}}
	var err error
	if caught := panics.Try(func() { err = m.run(ctx) }); caught != nil {
		err = fmt.Errorf("merge %s: %w", g.Key, caught.AsError())
	}
	if err != nil {
		m.result.fail(err)
	}
	done(err)
	return m.result
}

// A merge is the work on one group.
type merge struct {
	*job
	group  Group
	inputs []input // raw, then live
	result result
}

func (m *merge) run(ctx context.Context) error {
	if err := m.readRaw(ctx); err != nil {
		return err
	}
	if len(m.inputs) == 0 && len(m.group.Raw) > 0 {
		m.result.report.Outcome = Skipped
		return nil
	}
	m.narrow()
	if err := m.readLive(ctx); err != nil {
		return err
	}
	merged, dropped, err := m.union()
	if err != nil {
		return err
	}
	r := &m.result.report
	r.RowsOut, r.Duplicates, r.Conflicts = merged.rec.NumRows(), dropped.Rows, dropped.Conflicts
	if len(m.group.Raw) > 0 && m.unchanged(merged) {
		m.keepAll(dropped.Rows)
		return nil
	}
	return m.replace(ctx, merged, dropped.Rows)
}

// rows are a record with the hash of each row.
type rows struct {
	rec    arrow.RecordBatch
	hashes []columnar.SetHash
}

func rowsOf(rec arrow.RecordBatch) rows {
	return rows{rec, columnar.RowHashes(rec, make([]columnar.SetHash, 0, rec.NumRows()))}
}

func (r rows) slice(from, to int) rows {
	return rows{r.rec.NewSlice(int64(from), int64(to)), r.hashes[from:to]}
}

func (r rows) total() total {
	t := total{Rows: r.rec.NumRows()}
	for _, h := range r.hashes {
		t.Hash = t.Hash.Add(h)
	}
	return t
}

// union merges the inputs, and makes sure that every row of them is in the
// output or has been dropped for one that is.
func (m *merge) union() (rows, columnar.Dropped, error) {
	recs := make([]arrow.RecordBatch, len(m.inputs))
	var in total
	for i := range m.inputs {
		recs[i] = m.inputs[i].rec
		m.inputs[i].rec = nil
		in.add(m.inputs[i].total)
	}
	rec, dropped, err := columnar.Merge(recs, m.def)
	if err != nil {
		return rows{}, dropped, fmt.Errorf("merge %s: %w", m.group.Key, err)
	}
	if rec, err = columnar.Supersede(rec, m.def); err != nil {
		return rows{}, dropped, fmt.Errorf("merge %s: %w", m.group.Key, err)
	}
	merged := rowsOf(rec)
	out := merged.total()
	out.add(total{dropped.Rows, dropped.Hash})
	if in != out {
		return rows{}, dropped, &ConservationError{Key: m.group.Key, In: in, Out: out, Inputs: m.names()}
	}
	return merged, dropped, nil
}

func (m *merge) names() []string {
	var names []string
	for _, in := range m.inputs {
		names = append(names, in.name)
	}
	return names
}

// A total counts rows and sums up their hashes.
type total struct {
	Rows int64
	Hash columnar.SetHash
}

func (t *total) add(o total) { t.Rows, t.Hash = t.Rows+o.Rows, t.Hash.Add(o.Hash) }

func (t total) String() string { return fmt.Sprintf("%d rows with hash %s", t.Rows, t.Hash) }

// live is the sum of the live files that are merged.
func (m *merge) live() total {
	var t total
	for _, f := range m.group.Merge {
		t.add(total{f.Rows, f.Hash})
	}
	return t
}

// unchanged tells whether the live files hold the merged rows already.
func (m *merge) unchanged(merged rows) bool {
	return m.live() == merged.total() && m.marked()
}

// keepAll counts the duplicates where no file changes: on the first merged one.
func (m *merge) keepAll(duplicates int64) {
	if duplicates > 0 {
		f := m.group.Merge[0]
		f.Duplicates += duplicates
		m.result.add = []partition.File{f}
	}
	m.consume()
}

// replace makes the files that hold the merged rows, and takes the place of
// those live files that are not among them. The duplicates counted on a file
// that goes are carried over, with the new ones, to the first that comes.
func (m *merge) replace(ctx context.Context, merged rows, duplicates int64) error {
	parts, err := cut(merged, m.def, m.o.TargetFileSize)
	if err != nil {
		return fmt.Errorf("cut %s into files: %w", m.group.Key, err)
	}
	kept, whole := map[string]bool{}, len(m.group.Merge) == len(m.group.Live)
	for _, part := range parts {
		o, err := m.encode(ctx, part)
		if err != nil {
			return err
		}
		if path, ok := m.alreadyLive(o); ok {
			kept[path] = true
			continue
		}
		o.file.Whole = whole
		if err := m.upload(ctx, &o); err != nil {
			return err
		}
		m.result.add = append(m.result.add, o.file)
	}
	for _, f := range m.group.Merge {
		if !kept[f.Path] {
			m.result.remove = append(m.result.remove, f)
			duplicates += f.Duplicates
		} else if whole && !f.Whole {
			f.Whole = true // the same object
			m.result.add = append(m.result.add, f)
		}
	}
	if len(m.result.add) == 0 {
		return fmt.Errorf("merge %s: rows changed, but every output is live already", m.group.Key)
	}
	m.result.add[0].Duplicates += duplicates
	m.consume()
	return nil
}

// consume marks every raw object that was read.
func (m *merge) consume() {
	r := &m.result.report
	for _, in := range m.inputs {
		if in.raw {
			m.result.consumed = append(m.result.consumed, in.name)
		}
	}
	r.RawFiles = len(m.result.consumed)
	r.Added, r.Removed = len(m.result.add), len(m.result.remove)
	slices.Sort(m.result.consumed)
}

// errGone: an input is no longer there, so the plan is out of date (P13).
var errGone = errors.New("an input is gone")

// A ConservationError says that the rows of a merge's inputs are not those of
// its outputs. Nothing has been changed.
type ConservationError struct {
	Key     partition.Key
	In, Out total
	Inputs  []string
}

func (e *ConservationError) Error() string {
	return fmt.Sprintf("merge %s: the inputs hold %s, what came of them %s: %q", e.Key, e.In, e.Out, e.Inputs)
}

func (r *result) fail(err error) {
	r.add, r.remove, r.consumed = nil, nil, nil
	r.report.Err = err
	r.report.Outcome = Failed
	if errors.Is(err, errGone) {
		r.report.Outcome = Dropped
	}
}
