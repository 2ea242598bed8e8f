package pipeline

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

// An Observer is told of flushes. It reads outcomes and decides none; what it
// does must be quick and must not block.
type Observer interface {
	// Flush is told that b, which is the pipeline's until Done is called, is about
	// to be made durable. It may be called by several goroutines at once.
	Flush(ctx context.Context, log *zap.Logger, b *batching.Batch) Flush

	// Traces says whether messages are followed; it is asked once.
	Traces() bool
}

// A Flush is one flush that is observed.
type Flush struct {
	Context context.Context // of the work
	Log     *zap.Logger     // for lines about it
	Done    func(written []sink.Written, err error)
}

// observed tells the observer, if there is one.
func (p *Pipeline) observed(b *batching.Batch) Flush {
	if p.config.Observer == nil {
		return Flush{Context: p.work, Log: p.log, Done: func([]sink.Written, error) {}}
	}
	return p.config.Observer.Flush(p.work, p.log, b)
}

// attrTrace is where Pub/Sub's clients put the publisher's trace.
const attrTrace = "googclient_traceparent"

// origin is what a receipt keeps of its message. The trace of a publisher that
// does not record it is not followed.
func (p *Pipeline) origin(m *schema.Message) batching.Origin {
	var o batching.Origin
	if !m.PublishTime.IsZero() {
		o.Published = m.PublishTime.UnixMicro()
	}
	if p.traced {
		if t := m.Attributes[attrTrace]; recorded(t) {
			o.Trace = strings.Clone(t) // alone: it must not keep the message alive
		}
	}
	return o
}

// recorded reads the last bit of a traceparent, 00-<32 digits>-<16 digits>-01.
func recorded(traceparent string) bool {
	return len(traceparent) == 55 && strings.IndexByte("13579bdf", traceparent[54]) >= 0
}

// OldestHeld is when the oldest message that is held was published: one being
// decoded, waiting for memory, postponed, or in a batch that is not durable yet. Zero means
// none. Messages of which only dead letters are left do not count.
func (p *Pipeline) OldestHeld() time.Time {
	oldest := batching.Older(batching.Older(p.inHand(), p.postponed.oldest()), batching.Older(p.batcher.Oldest(), p.sealing.oldest()))
	if oldest == 0 {
		return time.Time{}
	}
	return time.UnixMicro(oldest)
}

func (p *Pipeline) inHand() int64 {
	p.coercions.Lock()
	defer p.coercions.Unlock()
	var oldest int64
	for _, w := range p.all {
		oldest = batching.Older(oldest, w.inHand.Load())
	}
	return oldest
}

// sealing are the batches between sealed and settled, with the publish time of
// the oldest message of each.
type sealing struct {
	mu      sync.Mutex
	batches map[*batching.Batch]int64
}

func (s *sealing) add(b *batching.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.batches == nil {
		s.batches = map[*batching.Batch]int64{}
	}
	s.batches[b] = b.Oldest()
}

func (s *sealing) remove(b *batching.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.batches, b)
}

func (s *sealing) oldest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest int64
	for _, t := range s.batches {
		oldest = batching.Older(oldest, t)
	}
	return oldest
}
