package embedded

import (
	"context"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/buffetbot/ingest/embedded/journal"
)

// An op is what has to become durable together: messages for a topic, records of
// other kinds, or both. After it is durable, apply makes it so in memory; apply
// of ops run one after another in the order of the journal.
type op struct {
	topic    *topic
	messages [][]byte
	bytes    int
	firstID  uint64 // set by the committer: ids are consecutive

	encode func(b *journal.Batch)
	apply  func()
	failed func(error)
	lazy   bool // nobody waits for it: write it, but do not wait for the disk

	done chan error // nil: nobody waits
}

// A committer collects ops while the disk is busy with those before.
type committer struct {
	mu     sync.Mutex
	queue  []*op
	closed bool
	wake   chan struct{}
}

// A run of this many bytes is followed by another, so that reading one message
// does not mean reading all that came with it.
const runBytes = 128 << 10

// Batches over this size are split, so that the buffer stays small.
const batchBytes = 16 << 20

// maxQueued bounds the messages that wait for the disk.
const maxQueued = 64 << 20

// submit hands an op to the committer. It is done, or failed, some time later.
func (s *Server) submit(o *op) error {
	s.commits.mu.Lock()
	defer s.commits.mu.Unlock()
	if s.commits.closed {
		return errClosing
	}
	s.commits.queue = append(s.commits.queue, o)
	signal(s.commits.wake)
	return nil
}

