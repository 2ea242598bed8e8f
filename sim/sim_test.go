package sim_test

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/sim"
)

var (
	seeds   = flag.Int("seeds", 200, "how many seeds TestSeeds runs of each side")
	first   = flag.Uint64("first", 1, "the first of them")
	replays = flag.Int("replays", 10, "how many seeds are run twice")
	seed    = flag.Uint64("seed", 0, "the seed that TestOneSeed runs, with its trace")
	brief   = flag.Bool("brief", false, "no trace of a seed that fails")
	side    = flag.String("side", "table", "the side of it: table or ingest")
)

var sides = []sim.Side{sim.Table, sim.Ingest}

func TestMain(m *testing.M) {
	runtime.MemProfileRate = 0 // it costs a tenth of the time
	debug.SetGCPercent(400)
	goleak.VerifyTestMain(m)
}

func run(t *testing.T, side sim.Side, seed uint64, tracing bool) (r sim.Result) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { r = sim.Run(side, seed, tracing) })
	return r
}

// Every seed keeps every promise. One that does not is run again with its trace.
func TestSeeds(t *testing.T) {
	for _, side := range sides {
		t.Run(side.String(), func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			var sum sim.Stats
			for s := *first; s < *first+uint64(*seeds); s++ {
				r := run(t, side, s, false)
				sum.Add(r.Stats)
				if len(r.Violations) > 0 {
					if !*brief {
						r = run(t, side, s, true)
					}
					t.Errorf("%s", r)
					t.Logf("after %d seeds", s-*first+1)
					return
				}
			}
			if *seeds >= 100 && !eventful(side, sum) {
				t.Errorf("nothing much happened: %+v", sum)
			}
			t.Logf("%d seeds in %s: %+v", *seeds, time.Since(began).Round(time.Millisecond), sum)
		})
	}
}

// eventful tells whether what the worlds are there for has happened in some.
func eventful(side sim.Side, s sim.Stats) bool {
	some := min(s.Commits, s.Checkpoints, s.Kills, s.Pauses, s.Lost, s.Unknown, s.Late, s.Reads-s.ReadErrors)
	if side == sim.Ingest {
		return min(some, s.Redelivered, s.Acked, s.Letters) > 0
	}
	return min(some, s.Fences, s.RawDeleted, s.FilesDeleted, s.Orphans, s.LogDeleted, s.Races, s.Rebases, s.Erased, s.Forgotten, s.Stalls) > 0
}

// A seed decides everything.
func TestTheSameSeedIsTheSameWorld(t *testing.T) {
	for _, side := range sides {
		for s := uint64(1); s <= uint64(*replays); s++ {
			a, b := run(t, side, s, true), run(t, side, s, true)
			if slices.Equal(a.Trace, b.Trace) {
				continue
			}
			for i := range min(len(a.Trace), len(b.Trace)) {
				if a.Trace[i] != b.Trace[i] {
					t.Errorf("%s side, seed %d: line %d is\n%s\nand\n%s", side, s, i, a.Trace[i], b.Trace[i])
					break
				}
			}
		}
	}
}

// The trace of one seed, for people.
func TestOneSeed(t *testing.T) {
	if *seed == 0 {
		t.Skip("no -seed")
	}
	which := sim.Table
	if *side == "ingest" {
		which = sim.Ingest
	}
	r := run(t, which, *seed, true)
	fmt.Println(r)
	if len(r.Violations) > 0 {
		t.Fail()
	}
}
