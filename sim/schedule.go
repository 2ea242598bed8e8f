package sim

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

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
		if !w.stalls(o) {
			w.serve(o)
		}
		return
	}
	if w.broker != nil && w.broker.step() {
		return
	}
	w.pass()
}

// stalls stops a process before a request of a kind, for as long as others take
// to make what it has seen untrue; once for each request.
func (w *World) stalls(o *op) bool {
	kind := stallOf(o)
	if kind < 0 || o.stalled || !w.chance(w.rates.stall[kind]) {
		return false
	}
	o.stalled = true
	w.mu.Lock()
	w.pending = append(w.pending, o)
	w.mu.Unlock()
	longest := 2 * w.rates.longest
	if kind == stallPage && w.rng.IntN(2) == 0 {
		longest = time.Minute
	}
	d := max(longest/time.Duration(1+w.rng.IntN(8)), time.Second)
	w.result.Stats.Stalls++
	o.proc.stop(d)
	w.tracef("%s: stops for %s before it asks to %s", o.proc, d, o)
	return true
}

func stallOf(o *op) int {
	log := strings.HasPrefix(o.name, logRoot)
	switch {
	case o.kind == opCreate && isEntry(o):
		return stallCommit
	case o.kind == opRead && log:
		return stallLog
	case o.kind == opList && o.after != "":
		return stallPage
	}
	return -1
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
		if w.rates.haunted && !w.calm && isEntry(l.op) && w.there(l.op.name) { // it comes when it can do harm
			l.at = time.Now().Add(time.Hour)
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

func (w *World) there(name string) bool {
	_, err := w.store.Stat(context.Background(), name)
	return err == nil
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
		if w.rng.IntN(2) == 0 { // then it is another's entry that this one comes after
			w.tracef("%s: %s: applied much later", o.proc, o)
			w.kill(o.proc)
			return
		}
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
