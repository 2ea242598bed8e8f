package compaction

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// An Observer is told how runs go. It reads outcomes and decides none; what it
// does must be quick and must not block. Its methods may be called by several
// goroutines at once.
type Observer interface {
	// Step is told that a step begins: run, plan, merge, commit or manifests, of a
	// table or a partition. The context it gives is for the step, the log for lines
	// about it; done is called with how it ended.
	Step(ctx context.Context, log *zap.Logger, step, what string) (_ context.Context, _ *zap.Logger, done func(error))

	// Table is told how the run over one table went, and how long it took.
	Table(r TableReport, took time.Duration)
}

// A Debt is raw objects that no version of the table has consumed.
type Debt struct {
	Files  int
	Bytes  int64
	Oldest time.Time // when the oldest was created, by the store's clock; zero: there is none
}

// step tells the observer, if there is one.
func (j *job) step(ctx context.Context, step, what string) (context.Context, func(error)) {
	if j.observer == nil {
		return ctx, func(error) {}
	}
	ctx, _, done := j.observer.Step(ctx, j.log, step, what)
	return ctx, done
}

// observed is the run over one table with the observer, if there is one. Every
// line of the run is logged with what the observer adds.
func (j *job) observed(ctx context.Context, r *TableReport) error {
	if j.observer == nil {
		return j.run(ctx, r)
	}
	ctx, log, done := j.observer.Step(ctx, j.log, "run", j.def.Name)
	j.log = log
	err := j.run(ctx, r)
	done(err)
	if j.snapshot != nil || r.Version < 0 { // a table that could not be loaded again tells nothing
		r.Left = j.left()
	}
	return err
}

// left is what no version has consumed now, of what the plan listed; nil where
// that is not known.
func (j *job) left() *Debt {
	if !j.planned {
		return nil
	}
	d := &Debt{}
	for _, o := range j.raw {
		if consumed(j.snapshot, o) {
			continue
		}
		d.Files, d.Bytes = d.Files+1, d.Bytes+o.Object.Size
		if d.Oldest.IsZero() || o.Object.Created.Before(d.Oldest) {
			d.Oldest = o.Object.Created
		}
	}
	return d
}
