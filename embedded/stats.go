package embedded

import (
	"sync/atomic"
	"time"
)

// counts are those of the whole server.
type counts struct {
	published, commits, commitErrors, unreadable atomic.Uint64
	wantCheckpoint                               atomic.Bool
}

// subCounts are those of a subscription, guarded by its mu.
type subCounts struct {
	delivered, acked, nacked, expired, deadLettered uint64
}

// Stats is what a server has done since it was opened, and what it holds.
type Stats struct {
	Published     uint64 // messages
	Commits       uint64 // writes of the journal, each for all that had come in
	CommitErrors  uint64 // of which failed
	Unreadable    uint64 // deliveries given up because the message's bytes are lost
	Topics        int
	Segments      int // files of the journal
	Subscriptions []SubscriptionStats
}

// SubscriptionStats are those of one subscription.
type SubscriptionStats struct {
	Name         string
	Topic        string
	Backlog      uint64        // messages not acknowledged; those that a filter leaves out may be counted
	Outstanding  int           // of which delivered, and within their deadline
	Oldest       time.Duration // age of the oldest unacknowledged message; 0 without one
	Delivered    uint64        // deliveries
	Acked        uint64        // messages
	Nacked       uint64        // deliveries
	Expired      uint64        // deliveries whose deadline passed
	DeadLettered uint64        // messages
}

// Stats says how the server is doing.
func (s *Server) Stats() Stats {
	out := Stats{
		Published: s.counts.published.Load(), Commits: s.counts.commits.Load(),
		CommitErrors: s.counts.commitErrors.Load(), Unreadable: s.counts.unreadable.Load(),
		Segments: len(s.journal.Segments()),
	}
	s.mu.RLock()
	out.Topics = len(s.state.topics)
	s.mu.RUnlock()
	for _, sub := range s.allSubscriptions() {
		out.Subscriptions = append(out.Subscriptions, sub.stats())
	}
	return out
}

func (s *subscription) stats() SubscriptionStats {
	head := s.topic.head()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := SubscriptionStats{
		Name: s.pb.Name, Topic: s.pb.Topic, Outstanding: s.leases.count,
		Delivered: s.counts.delivered, Acked: s.counts.acked, Nacked: s.counts.nacked,
		Expired: s.counts.expired, DeadLettered: s.counts.deadLettered,
	}
	if s.gone {
		return out
	}
	out.Backlog = s.acked.missing(head)
	if out.Backlog > 0 {
		out.Oldest = s.server.age(s.topic, s.acked.floor)
	}
	return out
}
