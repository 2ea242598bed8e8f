package sweep

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// vacuum deletes files that were removed from the table at least the retention
// ago.
func (p *pass) vacuum(ctx context.Context) error {
	var due []objstore.Object
	for _, grave := range p.snapshot.Tombstones() {
		if _, live := p.snapshot.Live(grave.Path); live || !p.old(grave.Removed, p.retain()) {
			continue
		}
		o, err := p.Store.Stat(ctx, grave.ObjectName())
		if errors.Is(err, objstore.ErrNotExist) {
			continue
		}
		if err != nil {
			p.report.keep(grave.ObjectName(), err.Error())
			continue
		}
		due = append(due, o)
	}
	return p.each(ctx, due, func(ctx context.Context, o objstore.Object) error { return p.remove(ctx, o, &p.report.Removed) })
}

// orphans deletes data objects that no version names, behind a fence (P3), and
// makes a fence where an old one lies ahead of the last. What the name does not
// say the version of is not ours to delete.
func (p *pass) orphans(ctx context.Context) error {
	root := partition.TableRoot(p.report.Type)
	var nameless []orphan
	for o, err := range p.Store.List(ctx, root+"year=", "") {
		if err != nil {
			return fmt.Errorf("list data objects: %w", err)
		}
		path := strings.TrimPrefix(o.Name, root)
		if _, live := p.snapshot.Live(path); live {
			continue
		}
		if _, grave := p.snapshot.Tombstone(path); grave {
			continue
		}
		name, err := partition.ParseProcessedName(o.Name)
		if err != nil {
			p.report.keep(o.Name, "no version names it, and it is not named as this program names objects: look at it and delete it by hand")
			continue
		}
		nameless = append(nameless, orphan{o, name.Planned})
	}
	if err := p.fence(ctx, nameless); err != nil {
		return err
	}
	fence := p.snapshot.Fence()
	var due []objstore.Object
	for _, o := range nameless {
		if o.planned < fence {
			due = append(due, o.Object)
		}
	}
	return p.each(ctx, due, func(ctx context.Context, o objstore.Object) error { return p.remove(ctx, o, &p.report.Orphans) })
}

// An orphan is a data object that no version names, perhaps not yet.
type orphan struct {
	objstore.Object
	planned int64 // the version its plan was made on
}

// fence commits one where an orphan at or above the last is old enough. Commits
// that were planned below it can no longer succeed (P4), so their objects stay
// orphans for ever.
func (p *pass) fence(ctx context.Context, orphans []orphan) error {
	wanted := false
	for _, o := range orphans {
		wanted = wanted || o.planned >= p.snapshot.Fence() && p.old(o.Created, p.o.OrphanAge)
	}
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

// fewMarks are not worth a checkpoint of their own.
const fewMarks = 1000

// marks writes a checkpoint without the marks of raw objects that are gone.
func (p *pass) marks(ctx context.Context) error {
	gone := p.report.gone
	if len(gone) < fewMarks || p.snapshot.Checkpointed() || p.o.DryRun {
		return nil
	}
	if err := p.table.Checkpoint(ctx, p.snapshot.Forget(gone)); err != nil {
		return err
	}
	p.report.Forgotten = len(gone)
	return nil
}

// cleanLog deletes the log's past, oldest first.
func (p *pass) cleanLog(ctx context.Context) error {
	expired, err := p.table.Expired(ctx, p.now, p.logRetain())
	if err != nil {
		return err
	}
	for _, o := range expired {
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
