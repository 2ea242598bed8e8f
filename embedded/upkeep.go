package embedded

import (
	"time"

	"go.uber.org/zap"
)

// clockTick is how often deadlines are looked at while there are any.
const clockTick = 50 * time.Millisecond

// pokeClock tells the clock that something has a deadline.
func (s *Server) pokeClock() { signal(s.clockWake) }

// runClock ends what is overdue. It sleeps while nothing has a deadline.
func (s *Server) runClock() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.clockWake:
		}
		for pending := true; pending; {
			timer.Reset(clockTick)
			select {
			case <-s.closing:
				return
			case <-timer.C:
			}
			pending = false
			now := s.now().UnixNano()
			for _, sub := range s.allSubscriptions() {
				pending = sub.expire(now) || pending
			}
		}
	}
}

// trimTick is how often retention is looked at.
const trimTick = time.Second

// runTrim drops what is past its retention or that nobody needs any more.
func (s *Server) runTrim() {
	ticker := time.NewTicker(trimTick)
	defer ticker.Stop()
	for {
		s.trim()
		select {
		case <-ticker.C:
		case <-s.trimWake:
		case <-s.closing:
			return
		}
	}
}

func (s *Server) trim() {
	s.admin.Lock() // no snapshot or seek may count on what is about to go
	defer s.admin.Unlock()
	s.dropExpiredSnapshots()
	kept := map[*topic]uint64{} // what snapshots keep
	s.mu.RLock()
	for _, snap := range s.state.snapshots {
		if low, ok := kept[snap.topic]; !ok || snap.acked.floor < low {
			kept[snap.topic] = snap.acked.floor
		}
	}
	s.mu.RUnlock()
	for _, t := range s.allTopics() {
		low, held := kept[t]
		if !held {
			low = t.head()
		}
		s.trimTopic(t, low, held)
	}
	s.removeSegments()
}

func (s *Server) dropExpiredSnapshots() {
	s.mu.RLock()
	var expired []string
	for name, snap := range s.state.snapshots {
		if snap.pb.ExpireTime.AsTime().Before(s.now()) {
			expired = append(expired, name)
		}
	}
	s.mu.RUnlock()
	for _, name := range expired {
		if err := s.dropSnapshot(name); err != nil {
			s.log.Warn("embedded Pub/Sub: delete an expired snapshot", zap.String("snapshot", name), zap.Error(err))
		}
	}
}

// trimTopic forgets the messages below what anybody can still want.
func (s *Server) trimTopic(t *topic, low uint64, held bool) {
	now := s.now()
	settings := t.settings()
	subs := t.subscriptions()
	if d := settings.MessageRetentionDuration; d != nil && !t.isDeleted() {
		low = min(low, t.since(now.Add(-d.AsDuration())))
	}
	for _, sub := range subs {
		low = min(low, sub.trim(now, settings.MessageRetentionDuration.AsDuration()))
	}
	t.mu.Lock()
	t.index.trim(low, func(r ref) { s.segments.add(r.at.Segment, -1) })
	t.mu.Unlock()
	if t.isDeleted() && len(subs) == 0 && !held {
		s.mu.Lock()
		delete(s.state.topicUIDs, t.uid)
		s.mu.Unlock()
		t.mu.Lock()
		t.index.trim(t.next, func(r ref) { s.segments.add(r.at.Segment, -1) })
		t.mu.Unlock()
	}
}

// trim gives up messages older than the retention and returns the first that the
// subscription still needs.
func (s *subscription) trim(now time.Time, topicRetention time.Duration) uint64 {
	settings, retainFrom := s.settings(), s.keepFrom()
	own := settings.MessageRetentionDuration.AsDuration()
	oldest := s.topic.since(now.Add(-max(own, topicRetention)))
	low := s.topic.since(now.Add(-own))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked.raise(oldest)
	if settings.RetainAckedMessages {
		return min(s.acked.floor, max(low, retainFrom))
	}
	return s.acked.floor
}

// removeSegments deletes the segments in which nothing is needed: no message, and
// no record that the checkpoint does not have. It asks for a checkpoint if that is
// all that is missing.
func (s *Server) removeSegments() {
	s.mu.RLock()
	checkpointed := s.checkpointed.Segment
	s.mu.RUnlock()
	numbers := s.journal.Segments()
	for _, n := range numbers[:len(numbers)-1] {
		if s.segments.used(n) {
			continue
		}
		if n >= checkpointed {
			s.counts.wantCheckpoint.Store(true)
			signal(s.commits.wake)
			return
		}
		if err := s.journal.Remove(n); err != nil {
			s.log.Warn("embedded Pub/Sub: delete a segment of the journal", zap.Uint64("segment", n), zap.Error(err))
			return
		}
	}
}
