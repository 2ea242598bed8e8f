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
	p.counts.received.Add(1)
	p.counts.held.Add(1)
	p.touch()
	receipt, content := p.receipt(d)
	if p.draining.Load() {
		receipt.Release(errDraining)
		return
	}
	select {
	case w := <-p.workers:
		if p.draining.Load() { // the drain began while it waited: kept, it would be a batch of its own
			p.idle(w)
			receipt.Release(errDraining)
			return
		}
		p.renew(w)
		w.inHand.Store(receipt.Origin.Published)
		err := p.keep(w, d, receipt, content)
		p.idle(w)
		receipt.Release(err)
	case <-p.room.Done():
		receipt.Release(p.room.Err())
	}
	if p.draining.Load() {
		p.seal() // the drain has sealed already, perhaps before our rows were added
	}
}

var errDraining = errors.New("draining")

// A content is how many records a message had: known only once it is decoded,
// counted only once it is acked.
type content struct{ rows, letters atomic.Int64 }

// receipt settles the delivery. It must not keep the message alive.
func (p *Pipeline) receipt(d *Delivery) (*batching.Receipt, *content) {
	ack, nack, c := d.Ack, d.Nack, &content{}
	settle := func(f func(), n *atomic.Int64) {
		f()
		n.Add(1)
		p.touch()
		p.counts.held.Add(-1)
	}
	r := batching.NewReceipt(func() {
		p.counts.ackedRows.Add(c.rows.Load())
		p.counts.ackedLetters.Add(c.letters.Load())
		settle(ack, &p.counts.acked)
	}, func() {
		settle(nack, &p.counts.nacked)
	})
	r.Origin = p.origin(&d.Message)
	return r, c
}

// keep decodes a message and sees to it that each part holds the receipt until
// it is durable.
func (p *Pipeline) keep(w *worker, d *Delivery, receipt *batching.Receipt, c *content) error {
	def := w.gen.def // of the verdict, whatever replaces the worker
	rejected := p.decode(w, &d.Message)
	if later, err := p.postpone(&d.Message, def, rejected, receipt); later {
		return err
	}
	c.rows.Store(int64(w.rows.Len()))
	c.letters.Store(int64(len(rejected)))
	p.counts.rows.Add(int64(w.rows.Len()))
	if err := p.batcher.Add(p.room, w.rows, len(d.Data), receipt); err != nil {
		return err
	}
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

// decode confines a panic to the message: it becomes one rejection, and the
// decoder, whose state nobody knows now, is replaced.
func (p *Pipeline) decode(w *worker, m *schema.Message) (rejected []schema.Rejection) {
	w.rows.Reset()
	var caught panics.Catcher
	caught.Try(func() { rejected = w.decoder.Decode(m, w.rows) })
	r := caught.Recovered()
	if r == nil {
		return rejected
	}
	p.counts.panics.Add(1)
	p.log.Error("decoding panicked; the message becomes a dead letter", zap.String("message_id", m.ID), zap.Error(r.AsError()))
	p.replace(w)
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
