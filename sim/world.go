package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
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
	steps               int
}

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
	if v.haunted = r.IntN(4) == 0; v.haunted {
		v.longest += 6 * time.Hour
		v.idle, v.steps = max(v.idle, .05), v.steps+400
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
	v := Violation{rule, fmt.Sprintf(format, args...)}
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

// loop makes steps until there have been so many, or a violation.
func (w *World) loop(steps int) {
	for range steps {
		synctest.Wait()
		w.result.Stats.Steps++
		w.collect()
		if w.broker != nil {
			w.broker.settle()
		}
		if w.failed() {
			return
		}
		w.step()
	}
}

// step makes one choice.
func (w *World) step() {
	switch {
	case w.chance(w.rates.kill):
		w.kill(w.procs[w.rng.IntN(len(w.procs))])
		return
	case w.chance(w.rates.pause):
		w.pause(w.procs[w.rng.IntN(len(w.procs))])
		return
	case w.chance(w.rates.outage):
		w.outage = time.Now().Add(w.someTime(w.rates.longest))
		w.tracef("store: takes no writes until %s", w.outage.Sub(start))
		return
	case w.deliverLate():
		return
	case w.broker != nil && w.chance(w.rates.kill):
		w.stop(w.procs[w.rng.IntN(len(w.procs))])
		return
	case w.chance(w.rates.idle):
		w.pass()
		return
	}
	if w.startOne() {
		return
	}
	if w.broker != nil && w.rng.IntN(3) == 0 && w.broker.step() {
		return
	}
	if o := w.pick(); o != nil {
		w.serve(o)
		return
	}
	if w.broker != nil && w.broker.step() {
		return
	}
	w.pass()
}

func (w *World) chance(p float64) bool { return !w.calm && p > 0 && w.rng.Float64() < p }

// someTime is a time from a second on, short ones more often.
func (w *World) someTime(longest time.Duration) time.Duration {
	d := longest
	for range w.rng.IntN(12) {
		d /= 3
	}
	return max(d, time.Second)
}

// longTime is how long a request may be under way.
func (w *World) longTime() time.Duration {
	return max(w.rates.longest/time.Duration(int64(1)<<w.rng.IntN(8)), time.Second)
}

// quantum hides the jitter that the code under test adds to its waits.
const quantum = 30 * time.Second

// pass lets time go by.
func (w *World) pass() {
	if w.side == Table {
		time.Sleep(w.someTime(max(w.rates.longest, time.Minute)))
		return
	}
	if o := w.publishing(); o != nil { // it has a deadline that jitter moves
		w.serve(o)
		return
	}
	time.Sleep(quantum * time.Duration(1+w.rng.IntN(2)))
}

// deliverLate applies a late request whose time has come.
func (w *World) deliverLate() bool {
	for i, l := range w.late {
		if time.Now().Before(l.at) {
			continue
		}
		w.late = slices.Delete(w.late, i, i+1)
		w.result.Stats.Late++
		err := w.apply(l.op).err
		w.tracef("%s: %s applied late: %s", l.op.proc, l.op, outcome(err))
		return true
	}
	return false
}

// A lateOp is a write under way that nobody waits for.
type lateOp struct {
	op *op
	at time.Time
}

// pick is the next request to serve.
func (w *World) pick() *op {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	var ready []*op
	for _, o := range w.pending {
		if !now.Before(o.proc.paused) {
			ready = append(ready, o)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	slices.SortStableFunc(ready, compareOps)
	if w.last != nil && w.rng.Float64() < w.rates.stick {
		if own := slices.IndexFunc(ready, func(o *op) bool { return o.proc == w.last }); own >= 0 {
			ready = slices.DeleteFunc(ready, func(o *op) bool { return o.proc != w.last })
		}
	}
	o := ready[w.rng.IntN(len(ready))]
	w.last = o.proc
	at := slices.Index(w.pending, o)
	w.pending = slices.Delete(w.pending, at, at+1)
	return o
}

// publishing is a dead letter that waits to be served.
func (w *World) publishing() *op {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.pending, compareOps)
	at := slices.IndexFunc(w.pending, func(o *op) bool { return o.kind == opPublish })
	if at < 0 {
		return nil
	}
	o := w.pending[at]
	w.pending = slices.Delete(w.pending, at, at+1)
	return o
}

func compareOps(a, b *op) int {
	return cmp.Or(cmp.Compare(a.proc.id, b.proc.id), cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name), cmp.Compare(a.after, b.after), cmp.Compare(a.off, b.off))
}

var (
	errLost    = errors.New("simulated: no answer")
	errRefused = errors.New("simulated: the store is down")
	errKilled  = errors.New("simulated: the process is dead")
)

// serve decides what becomes of a request.
func (w *World) serve(o *op) {
	write := o.kind >= opCreate
	switch {
	case write && time.Now().Before(w.outage) && !w.calm:
		w.answer(o, reply{err: errRefused}, "refused")
	case !write && w.chance(w.rates.readFails):
		w.answer(o, reply{err: errLost}, "no answer")
	case write && w.chance(w.rates.lost):
		w.result.Stats.Lost++
		w.answer(o, reply{err: errLost}, "lost")
	case w.rates.haunted && isEntry(o) && w.chance(.3):
		w.late = append(w.late, &lateOp{o, time.Now().Add(time.Hour + time.Duration(w.rng.Int64N(int64(12*time.Hour))))})
		w.answer(o, reply{err: errLost}, "no answer, applied much later")
	case write && w.chance(w.rates.late):
		w.late = append(w.late, &lateOp{o, time.Now().Add(w.longTime())})
		w.answer(o, reply{err: errLost}, "no answer, applied later")
	case write && w.chance(w.rates.unknown):
		w.result.Stats.Unknown++
		err := w.apply(o).err
		w.answer(o, reply{err: errLost}, "applied ("+outcome(err)+"), answer lost")
	default:
		r := w.apply(o)
		w.answer(o, r, outcome(r.err))
	}
}

func isEntry(o *op) bool {
	return o.kind == opCreate && strings.HasPrefix(o.name, logRoot) && strings.HasSuffix(o.name, ".json")
}

func (w *World) answer(o *op, r reply, what string) {
	if w.tracing {
		w.tracef("%s: %s: %s", o.proc, o, what)
	}
	o.done <- r
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, objstore.ErrExist):
		return "exists"
	case errors.Is(err, objstore.ErrNotExist):
		return "does not exist"
	case errors.Is(err, objstore.ErrPrecondition):
		return "at another generation"
	}
	return err.Error()
}

