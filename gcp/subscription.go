package gcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2"

	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
)

// SubscriptionSettings bound what a subscription hands out. A zero field means
// the value beside it.
type SubscriptionSettings struct {
	// MaxOutstandingMessages, 20,000: unsettled messages at which the service
	// stops sending. Acks leave every 100 ms, so it also caps the rate at ten times
	// itself a second, and at itself per flush where acks wait for a flush. Each
	// message waiting for its callback costs two goroutines: not a number to make
	// huge.
	MaxOutstandingMessages int
	// MaxOutstandingBytes, 256 MiB: the same in bytes of payload.
	MaxOutstandingBytes int
	// NumGoroutines, 1: streams. One carries about 10 MB/s.
	NumGoroutines int
	// MaxExtension, 1h: how long a held message stays leased. It has to outlast
	// the age at which batches flush and the longest outage of the store.
	MaxExtension time.Duration
	// DrainTimeout, 2m: how long Receive waits, after its context has ended, for
	// held messages to be settled. Longer than the pipeline's own deadline.
	DrainTimeout time.Duration
}

// A Subscription is a source of deliveries. One Receive at a time.
type Subscription struct {
	subscriber *pubsub.Subscriber
	drain      time.Duration
	held       atomic.Int64
}

var _ pipeline.Source = (*Subscription)(nil)

// ErrUnsettled is in the error of a Receive that stopped waiting for messages to be
// settled. They will be delivered again.
var ErrUnsettled = errors.New("messages not settled in time")

// Subscription gives a source for the subscription called name (or
// projects/P/subscriptions/S). It sends nothing yet.
func (p *PubSub) Subscription(name string, s SubscriptionSettings) *Subscription {
	sub := p.client.Subscriber(p.full("subscriptions", name))
	sub.ReceiveSettings.MaxOutstandingMessages = cmp.Or(s.MaxOutstandingMessages, 20_000)
	sub.ReceiveSettings.MaxOutstandingBytes = cmp.Or(s.MaxOutstandingBytes, 256<<20)
	sub.ReceiveSettings.NumGoroutines = cmp.Or(s.NumGoroutines, 1)
	sub.ReceiveSettings.MaxExtension = cmp.Or(s.MaxExtension, time.Hour)
	return &Subscription{subscriber: sub, drain: cmp.Or(s.DrainTimeout, 2*time.Minute)}
}

// Held is how many messages have been delivered and not been settled.
func (s *Subscription) Held() int64 { return s.held.Load() }

// Receive implements pipeline.Source. A message may be settled long after its
// callback has returned, also after ctx has ended; until then its lease is
// extended.
//
// When ctx ends, nothing more is delivered, and Receive returns nil as soon as
// the callbacks have returned, every held message is settled and the acks have been
// sent. (The client's own timed shutdown returns before the acks are sent.) If
// that takes longer than DrainTimeout it returns ErrUnsettled; the client goes
// on behind it until it is closed. In a pause (pipeline.Pause) it waits for as long
// as that lasts; meanwhile no stream is open, and leases are extended.
func (s *Subscription) Receive(ctx context.Context, callback func(context.Context, *pipeline.Delivery)) error {
	done := make(chan error, 1)
	go func() {
		done <- s.subscriber.Receive(ctx, func(_ context.Context, m *pubsub.Message) {
			if ctx.Err() != nil { // queued in the client when intake ended
				m.Nack()
				return
			}
			callback(ctx, s.deliver(m))
		})
	}()
	select {
	case err := <-done:
		return s.outcome(err)
	case <-ctx.Done():
	}
	var pause *pipeline.Pause
	if errors.As(context.Cause(ctx), &pause) {
		select {
		case err := <-done:
			return s.outcome(err)
		case <-pause.Ended:
		}
	}
	timer := time.NewTimer(s.drain)
	defer timer.Stop()
	select {
	case err := <-done:
		return s.outcome(err)
	case <-timer.C:
		return fmt.Errorf("receive from %s: %w: %d after %v; they will be delivered again", s.subscriber, ErrUnsettled, s.Held(), s.drain)
	}
}

func (s *Subscription) outcome(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return explain(fmt.Sprintf("receive from %s", s.subscriber), "roles/pubsub.subscriber", err)
}

// deliver makes a delivery of m. What settles it keeps m, but none of its
// contents, alive.
func (s *Subscription) deliver(m *pubsub.Message) *pipeline.Delivery {
	d := &pipeline.Delivery{Message: schema.Message{
		ID: m.ID, Data: m.Data, Attributes: m.Attributes, PublishTime: m.PublishTime, OrderingKey: m.OrderingKey,
	}}
	if m.DeliveryAttempt != nil {
		d.Attempt = *m.DeliveryAttempt
	}
	m.Data, m.Attributes = nil, nil
	s.held.Add(1)
	var settled atomic.Bool
	settle := func(f func()) func() {
		return func() {
			if settled.CompareAndSwap(false, true) {
				s.held.Add(-1)
				f()
			}
		}
	}
	d.Ack, d.Nack = settle(m.Ack), settle(m.Nack)
	return d
}
