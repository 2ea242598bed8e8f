// Package yardstick is the least that a program can do with a subscription, for
// benchmarks to measure this project's own programs against: Google's client,
// with a callback that acks and drops, and a publisher that is never the
// bottleneck.
//
// It is part of no program that users run.
package yardstick

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/schema"
)

// Settings are those of a bare receiver. Both are needed: with the client's own
// default of 1,000 messages no machine receives more than 10,000 a second.
type Settings struct {
	MaxOutstandingMessages int
	MaxOutstandingBytes    int
	Streams                int
}

// Drain receives n messages of a subscription of the project with Google's client,
// and acks and drops each. It reads PUBSUB_EMULATOR_HOST. first is called once, with the first.
func Drain(ctx context.Context, project, subscription string, n int64, s Settings, first func()) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return fmt.Errorf("drain %s: %w", subscription, err)
	}
	sub := client.Subscriber(subscription)
	sub.ReceiveSettings.MaxOutstandingMessages = s.MaxOutstandingMessages
	sub.ReceiveSettings.MaxOutstandingBytes = s.MaxOutstandingBytes
	sub.ReceiveSettings.NumGoroutines = s.Streams
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var got atomic.Int64
	err = sub.Receive(ctx, func(_ context.Context, m *pubsub.Message) {
		m.Ack()
		switch got.Add(1) {
		case 1:
			first()
			if n == 1 {
				stop()
			}
		case n:
			stop()
		}
	})
	if err == nil && got.Load() < n {
		err = fmt.Errorf("drain %s: %d messages of %d", subscription, got.Load(), n)
	}
	return errors.Join(err, client.Close())
}

// Create makes a topic and its subscriptions, ordering and exactly-once delivery off.
func Create(ctx context.Context, project, topic string, subscriptions ...string) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	name := fmt.Sprintf("projects/%s/topics/%s", project, topic)
	_, err = client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: name})
	for _, sub := range subscriptions {
		if err != nil {
			break
		}
		_, err = client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{
			Name: fmt.Sprintf("projects/%s/subscriptions/%s", project, sub), Topic: name, AckDeadlineSeconds: 60,
		})
	}
	return errors.Join(err, client.Close())
}

// Fill publishes n messages to a topic, as many in a request as fit. message gives the i-th; it is
// called by one goroutine.
func Fill(ctx context.Context, project, topic string, n int, message func(i int) *schema.Message) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return fmt.Errorf("fill %s: %w", topic, err)
	}
	requests := pool.New().WithContext(ctx).WithCancelOnError().WithMaxGoroutines(4)
	name := fmt.Sprintf("projects/%s/topics/%s", project, topic)
	for i := 0; i < n; {
		in := &pubsubpb.PublishRequest{Topic: name}
		for size := 0; i < n && len(in.Messages) < 1000; i++ {
			m := message(i)
			if size += len(m.Data) + 256; size > 4<<20 && len(in.Messages) > 0 {
				break
			}
			in.Messages = append(in.Messages, &pubsubpb.PubsubMessage{Data: m.Data, Attributes: m.Attributes})
		}
		requests.Go(func(ctx context.Context) error {
			_, err := client.TopicAdminClient.Publish(ctx, in)
			return err
		})
	}
	return errors.Join(requests.Wait(), client.Close())
}
