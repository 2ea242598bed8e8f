package embedded

import "time"

// A lease is one delivery that is neither acknowledged nor overdue.
type lease struct {
	seq      uint64
	deadline int64 // Unix nanoseconds
	gen      uint32
	attempt  uint32
	size     uint32 // of the message, for flow control
	next     int32  // in its bucket, or in the list of free ones; -1 ends
	prev     int32
	held     bool
	holder   *holder
	key      *keyState // with ordering
}

// leases are those of a subscription, in one array, and in buckets by deadline:
// taking and ending one costs the same however many there are, and nothing of an
// ended one is left to be looked at when its time comes.
type leases struct {
	all     []lease
	free    int32
	count   int
	gen     uint32
	buckets map[int64]int32 // tick to the first lease due in it
	done    int64           // ticks up to here have been looked at
}

// tick is how finely deadlines are told apart.
const tick = int64(100 * time.Millisecond)

func newLeases(gen uint32, now int64) leases {
	return leases{free: -1, gen: gen, buckets: map[int64]int32{}, done: now/tick - 1}
}

// due is the tick in which a deadline has passed.
func due(deadline int64) int64 { return deadline/tick + 1 }

// take makes a lease and returns where it is.
func (l *leases) take(v lease) int32 {
	slot := l.free
	if slot >= 0 {
		l.free = l.all[slot].next
	} else {
		slot = int32(len(l.all))
		l.all = append(l.all, lease{})
	}
	l.gen++
	v.gen, v.held = l.gen, true
	l.all[slot] = v
	l.count++
	l.link(slot)
	return slot
}

func (l *leases) link(slot int32) {
	v := &l.all[slot]
	at := max(due(v.deadline), l.done+1)
	v.deadline = max(v.deadline, (at-1)*tick) // the bucket can be told from the deadline
	head, ok := l.buckets[at]
	if !ok {
		head = -1
	} else {
		l.all[head].prev = slot
	}
	v.next, v.prev = head, -1
	l.buckets[at] = slot
}

func (l *leases) unlink(slot int32) {
	v := &l.all[slot]
	if v.next >= 0 {
		l.all[v.next].prev = v.prev
	}
	switch {
	case v.prev >= 0:
		l.all[v.prev].next = v.next
	case v.next >= 0:
		l.buckets[due(v.deadline)] = v.next
	default:
		delete(l.buckets, due(v.deadline))
	}
}

// end ends a lease.
func (l *leases) end(slot int32) lease {
	l.unlink(slot)
	v := l.all[slot]
	l.all[slot] = lease{next: l.free}
	l.free = slot
	l.count--
	if l.count == 0 && len(l.all) > 4096 { // give back what a flood took
		l.all, l.free = nil, -1
	}
	return v
}

// extend moves a deadline.
func (l *leases) extend(slot int32, deadline int64) {
	l.unlink(slot)
	l.all[slot].deadline = deadline
	l.link(slot)
}

// get finds the lease that an ack id names, if it still holds.
func (l *leases) get(id ackID) (int32, bool) {
	if uint64(id.slot) >= uint64(len(l.all)) {
		return 0, false
	}
	v := &l.all[id.slot]
	return int32(id.slot), v.held && v.gen == id.gen && v.seq == id.seq
}

// overdue calls f with each lease whose deadline has passed; f ends it.
func (l *leases) overdue(now int64, f func(slot int32)) {
	last := now / tick
	if last-l.done > int64(len(l.buckets)) { // the clock leapt, or nothing was due for long
		for at := range l.buckets {
			if at <= last {
				l.drain(at, f)
			}
		}
	} else {
		for at := l.done + 1; at <= last; at++ {
			l.drain(at, f)
		}
	}
	l.done = max(l.done, last)
}

func (l *leases) drain(at int64, f func(slot int32)) {
	for {
		slot, ok := l.buckets[at]
		if !ok {
			return
		}
		f(slot)
	}
}
