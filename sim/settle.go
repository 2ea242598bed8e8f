package sim

import (
	"context"
	"slices"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/partition"
)

// settle ends all faults and lets everybody finish; then nothing may be left
// undone: all that was ever durable is in the table, once, and whoever runs
// succeeds.
func (w *World) settle() {
	w.calm = true
	w.tracef("no more faults")
	w.finish()
	if w.broker != nil && !w.failed() {
		w.drain()
	}
	for i := 0; i < 2 && !w.failed(); i++ {
		for _, p := range w.procs {
			if w.failed() {
				return
			}
			if p.stays || p.name == "follower" && w.model.head == nil || p.name[:3] == "ing" || p.name == "eraser" {
				continue
			}
			w.start(p)
			w.finish()
			if p.err != nil {
				w.violate("settled", "%s fails without a fault: %v", p, plain(p.err))
			}
		}
		time.Sleep(24 * time.Hour)
	}
	if !w.failed() {
		w.checkAll()
	}
}

// drain lets the ingestors take all that was published, and end.
func (w *World) drain() {
	for _, p := range w.procs {
		if p.stays && !p.busy {
			w.start(p)
		}
	}
	for tries := 0; !w.broker.drained(); tries++ {
		if tries == 2000 {
			w.violate("settled", "messages are not acked however long one waits")
			return
		}
		w.finish()
		if w.failed() {
			return
		}
		for _, p := range w.procs {
			if p.stays && !p.busy {
				w.start(p)
			}
		}
		if !w.broker.step() {
			time.Sleep(quantum)
		}
	}
	for _, p := range w.procs {
		w.stop(p)
	}
	for tries := 0; tries < 100 && slices.ContainsFunc(w.procs, func(p *process) bool { return p.busy }); tries++ {
		w.finish()
		time.Sleep(quantum)
	}
	w.broker.checkAll()
}

// finish goes on until nobody has anything to do.
func (w *World) finish() {
	for _, p := range w.procs {
		p.paused = time.Time{}
	}
	for idle := 0; idle < 2; {
		synctest.Wait()
		w.collect()
		if w.broker != nil {
			w.broker.settle()
		}
		if w.failed() {
			return
		}
		if o := w.pick(); o != nil {
			w.serve(o)
			continue
		}
		if len(w.late) > 0 && w.late[0].at.After(time.Now()) {
			time.Sleep(time.Until(w.late[0].at))
		}
		if w.deliverLate() {
			continue
		}
		if w.busy() {
			time.Sleep(quantum)
			continue
		}
		idle++
	}
}

func (w *World) busy() bool {
	for _, p := range w.procs {
		if p.busy && !p.stays {
			return true
		}
	}
	return false
}

// checkAll compares the table with everything that was ever durable, and asks
// the checker of the contract as well.
func (w *World) checkAll() {
	ctx := context.Background()
	raw, err := partition.ListRaw(ctx, w.store, market)
	if err != nil {
		w.violate("settled", "%v", err)
		return
	}
	if w.model.head == nil {
		if len(raw) > 0 {
			w.violate("settled", "%d raw objects and no table", len(raw))
		}
		return
	}
	for _, f := range raw {
		if !w.model.head.Consumed(f.Name) {
			w.violate("settled", "%s is not consumed", f.Name)
		}
	}
	for key, ids := range w.model.ids {
		for id := range w.model.durable[key.Day.Path()] {
			if !ids[id] {
				w.violate("C1", "row %s of %s was durable and is not live", id, key)
			}
		}
	}
	bad, err := compaction.Check{Store: w.store, Definition: w.def, Snapshot: w.model.head, Raw: raw}.All(ctx)
	if err != nil {
		w.violate("settled", "%v", err)
	}
	for _, v := range bad {
		w.violate(v.Rule, "%s", v.Text)
	}
}
