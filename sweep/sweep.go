// Package sweep deletes what the lake no longer needs. It is the only package
// that deletes objects of a lake.
//
// What always holds (C7):
//
//   - a raw object is deleted only if a true snapshot shows it consumed since the
//     grace period at least, and where there is an archive, after its bytes are
//     durable there (P12);
//   - a processed object is deleted only if a true snapshot shows it removed since
//     the retention period at least, or if it is an orphan behind a fence (P2, P3);
//   - an entry or a checkpoint of a log is deleted only strictly below a
//     checkpoint that is older than the log's retention (P11);
//   - what cannot be read, compared or understood stays where it is and is
//     reported.
//
// Every fact that allows a deletion is permanent: once true, true for ever. So a
// sweeper may be killed at any step, run twice, run beside others, or go on after
// a month's pause with what it had read before. It keeps nothing between runs.
//
// Ages are the store's: of objects, of log entries, and of "now", which is when
// the store says it has made the sweeper's own report (P8). It is made only where
// something may be due: a table at rest costs a listing of raw objects, one of data
// objects, and a snapshot.
package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// Options say what is old enough. A zero field means the default beside it.
type Options struct {
	Grace     time.Duration // 1h: after a raw object's rows were committed, before it is archived and deleted
	Retain    time.Duration // the table's own, 168h: after a file was removed; the longer of the two counts
	LogRetain time.Duration // the table's own, 720h: of the log's past; the longer of the two counts
	OrphanAge time.Duration // 24h: of an object that no version names, before a fence is made for it
	DryRun    bool          // say what would be done; nothing is deleted, archived or committed
	Workers   int           // 16: objects worked on at once
	FewMarks  int           // 1000: marks of raw objects that are gone; fewer are not worth a checkpoint without them
}

// The defaults of Options.
const (
	DefaultGrace     = time.Hour
	DefaultOrphanAge = 24 * time.Hour
	DefaultWorkers   = 16
	DefaultFewMarks  = 1000
)

func (o Options) withDefaults() Options {
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.OrphanAge == 0 {
		o.OrphanAge = DefaultOrphanAge
	}
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	if o.FewMarks <= 0 {
		o.FewMarks = DefaultFewMarks
	}
	return o
}

// A Sweeper sweeps the tables of one bucket.
type Sweeper struct {
	Store   objstore.Store
	Archive objstore.ReadWriter // where consumed raw objects go; nil: they are deleted without a copy
	Log     *zap.Logger         // nil: silent
	Options Options
	Clock   func() time.Time // says when to ask the store for its time, which alone counts; nil: time.Now
}

// Run sweeps the tables of the data types. One that fails stops no other; the
// report is complete whatever the error, which joins what failed.
func (s *Sweeper) Run(ctx context.Context, types []string) (Report, error) {
	var r Report
	var failed []error
	for _, dataType := range types {
		if ctx.Err() != nil {
			failed = append(failed, ctx.Err())
			break
		}
		t := s.table(ctx, dataType)
		if t.Err != nil {
			failed = append(failed, t.Err)
		}
		r.Tables = append(r.Tables, t)
	}
	return r, errors.Join(failed...)
}

// A pass is one run over one table.
type pass struct {
	*Sweeper
	o        Options
	log      *zap.Logger
	table    *partition.Table
	snapshot *partition.Snapshot
	past     partition.Past
	now      time.Time // the store's
	report   TableReport

	listed   []partition.RawFile
	rawKnown bool // listed is all of them
	graves   []grave
	nameless []orphan
	newest   time.Time // the latest known to have been
}

func (s *Sweeper) table(ctx context.Context, dataType string) TableReport {
	p := &pass{Sweeper: s, o: s.Options.withDefaults(), log: s.Log, report: TableReport{Type: dataType, DryRun: s.Options.DryRun}}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	p.log = p.log.With(zap.String("type", dataType))
	p.table = partition.OpenTable(s.Store, dataType, nil)
	p.table.Warn = func(err error) { p.log.Warn("table", zap.Error(err)) }
	if err := p.run(ctx); err != nil {
		p.report.Err = fmt.Errorf("sweep %s: %w", dataType, err)
	}
	return p.report
}

