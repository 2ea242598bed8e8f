package pipeline

import (
	"sync"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
)

// A queue holds sealed batches until a flush is free. Pushing never blocks; the
// memory budget bounds what is in it.
type queue struct {
	mu      sync.Mutex
	more    sync.Cond
	batches []*batching.Batch
	closed  bool
}

func (q *queue) init() { q.more.L = &q.mu }

// push reports whether the queue is still served.
func (q *queue) push(b *batching.Batch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.batches = append(q.batches, b)
	q.more.Signal()
	return true
}

// close lets pop end once the queue is empty.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}

// pop waits for a batch; nil means that there will be none.
func (q *queue) pop() *batching.Batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.batches) == 0 && !q.closed {
		q.more.Wait()
	}
	if len(q.batches) == 0 {
		return nil
	}
	b := q.batches[0]
	q.batches[0] = nil
	q.batches = q.batches[1:]
	return b
}

// sealed is where batches come from. One may still come when the pipeline has
// ended: another data type, in want of memory, had taken it out to seal it.
func (p *Pipeline) sealed(b *batching.Batch) {
	p.counts.seals[b.Sealed].Add(1)
	p.sealing.add(b)
	if !p.queue.push(b) {
		p.settle(b, errDraining)
	}
}

func (p *Pipeline) flushLoop() {
	for b := p.queue.pop(); b != nil; b = p.queue.pop() {
		p.settle(b, p.flush(b))
	}
}

func (p *Pipeline) settle(b *batching.Batch, err error) {
	b.Settle(err)
	p.sealing.remove(b)
}

// flush makes a batch durable, however often that takes, for as long as it may be
// held. An error hands the messages back to the broker.
func (p *Pipeline) flush(b *batching.Batch) error {
	err := p.persist(p.heldSince(b), p.gate, &p.flushing, func() error { return p.flushOnce(b) })
	if err != nil && p.work.Err() == nil {
		p.log.Error("a batch cannot be made durable: its messages are handed back and will be delivered again",
			zap.Stringer("partition", b.Key), zap.Int("rows", b.Len()), zap.Int("messages", b.Messages()), zap.Error(err))
	}
	return err
}

// flushOnce makes one try. The store below has retries of its own.
func (p *Pipeline) flushOnce(b *batching.Batch) error {
	if err := p.work.Err(); err != nil {
		return err
	}
	giveBack, err := p.config.Budget.Copies(p.work, b.FlushCost())
	if err != nil {
		return err
	}
	defer giveBack()
	b.Unpack()
	rows := b.Len()
	f := p.observed(b)
	written, err := p.config.Sink.Write(f.Context, b)
	f.Done(written, err)
	switch {
	case err == nil:
		p.counts.flushes.Add(1)
		p.counts.flushedRows.Add(int64(rows))
		for _, w := range written {
			p.counts.files.Add(1)
			p.counts.flushedBytes.Add(w.Bytes)
		}
		return nil
	case p.work.Err() != nil:
		return err
	}
	p.counts.flushesFailed.Add(1)
	f.Log.Warn("flush failed; its messages stay held", zap.Stringer("partition", b.Key),
		zap.Int("rows", rows), zap.Int("messages", b.Messages()), zap.Error(err))
	return err
}
