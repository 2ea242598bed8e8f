// Package compaction turns a partition's many small raw objects into a few large
// sorted ones, and makes them what the table's log names.
//
// What always holds:
//
//   - the contents of a day that has its final form are a function of the set of
//     rows that were consumed: neither the order nor the number of runs shows in
//     them; without a Policy every day has it after each run. Running again changes
//     nothing (no commit, no object);
//   - of the rows with one identity exactly one is live, whatever was
//     redelivered, revived or compacted twice (C2, P13);
//   - live rows plus the duplicates counted in the tags of the live files are
//     the rows of all raw objects ever consumed (C3), and rows and row-set
//     hashes have been added up before a commit names a file;
//   - a data object is durable before the commit that names it, its name is made
//     of its bytes and of the version planned on (P1), and nothing is deleted
//     here, own outputs included;
//   - one object, partition or table that fails stops no other (C10).
//
// A group whose rows are all live already makes no data object: its commit marks
// the raw objects consumed and adds one live file of the partition once more,
// same path and bytes, with the higher count of duplicates in its tags. The file
// is live in the very version that the commit follows, so no deleter can have an
// eye on it, and its object is not touched (C6).
//
// Where another writer commits first, the plan is carried over to the head if
// every partition it touches is as it was planned on (P5, P6, P7); else it is
// abandoned and reported, and the next run plans again.
//
// What is merged is decided by a function of the listing, the snapshot, the clock
// and a few notes (Explain), under a Policy that bounds how often bytes are written
// again. New rows are merged with all files that may hold a row of their symbol and
// time, since no other can hold their identity. Holds, leases and notes of
// unreadable objects keep compactors from what they had better leave; no promise
// rests on them. Package compaction keeps nothing between runs but these.
package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// Options say when to merge and how. The zero value merges everything at once,
// with the defaults below.
type Options struct {
	MinRawAge      time.Duration // younger raw objects wait for company; 0: none waits
	Now            time.Time     // what MinRawAge is measured against; a Compactor sets it by its Clock
	TargetFileSize int64         // a partition larger than this is cut at symbol boundaries; DefaultTargetFileSize
	Policy         Policy        // bounds how often bytes are written again; zero: every day with new raw objects is merged whole

	// What one commit holds at most; a group is never split. A commit is lost as
	// a whole, so it should not hold much more than a minute's work.
	MaxCommitGroups   int   // DefaultMaxCommitGroups
	MaxCommitRawFiles int   // DefaultMaxCommitRawFiles: each is a line of the log
	MaxCommitBytes    int64 // of objects read; DefaultMaxCommitBytes

	MemoryBudget int64  // bytes that the partitions worked on at once take, about; a large one is worked on alone, in as many steps as that needs; DefaultMemoryBudget
	Workers      int    // partitions worked on at once; DefaultWorkers
	TempDir      string // for copies of inputs and outputs that memory does not hold, on a disk; empty: the system's

	RetryAfter time.Duration // the first pause before an unreadable raw object is tried again; 0: every run tries

	Leasing Leasing // tells other compactors what this one is at

	Properties partition.Properties // of tables that a run creates; zero fields mean the table's defaults

	schema   string // version of the definition that objects are read by
	corrects bool   // rows of the data type correct each other

	leastSources int64 // in place of the standard one
}

// The defaults of Options.
const (
	DefaultTargetFileSize    = 256 << 20
	DefaultMaxCommitGroups   = 4096
	DefaultMaxCommitRawFiles = 10_000
	DefaultMaxCommitBytes    = 1 << 30
	DefaultMemoryBudget      = 512 << 20
	DefaultWorkers           = 4
)

func (o Options) withDefaults() Options {
	orDefault(&o.TargetFileSize, DefaultTargetFileSize)
	orDefault(&o.MaxCommitGroups, DefaultMaxCommitGroups)
	orDefault(&o.MaxCommitRawFiles, DefaultMaxCommitRawFiles)
	orDefault(&o.MaxCommitBytes, DefaultMaxCommitBytes)
	orDefault(&o.MemoryBudget, DefaultMemoryBudget)
	orDefault(&o.Workers, DefaultWorkers)
	if o.Leasing.For <= 0 {
		o.Leasing.For = DefaultLeaseFor
	}
	return o
}

