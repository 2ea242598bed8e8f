package sim

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"testing/synctest"
	"time"
)

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
	dead   *bool // of this life
	ended  bool
	err    error
	note   string // for the trace
	found  []Violation
	raced  bool // lost a race to commit
	moved  int  // plans that it carried over to a new head
	forgot int  // marks
}

func (p *process) String() string { return fmt.Sprintf("%s.%d", p.name, p.life) }

// clock is the process's own, which is wrong.
func (p *process) clock() time.Time {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return time.Now().Add(p.skew)
}

// stop lets none of the process's requests be served for a while. In some worlds
// its clock does not notice.
func (p *process) stop(d time.Duration) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.paused = time.Now().Add(d)
	if p.w.rates.stopped {
		p.skew -= d
	}
}

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
	s.Rebases += p.moved
	s.Forgotten += p.forgot
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
	p.found, p.raced, p.moved, p.forgot = nil, false, 0, 0
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
	p.stop(d)
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
