package embedded

import (
	"maps"
	"slices"
	"sync"

	"github.com/buffetbot/ingest/embedded/journal"
)

// The state is what there is, by name and by number.
type state struct {
	topics    map[string]*topic // not the deleted ones
	subs      map[string]*subscription
	snapshots map[string]*snapshot
	schemas   map[string]*schemaHistory
	topicUIDs map[uint64]*topic // the deleted ones too, while they are drained
	subUIDs   map[uint64]*subscription
	lastUID   uint64
}

func newState() state {
	return state{
		topics: map[string]*topic{}, subs: map[string]*subscription{}, snapshots: map[string]*snapshot{},
		schemas: map[string]*schemaHistory{}, topicUIDs: map[uint64]*topic{}, subUIDs: map[uint64]*subscription{},
	}
}

func (s *Server) topic(name string) (*topic, error) {
	s.mu.RLock()
	t := s.state.topics[name]
	s.mu.RUnlock()
	if t == nil {
		if err := checkName(name, "topics"); err != nil {
			return nil, err
		}
		return nil, notFound(name)
	}
	return t, nil
}

func (s *Server) subscription(name string) (*subscription, error) {
	s.mu.RLock()
	sub := s.state.subs[name]
	s.mu.RUnlock()
	if sub == nil {
		if err := checkName(name, "subscriptions"); err != nil {
			return nil, err
		}
		return nil, notFound(name)
	}
	return sub, nil
}

func (s *Server) allSubscriptions() []*subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.state.subs))
}

func (s *Server) allTopics() []*topic {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.state.topicUIDs))
}

// newUID numbers a resource; admin is held.
func (s *Server) newUID() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lastUID++
	return s.state.lastUID
}

// change makes an administrative change durable, then calls apply with the maps
// locked; admin is held.
func (s *Server) change(kind byte, encode func([]byte) []byte, apply func(*state)) error {
	return s.commit(&op{
		encode: func(b *journal.Batch) { b.Add(kind, encode(b.Buf())) },
		apply: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			apply(&s.state)
		},
	})
}

// segmentUse counts the runs of messages that are needed, by segment.
type segmentUse struct {
	mu   sync.Mutex
	runs map[uint64]int
}

func (u *segmentUse) add(segment uint64, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.runs == nil {
		u.runs = map[uint64]int{}
	}
	if u.runs[segment] += n; u.runs[segment] == 0 {
		delete(u.runs, segment)
	}
}

func (u *segmentUse) used(segment uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.runs[segment] > 0
}
