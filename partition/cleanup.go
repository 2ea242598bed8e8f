package partition

import (
	"maps"
	"slices"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// A Past is what a table's log held when it was listed: objects that no reader
// may need any more are found in it without another request.
type Past struct{ l listing }

// Expired are the log's objects that no reader of the retention needs, in the
// order in which they may be deleted. P11: only what lies strictly below a
// checkpoint that is older than the retention; ages are the store's (P8), and so
// must now be. What a listing shows to have expired stays so.
func (past Past) Expired(now time.Time, retain time.Duration) []objstore.Object {
	l := past.l
	below := int64(-1)
	for _, c := range l.checkpoints {
		if now.Sub(c.Created) >= retain {
			below = c.version
		}
	}
	var expired []objstore.Object
	for _, o := range slices.Concat(l.entries, l.checkpoints) {
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
	return expired
}

// Forget is the snapshot without the marks of raw objects that are gone. Marks
// only save work (P13); a checkpoint of the result is as true as one of s.
func (s *Snapshot) Forget(rawNames []string) *Snapshot {
	less := *s
	less.Txns = maps.Clone(s.Txns)
	for _, name := range rawNames {
		if !notRaw(name) {
			delete(less.Txns, name)
		}
	}
	return &less
}

// Checkpointed tells whether the snapshot's version is known to have a
// checkpoint.
func (s *Snapshot) Checkpointed() bool { return s.checkpoint >= s.Version }