func orDefault[T int | int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// A Compactor merges the raw objects of the tables in one bucket.
type Compactor struct {
	Store    objstore.ReadWriter
	Registry *schema.Registry
	Log      *zap.Logger // nil: silent
	Options  Options
	Clock    func() time.Time // nil: time.Now
	Observer Observer         // nil: none
	Tidy     *Tidy            // what earlier runs found in order; nil: each run looks again

	// Progress, where set, is called after each group that is done with, one
	// call at a time: groups done of the data type's total.
	Progress func(dataType string, done, total int)
}

// Run merges what is to be merged in the tables of the given data types; none
// means all types of the registry. It returns when every goroutine that it
// started has ended. The Report is complete whatever the error. The error joins
// what failed; it is nil where the only trouble was a lost race, an input gone
// in between, or an unreadable raw object: these the Report tells.
func (c *Compactor) Run(ctx context.Context, types []string) (Report, error) {
	var r Report
	var failed []error
	for _, dataType := range c.types(types) {
		if ctx.Err() != nil {
			failed = append(failed, ctx.Err())
			break
		}
		began := time.Now()
		table := c.runTable(ctx, dataType)
		if c.Observer != nil {
			c.Observer.Table(table, time.Since(began))
		}
		r.Tables = append(r.Tables, table)
		failed = append(failed, table.failure())
	}
	return r, errors.Join(failed...)
}

// Plan says what Run would do now, and what it would leave alone, and why. It
// changes nothing. A table that cannot be planned is in the error; the groups of
// the others are returned.
func (c *Compactor) Plan(ctx context.Context, types []string) ([]Group, error) {
	var groups []Group
	var failed []error
	for _, dataType := range c.types(types) {
		j, err := c.open(dataType)
		if err == nil {
			err = j.plan(ctx)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("compact %s: %w", dataType, err))
			continue
		}
		groups = append(groups, j.explained...)
	}
	return groups, errors.Join(failed...)
}

func (c *Compactor) types(named []string) []string {
	if len(named) == 0 {
		return c.Registry.Types()
	}
	return named
}

// A job is one run over one table.
type job struct {
	store    objstore.ReadWriter
	log      *zap.Logger
	o        Options
	def      *schema.Definition
	clock    func() time.Time
	table    *partition.Table
	snapshot *partition.Snapshot // nil: there is no table yet
	widen    bool                // the table lacks columns of the definition
	groups   []Group
	facts    Facts
	waiting  int // raw objects that are neither consumed nor planned
	progress func(done int)
	observer Observer // nil: none
	tidy     *Tidy    // nil: knows nothing

	raw       []partition.RawFile // as the plan listed them
	explained []Group             // with those that are left alone
	planned   bool
}

func (c *Compactor) open(dataType string) (*job, error) {
	def, ok := c.Registry.Latest(dataType)
	if !ok {
		return nil, errors.New("no definition of that data type")
	}
	clock := c.Clock
	if clock == nil {
		clock = time.Now
	}
	j := &job{store: c.Store, log: c.Log, o: c.Options.withDefaults(), def: def, clock: clock, observer: c.Observer, tidy: c.Tidy}
	if j.log == nil {
		j.log = zap.NewNop()
	}
	j.o.Now, j.o.schema, j.o.corrects = clock(), def.Version.String(), def.Superseded() >= 0
	j.table = partition.OpenTable(c.Store, dataType, clock)
	j.table.Properties = j.o.Properties.Or(j.table.Properties)
	j.table.Warn = func(err error) { j.log.Warn("table", zap.String("type", dataType), zap.Error(err)) }
	j.progress = func(done int) {
		if c.Progress != nil {
			c.Progress(dataType, done, len(j.groups))
		}
	}
	return j, nil
}

// plan lists the raw objects, takes a snapshot and fills in the groups.
func (j *job) plan(ctx context.Context) (err error) {
	ctx, done := j.step(ctx, "plan", j.def.Name)
	defer func() { done(err) }()
	raw, err := partition.ListRaw(ctx, j.store, j.def.Name)
	if err != nil {
		return fmt.Errorf("list raw objects: %w", err)
	}
	failpoint.Hit(failpoint.AfterList)
	j.snapshot, err = j.table.Load(ctx)
	if err != nil && !errors.Is(err, partition.ErrNoTable) {
		return fmt.Errorf("load table: %w", err)
	}
	j.raw, j.planned = raw, true
	j.group()
	if len(j.explained) > 0 { // a table at rest costs no listing
		if j.facts, err = j.learn(ctx); err != nil {
			return err
		}
		j.group()
	}
	return nil
}

