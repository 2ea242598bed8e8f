package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// rebaseTries bounds how often one commit follows a head that moves on.
const rebaseTries = 8

// commitOnHead commits what a batch came to: on the snapshot or, where others
// were faster, on the head after theirs if that leaves the plan as good as it
// was (P5). It returns the version made and how often the plan was carried over.
// An errLostRace says why a plan was given up.
func (j *job) commitOnHead(ctx context.Context, batch []Group, c partition.Change) (next *partition.Snapshot, rebased int, err error) {
	base := j.snapshot
	for {
		next, err = j.table.Commit(ctx, base, c)
		if errors.Is(err, partition.ErrGhost) {
			// P11: the log has moved on past us; no rebase.
			return nil, rebased, fmt.Errorf("%w: %w", errLostRace, err)
		}
		if !errors.Is(err, partition.ErrConflict) {
			return next, rebased, err
		}
		if rebased == rebaseTries {
			return nil, rebased, fmt.Errorf("%w: %d times: %w", errLostRace, rebased+1, err)
		}
		// P5: the head is loaded (P9); what others' entries say is not looked at.
		head, failed := j.table.Load(ctx)
		if failed != nil {
			return nil, rebased, fmt.Errorf("%w: load what was committed first: %w", errLostRace, failed)
		}
		if why := outdated(j.snapshot, head, batch); why != "" {
			return nil, rebased, fmt.Errorf("%w: version %d: %s", errLostRace, head.Version, why)
		}
		if c.Add, err = j.carryOver(ctx, head, c.Add); err != nil {
			return nil, rebased, fmt.Errorf("%w: carry files over to version %d: %w", errLostRace, head.Version, err)
		}
		base, rebased = head, rebased+1
		j.log.Info("carry a plan over", zap.String("type", j.def.Name), zap.Int64("from", j.snapshot.Version), zap.Int64("to", head.Version))
	}
}

// outdated says why groups planned on one snapshot are not what they would be on
// the head; "" if they are (P5, P7).
func outdated(planned, head *partition.Snapshot, groups []Group) string {
	switch {
	case head.Version <= planned.Version:
		return "it is not above the version planned on"
	case !head.SameTable(planned):
		return "the table's schema, properties or protocol are others"
	case head.Erased() > planned.Version:
		// P7: the same live set may be one that was filled and emptied in between.
		return fmt.Sprintf("rows were erased in version %d", head.Erased())
	}
	return moved(head, groups)
}

// moved says which group's files or inputs are no longer those planned (P5).
func moved(head *partition.Snapshot, groups []Group) string {
	for _, g := range groups {
		if !sameFiles(g.Live, head.Partition(g.Key)) {
			return fmt.Sprintf("%s has other live files", g.Key)
		}
		for _, r := range g.Raw {
			if head.Consumed(r.Name) {
				return r.Name + " has been consumed"
			}
		}
	}
	return ""
}

// sameFiles compares live sets in order of paths. The count of duplicates is part
// of it: a commit that added nothing else raised it.
func sameFiles(a, b []partition.File) bool {
	return slices.EqualFunc(a, b, func(a, b partition.File) bool { return a.Path == b.Path && a.Duplicates == b.Duplicates })
}

// carryOver makes the files fit to be added to the head. One that a fence of
// the head has left behind may be swept at any time (P4): its bytes, not its
// object, are carried over, under a name of the head's version (P6).
func (j *job) carryOver(ctx context.Context, head *partition.Snapshot, files []partition.File) ([]partition.File, error) {
	carried := slices.Clone(files)
	for i, f := range carried {
		if _, live := head.Live(f.Path); live {
			continue
		}
		name, err := partition.ParseProcessedName(f.ObjectName())
		if err != nil {
			return nil, err
		}
		if name.Planned >= head.Fence() {
			continue
		}
		if carried[i], err = j.uploadAgain(ctx, f, head.Version); err != nil {
			return nil, err
		}
	}
	return carried, nil
}

// uploadAgain copies the object of a file to the name it has if planned on the
// given version. That the copy exists already, with the same bytes, is success.
func (j *job) uploadAgain(ctx context.Context, f partition.File, version int64) (partition.File, error) {
	again, err := f.PlannedOn(version)
	if err != nil {
		return f, err
	}
	there, err := j.store.Stat(ctx, f.ObjectName())
	if err != nil {
		return f, fmt.Errorf("look at %s: %w", f.ObjectName(), err)
	}
	data, err := j.store.Read(ctx, f.ObjectName(), 0, -1)
	if err != nil {
		return f, fmt.Errorf("read %s again: %w", f.ObjectName(), err)
	}
	if int64(len(data)) != f.Size || objstore.Checksum(data) != f.CRC32C {
		return f, fmt.Errorf("%s: %d bytes with checksum %08x, uploaded were %d with %08x",
			f.ObjectName(), len(data), objstore.Checksum(data), f.Size, f.CRC32C)
	}
	made, err := j.store.Create(ctx, again.ObjectName(), data, there.Metadata)
	if errors.Is(err, objstore.ErrExist) {
		if made, err = j.store.Stat(ctx, again.ObjectName()); err == nil && (made.Size != f.Size || made.CRC32C != f.CRC32C) {
			err = fmt.Errorf("%w with other bytes", objstore.ErrExist)
		}
	}
	if err != nil {
		return f, fmt.Errorf("upload %s: %w", again.ObjectName(), err)
	}
	again.Modified = made.Created
	return again, nil
}
