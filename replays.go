package ingest

import (
	"context"
	"time"

	"github.com/sourcegraph/conc"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
)

// A replays is a source of a data type's messages into which its replayed dead
// letters flow. Only what comes on the replay topic is taken for a letter: on the
// topic itself anybody may publish, and the same attributes mean nothing there.
type replays struct {
	messages      pipeline.Source
	letters       pipeline.Source
	subscription  string // of the letters
	topic         string // of the messages
	store         objstore.Reader
	log           *zap.Logger
	retryInterval time.Duration
}

// replaySubscription is the name of the subscription on <topic>-replay.
func replaySubscription(topic string) string { return topic + deadletter.ReplaySuffix + "-ingest" }

// withReplays lets a data type's replayed letters flow into its messages.
func (b *broker) withReplays(ctx context.Context, l *Lake, c IngestConfig, def *schema.Definition, messages pipeline.Source) (pipeline.Source, error) {
	topic, subscription := def.Topic+deadletter.ReplaySuffix, replaySubscription(def.Topic)
	if err := b.ensureReplay(ctx, c.Broker.Create, topic, subscription); err != nil {
		return nil, err
	}
	r := &replays{
		messages: messages, topic: def.Topic, subscription: subscription, store: l.store, log: l.log, retryInterval: retryTributary,
		letters: b.client.Subscription(subscription, gcp.SubscriptionSettings{
			MaxOutstandingMessages: 1000, MaxOutstandingBytes: 64 << 20, NumGoroutines: 1, DrainTimeout: 2 * c.Ingest.DrainDeadline,
			MaxExtension: max(time.Hour, c.Ingest.HoldFor+c.Ingest.FlushAge+10*time.Minute),
		}),
	}
	if many, ok := messages.(pipeline.BatchSource); ok {
		return &manyReplays{replays: r, many: many}, nil
	}
	return r, nil
}

// ensureReplay creates a replay topic and its subscription, or sees that they are
// there. The subscription never gives up: what is on it was given up before.
func (b *broker) ensureReplay(ctx context.Context, create bool, topic, subscription string) error {
	if !create {
		return b.client.CheckSubscription(ctx, subscription, topic)
	}
	if err := b.client.EnsureTopics(ctx, topic); err != nil {
		return err
	}
	return b.client.EnsureSubscriptions(ctx, gcp.SubscriptionSpec{Name: subscription, Topic: topic})
}

// Receive implements pipeline.Source. Trouble with the letters stops no message.
func (r *replays) Receive(ctx context.Context, callback func(context.Context, *pipeline.Delivery)) error {
	return r.beside(ctx, callback, func() error { return r.messages.Receive(ctx, callback) })
}

// beside lets the letters flow while receive does.
func (r *replays) beside(ctx context.Context, callback func(context.Context, *pipeline.Delivery), receive func() error) error {
	ctx, stop := context.WithCancel(ctx)
	var letters conc.WaitGroup
	defer letters.Wait()
	defer stop()
	letters.Go(func() { r.drain(ctx, callback) })
	return receive()
}

func (r *replays) drain(ctx context.Context, callback func(context.Context, *pipeline.Delivery)) {
	for {
		err := r.letters.Receive(ctx, func(ctx context.Context, d *pipeline.Delivery) { r.deliver(ctx, d, callback) })
		if err == nil || ctx.Err() != nil {
			return
		}
		r.log.Error("replayed dead letters are not received; trying again", zap.String("subscription", r.subscription),
			zap.Duration("in", r.retryInterval), zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(r.retryInterval):
		}
	}
}

// deliver hands on the message that a letter was. One whose payload cannot be read
// now comes again.
func (r *replays) deliver(ctx context.Context, d *pipeline.Delivery, callback func(context.Context, *pipeline.Delivery)) {
	again := *d
	replay, err := deadletter.ParseReplay(ctx, r.store, &d.Message)
	switch {
	case err != nil:
		r.log.Warn("the payload of a replayed dead letter cannot be read; it is handed back", zap.String("dl_id", d.Attributes["dl_id"]), zap.Error(err))
		if d.Lease != nil {
			d.Lease.Nack()
		} else {
			d.Nack()
		}
		return
	case replay == nil:
		again.Message = deadletter.ByHand(r.topic, &d.Message)
	default:
		again.Message, again.Replay = replay.Message(r.topic), replay
		again.Attempt = 0 // of the letter, not of the message
	}
	callback(ctx, &again)
}

// A manyReplays is replays of a source that delivers many messages at once.
type manyReplays struct {
	*replays
	many pipeline.BatchSource
}

// ReceiveMany implements pipeline.BatchSource.
func (r *manyReplays) ReceiveMany(ctx context.Context, callback func(context.Context, []pipeline.Delivery)) error {
	one := func(ctx context.Context, d *pipeline.Delivery) { callback(ctx, []pipeline.Delivery{*d}) }
	return r.beside(ctx, one, func() error { return r.many.ReceiveMany(ctx, callback) })
}
