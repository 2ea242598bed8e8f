package ingest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
)

// A confluence is the source of everything that becomes a dead letter: what is
// published on the dead-letter topic, and what the broker itself gave up
// delivering, which lies on the topics <topic>-undelivered.
type confluence struct {
	letters pipeline.Source
	adopted atomic.Int64 // messages delivered from the tributaries
	log     *zap.Logger

	mu          sync.Mutex
	undelivered []tributary
	joined      chan struct{} // has a value when one has come
}

// join adds a tributary, also while others flow.
func (c *confluence) join(t tributary) {
	c.mu.Lock()
	c.undelivered = append(c.undelivered, t)
	c.mu.Unlock()
	select {
	case c.joined <- struct{}{}:
	default:
	}
}

// from gives the tributaries after the first n.
func (c *confluence) from(n int) []tributary {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.undelivered[n:])
}

// A tributary is a subscription on <topic>-undelivered.
type tributary struct {
	dataType, topic, subscription string
	source                        pipeline.Source
}

// retryTributary is the time until a tributary that failed is tried again.
const retryTributary = time.Minute

// Receive implements pipeline.Source. A tributary that fails takes nothing with
// it: it is tried again while the letters flow.
func (c *confluence) Receive(ctx context.Context, callback func(context.Context, *pipeline.Delivery)) error {
	ctx, stop := context.WithCancel(ctx)
	var all conc.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() {
		for n := 0; ; {
			more := c.from(n)
			for _, t := range more {
				all.Go(func() { c.drain(ctx, t, callback) })
			}
			n += len(more)
			select {
			case <-ctx.Done():
				return
			case <-c.joined:
			}
		}
	})
	return c.letters.Receive(ctx, callback)
}

func (c *confluence) drain(ctx context.Context, t tributary, callback func(context.Context, *pipeline.Delivery)) {
	for {
		err := t.source.Receive(ctx, func(ctx context.Context, d *pipeline.Delivery) {
			c.adopted.Add(1)
			d.Message = deadletter.Adopt(t.dataType, t.topic, &d.Message)
			callback(ctx, d)
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		c.log.Error("undelivered messages are not drained; trying again", zap.String("subscription", t.subscription),
			zap.Duration("in", retryTributary), zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryTributary):
		}
	}
}

// drainOf makes the source of all dead letters. A subscription on an
// <topic>-undelivered that is missing is a warning: nothing is lost as long as no
// subscription has a policy that moves messages there.
func (i *Ingestor) drainOf(ctx context.Context, l *Lake, c IngestConfig, letters pipeline.Source, types []string) (*confluence, error) {
	all := &confluence{letters: letters, log: l.log, joined: make(chan struct{}, 1)}
	if len(types) == 1 { // the letters alone: everybody's
		types = l.Registry().Types()
	}
	for _, dataType := range types {
		if dataType == deadLetters {
			continue
		}
		def, _ := l.Registry().Latest(dataType)
		if err := i.drainToo(ctx, l, c, all, def); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// drainToo lets what the broker gave up on of one data type flow in, too.
func (i *Ingestor) drainToo(ctx context.Context, l *Lake, c IngestConfig, all *confluence, def *schema.Definition) error {
	t := tributary{dataType: def.Name, topic: def.Topic, subscription: undeliveredSubscription(def.Topic)}
	if c.Broker.Create {
		if err := i.broker.ensureUndelivered(ctx, def.Topic); err != nil {
			return err
		}
	} else if err := i.broker.client.CheckSubscription(ctx, t.subscription, def.Topic+deadletter.UndeliveredSuffix); err != nil {
		l.log.Warn("messages that the broker gives up on are not drained: create the topic and its subscription (--create, or terraform)",
			zap.String("type", def.Name), zap.String("subscription", t.subscription), zap.Error(err))
		return nil
	}
	t.source = i.broker.client.Subscription(t.subscription, gcp.SubscriptionSettings{
		MaxOutstandingMessages: 1000, MaxOutstandingBytes: 64 << 20, NumGoroutines: 1, DrainTimeout: 2 * c.Ingest.DrainDeadline,
	})
	all.join(t)
	return nil
}

// undeliveredSubscription is the name of the subscription that drains what the
// broker gave up delivering from topic.
func undeliveredSubscription(topic string) string {
	return topic + deadletter.UndeliveredSuffix + "-ingest"
}

// ensureUndelivered creates the topic for what the broker gives up on, and the
// subscription that drains it, without which the broker would drop it.
func (b *broker) ensureUndelivered(ctx context.Context, topic string) error {
	target := topic + deadletter.UndeliveredSuffix
	if err := b.client.EnsureTopics(ctx, target); err != nil {
		return err
	}
	return b.client.EnsureSubscriptions(ctx, gcp.SubscriptionSpec{Name: undeliveredSubscription(topic), Topic: target})
}

// ensureSource creates a data type's topic and subscription. Where the broker can
// be trusted with it, the subscription gives up after 100 attempts. The one of the
// dead letters never does: there is nowhere further to go, and a letter that
// cannot be stored now can be later.
func (b *broker) ensureSource(ctx context.Context, def *schema.Definition, topic, subscription string) error {
	spec := gcp.SubscriptionSpec{Name: subscription, Topic: topic}
	if def == nil || def.Name != deadLetters {
		if err := b.ensureUndelivered(ctx, topic); err != nil {
			return err
		}
		if b.policies {
			spec.Undelivered = topic + deadletter.UndeliveredSuffix
		}
	}
	if err := b.client.EnsureTopics(ctx, topic); err != nil {
		return err
	}
	return b.client.EnsureSubscriptions(ctx, spec)
}