// A process is something that runs now and then, and may be killed.
type process struct {
	w      *World
	id     int
	name   string
	life   int // counts restarts
	run    func(ctx context.Context, p *process) error
	rate   float64       // how eager to start
	skew   time.Duration // of its clock
	paused time.Time     // until when none of its requests is served

	ctx    context.Context
	cancel context.CancelFunc
	busy   bool
	stays  bool // it runs until it is stopped

	// under w.mu
	dead  *bool // of this life
	ended bool
	err   error
	note  string // for the trace
	found []Violation
	raced bool // lost a race to commit
}

func (p *process) String() string { return fmt.Sprintf("%s.%d", p.name, p.life) }

// clock is the process's own, which is wrong.
func (p *process) clock() time.Time { return time.Now().Add(p.skew) }

func (w *World) addProcess(name string, rate float64, run func(context.Context, *process) error) *process {
	p := &process{w: w, id: len(w.procs), name: name, rate: rate, run: run}
	w.procs = append(w.procs, p)
	return p
}

// startOne starts a process that has nothing to do, perhaps.
func (w *World) startOne() bool {
	if w.calm {
		return false
	}
	for _, p := range w.procs {
		if !p.busy && !time.Now().Before(p.paused) && w.rng.Float64() < p.rate {
			w.start(p)
			return true
		}
	}
	return false
}

