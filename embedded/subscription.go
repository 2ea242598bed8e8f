package embedded

import (
	"sync"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/buffetbot/ingest/embedded/filter"
	"github.com/buffetbot/ingest/embedded/journal"
)

// A subscription is what of its topic was acknowledged, which is durable, and
// what is under way, which is not: after a restart whatever is unacknowledged
// waits to be delivered.
//
// Every message from the floor on is exactly one of: acknowledged; leased (or
// twice leased, after an ack id ran out or a fault); waiting; being acknowledged
// or dead-lettered by the committer; or at or behind next, never delivered.
type subscription struct {
	server *Server
	uid    uint64
	topic  *topic
	filter *filter.Filter

	ordered bool // enable_message_ordering, which never changes

	takeMu sync.Mutex // one delivery is put together at a time; held before mu
	reader reader

	mu         sync.Mutex
	pb         *pb.Subscription // replaced, never changed
	gone       bool             // deleted or detached
	deleted    bool
	era        uint64 // how often it was sought
	acked      seqset
	next       uint64
	retainFrom uint64 // acknowledged messages are kept from here on, if they are kept
	leases     leases
	waiting    waitHeap
	dead       []waiting         // to be moved to the dead-letter topic
	prior      map[uint64]uint32 // delivery attempts known from before the restart
	ackedBy    ackMemory         // exactly once: which delivery acknowledged
	keys       map[string]*keyState
	readyKeys  []*keyState
	parked     int // messages waiting for their key
	holders    map[*holder]struct{}
	orphans    map[string]*holder // left by a stream that ended, by client id
	counts     subCounts
}

// maxLeases bounds what one subscription may have under way.
const maxLeases = 500_000

// A holder is who takes messages: a stream, or one Pull. Its fields are guarded
// by the subscription's mu.
type holder struct {
	wake        chan struct{}
	client      string
	maxMessages int64 // 0: no limit
	maxBytes    int64
	messages    int64 // under way
	bytes       int64
	open        bool
	deadline    time.Duration // of what it takes
}

func newSubscription(s *Server, uid uint64, t *topic, start uint64) *subscription {
	return &subscription{
		server: s, uid: uid, topic: t, next: start, acked: seqset{floor: start},
		leases: newLeases(s.random.Uint32(), s.now().UnixNano()),
		keys:   map[string]*keyState{}, holders: map[*holder]struct{}{}, orphans: map[string]*holder{},
	}
}

func (s *subscription) settings() *pb.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pb
}

func (s *subscription) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked()
}

func (s *subscription) wakeLocked() {
	for h := range s.holders {
		signal(h.wake)
	}
}

// hold registers a stream or a Pull. A stream with the client id of one that
// ended inherits what that one has under way.
func (s *subscription) hold(h *holder) *holder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.orphans[h.client]; h.client != "" && old != nil {
		delete(s.orphans, h.client)
		old.maxMessages, old.maxBytes = h.maxMessages, h.maxBytes
		h = old
	}
	h.open = true
	s.holders[h] = struct{}{}
	signal(h.wake)
	return h
}

func (s *subscription) release(h *holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.open = false
	delete(s.holders, h)
	if h.client != "" && h.messages > 0 {
		s.orphans[h.client] = h
	}
	for other := range s.holders { // it may have been woken for what another can take
		signal(other.wake)
	}
}

// ended takes a lease off its holder's count.
func (s *subscription) ended(v lease) {
	h := v.holder
	h.messages--
	h.bytes -= int64(v.size)
	if h.open {
		signal(h.wake)
	} else if h.messages == 0 && s.orphans[h.client] == h {
		delete(s.orphans, h.client)
	}
}

// fail ends a lease whose message was not processed, because it was nacked or
// its deadline passed: the message waits for its next delivery, or for being
// dead-lettered.
func (s *subscription) fail(slot int32, now int64) {
	v := s.leases.end(slot)
	s.ended(v)
	if s.acked.has(v.seq) {
		if v.key != nil {
			s.keyEnded(v.key, v.seq)
		}
		return
	}
	if p := s.pb.DeadLetterPolicy; p != nil && v.attempt >= uint32(p.MaxDeliveryAttempts) {
		s.dead = append(s.dead, waiting{seq: v.seq, attempt: v.attempt})
		signal(s.server.deadWake)
		if v.key != nil {
			s.keyEnded(v.key, v.seq)
		}
		return
	}
	w := waiting{seq: v.seq, attempt: v.attempt}
	if d := backoff(s.pb.RetryPolicy, v.attempt); d > 0 {
		w.ready = now + int64(d)
	}
	if v.key != nil {
		s.keyFailed(v.key, w)
		return
	}
	s.waiting.add(w)
}

// expire ends the leases whose deadline has passed, and reports whether anything
// is left that time will change.
func (s *subscription) expire(now int64) (pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	expired := 0
	s.leases.overdue(now, func(slot int32) {
		s.fail(slot, now)
		expired++
	})
	s.counts.expired += uint64(expired)
	if expired > 0 || len(s.waiting) > 0 && s.waiting[0].ready <= now || s.keysReady(now) {
		s.wakeLocked()
	}
	return s.leases.count > 0 || len(s.waiting) > 0 || s.parked > 0
}

