package embedded

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/embedded/journal"
)

// Most that one response holds; a single message may be larger.
const (
	takeMessages = 1000
	takeBytes    = 1 << 20
)

// A candidate is a message that a delivery may take.
type candidate struct {
	seq     uint64
	attempt uint32 // deliveries that failed
	key     *keyState
	queued  bool // it heads its key's queue
	fresh   bool // it comes from the backlog, not from waiting
	again   bool // it was waiting
	unwant  bool // the filter leaves it out
	broken  bool // its bytes are lost
	message []byte
	keyText []byte
}

// A delivery is what take hands out.
type delivery struct {
	id      ackID
	message []byte
	attempt int // 0 unless messages are dead-lettered
}

// take picks messages for a holder, leases them, and appends them to a response
// by emit. It returns how many; more says that another take may find some.
//
// It goes in three steps, so that a slow disk holds up nobody but this
// subscription's deliveries: plan under mu, read without it, lease under mu.
func (s *subscription) take(h *holder, limit int, emit func(delivery)) (n int, more bool, err error) {
	s.takeMu.Lock()
	defer s.takeMu.Unlock()
	now := s.server.now().UnixNano()
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return 0, false, err
	}
	room, bytes := h.room(limit)
	room = min(room, maxLeases-s.leases.count)
	if room <= 0 || bytes <= 0 {
		s.mu.Unlock()
		return 0, false, nil
	}
	plan, next := s.plan(h, room, now)
	era := s.era
	s.mu.Unlock()
	if len(plan) == 0 && next == 0 {
		return 0, false, nil
	}
	defer s.reader.reset()
	used, cut := s.read(plan, bytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil || s.era != era {
		return 0, err == nil, err
	}
	s.giveBack(plan[used:])
	out, attempts := s.leaseAll(h, plan[:used], now)
	if cut {
		next = 0
		for _, c := range plan[:used] {
			if c.fresh {
				next = c.seq + 1
			}
		}
	}
	s.next = max(s.next, next)
	if s.pb.DeadLetterPolicy != nil && len(attempts) > 0 {
		s.server.rememberAttempts(s, era, attempts)
	}
	s.server.pokeClock()
	for _, d := range out {
		emit(d)
	}
	s.counts.delivered += uint64(len(out))
	return len(out), len(out) == 0 || used < len(plan) || cut, nil
}

// room is how many messages, and bytes, a holder can take now.
func (h *holder) room(limit int) (int, int64) {
	room, bytes := int64(min(limit, takeMessages)), int64(takeBytes)
	if h.maxMessages > 0 {
		room = min(room, h.maxMessages-h.messages)
	}
	if h.maxBytes > 0 {
		bytes = min(bytes, h.maxBytes-h.bytes)
	}
	return int(room), bytes
}

// plan lists what could be delivered: what waits, then what waits for its key,
// then the backlog. next is where the backlog was looked at up to, 0 if it was not.
func (s *subscription) plan(h *holder, room int, now int64) (all []candidate, next uint64) {
	for len(all) < room {
		w, ok := s.waiting.pop(now)
		if !ok {
			break
		}
		if !s.acked.has(w.seq) {
			all = append(all, candidate{seq: w.seq, attempt: w.attempt, again: true})
		}
	}
	for _, kt := range s.takeKeys(h, room-len(all), now) {
		for _, w := range kt.items {
			all = append(all, candidate{seq: w.seq, attempt: w.attempt, key: kt.key, queued: true})
		}
	}
	if s.parked >= maxParked || len(all) >= room {
		return all, 0
	}
	head := s.topic.head()
	at := max(s.next, s.acked.floor)
	if at >= head {
		return all, 0
	}
	for len(all) < room {
		if at = s.acked.next(at, head); at >= head {
			break
		}
		all = append(all, candidate{seq: at, attempt: s.prior[at], fresh: true})
		at++
	}
	return all, at
}