func (w *World) start(p *process) {
	p.life++
	if w.rng.IntN(4) == 0 {
		p.skew = time.Duration(w.rng.Int64N(int64(48*time.Hour))) - 24*time.Hour
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.busy, p.dead = true, new(bool)
	ctx := context.WithValue(p.ctx, lifeKey{}, p.dead)
	w.tracef("%s: starts", p)
	w.running.Go(func() {
		err := p.run(ctx, p)
		w.mu.Lock()
		defer w.mu.Unlock()
		p.ended, p.err = true, err
	})
}

// collect notes which processes have ended.
func (w *World) collect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.procs {
		if !p.ended {
			continue
		}
		p.cancel()
		what := "ends"
		if p.note != "" {
			what += ": " + p.note
		}
		switch {
		case p.err != nil && *p.dead:
			what += ", dead"
		case p.err != nil && p.stays: // it names whichever of its batches was last
			what += ": not all was settled"
		case p.err != nil:
			what += ": " + plain(p.err)
		}
		w.tracef("%s: %s", p, what)
		w.tally(p)
		p.ended, p.busy, p.note = false, false, ""
	}
}

// tally takes over what a process has seen, unless it is dead.
func (w *World) tally(p *process) {
	s := &w.result.Stats
	if p.raced {
		s.Races++
	}
	if p.name == "reader" {
		s.Reads++
		if p.err != nil {
			s.ReadErrors++
		}
	}
	if !*p.dead {
		for _, v := range p.found {
			w.violate(v.Rule, "%s: %s", p, v.Text)
		}
	}
	p.found, p.raced = nil, false
}

// stop asks a process to end, as SIGTERM does.
func (w *World) stop(p *process) {
	if p.busy && p.stays && p.ctx.Err() == nil {
		w.tracef("%s: is asked to end", p)
		p.cancel()
	}
}

// kill ends a process between two steps. What it had asked for is under way: it
// may be applied now, later, or never.
func (w *World) kill(p *process) {
	if !p.busy {
		return
	}
	w.result.Stats.Kills++
	w.tracef("%s: killed", p)
	w.bury(p)
}

func (w *World) bury(p *process) {
	w.mu.Lock()
	*p.dead = true
	var orphaned []*op
	w.pending = slices.DeleteFunc(w.pending, func(o *op) bool {
		if o.proc == p {
			orphaned = append(orphaned, o)
		}
		return o.proc == p
	})
	w.mu.Unlock()
	slices.SortStableFunc(orphaned, compareOps)
	for _, o := range orphaned {
		if o.kind >= opCreate && w.rng.IntN(2) == 0 {
			w.late = append(w.late, &lateOp{o, time.Now().Add(w.longTime())})
		}
	}
	p.cancel()
	if w.broker != nil {
		w.broker.disconnect(p)
	}
	for p.busy { // its goroutines end; nothing they do reaches the world
		synctest.Wait()
		w.collect()
		if p.busy {
			time.Sleep(quantum)
		}
	}
	p.paused = time.Time{}
}

// pause stops a process: its requests are served again later, however long its
// grace periods are.
func (w *World) pause(p *process) {
	if !p.busy {
		return
	}
	d := w.someTime(2 * w.rates.longest)
	w.result.Stats.Pauses++
	p.paused = time.Now().Add(d)
	w.tracef("%s: stops for %s", p, d)
}

// end stops everything.
func (w *World) end() {
	w.calm = true
	for _, p := range w.procs {
		if p.busy {
			w.bury(p)
		}
	}
	w.running.Wait()
}

var random = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}`)

// plain is an error without what no seed decides.
func plain(err error) string { return random.ReplaceAllString(err.Error(), "<id>") }