// outcome is what became of an ack id.
type outcome int

const (
	taken    outcome = iota // it will be acknowledged once the journal has it
	already                 // it is acknowledged
	outdated                // its delivery is over
	dropped                 // a fault lost it
)

// An ackOp acknowledges messages.
type ackOp struct {
	sub  *subscription
	era  uint64
	seqs []uint64
	gens []uint32 // exactly once: by which delivery
	held []waiting
}

// ack looks at one ack id; mu is held. Without exactly-once delivery an id
// counts also after its deadline, as long as the message was not sought away.
func (s *subscription) ack(id ackID, exactlyOnce bool, now int64, a *ackOp) outcome {
	if id.era != uint16(s.era) || id.seq >= s.topic.head() {
		return outdated
	}
	slot, live := s.leases.get(id)
	if live && exactlyOnce && s.leases.all[slot].deadline < now {
		live = false // overdue, though the clock's tick has not come yet
	}
	if !live && exactlyOnce {
		if gen, known := s.ackedBy.get(id.seq); known && gen == id.gen {
			return already
		}
		return outdated
	}
	if live {
		v := s.leases.end(slot)
		s.ended(v)
		if v.key != nil {
			s.keyEnded(v.key, v.seq)
		}
		if exactlyOnce {
			s.ackedBy.put(id.seq, id.gen)
			a.gens = append(a.gens, id.gen)
		}
		a.held = append(a.held, waiting{seq: v.seq, attempt: v.attempt})
	}
	if s.acked.has(id.seq) {
		return already
	}
	a.seqs = append(a.seqs, id.seq)
	return taken
}

// op is the journal's part of acknowledging.
func (a *ackOp) op() *op {
	runs := spans(append([]uint64(nil), a.seqs...))
	return &op{
		encode: func(b *journal.Batch) { encodeAcks(b, a.sub.uid, a.era, runs) },
		apply:  func() { a.sub.applyAcks(a.era, runs) },
		failed: func(error) { a.sub.unack(a) },
	}
}

func encodeAcks(b *journal.Batch, sub, era uint64, runs []span) {
	buf := putUint(b.Buf(), sub)
	buf = putUint(buf, era)
	b.Add(kindAcks, putSpans(buf, runs))
}

func (s *subscription) applyAcks(era uint64, runs []span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if era != s.era {
		return
	}
	for _, r := range runs {
		for n := r.first; n < r.first+r.count; n++ {
			if s.acked.add(n) {
				s.counts.acked++
			}
			if len(s.prior) > 0 {
				delete(s.prior, n)
			}
		}
	}
}

// unack makes what could not be acknowledged wait for another delivery.
func (s *subscription) unack(a *ackOp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.era != s.era {
		return
	}
	for _, w := range a.held {
		s.ackedBy.remove(w.seq)
		s.waiting.add(w)
	}
	s.wakeLocked()
}

// modify sets one lease's deadline; 0 is a nack. mu is held.
func (s *subscription) modify(id ackID, seconds int32, exactlyOnce bool, now int64) outcome {
	if id.era != uint16(s.era) {
		return outdated
	}
	slot, live := s.leases.get(id)
	if live && exactlyOnce && s.leases.all[slot].deadline < now {
		live = false
	}
	if !live {
		return outdated
	}
	if seconds == 0 {
		s.counts.nacked++
		s.fail(slot, now)
		s.wakeLocked()
		return taken
	}
	s.leases.extend(slot, now+int64(seconds)*int64(time.Second))
	return taken
}

// reset forgets all that is under way and starts over from what is acknowledged.
func (s *subscription) reset(acked seqset) {
	for h := range s.holders {
		h.messages, h.bytes = 0, 0
	}
	s.era++
	s.acked, s.next = acked, acked.floor
	s.leases = newLeases(s.leases.gen, s.server.now().UnixNano())
	s.waiting, s.dead, s.prior, s.ackedBy = nil, nil, nil, ackMemory{}
	s.keys, s.readyKeys, s.parked = map[string]*keyState{}, nil, 0
	clear(s.orphans)
	s.wakeLocked()
}

// An ackMemory remembers for a while which delivery acknowledged a message, so
// that the same ack may be sent again but another delivery's is refused.
type ackMemory struct {
	gens  map[uint64]uint32
	order []uint64
	at    int
}

const ackMemorySize = 100_000

func (m *ackMemory) get(seq uint64) (uint32, bool) {
	gen, ok := m.gens[seq]
	return gen, ok
}

func (m *ackMemory) put(seq uint64, gen uint32) {
	if m.gens == nil {
		m.gens = map[uint64]uint32{}
	}
	m.gens[seq] = gen
	if len(m.order) < ackMemorySize {
		m.order = append(m.order, seq)
		return
	}
	if m.order[m.at] != seq {
		delete(m.gens, m.order[m.at])
	}
	m.order[m.at] = seq
	m.at = (m.at + 1) % ackMemorySize
}

func (m *ackMemory) remove(seq uint64) { delete(m.gens, seq) }
