package gcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/pubsub/v2"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/schema"
)

// TopicSettings bound what a topic has in flight. A zero field means the value
// beside it.
type TopicSettings struct {
	MaxInFlight      int           // 1,000: messages that Start lets wait for the broker before it blocks
	MaxInFlightBytes int           // 64 MiB: the same in bytes
	Delay            time.Duration // 10ms: how long a message waits for others to share its request
	Timeout          time.Duration // 60s: how long the client tries to publish a message
}

// A Topic publishes. It is safe for concurrent use.
type Topic struct{ publisher *pubsub.Publisher }

var _ deadletter.Publisher = (*Topic)(nil)

// ErrTooLarge is in the error of a message that the broker does not take.
var ErrTooLarge = errors.New("message over the broker's limit of 10 MB")

// Topic gives a publisher for the topic called name (or projects/P/topics/T).
// Close it when done.
func (p *PubSub) Topic(name string, s TopicSettings) *Topic {
	pub := p.client.Publisher(p.full("topics", name))
	pub.EnableMessageOrdering = true // concerns messages with an ordering key only, which it refuses otherwise
	pub.PublishSettings.DelayThreshold = cmp.Or(s.Delay, 10*time.Millisecond)
	pub.PublishSettings.Timeout = cmp.Or(s.Timeout, time.Minute)
	pub.PublishSettings.FlowControlSettings = pubsub.FlowControlSettings{
		MaxOutstandingMessages: cmp.Or(s.MaxInFlight, 1000),
		MaxOutstandingBytes:    cmp.Or(s.MaxInFlightBytes, 64<<20),
		LimitExceededBehavior:  pubsub.FlowControlBlock,
	}
	return &Topic{publisher: pub}
}

// Publish implements deadletter.Publisher: it returns nil when the broker has
// the message. After another outcome the broker may have it all the same.
func (t *Topic) Publish(ctx context.Context, m *schema.Message) error {
	sent := *m
	sent.Data = slices.Clone(m.Data) // the client may still be sending when ctx has ended
	_, err := t.Start(ctx, &sent).ID(ctx)
	return err
}

// Start hands m to the client and returns at once, unless too much is in
// flight. m.Data must not change until the ID is known. Its own ID and publish time
// are the broker's to give.
func (t *Topic) Start(ctx context.Context, m *schema.Message) *Publication {
	return &Publication{topic: t, key: m.OrderingKey, result: t.publisher.Publish(ctx, &pubsub.Message{
		Data: m.Data, Attributes: maps.Clone(m.Attributes), OrderingKey: m.OrderingKey, // the client adds its trace to the attributes
	})}
}

// Flush sends what waits for company, and returns when all of it has an outcome.
func (t *Topic) Flush() { t.publisher.Flush() }

// Close flushes and ends the publisher.
func (t *Topic) Close() { t.publisher.Stop() }

// A Publication is a message on its way.
type Publication struct {
	topic  *Topic
	key    string
	result *pubsub.PublishResult
}

// ID waits until the broker has the message, and gives the id it has there.
func (p *Publication) ID(ctx context.Context) (string, error) {
	id, err := p.result.Get(ctx)
	if err == nil {
		return id, nil
	}
	if p.key != "" {
		p.topic.publisher.ResumePublish(p.key) // the client holds back a key that failed
	}
	what := fmt.Sprintf("publish on %s", p.topic.publisher)
	if errors.Is(err, pubsub.ErrOversizedMessage) {
		return "", fmt.Errorf("%s: %w: %w", what, ErrTooLarge, err)
	}
	return "", explain(what, "roles/pubsub.publisher", err)
}
