package ingest

import (
	"context"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/sweep"
	"github.com/buffetbot/ingest/upkeep"
)

// Hold keeps compactors from a partition until Unhold; by is whoever wants it ("":
// user and host).
func (l *Lake) Hold(ctx context.Context, key partition.Key, reason, by string) error {
	return compaction.PlaceHold(ctx, l.store, compaction.Hold{Key: key, Reason: reason, By: orMe(by), Since: time.Now().UTC()})
}

// Unhold lets compactors at a partition again; compaction.ErrNoHold where nothing
// kept them.
func (l *Lake) Unhold(ctx context.Context, key partition.Key, by string) error {
	return compaction.LiftHold(ctx, l.store, key, orMe(by), time.Now().UTC())
}

// Holds are those of a data type.
func (l *Lake) Holds(ctx context.Context, dataType string) (map[partition.Day]compaction.Hold, error) {
	return compaction.Holds(ctx, l.store, dataType)
}

// Unreadable are the raw objects of a data type that compactors could not read.
func (l *Lake) Unreadable(ctx context.Context, dataType string) ([]compaction.Unread, error) {
	return compaction.UnreadableObjects(ctx, l.store, dataType)
}

// RetryUnreadable lets the next compaction try one of them (by its name), or all of
// them (""). It gives their number.
func (l *Lake) RetryUnreadable(ctx context.Context, dataType, name string) (int, error) {
	return compaction.RetryUnreadable(ctx, l.store, dataType, name, time.Now())
}

// Properties are those of a table.
func (l *Lake) Properties(ctx context.Context, dataType string) ([]upkeep.Property, error) {
	return upkeep.Properties(ctx, l.store, dataType)
}

// SetProperties sets what is not zero, and gives the version that has it.
func (l *Lake) SetProperties(ctx context.Context, dataType string, p partition.Properties, by, reason string) (int64, error) {
	return upkeep.SetProperties(ctx, l.store, dataType, p, orMe(by), reason, time.Now().UTC())
}

// PlanRetention says which days would go; Retain takes them away.
func (l *Lake) PlanRetention(ctx context.Context, r upkeep.Retention) (upkeep.Erasure, error) {
	r.Now = time.Now().UTC()
	return r.Plan(ctx, l.store)
}

// Retain takes the days of a table away that are old enough, and records it.
func (l *Lake) Retain(ctx context.Context, r upkeep.Retention) (upkeep.Erasure, error) {
	r.Now, r.By = time.Now().UTC(), orMe(r.By)
	return r.Erase(ctx, l.store)
}

// RetainArchive deletes from the archive what is old enough, and records it; dry
// counts alone.
func (l *Lake) RetainArchive(ctx context.Context, r upkeep.Retention, dry bool) (sweep.Sum, error) {
	archive, err := l.Archive()
	if err != nil {
		return sweep.Sum{}, err
	}
	r.Now, r.By = time.Now().UTC(), orMe(r.By)
	if dry {
		return sweep.Expire(ctx, archive, r.Type, r.Before(), true)
	}
	return r.EraseArchive(ctx, l.store, archive)
}

// Audits are the records of what was done on purpose, oldest first.
func (l *Lake) Audits(ctx context.Context) ([]upkeep.Record, error) {
	return upkeep.Audits(ctx, l.store)
}

func orMe(by string) string {
	if by != "" {
		return by
	}
	return whoami()
}