// commit hands over an op and waits until it is durable and applied. It does not
// give up early: the op would be carried out all the same.
func (s *Server) commit(o *op) error {
	o.done = make(chan error, 1)
	if err := s.submit(o); err != nil {
		if o.failed != nil {
			o.failed(err)
		}
		return err
	}
	return <-o.done
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// runCommitter is the one goroutine that writes the journal, until the queue is
// closed.
func (s *Server) runCommitter() {
	var spare []*op
	for {
		<-s.commits.wake
		s.commits.mu.Lock()
		ops, closed := s.commits.queue, s.commits.closed
		s.commits.queue = spare[:0]
		s.commits.mu.Unlock()
		for rest := ops; len(rest) > 0; {
			n, size := 0, 0
			for n < len(rest) && (n == 0 || size+rest[n].bytes <= batchBytes) {
				size += rest[n].bytes
				n++
			}
			s.commitBatch(rest[:n])
			rest = rest[n:]
		}
		clear(ops)
		spare = ops
		if s.checkpointDue() {
			s.writeCheckpoint()
		}
		if closed { // and nothing was queued since: what came later was refused
			return
		}
	}
}

// closeCommitter lets what is queued be written and refuses the rest.
func (s *Server) closeCommitter() {
	s.commits.mu.Lock()
	s.commits.closed = true
	s.commits.mu.Unlock()
	signal(s.commits.wake)
}

// A placed run is one that is in the batch, and waits to be visible.
type placed struct {
	topic  *topic
	ref    ref
	record int
}

func (s *Server) commitBatch(ops []*op) {
	if err := s.room(ops); err != nil {
		kept := ops[:0:0]
		for _, o := range ops { // acks are let through: they are what frees the disk
			if len(o.messages) > 0 {
				o.finish(err)
			} else {
				kept = append(kept, o)
			}
		}
		ops = kept
	}
	if len(ops) == 0 {
		return
	}
	b, err := s.journal.Begin()
	if err != nil {
		s.failBatch(ops, err)
		return
	}
	runs, lastID := s.encodeMessages(b, ops)
	s.lastID = lastID // also if the batch fails: no id is given twice
	lazy := true
	for _, o := range ops {
		if o.encode != nil {
			o.encode(b)
		}
		lazy = lazy && o.lazy
	}
	for i := range runs {
		runs[i].ref.at, runs[i].ref.size = b.Position(runs[i].record), uint32(b.Size(runs[i].record))
	}
	size := b.Bytes()
	if err := s.journal.Commit(!lazy); err != nil {
		s.failBatch(ops, err)
		return
	}
	s.sinceCheckpoint += int64(size)
	s.counts.commits.Add(1)
	s.publishRuns(runs)
	for _, o := range ops {
		if o.apply != nil {
			o.apply()
		}
		o.finish(nil)
	}
}

func (s *Server) failBatch(ops []*op, err error) {
	s.log.Error("embedded Pub/Sub: write the journal", zap.Error(err))
	s.counts.commitErrors.Add(1)
	for _, o := range ops {
		o.finish(stored(err))
	}
}

func (o *op) finish(err error) {
	if err != nil && o.failed != nil {
		o.failed(err)
	}
	if o.done != nil {
		o.done <- err
	}
}

// room refuses messages when the disk is nearly full: what is left is for acks
// and checkpoints, without which no segment could ever be deleted.
func (s *Server) room(ops []*op) error {
	bytes := uint64(0)
	for _, o := range ops {
		bytes += uint64(o.bytes)
	}
	if bytes == 0 {
		return nil
	}
	free, err := s.freeBytes(s.dir)
	if err == nil && free < s.cfg.MinFree+bytes {
		return status.Errorf(codes.ResourceExhausted, "the disk of the embedded Pub/Sub server is full: %d bytes are free and %d are kept for acks: "+
			"free some, or acknowledge messages: %v", free, s.cfg.MinFree, syscall.ENOSPC)
	}
	return nil
}

// encodeMessages writes the messages of a batch, those of one topic together.
func (s *Server) encodeMessages(b *journal.Batch, ops []*op) ([]placed, uint64) {
	var topics []*topic
	byTopic := map[*topic][]*op{}
	for _, o := range ops {
		if len(o.messages) == 0 {
			continue
		}
		if _, seen := byTopic[o.topic]; !seen {
			topics = append(topics, o.topic)
		}
		byTopic[o.topic] = append(byTopic[o.topic], o)
	}
	id := s.lastID
	if len(topics) == 0 {
		return nil, id
	}
	now := s.publishTime()
	timestamp := stampTime(now)
	var runs []placed
	for _, t := range topics {
		next := t.head()
		var pending [][]byte
		size := 0
		flush := func() {
			first := id - uint64(len(pending)) + 1
			r := encodeRun(b, run{topic: t.uid, first: next, id: first, time: now.UnixNano()}, pending, timestamp)
			runs = append(runs, placed{topic: t, record: r, ref: ref{first: next, time: now.UnixNano(), count: uint32(len(pending))}})
			next += uint64(len(pending))
			pending, size = pending[:0], 0
		}
		for _, o := range byTopic[t] {
			o.firstID = id + 1
			for _, m := range o.messages {
				if len(pending) > 0 && size+len(m) > runBytes {
					flush()
				}
				pending = append(pending, m)
				size += len(m)
				id++
			}
		}
		flush()
	}
	return runs, id
}

// publishTime never goes back, so that a topic can be searched by it.
func (s *Server) publishTime() time.Time {
	now := s.now()
	if now.UnixNano() < s.lastTime {
		now = time.Unix(0, s.lastTime).UTC()
	}
	s.lastTime = now.UnixNano()
	return now
}

func encodeRun(b *journal.Batch, r run, messages [][]byte, timestamp []byte) int {
	buf := b.Buf()
	buf = putUint(buf, r.topic)
	buf = putUint(buf, r.first)
	buf = putUint(buf, r.id)
	buf = putUint(buf, uint64(r.time))
	buf = putUint(buf, uint64(len(messages)))
	for i, m := range messages {
		id := r.id + uint64(i)
		buf = putUint(buf, uint64(len(m)+stampSize(id, timestamp)))
		buf = append(buf, m...)
		buf = stamp(buf, id, timestamp)
	}
	return b.Add(kindMessages, buf)
}

// publishRuns makes durable messages visible and wakes who waits for them.
func (s *Server) publishRuns(runs []placed) {
	for i, r := range runs {
		s.segments.add(r.ref.at.Segment, 1)
		r.topic.extend(r.ref)
		s.counts.published.Add(uint64(r.ref.count))
		if i+1 == len(runs) || runs[i+1].topic != r.topic {
			for _, sub := range r.topic.subscriptions() {
				sub.wakeAll()
			}
		}
	}
}

// publish makes messages durable and returns the id of the first.
func (s *Server) publish(ctx context.Context, o *op) (uint64, error) {
	weight := int64(min(o.bytes, maxQueued))
	if err := s.queued.Acquire(ctx, weight); err != nil {
		return 0, status.FromContextError(err).Err()
	}
	defer s.queued.Release(weight)
	err := s.commit(o)
	return o.firstID, err
}
