package pipeline

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/schema"
)

// A generation is a definition and what decodes by it. Each message is judged
// by one, whole.
type generation struct {
	def        *schema.Definition
	newDecoder func() Decoder
}

// Definition is the one that messages are judged by now.
func (p *Pipeline) Definition() *schema.Definition { return p.current.Load().def }

// Switch makes another definition of the data type the one that messages are
// judged by, with decoders for it. It may be called at any time, also before Run
// and while messages come; it waits for none of them.
//
// Open batches of the definition before are sealed. A message that is being
// decoded at that moment is kept as it was judged, whole; the next one that its
// worker takes is judged by the new definition. Messages that wait for a newer
// definition are handed back, to come again and be judged by this one.
func (p *Pipeline) Switch(def *schema.Definition, newDecoder func() Decoder) {
	old := p.current.Swap(&generation{def, newDecoder})
	p.handing.RLock()
	p.batcher.Switch(def)
	p.handing.RUnlock()
	p.postponed.release(func(*postponed) bool { return true })
	p.counts.switches.Add(1)
	p.log.Info("a definition became current", zap.Stringer("schema", def.Version), zap.Stringer("before", old.def.Version), zap.String("from", def.Origin))
}

// renew gives a worker of an earlier generation what it takes to serve the
// current one.
func (p *Pipeline) renew(w *worker) {
	if w.gen != p.current.Load() {
		p.replace(w)
	}
}

// Waits of messages that no definition here can judge yet. A message is handed
// back after each, so that an ingestor that knows the version may take it. The
// broker counts deliveries, and may give a message up after a hundred: within the
// age limit there are forty at most, but for very long limits.
const (
	minPostponing = time.Second
	postponing    = 30 * time.Second // or a twentieth of the age limit, if that is longer
	maxPostponing = 30 * time.Minute // leases last longer
)

// wait is how long a message is held that becomes a dead letter after left.
func (p *Pipeline) wait(left time.Duration) time.Duration {
	most := min(max(postponing, p.config.UnknownAge/20), maxPostponing)
	return max(min(left, most/2+rand.N(most/2)), minPostponing)
}

var errPostponed = errors.New("its schema version is not known yet")

// postpone says whether the verdict on a message is left to a later delivery, and
// sees to that: it names a version newer than the newest that is known, or a
// revision of a Pub/Sub schema that cannot be had, and it is younger than the
// limit. Of the message nothing but the delivery is held.
//
// The verdict itself stays a function of message and definition: who cannot
// judge a message does not decide here what it is worth.
func (p *Pipeline) postpone(m *schema.Message, def *schema.Definition, rejected []schema.Rejection, receipt *batching.Receipt) (bool, error) {
	if p.config.UnknownAge <= 0 || len(rejected) != 1 || rejected[0].Reason != schema.UnknownSchemaVersion {
		return false, nil
	}
	named := m.Attributes["schema_version"]
	if rejected[0].Field == schema.AttributeRevision { // Pub/Sub's own: who has it may answer later
		named = rejected[0].Value
	} else if v, err := schema.ParseVersion(named); err != nil || v.Compare(def.Version) <= 0 {
		return false, nil // it will never be known
	}
	now := p.config.Clock()
	left := p.config.UnknownAge - now.Sub(m.PublishTime)
	if left <= 0 {
		return false, nil
	}
	if p.config.Refresh != nil {
		p.config.Refresh()
	}
	if err := p.config.Budget.Acquire(p.room, batching.MessageCost); err != nil {
		return true, err
	}
	receipt.Hold()
	n := p.counts.postponed.Add(1)
	if n&(n-1) == 0 { // 1, 2, 4, …: a publisher that is ahead must not flood the log
		p.log.Warn("a message names a schema version that is not known yet: it is held, then handed back, until one that is comes or it is too old",
			zap.String("message_id", m.ID), zap.String("schema_version", named), zap.Stringer("newest_known", def.Version),
			zap.Duration("becomes_a_dead_letter_in", left), zap.Int64("postponed", n))
	}
	p.postponed.add(&postponed{receipt: receipt, due: now.Add(p.wait(left)), release: p.config.Budget.Release})
	if p.draining.Load() || p.Definition() != def { // who released all has done so already, perhaps before
		p.postponed.release(func(*postponed) bool { return true })
	}
	return true, nil
}

// A postponed message is held without its data until it is due.
type postponed struct {
	receipt *batching.Receipt
	due     time.Time
	release func(int64) // of the memory charged for it
}

// A waitingRoom holds what is postponed.
type waitingRoom struct {
	mu  sync.Mutex
	all map[*postponed]struct{}
}

func (r *waitingRoom) add(m *postponed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[*postponed]struct{}{}
	}
	r.all[m] = struct{}{}
}

// release hands back those that are chosen.
func (r *waitingRoom) release(chosen func(*postponed) bool) {
	var out []*postponed
	r.mu.Lock()
	for m := range r.all {
		if chosen(m) {
			out = append(out, m)
			delete(r.all, m)
		}
	}
	r.mu.Unlock()
	for _, m := range out {
		m.release(batching.MessageCost)
		m.receipt.Release(errPostponed)
	}
}

// tick hands back those that are due.
func (r *waitingRoom) tick(now time.Time) {
	r.release(func(m *postponed) bool { return !now.Before(m.due) })
}

// oldest is the publish time of the oldest message that is held, µs; 0: none.
func (r *waitingRoom) oldest() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var oldest int64
	for m := range r.all {
		oldest = batching.Older(oldest, m.receipt.Origin.Published)
	}
	return oldest
}
