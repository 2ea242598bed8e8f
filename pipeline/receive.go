package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sourcegraph/conc/panics"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/pipeline/quarantine"
	"github.com/buffetbot/ingest/schema"
)

// A worker is what decoding one message takes. It serves one message at a time.
type worker struct {
	gen     *generation
	decoder Decoder
	rows    *schema.Columns
	coerced map[Coercion]int64 // by this decoder, as of the last look
	inHand  *atomic.Int64      // publish time of the message it serves, µs; 0: none
}

// maxScratch is the memory a worker keeps between messages: one huge message
// must not cost its size for ever.
const maxScratch = 8 << 20

func (p *Pipeline) newWorker() *worker {
	gen := p.current.Load()
	return &worker{gen: gen, decoder: gen.newDecoder(), rows: schema.NewColumns(gen.def), coerced: map[Coercion]int64{}, inHand: new(atomic.Int64)}
}

// receive is the source's callback. It blocks while the memory budget is full.
func (p *Pipeline) receive(_ context.Context, d *Delivery) {
	h := new(held)
	p.begin(h, d)
	p.counted(1)
	p.withWorker(func(w *worker) { p.keepOne(w, d, h) }, func(err error) { h.Release(err) })
}

// receiveMany is the callback of a source that delivers many messages at once: one worker
// keeps them one after the other. What is kept of them is made in one piece.
func (p *Pipeline) receiveMany(_ context.Context, all []Delivery) {
	holds := make([]held, len(all))
	for i := range all {
		p.begin(&holds[i], &all[i])
	}
	p.counted(len(all))
	p.withWorker(func(w *worker) {
		for i := range all {
			p.keepOne(w, &all[i], &holds[i])
		}
	}, func(err error) {
		for i := range holds {
			holds[i].Release(err)
		}
	})
}

func (p *Pipeline) counted(deliveries int) {
	p.counts.received.Add(int64(deliveries))
	p.counts.held.Add(int64(deliveries))
	p.touch()
}

// withWorker calls keep with a worker, or refuse with the reason why there is none.
func (p *Pipeline) withWorker(keep func(*worker), refuse func(error)) {
	if p.draining.Load() {
		refuse(errDraining)
		return
	}
	select {
	case w := <-p.workers:
		keep(w)
		p.idle(w)
	case <-p.room.Done():
		refuse(p.room.Err())
	}
	if p.draining.Load() {
		p.seal() // the drain has sealed already, perhaps before our rows were added
	}
}

// keepOne keeps a delivery, unless the drain began while it waited: kept, it would
// be a batch of its own.
func (p *Pipeline) keepOne(w *worker, d *Delivery, h *held) {
	if p.draining.Load() {
		h.Release(errDraining)
		return
	}
	p.renew(w)
	w.inHand.Store(h.Origin.Published)
	h.Release(p.keep(w, d, h))
}

var errDraining = errors.New("draining")

// A held is what is kept of a delivery until it is settled: nothing of the
// message itself. How many records it had is known only once it is decoded, and
// counted only once it is acked.
type held struct {
	batching.Receipt
	pipeline      *Pipeline
	lease         Lease
	rows, letters atomic.Int64
}

// begin makes h hold the delivery.
func (p *Pipeline) begin(h *held, d *Delivery) {
	h.pipeline, h.lease = p, d.Lease
	if h.lease == nil {
		h.lease = &calls{d.Ack, d.Nack}
	}
	h.Begin(h)
	h.Origin = p.origin(&d.Message)
	p.counts.attempt(int64(d.Attempt))
}

// calls are a delivery's own functions.
type calls struct{ ack, nack func() }

func (c *calls) Ack()  { c.ack() }
func (c *calls) Nack() { c.nack() }

// Ack and Nack implement batching.Settler, for the receipt.
func (h *held) Ack() {
	failpoint.Hit(failpoint.BeforeAck)
	h.pipeline.counts.ackedRows.Add(h.rows.Load())
	h.pipeline.counts.ackedLetters.Add(h.letters.Load())
	h.lease.Ack()
	failpoint.Hit(failpoint.MidAck)
	h.settled(&h.pipeline.counts.acked)
}

