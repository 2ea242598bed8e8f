package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// vacuum deletes files that were removed from the table at least the retention
// ago.
func (p *pass) vacuum(ctx context.Context) error {
	return p.each(ctx, p.dueGraves(), func(ctx context.Context, o objstore.Object) error { return p.remove(ctx, o, &p.report.Removed) })
}

func (p *pass) dueGraves() []objstore.Object {
	var due []objstore.Object
	for _, g := range p.graves {
		if p.old(g.removed, p.retain()) {
			due = append(due, g.Object)
		}
	}
	return due
}

// orphans deletes data objects that no version names, behind a fence (P3), and
// makes a fence where an old one lies ahead of the last.
func (p *pass) orphans(ctx context.Context) error {
	if err := p.fence(ctx); err != nil {
		return err
	}
	return p.each(ctx, p.dueOrphans(), func(ctx context.Context, o objstore.Object) error { return p.remove(ctx, o, &p.report.Orphans) })
}

func (p *pass) dueOrphans() []objstore.Object {
	fence := p.snapshot.Fence()
	var due []objstore.Object
	for _, o := range p.nameless {
		if o.planned < fence {
			due = append(due, o.Object)
		}
	}
	return due
}

// An orphan is a data object that no version names, perhaps not yet.
type orphan struct {
	objstore.Object
	planned int64 // the version its plan was made on
}

// fence commits one where an orphan at or above the last is old enough. Commits
// that were planned below it can no longer succeed (P4), so their objects stay
// orphans for ever.
func (p *pass) fence(ctx context.Context) error {
	wanted := p.wantsFence()
	if !wanted || p.o.DryRun {
		p.report.FenceWanted = wanted
		return nil
	}
	version := p.snapshot.Version + 1
	next, err := p.table.Commit(ctx, p.snapshot, partition.Change{Operation: "FENCE", Marks: map[string]int64{partition.FenceMark: version}})
	if errors.Is(err, partition.ErrConflict) || errors.Is(err, partition.ErrGhost) {
		p.report.FenceWanted = true
		return nil // the next run tries again; what is behind the last fence can go now
	}
	if err != nil {
		return fmt.Errorf("make a fence: %w", err)
	}
	p.snapshot, p.report.Fence = next, version
	failpoint.Hit(failpoint.AfterFence)
	return nil
}

func (p *pass) wantsFence() bool {
	return slices.ContainsFunc(p.nameless, func(o orphan) bool {
		return o.planned >= p.snapshot.Fence() && p.old(o.Created, p.o.OrphanAge)
	})
}

// marks writes a checkpoint without the marks of raw objects that are gone.
func (p *pass) marks(ctx context.Context) error {
	if !p.manyMarks() || p.o.DryRun {
		return nil
	}
	if err := p.table.Checkpoint(ctx, p.snapshot.Forget(p.report.gone)); err != nil {
		return err
	}
	p.report.Forgotten = len(p.report.gone)
	return nil
}

func (p *pass) manyMarks() bool {
	return len(p.report.gone) >= p.o.FewMarks && !p.snapshot.Checkpointed()
}

// cleanLog deletes the log's past, oldest first.
func (p *pass) cleanLog(ctx context.Context) error {
	for _, o := range p.past.Expired(p.now, p.logRetain()) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := p.remove(ctx, o, &p.report.Log); err != nil {
			p.report.keep(o.Name, err.Error())
			return nil // no gap above what stays
		}
	}
	return nil
}
