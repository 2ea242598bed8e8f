// Package sim runs the real packages against a broker and a store that do
// everything the contract says may happen, in an order drawn from a seed.
//
// One goroutine, the scheduler, owns the world. Every request of every process
// waits for it; it picks the next one, and what becomes of it: applied and
// answered, applied and the answer lost, lost, or applied hours later, when the
// process that sent it may be dead. It pauses, kills and restarts processes,
// moves the clock, takes the store away, and after every change compares the
// lake with a model of it.
//
// What always holds:
//
//   - a seed decides everything: the same seed gives the same trace;
//   - the code under test is the code of the programs, behind the seams that the
//     programs use (objstore.Store, pipeline.Source, deadletter.Publisher);
//   - the model takes nothing from the code under test but the decoding of
//     objects: what is durable, live, removed and consumed it notes by itself.
//
// What it does not do: it does not look into memory use, speed, or data races;
// it does not simulate Google's clients.
//
// A world must run inside a bubble of testing/synctest. Package sim starts no
// goroutine that outlives Run, and holds nothing that a program uses.
package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/buffetbot/ingest/invariant"
)

// A Side is which part of the path a world holds.
type Side int

// The sides.
const (
	Table  Side = iota // model ingestors, real compactors, sweepers and readers
	Ingest             // real pipelines on a broker, a real compactor behind them
)

func (s Side) String() string { return [...]string{"table", "ingest"}[s] }

// A Violation is a promise that was not kept.
type Violation = invariant.Violation

// A Result is what a run of a seed came to.
type Result struct {
	Side       Side
	Seed       uint64
	Violations []Violation // the run stops at the first
	Trace      []string    // where asked for
	Stats      Stats
}

// Stats say how much happened, so that a test can see that it did.
type Stats struct {
	Steps, Commits, Fences, Checkpoints  int
	Kills, Pauses, Lost, Unknown, Late   int
	Stalls                               int // processes stopped where what they have seen matters
	Rebases                              int // plans carried over to a new head
	Erased                               int // days that somebody erased
	Forgotten                            int // marks dropped from checkpoints
	Revived, Ghosts                      int // raw or processed objects, entries of the log, that came again after they were deleted
	RawDeleted, FilesDeleted, Orphans    int
	LogDeleted, Reads, ReadErrors, Races int
	Delivered, Redelivered, Acked        int
	Letters                              int
	Hours                                float64 // of the world
}

// Add sums up.
func (s *Stats) Add(o Stats) {
	for _, f := range []struct{ to, from *int }{
		{&s.Steps, &o.Steps}, {&s.Commits, &o.Commits}, {&s.Fences, &o.Fences}, {&s.Checkpoints, &o.Checkpoints},
		{&s.Stalls, &o.Stalls}, {&s.Rebases, &o.Rebases}, {&s.Erased, &o.Erased}, {&s.Forgotten, &o.Forgotten},
		{&s.Kills, &o.Kills}, {&s.Pauses, &o.Pauses}, {&s.Lost, &o.Lost}, {&s.Unknown, &o.Unknown}, {&s.Late, &o.Late},
		{&s.Revived, &o.Revived}, {&s.Ghosts, &o.Ghosts}, {&s.RawDeleted, &o.RawDeleted}, {&s.FilesDeleted, &o.FilesDeleted},
		{&s.Orphans, &o.Orphans}, {&s.LogDeleted, &o.LogDeleted}, {&s.Reads, &o.Reads}, {&s.ReadErrors, &o.ReadErrors},
		{&s.Races, &o.Races}, {&s.Delivered, &o.Delivered}, {&s.Redelivered, &o.Redelivered}, {&s.Acked, &o.Acked}, {&s.Letters, &o.Letters},
	} {
		*f.to += *f.from
	}
	s.Hours += o.Hours
}

// String is the result for people: what to run to see it again, and the end of
// the trace.
func (r Result) String() string {
	var b strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "%s side, seed %d: %s\n", r.Side, r.Seed, v)
	}
	for _, line := range r.Trace {
		b.WriteString("  ")
		b.WriteString(line)
		b.WriteByte('\n')
	}
	if len(r.Violations) > 0 {
		fmt.Fprintf(&b, "again: go test ./sim -run TestOneSeed -side %s -seed %d -v\n", r.Side, r.Seed)
	}
	return b.String()
}

// start is when a world's time begins: where the bubble's does.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