func (p *pass) run(ctx context.Context) (err error) {
	p.snapshot, p.past, err = p.table.LoadWithPast(ctx)
	if errors.Is(err, partition.ErrNoTable) {
		return nil // nothing is consumed, nothing removed
	}
	if err != nil {
		return err
	}
	if err := p.properties(ctx); err != nil {
		return err
	}
	failed := []error{p.look(ctx)}
	if p.perhaps() {
		failed = append(failed, p.sweep(ctx))
	}
	p.tell()
	return errors.Join(failed...)
}

func (p *pass) sweep(ctx context.Context) (err error) {
	if p.now, err = p.ask(ctx); err != nil {
		return err
	}
	var failed []error
	for _, step := range []func(context.Context) error{p.raw, p.vacuum, p.orphans, p.marks, p.cleanLog} {
		failed = append(failed, step(ctx))
	}
	return errors.Join(failed...)
}

// ask is the store's time: that of an object just made, which is the note of the
// last sweep. A dry run makes nothing, and takes the latest time it knows of.
func (p *pass) ask(ctx context.Context) (time.Time, error) {
	if p.o.DryRun {
		return p.newest, nil
	}
	name := "metadata/" + p.report.Type + "/sweep.json"
	note, err := json.Marshal(map[string]any{"data_type": p.report.Type, "table_version": p.snapshot.Version, "grace": p.o.Grace.String()})
	if err != nil {
		return time.Time{}, err
	}
	o, err := p.Store.Replace(ctx, name, note, nil, objstore.Any)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store for its time: %w", err)
	}
	return o.Created, nil
}

// old tells whether something happened at least so long ago.
func (p *pass) old(at time.Time, age time.Duration) bool { return p.now.Sub(at) >= age }

// properties makes the table keep what it removes, and its log, for as long as is
// asked for: a checkpoint forgets what was removed once the table's own retention
// has passed, and nobody could tell it from an orphan then. Retentions are raised
// here, never lowered. Where another writer is faster the next run tries again, and
// this one deletes nothing.
func (p *pass) properties(ctx context.Context) error {
	own := p.snapshot.Properties()
	var raise partition.Properties
	if p.o.Retain > own.Retain {
		raise.Retain = p.o.Retain
	}
	if want := max(p.o.LogRetain, p.o.Grace); want > own.LogRetain {
		raise.LogRetain = want
	}
	if raise == (partition.Properties{}) || p.o.DryRun {
		return nil
	}
	next, err := p.table.Commit(ctx, p.snapshot, partition.Change{Operation: "SET TBLPROPERTIES", Properties: raise})
	if err != nil {
		return fmt.Errorf("raise the table's retention: %w", err)
	}
	p.snapshot = next
	return nil
}

func (p *pass) retain() time.Duration {
	return max(p.o.Retain, p.snapshot.Properties().Retain)
}

// logRetain is never shorter than the grace (P11).
func (p *pass) logRetain() time.Duration {
	return max(p.o.LogRetain, p.snapshot.Properties().LogRetain, p.o.Grace)
}

func (p *pass) tell() {
	r := &p.report
	if r.Nothing() {
		return
	}
	p.log.Info("swept", zap.Bool("dry_run", r.DryRun), zap.Int("archived", r.Archived.Objects), zap.Int("raw_deleted", r.Raw.Objects),
		zap.Int("removed_deleted", r.Removed.Objects), zap.Int("orphans_deleted", r.Orphans.Objects), zap.Int("log_deleted", r.Log.Objects),
		zap.Int("marks_forgotten", r.Forgotten), zap.Int64("fence", r.Fence))
	for _, k := range r.Kept {
		p.log.Warn("keep an object that should go", zap.String("object", k.Name), zap.String("reason", k.Reason))
	}
}
