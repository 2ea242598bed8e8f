package pipeline

import (
	"context"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/sink"
)

// An Observer is told of flushes. It reads outcomes and decides none; what it
// does must be quick and must not block.
type Observer interface {
	// Flush is told that b, which is the pipeline's until Done is called, is about
	// to be made durable. It may be called by several goroutines at once.
	Flush(ctx context.Context, log *zap.Logger, b *batching.Batch) Flush
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