// read fetches the messages of a plan, as many as fit, and returns how many of
// the plan were dealt with; cut says that it was not all.
func (s *subscription) read(plan []candidate, room int64) (used int, cut bool) {
	ordering := s.ordered
	for i := range plan {
		if i > 0 && (room <= 0 || s.reader.bytes > maxLoaded) {
			return i, true
		}
		c := &plan[i]
		message, err := s.reader.read(c.seq)
		if err != nil {
			c.unwant = errors.Is(err, errGone) // its retention is over
			c.broken = !c.unwant
			s.unreadable(c.seq, err)
			continue
		}
		if s.filter != nil && !s.filter.Match(func(key string) (string, bool) { return attribute(message, key) }) {
			c.unwant = true
			continue
		}
		if ordering {
			c.keyText = orderingKey(message)
		}
		if i > 0 && int64(len(message)) > room && len(message) > takeBytes/2 {
			return i, true
		}
		c.message = message
		room -= int64(len(message))
	}
	return len(plan), false
}

// unreadable tells of a message whose bytes are lost. It stays unacknowledged: a
// restart, or a seek, tries it again.
func (s *subscription) unreadable(seq uint64, err error) {
	if errors.Is(err, errGone) {
		return
	}
	s.server.counts.unreadable.Add(1)
	s.server.log.Error("embedded Pub/Sub: a message cannot be read and is not delivered",
		zap.String("topic", s.topic.name()), zap.Uint64("number", seq), zap.Bool("damaged", errors.Is(err, journal.ErrCorrupt)), zap.Error(err))
}

// giveBack returns what was planned and not used; the backlog is looked at again
// by itself, and what heads a key's queue never left it.
func (s *subscription) giveBack(plan []candidate) {
	for _, c := range plan {
		if c.again {
			s.waiting.add(waiting{seq: c.seq, attempt: c.attempt})
		}
	}
}

// leaseAll leases what was read. It also lists the attempt of each, to be
// remembered where that counts.
func (s *subscription) leaseAll(h *holder, plan []candidate, now int64) ([]delivery, []waiting) {
	out := make([]delivery, 0, len(plan))
	attempts := make([]waiting, 0, len(plan))
	deadline := now + int64(h.deadline)
	if h.deadline == 0 {
		deadline = now + int64(s.pb.AckDeadlineSeconds)*int64(time.Second)
	}
	for i := range plan {
		c := &plan[i]
		if c.queued {
			s.unqueue(c.key, c.seq)
		}
		switch {
		case c.unwant:
			s.acked.add(c.seq)
		case !c.broken && !s.acked.has(c.seq):
			if s.parks(h, c) {
				continue
			}
			if p := s.pb.DeadLetterPolicy; p != nil && c.attempt >= uint32(p.MaxDeliveryAttempts) {
				s.dead = append(s.dead, waiting{seq: c.seq, attempt: c.attempt}) // a restart ended the last
				signal(s.server.deadWake)
				break
			}
			due := deadline
			if s.server.faults.losesLease() {
				due = now
			}
			slot := s.leases.take(lease{
				seq: c.seq, deadline: due, attempt: c.attempt + 1, size: uint32(len(c.message)), holder: h, key: c.key,
			})
			if c.key != nil {
				c.key.out = append(c.key.out, keyLease{c.seq, slot})
				c.key.holder = h
			}
			h.messages++
			h.bytes += int64(len(c.message))
			attempts = append(attempts, waiting{seq: c.seq, attempt: c.attempt + 1})
			d := delivery{message: c.message, id: ackID{
				sub: uint32(s.uid), era: uint16(s.era), seq: c.seq, slot: uint32(slot), gen: s.leases.all[slot].gen,
			}}
			if s.pb.DeadLetterPolicy != nil {
				d.attempt = int(c.attempt) + 1
			}
			out = append(out, d)
			if c.key == nil && s.server.faults.duplicates() {
				s.waiting.add(waiting{seq: c.seq, attempt: c.attempt})
			}
		}
		if c.queued {
			s.keyFreed(c.key)
		}
	}
	return out, attempts
}

// parks puts a message behind others of its key, if it has one and has to wait
// for them; otherwise it notes the key.
func (s *subscription) parks(h *holder, c *candidate) bool {
	if len(c.keyText) == 0 || c.queued {
		return false
	}
	k := s.keyOf(c.keyText)
	busy := len(k.out) > 0 && (k.holder != h || k.out[len(k.out)-1].seq > c.seq)
	if len(k.queue) > 0 || busy || k.ready > s.server.now().UnixNano() {
		s.park(k, waiting{seq: c.seq, attempt: c.attempt})
		return true
	}
	c.key = k
	return false
}
