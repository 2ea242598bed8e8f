package partition

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// Expired are the log's objects that no reader of the retention needs, in the
// order in which they may be deleted. P11: only what lies strictly below a
// checkpoint that is older than the retention; ages are the store's (P8), and so
// must now be.
func (t *Table) Expired(ctx context.Context, now time.Time, retain time.Duration) ([]objstore.Object, error) {
	l, err := t.list(ctx, "")
	if err != nil {
		return nil, err
	}
	if l.foreign != "" {
		return nil, t.unsupported(l.foreign, 0, "a checkpoint of another kind than the classic")
	}
	below := int64(-1)
	for _, c := range l.checkpoints {
		if now.Sub(c.Created) >= retain {
			below = c.version
		}
	}
	var expired []objstore.Object
	for _, o := range append(l.entries, l.checkpoints...) {
		if o.version < below {
			expired = append(expired, o.Object)
		}
	}
	slices.SortFunc(expired, func(a, b objstore.Object) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return expired, nil
}

// Forget is the snapshot without the marks of raw objects that are gone. Marks
// only save work (P13); a checkpoint of the result is as true as one of s.
func (s *Snapshot) Forget(rawNames []string) *Snapshot {
	less := *s
	less.Txns = maps.Clone(s.Txns)
	for _, name := range rawNames {
		if name != FenceMark && name != EraseMark {
			delete(less.Txns, name)
		}
	}
	return &less
}

// Checkpointed tells whether the snapshot's version is known to have a
// checkpoint.
func (s *Snapshot) Checkpointed() bool { return s.checkpoint >= s.Version }
