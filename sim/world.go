package sim

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// A World is everything there is in one run. Its fields belong to the scheduler,
// those under mu to all.
type World struct {
	seed    uint64
	side    Side
	rng     *rand.Rand
	rates   rates
	store   *objstore.Mem
	archive *objstore.Mem // nil: there is none
	def     *schema.Definition
	reg     *schema.Registry
	model   *model
	procs   []*process
	late    []*lateOp
	outage  time.Time // until when writes fail
	last    *process  // whose request was served last
	calm    bool      // no more faults
	tracing bool
	trace   []string
	names   map[string]string // of writers' files, in the trace
	result  Result
	running conc.WaitGroup
	broker  *broker // of the ingest side

	mu      sync.Mutex
	pending []*op
}

// rates are the world's character, drawn from its seed: probabilities of a step
// or of a request.
type rates struct {
	lost, unknown, late float64 // of a request
	readFails           float64
	kill, pause, outage float64 // of a step
	idle                float64 // the clock moves although somebody waits
	stick               float64 // the process served last is served again
	longest             time.Duration
	page                int
	weak                bool // deletes ignore their preconditions
	haunted             bool // entries of the log come again when they have been cleaned up
	erasing             bool // somebody erases days, and marks of raw objects that are gone are dropped soon
	crossing            bool // who lists sees what comes meanwhile, or does not
	orphaned            bool // orphans wait long for a fence
	days                int
	plain               bool // listings tell no checksums
	stopped             bool // clocks do not run while a process is stopped
	steps               int

	// A process is stopped before a request of a kind: where what it has seen
	// may be out of date when it goes on.
	stall [stallKinds]float64
}

// The requests before which a process is stopped more often than elsewhere.
const (
	stallCommit = iota // an entry of the log is made
	stallLog           // the log is read after it was listed
	stallPage          // a listing goes on
	stallKinds
)

func drawRates(r *rand.Rand) rates {
	some := func(most float64) float64 { // often none, seldom much
		if r.IntN(3) == 0 {
			return 0
		}
		return most * r.Float64() * r.Float64()
	}
	v := rates{
		lost: some(.2), unknown: some(.3), late: some(.3), readFails: some(.05),
		kill: some(.03), pause: some(.05), outage: some(.01),
		idle: some(.3), stick: .3 + .65*r.Float64(),
		longest: time.Duration(float64(24*time.Hour) * r.Float64() * r.Float64()),
		page:    1 + r.IntN(8), weak: r.IntN(2) == 0,
		steps: 100 + int(900*r.Float64()*r.Float64()),
	}
	v.days = 1 + r.IntN(days)
	v.stall[r.IntN(stallKinds)] = some(.5)
	switch r.IntN(6) {
	case 0:
		v.haunted, v.plain, v.stopped = true, r.IntN(2) == 0, r.IntN(2) == 0
		v.stall[stallLog] = .3 * r.Float64()
		v.longest += 6 * time.Hour
		v.idle, v.steps = max(v.idle, .05), v.steps+400
	case 1:
		v.crossing, v.page, v.stick = true, 1+r.IntN(2), v.stick/2
		v.stall[stallPage], v.stall[stallCommit] = .3*r.Float64(), .5*r.Float64()
		v.kill, v.lost, v.steps = v.kill/4, v.lost/4, v.steps+300
	case 2:
		v.erasing, v.orphaned = true, r.IntN(2) == 0
		v.stall[stallCommit] = .5 * r.Float64()
		v.longest += 4 * time.Hour
		v.idle, v.kill, v.steps = max(v.idle, .05), v.kill/4, v.steps+300
	}
	return v
}

// Run runs the world of a seed. It must be called inside a bubble.
func Run(side Side, seed uint64, tracing bool) Result {
	reg, err := schema.Builtin()
	if err != nil {
		panic(err)
	}
	def, _ := reg.Latest("market_data")
	rng := rand.New(rand.NewPCG(seed, uint64(side)))
	w := &World{seed: seed, side: side, rng: rng, rates: drawRates(rng), store: objstore.NewMem(), def: def, reg: reg, tracing: tracing, names: map[string]string{}}
	w.rates.stopped = w.rates.stopped && side == Table // there its waits would notice
	w.result = Result{Side: side, Seed: seed}
	w.model = newModel(w)
	if side == Table {
		w.populateTable()
	} else {
		w.populateIngest()
	}
	w.tracef("world: %+v", w.rates)
	w.loop(w.rates.steps)
	if !w.failed() {
		w.settle()
	}
	w.end()
	w.result.Trace = w.trace
	w.result.Stats.Hours = time.Since(start).Hours()
	return w.result
}

func (w *World) failed() bool { return len(w.result.Violations) > 0 }

func (w *World) violate(rule, format string, args ...any) {
	v := Violation{Rule: rule, Text: fmt.Sprintf(format, args...)}
	w.result.Violations = append(w.result.Violations, v)
	w.tracef("VIOLATION %s", v)
}

var (
	sequence = regexp.MustCompile(`_(w[0-9a-z]+-\d{6,})\.parquet`)
	boring   = regexp.MustCompile(`year=\d+/month=\d+/`)
)

// tracef adds a line. Numbers that the process counts over all worlds are
// replaced by ones of this world.
func (w *World) tracef(format string, args ...any) {
	if !w.tracing {
		return
	}
	line := fmt.Sprintf(format, args...)
	line = sequence.ReplaceAllStringFunc(line, func(s string) string {
		if _, ok := w.names[s]; !ok {
			w.names[s] = fmt.Sprintf("_file%d.parquet", len(w.names))
		}
		return w.names[s]
	})
	line = boring.ReplaceAllString(line, "")
	w.trace = append(w.trace, fmt.Sprintf("%10s %s", time.Since(start).Round(time.Millisecond), line))
}
