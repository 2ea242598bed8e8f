package gcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	retention   = 7 * 24 * time.Hour // the default, and enough to mend what is broken
	maxAttempts = 100                // the most there is
)

// A SubscriptionSpec says what a subscription should be like. A zero field
// means the value beside it.
type SubscriptionSpec struct {
	Name        string
	Topic       string
	AckDeadline time.Duration // 60s, of 60s to 600s: after it an unextended message is delivered again

	// Undelivered, none: the topic to which the broker itself moves a message after
	// 100 attempts. A last resort for what kills the process; the emulators' is
	// broken.
	Undelivered string
}

// EnsureTopics creates the topics that do not exist.
func (p *PubSub) EnsureTopics(ctx context.Context, names ...string) error {
	for _, name := range names {
		err := p.patient(ctx, func(ctx context.Context) error {
			_, err := p.client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: p.full("topics", name)}, once)
			return unless(err, codes.AlreadyExists)
		})
		if err := explain("create topic "+name, "roles/pubsub.editor", err); err != nil {
			return err
		}
	}
	return nil
}

// EnsureSubscriptions creates the subscriptions that do not exist: unordered
// (an ordered one redelivers every later message of a key), without exactly-once
// (which does not cover what we need), never expiring. One that exists is
// checked.
func (p *PubSub) EnsureSubscriptions(ctx context.Context, specs ...SubscriptionSpec) error {
	for _, spec := range specs {
		want, err := p.subscription(spec)
		if err != nil {
			return err
		}
		exists := false
		err = p.patient(ctx, func(ctx context.Context) error {
			_, err := p.client.SubscriptionAdminClient.CreateSubscription(ctx, want, once)
			exists = status.Code(err) == codes.AlreadyExists
			return unless(err, codes.AlreadyExists)
		})
		if status.Code(err) == codes.NotFound {
			return fmt.Errorf("create subscription %s: topic %s: %w: create it first: %w", spec.Name, spec.Topic, ErrNotFound, err)
		}
		if err := explain("create subscription "+spec.Name, "roles/pubsub.editor", err); err != nil {
			return err
		}
		if exists {
			if err := p.CheckSubscription(ctx, spec.Name, spec.Topic); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *PubSub) subscription(spec SubscriptionSpec) (*pubsubpb.Subscription, error) {
	deadline := cmp.Or(spec.AckDeadline, time.Minute)
	if deadline < time.Minute || deadline > 10*time.Minute {
		return nil, fmt.Errorf("create subscription %s: ack deadline %v is not between 60s and 600s", spec.Name, deadline)
	}
	s := &pubsubpb.Subscription{
		Name:                     p.full("subscriptions", spec.Name),
		Topic:                    p.full("topics", spec.Topic),
		AckDeadlineSeconds:       int32(deadline / time.Second),
		MessageRetentionDuration: durationpb.New(retention),
		ExpirationPolicy:         &pubsubpb.ExpirationPolicy{}, // never, instead of after 31 idle days
		RetryPolicy: &pubsubpb.RetryPolicy{
			MinimumBackoff: durationpb.New(time.Second), MaximumBackoff: durationpb.New(time.Minute),
		},
	}
	if spec.Undelivered != "" {
		s.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{
			DeadLetterTopic: p.full("topics", spec.Undelivered), MaxDeliveryAttempts: maxAttempts,
		}
	}
	return s, nil
}

// ErrUnsuitable is in the error about a subscription that exists but would not
// work.
var ErrUnsuitable = errors.New("unsuitable")

// CheckSubscription says why nothing could be received from the subscription:
// missing, forbidden, unreachable (within seconds), or of another topic than the one
// given, unless that is empty.
func (p *PubSub) CheckSubscription(ctx context.Context, name, topic string) error {
	what := "subscription " + name
	var got *pubsubpb.Subscription
	err := p.patient(ctx, func(ctx context.Context) (err error) {
		got, err = p.client.SubscriptionAdminClient.GetSubscription(ctx,
			&pubsubpb.GetSubscriptionRequest{Subscription: p.full("subscriptions", name)}, once)
		return err
	})
	if status.Code(err) == codes.PermissionDenied {
		// An ingestor needs the right to consume, not the right to look.
		return explain(what, "roles/pubsub.subscriber", p.probe(ctx, name))
	}
	if err != nil {
		return explain(what, "roles/pubsub.subscriber", err)
	}
	return unsuitable(got, what, topic, p.full("topics", topic))
}

// CheckTopic says why nothing could be published on the topic: missing, unreachable
// (within seconds), or, which need not hinder a publisher, not to be looked at.
func (p *PubSub) CheckTopic(ctx context.Context, name string) error {
	err := p.patient(ctx, func(ctx context.Context) error {
		_, err := p.client.TopicAdminClient.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: p.full("topics", name)}, once)
		return err
	})
	return explain("topic "+name, "roles/pubsub.viewer", err)
}

// unsuitable says why a subscription would not work for us.
func unsuitable(s *pubsubpb.Subscription, what, topic, full string) error {
	switch {
	case s.Topic == "_deleted-topic_":
		return fmt.Errorf("%s: %w: its topic was deleted: delete the subscription and create both again", what, ErrUnsuitable)
	case topic != "" && s.Topic != full:
		return fmt.Errorf("%s: %w: it is of %s, not %s", what, ErrUnsuitable, s.Topic, full)
	case s.GetPushConfig().GetPushEndpoint() != "":
		return fmt.Errorf("%s: %w: it pushes to %s, and cannot be pulled from", what, ErrUnsuitable, s.PushConfig.PushEndpoint)
	case s.Detached:
		return fmt.Errorf("%s: %w: it is detached from its topic: delete it and create it again", what, ErrUnsuitable)
	}
	return nil
}

// probe finds out whether we may consume, by acknowledging nothing that exists.
func (p *PubSub) probe(ctx context.Context, name string) error {
	return p.patient(ctx, func(ctx context.Context) error {
		err := p.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
			Subscription: p.full("subscriptions", name), AckIds: []string{"probe"},
		}, once)
		return unless(err, codes.InvalidArgument)
	})
}

// once switches off the client's own retries, which go on, and tell nothing,
// until the context ends.
var once = gax.WithRetry(func() gax.Retryer { return nil })

// patient calls f until a host answers, for a few seconds, and gives its last
// error.
func (p *PubSub) patient(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.answer)
	defer cancel()
	var last error
	for {
		err := f(ctx)
		if status.Code(err) != codes.Unavailable && (last == nil || ctx.Err() == nil) {
			return err
		}
		if status.Code(err) == codes.Unavailable {
			last = err
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return last
		}
	}
}

// unless is err, or nil if it has the code given.
func unless(err error, code codes.Code) error {
	if status.Code(err) == code {
		return nil
	}
	return err
}