func (h *held) Nack() {
	h.lease.Nack()
	h.settled(&h.pipeline.counts.nacked)
}

func (h *held) settled(n *atomic.Int64) {
	n.Add(1)
	h.pipeline.touch()
	h.pipeline.counts.held.Add(-1)
}

// keep decodes a message and sees to it that each part holds the receipt until
// it is durable.
func (p *Pipeline) keep(w *worker, d *Delivery, h *held) error {
	receipt := &h.Receipt
	def := w.gen.def // of the verdict, whatever replaces the worker
	rejected := p.judge(w, d)
	if later, err := p.postpone(&d.Message, def, rejected, receipt); later {
		return err
	}
	h.rows.Store(int64(w.rows.Len()))
	h.letters.Store(int64(len(rejected)))
	p.counts.rows.Add(int64(w.rows.Len()))
	if err := p.batcher.Add(p.room, w.rows, len(d.Data), receipt); err != nil {
		return err
	}
	failpoint.Hit(failpoint.AfterBuffer)
	original, err := p.preserve(def, &d.Message, rejected, receipt)
	if err != nil {
		return err
	}
	for i := range rejected {
		p.counts.reject(rejected[i].Reason)
		if err := p.bury(def, d, &rejected[i], original, receipt); err != nil {
			return err
		}
	}
	return nil
}

// judge decodes a message, unless it has killed the process too often.
func (p *Pipeline) judge(w *worker, d *Delivery) []schema.Rejection {
	hand := p.config.Quarantine.Take(p.config.Definition.Name, d.ID, d.PublishTime, d.Attempt)
	defer hand.Done()
	if hand.Deaths >= quarantine.Deaths {
		w.rows.Reset()
		p.log.Error("a message was being decoded each time the process died: it is not decoded again, and becomes a dead letter",
			zap.String("message_id", d.ID), zap.Int("deaths", hand.Deaths))
		return []schema.Rejection{{
			Reason:      deadletter.Quarantined,
			Explanation: fmt.Sprintf("the process died %d times while the message was being decoded: it was not decoded again", hand.Deaths),
			Record:      d.Data,
		}}
	}
	failpoint.Hit(failpoint.AfterReceive)
	return p.decode(w, &d.Message)
}

// A guard is a Decoder that can confine a panic to the record it happens in.
type guard interface {
	DecodeGuarded(m *schema.Message, rows *schema.Columns) []schema.Rejection
}

// decode confines a panic to the record or, where the records cannot be told
// apart, to the message: that becomes one rejection. The decoder, whose state
// nobody knows now, is replaced.
func (p *Pipeline) decode(w *worker, m *schema.Message) (rejected []schema.Rejection) {
	w.rows.Reset()
	var caught panics.Catcher
	caught.Try(func() { rejected = w.decoder.Decode(m, w.rows) })
	r := caught.Recovered()
	if r == nil {
		return rejected
	}
	p.counts.panics.Add(1)
	p.log.Error("decoding panicked; the record or, where it cannot be told from the others, the message becomes a dead letter",
		zap.String("message_id", m.ID), zap.Error(r.AsError()))
	gen := w.gen
	p.replace(w)
	if g, ok := w.decoder.(guard); ok && w.gen == gen {
		var again panics.Catcher
		again.Try(func() { rejected = g.DecodeGuarded(m, w.rows) })
		if again.Recovered() == nil {
			return rejected
		}
		p.replace(w)
	}
	return []schema.Rejection{{
		Reason:      deadletter.Panic,
		Explanation: fmt.Sprintf("decoding panicked: %v", r.Value),
		Record:      m.Data,
	}}
}

// idle gives a worker back.
func (p *Pipeline) idle(w *worker) {
	if w.rows.Bytes() > maxScratch {
		w.rows = schema.NewColumns(w.gen.def)
	}
	w.inHand.Store(0)
	p.workers <- w
}
