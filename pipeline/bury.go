package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/sourcegraph/conc/panics"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/schema"
)

// bury publishes the dead letter of a rejected record. It waits for memory and
// for one of the slots, not for the broker.
func (p *Pipeline) bury(def *schema.Definition, d *Delivery, r *schema.Rejection, original *deadletter.Original, receipt *batching.Receipt) error {
	if p.writer == nil {
		return fmt.Errorf("record %d is rejected (%s), and there is no dead-letter topic", r.Index, r.Reason)
	}
	size := int64(len(r.Record)) + batching.MessageCost
	if err := p.config.Budget.Acquire(p.work, size); err != nil {
		return fmt.Errorf("bury record %d: %w", r.Index, err)
	}
	letter := deadletter.New(def, &d.Message, r)
	letter.Attempt = int32(d.Attempt)
	if r.Rendered {
		letter.Refer(original)
	}
	if d.Replay != nil {
		d.Replay.Mark(letter)
	}
	receipt.Hold()
	p.letters.Go(func() {
		failpoint.Hit(failpoint.BeforeLetter)
		err := p.insist(func(ctx context.Context) error { return p.writer.Send(ctx, letter) })
		failpoint.Hit(failpoint.AfterLetter)
		if err == nil {
			p.counts.letters.Add(1)
		}
		p.config.Budget.Release(size)
		receipt.Release(err)
	})
	return nil
}

// preserve keeps the message that rendered records came in: once for all of their
// letters, beside them. A letter may be published before its object is there;
// the ack waits for both.
func (p *Pipeline) preserve(def *schema.Definition, m *schema.Message, rejected []schema.Rejection, receipt *batching.Receipt) (*deadletter.Original, error) {
	if p.writer == nil || !slices.ContainsFunc(rejected, func(r schema.Rejection) bool { return r.Rendered }) {
		return nil, nil
	}
	size := 2*int64(len(m.Data)) + batching.MessageCost // it is written as text
	if err := p.config.Budget.Acquire(p.work, size); err != nil {
		return nil, fmt.Errorf("preserve message %s: %w", m.ID, err)
	}
	original, err := deadletter.NewOriginal(def, m)
	if err != nil {
		p.config.Budget.Release(size)
		return nil, err
	}
	receipt.Hold()
	p.letters.Go(func() {
		err := p.insist(func(ctx context.Context) error { return p.writer.Keep(ctx, original) })
		p.config.Budget.Release(size)
		receipt.Release(err)
	})
	return original, nil
}

// insist makes a dead letter durable, or what it refers to, however often that
// takes, for as long as its message may be held.
func (p *Pipeline) insist(send func(context.Context) error) error {
	return p.persist(p.config.Clock(), openGate{}, &p.burying, func() error {
		ctx, cancel := context.WithTimeout(p.work, letterTimeout)
		defer cancel()
		err := confined(ctx, send)
		if err == nil || p.work.Err() != nil {
			return err
		}
		if n := p.counts.lettersFailed.Add(1); n&(n-1) == 0 { // 1, 2, 4, …: a broken topic must not flood the log
			p.log.Warn("publishing a dead letter failed; its message stays held", zap.Int64("failures", n), zap.Error(err))
		}
		return err
	})
}

// confined makes an error of a panic.
func confined(ctx context.Context, f func(context.Context) error) (err error) {
	var caught panics.Catcher
	caught.Try(func() { err = f(ctx) })
	if r := caught.Recovered(); r != nil {
		return r.AsError()
	}
	return err
}