// group plans on the snapshot.
func (j *job) group() {
	j.explained = Explain(j.raw, j.snapshot, j.o, j.facts)
	j.groups = todo(slices.Clone(j.explained))
	j.waiting = unconsumed(j.raw, j.snapshot)
	for _, g := range j.groups {
		j.waiting -= len(g.Raw)
	}
}

func (c *Compactor) runTable(ctx context.Context, dataType string) TableReport {
	r := TableReport{Type: dataType, From: -1, Version: -1}
	j, err := c.open(dataType)
	if err == nil {
		err = j.observed(ctx, &r)
	}
	if err != nil {
		r.Err = fmt.Errorf("compact %s: %w", dataType, err)
	}
	return r
}

// run plans, works through the groups, a commit's worth at a time, and leaves the
// manifests as the table is.
func (j *job) run(ctx context.Context, r *TableReport) error {
	err := j.plan(ctx)
	if j.snapshot != nil {
		r.From, r.Version = j.snapshot.Version, j.snapshot.Version
	}
	r.Waiting = j.waiting
	if err != nil {
		return err
	}
	err = j.work(ctx, r)
	if errors.Is(err, errLostRace) {
		j.log.Warn("abandon the plan: another writer was faster", zap.String("type", j.def.Name), zap.Error(err))
		j.snapshot, err = j.table.Load(ctx)
	}
	if err != nil {
		return err
	}
	return j.manifests(ctx, r)
}

func (j *job) work(ctx context.Context, r *TableReport) error {
	if len(j.groups) == 0 {
		return nil
	}
	if err := j.ready(ctx); err != nil {
		return err
	}
	r.Version, r.Waiting = j.snapshot.Version, j.waiting
	done := 0
	for _, batch := range batches(j.groups, j.o) {
		batch, others := j.take(ctx, batch)
		done += len(others)
		r.Partitions = append(r.Partitions, reportsOf(others, Leased)...)
		results := j.execute(ctx, batch, &done)
		before := r.Rebases
		err := j.commit(ctx, batch, results, r)
		j.giveBack(ctx, batch, results)
		for _, res := range results {
			j.tell(res.report)
			j.note(ctx, res.report)
			r.Partitions = append(r.Partitions, res.report)
		}
		if err == nil && r.Rebases > before {
			// The rest was planned before others committed (P5).
			if why := moved(j.snapshot, j.groups[done:]); why != "" {
				err = fmt.Errorf("%w: version %d: %s", errLostRace, j.snapshot.Version, why)
			}
		}
		if err != nil {
			// The rest was planned on a version that is not, or not surely, the head.
			r.Partitions = append(r.Partitions, reportsOf(j.groups[done:], Abandoned)...)
			return err
		}
	}
	return nil
}

// ready makes sure that there is a table and that it can hold our rows.
func (j *job) ready(ctx context.Context) error {
	var err error
	if j.snapshot == nil {
		if j.snapshot, err = j.table.Create(ctx, j.def); err != nil {
			return fmt.Errorf("create table: %w", err)
		}
		// Another compactor may have been faster, and have made versions since: the
		// groups know none of their live files.
		j.group()
	}
	j.widen, err = wider(j.snapshot.SchemaString, j.def)
	return err
}

// tell logs what somebody may have to look at. Errors are the caller's to log.
func (j *job) tell(p PartitionReport) {
	for _, u := range p.Unreadable {
		j.log.Warn("leave a raw object in place", zap.Stringer("partition", p.Key), zap.String("object", u.Name), zap.String("reason", u.Reason))
	}
	if p.Outcome == Dropped {
		j.log.Warn("drop the plan of a partition", zap.Stringer("partition", p.Key), zap.Error(p.Err))
	}
}

// reportsOf are those of groups that were not begun.
func reportsOf(groups []Group, o Outcome) []PartitionReport {
	reports := make([]PartitionReport, 0, len(groups))
	for _, g := range groups {
		p := reportOf(g)
		p.Outcome = o
		if o == Leased {
			p.Why = g.Left
		}
		reports = append(reports, p)
	}
	return reports
}
