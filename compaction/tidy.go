package compaction

import (
	"slices"
	"sync"

	"github.com/buffetbot/ingest/partition"
)

// A Tidy remembers at which version of each table the manifests were last seen
// to be complete, so that a run with nothing to do need not list them again. It
// saves a request and decides nothing; forgetting it is harmless. The zero Tidy
// knows nothing. It may be shared by compactors of one bucket.
type Tidy struct {
	mu sync.Mutex
	at map[string]int64
}

func (t *Tidy) note(dataType string, version int64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = map[string]int64{}
	}
	t.at[dataType] = version
}

func (t *Tidy) knows(dataType string, version int64) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.at[dataType]
	return ok && at == version
}

// untidy tells whether a run may have ended between its commit and its manifests:
// this one committed, or raw objects are listed that an earlier one consumed, which
// the sweep takes after the grace. A table at rest costs no listing.
func (j *job) untidy(commits int) bool {
	if commits > 0 {
		return true
	}
	if j.tidy.knows(j.def.Name, j.snapshot.Version) {
		return false
	}
	return slices.ContainsFunc(j.raw, func(r partition.RawFile) bool { return j.snapshot.Consumed(r.Name) })
}

// keptTidy tells whether the manifests were complete at the version planned on and
// every version since is this run's: then only its own partitions' are to be written.
func (j *job) keptTidy(r *TableReport) bool {
	return r.From >= 0 && j.tidy.knows(j.def.Name, r.From) && j.snapshot.Version == r.From+int64(r.Commits)
}
