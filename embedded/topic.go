package embedded

import (
	"sort"
	"sync"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/buffetbot/ingest/embedded/journal"
)

// A topic is a numbered row of messages in the journal. Numbers are dense, from
// 0; the topic of a deleted name lives on while subscriptions drain it.
type topic struct {
	uid uint64

	mu      sync.RWMutex
	pb      *pb.Topic // replaced, never changed
	deleted bool
	subs    map[*subscription]struct{}
	next    uint64 // the number of the next message
	index   index
}

// A ref is where a run of messages of one topic lies.
type ref struct {
	first uint64 // number of the first message
	time  int64  // publish time, Unix nanoseconds
	at    journal.Position
	size  uint32 // of the record
	count uint32
}

// An index finds messages by number or publish time. It is kept in blocks, so
// that it grows and is trimmed without being copied.
type index struct {
	blocks [][]ref
}

const indexBlock = 512

func (x *index) add(r ref) {
	last := len(x.blocks) - 1
	if last < 0 || len(x.blocks[last]) == indexBlock {
		size := indexBlock
		if last < 0 { // most topics are small
			size = 16
		}
		x.blocks = append(x.blocks, make([]ref, 0, size))
		last++
	}
	x.blocks[last] = append(x.blocks[last], r)
}

// find returns the run that holds message n.
func (x *index) find(n uint64) (ref, bool) {
	b := sort.Search(len(x.blocks), func(i int) bool { return x.blocks[i][0].first > n }) - 1
	if b < 0 {
		return ref{}, false
	}
	block := x.blocks[b]
	r := block[sort.Search(len(block), func(i int) bool { return block[i].first > n })-1]
	return r, n < r.first+uint64(r.count)
}

// since is the number of the first message published at t or later, or next.
func (x *index) since(t int64, next uint64) uint64 {
	b := sort.Search(len(x.blocks), func(i int) bool { bl := x.blocks[i]; return bl[len(bl)-1].time >= t })
	if b == len(x.blocks) {
		return next
	}
	block := x.blocks[b]
	return block[sort.Search(len(block), func(i int) bool { return block[i].time >= t })].first
}

// trim drops the runs that end at or below n, telling of each.
func (x *index) trim(n uint64, dropped func(ref)) {
	for len(x.blocks) > 0 {
		block := x.blocks[0]
		i := 0
		for i < len(block) && block[i].first+uint64(block[i].count) <= n {
			dropped(block[i])
			i++
		}
		if i < len(block) {
			x.blocks[0] = block[i:]
			return
		}
		x.blocks[0] = nil
		x.blocks = x.blocks[1:]
	}
}

// first is the number of the oldest message there is, or next.
func (x *index) first(next uint64) uint64 {
	if len(x.blocks) == 0 {
		return next
	}
	return x.blocks[0][0].first
}

func (t *topic) name() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.pb.Name
}

func (t *topic) settings() *pb.Topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.pb
}

func (t *topic) head() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.next
}

func (t *topic) find(n uint64) (ref, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.index.find(n)
}

func (t *topic) since(at time.Time) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.index.since(at.UnixNano(), t.next)
}

func (t *topic) first() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.index.first(t.next)
}

// subscriptions lists those that are attached.
func (t *topic) subscriptions() []*subscription {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*subscription, 0, len(t.subs))
	for s := range t.subs {
		all = append(all, s)
	}
	return all
}

// extend makes messages visible that are durable.
func (t *topic) extend(r ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.index.add(r)
	t.next = r.first + uint64(r.count)
}
