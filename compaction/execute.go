package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sourcegraph/conc/panics"
	"github.com/sourcegraph/conc/pool"
	"golang.org/x/sync/semaphore"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// Memory that a small group takes while it is worked on, estimated. A large one
// takes the whole budget, and makes do with it.
const (
	copies      = 3       // of every row: as pages, in a column, and encoded
	leastPerRow = 24      // bytes stored, where the number of rows is not known
	leastMemory = 4 << 20 // buffers, whatever the rows
)

func memory(c Cost, def *schema.Definition) int64 {
	rows := c.RawRows + c.LiveRows + c.Untold/leastPerRow
	return leastMemory + copies*rows*width(def) + c.bytes()
}

// width is the bytes of a row in columns, long values apart.
func width(def *schema.Definition) int64 { return 8 * int64(len(def.Fields)) }

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
			finish(i, j.merge(ctx, g, need))
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

// merge does everything about a group but its commit, in about so many bytes of
// memory.
func (j *job) merge(ctx context.Context, g Group, need int64) result {
	ctx, done := j.step(ctx, "merge", g.Key.String())
	m := merge{job: j, group: g, need: need, result: result{report: reportOf(g)}}
	m.scratch = newScratch(j.o.TempDir, inMemory(need))
	var err error
	if caught := panics.Try(func() { err = m.run(ctx) }); caught != nil {
		err = fmt.Errorf("merge %s: %w", g.Key, caught.AsError())
	}
	if errors.Is(err, errNothingRaw) {
		m.result.report.Outcome, err = Skipped, nil
	}
	if err = errors.Join(m.room(err), m.scratch.close()); err != nil {
		m.result.fail(err)
	}
	done(err)
	return m.result
}

// room says what to do where the local disk has too little room, or none.
func (m *merge) room(err error) error {
	if !errors.Is(err, columnar.ErrTemporary) {
		return err
	}
	return fmt.Errorf("%w; the partition is as it was: let --temp-dir be a folder on a disk with about %s of room", err, size(3*m.group.Cost.bytes()))
}

// A merge is the work on one group.
type merge struct {
	*job
	group   Group
	need    int64
	scratch *scratch
	inputs  []input // raw, then live
	result  result
}

func (m *merge) run(ctx context.Context) error {
	if err := m.fetchRaw(ctx); err != nil {
		return err
	}
	if len(m.inputs) == 0 && len(m.group.Raw) > 0 {
		return errNothingRaw
	}
	if err := m.narrow(ctx); err != nil {
		return err
	}
	if err := m.fetchLive(ctx); err != nil {
		return err
	}
	merged, err := m.union(ctx)
	if err != nil {
		return err
	}
	r := &m.result.report
	r.RowsOut, r.Duplicates, r.Conflicts = merged.Rows, merged.dropped.Rows, merged.dropped.Conflicts
	if len(m.group.Raw) > 0 && m.unchanged(merged) {
		m.keepAll(merged.dropped.Rows)
		return nil
	}
	return m.replace(ctx, merged)
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
func (m *merge) unchanged(merged *outputs) bool { return m.live() == merged.total && m.marked() }

// keepAll counts the duplicates where no file changes: on the first merged one.
func (m *merge) keepAll(duplicates int64) {
	if duplicates > 0 {
		f := m.group.Merge[0]
		f.Duplicates += duplicates
		m.result.add = []partition.File{f}
	}
	m.consume()
}

// replace uploads the files that hold the merged rows, which take the place of
// those live files that are not among them. The duplicates counted on a file
// that goes are carried over, with the new ones, to the first that comes.
func (m *merge) replace(ctx context.Context, merged *outputs) error {
	kept, whole := map[string]bool{}, len(m.group.Merge) == len(m.group.Live)
	duplicates := merged.dropped.Rows
	for _, o := range merged.files {
		if path, ok := m.alreadyLive(o); ok {
			kept[path] = true
			continue
		}
		file, err := m.upload(ctx, merged, o)
		if err != nil {
			return err
		}
		file.Whole = whole
		m.result.add = append(m.result.add, file)
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
