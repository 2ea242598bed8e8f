package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var deadLettering = []Check{
	{"Dead letters", "deliveries are counted", checkAttempts},
	{"Dead letters", "after max_delivery_attempts the message is forwarded, once, with its attributes and where it came from", checkForwarded},
}

var exactlyOnce = []Check{
	{"Exactly-once delivery", "an ack id is refused when its deadline passed", checkExpiredAck},
	{"Exactly-once delivery", "of several ack ids, each gets its own verdict", checkMixedAcks},
	{"Exactly-once delivery", "acks on the stream are confirmed", checkConfirmed},
	{"Exactly-once delivery", "the stream says that it is enabled", checkProperties},
}

func (e *Env) deadPair(ctx context.Context) (topic, sub, deadSub string, err error) {
	dead, err := e.topic(ctx, "dead")
	if err != nil {
		return "", "", "", err
	}
	if _, err := e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName("dead"), Topic: dead}); err != nil {
		return "", "", "", err
	}
	topic, sub, err = e.pair(ctx, &pb.Subscription{DeadLetterPolicy: &pb.DeadLetterPolicy{DeadLetterTopic: dead, MaxDeliveryAttempts: 5}})
	return topic, sub, e.subName("dead"), err
}

func checkAttempts(ctx context.Context, e *Env) error {
	topic, sub, _, err := e.deadPair(ctx)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	for attempt := int32(1); attempt <= 4; attempt++ {
		got, err := e.pull(ctx, sub, 1)
		if err != nil {
			return err
		}
		if err := same("delivery_attempt", got[0].DeliveryAttempt, attempt); err != nil {
			return err
		}
		if err := e.deadline(ctx, sub, 0, got...); err != nil {
			return err
		}
	}
	return nil
}

func checkForwarded(ctx context.Context, e *Env) error {
	topic, sub, deadSub, err := e.deadPair(ctx)
	if err != nil {
		return err
	}
	sent := &pb.PubsubMessage{Data: []byte("a"), Attributes: map[string]string{"own": "attribute"}, OrderingKey: "key"}
	if _, err := e.publish(ctx, topic, sent); err != nil {
		return err
	}
	for range 5 {
		got, err := e.pull(ctx, sub, 1)
		if err != nil {
			return err
		}
		if err := e.deadline(ctx, sub, 0, got...); err != nil {
			return err
		}
	}
	letters, err := e.pull(ctx, deadSub, 1)
	if err != nil {
		return fmt.Errorf("the dead letter: %w", err)
	}
	m := letters[0].Message
	if err := e.ack(ctx, deadSub, letters...); err != nil {
		return err
	}
	project := strings.TrimPrefix(e.Project, "projects/")
	return errors.Join(
		same("data", string(m.Data), "a"),
		same("its own attribute", m.Attributes["own"], "attribute"),
		same("CloudPubSubDeadLetterSourceDeliveryCount", m.Attributes["CloudPubSubDeadLetterSourceDeliveryCount"], "5"),
		same("CloudPubSubDeadLetterSourceSubscription", m.Attributes["CloudPubSubDeadLetterSourceSubscription"], "subscription"),
		same("CloudPubSubDeadLetterSourceSubscriptionProject", m.Attributes["CloudPubSubDeadLetterSourceSubscriptionProject"], project),
		same("CloudPubSubDeadLetterSourceTopicPublishTime is there", m.Attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] != "", true),
		prefix("the source", e.none(ctx, sub, 500*time.Millisecond)),
		prefix("the dead letters", e.none(ctx, deadSub, 500*time.Millisecond)),
	)
}

func prefix(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

const invalidAckID = "PERMANENT_FAILURE_INVALID_ACK_ID"

// verdicts are what an error says of each ack id.
func verdicts(err error) map[string]string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Metadata
		}
	}
	return nil
}

func (e *Env) exactPair(ctx context.Context, data ...string) (sub string, err error) {
	topic, sub, err := e.pair(ctx, &pb.Subscription{EnableExactlyOnceDelivery: true})
	if err != nil {
		return "", err
	}
	return sub, e.publishTexts(ctx, topic, data...)
}

func checkExpiredAck(ctx context.Context, e *Env) error {
	sub, err := e.exactPair(ctx, "a")
	if err != nil {
		return err
	}
	first, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 1, first...); err != nil {
		return err
	}
	again, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	for what, err := range map[string]error{"ack": e.ack(ctx, sub, first...), "deadline": e.deadline(ctx, sub, 30, first...)} {
		if got := verdicts(err)[first[0].AckId]; got != invalidAckID {
			return fmt.Errorf("%s of the first delivery: %v with verdict %q, want %s", what, err, got, invalidAckID)
		}
		if err := code(err, codes.InvalidArgument); err != nil {
			return err
		}
	}
	if err := e.ack(ctx, sub, again...); err != nil {
		return fmt.Errorf("ack of the second delivery: %w", err)
	}
	return e.none(ctx, sub, 500*time.Millisecond)
}

func checkMixedAcks(ctx context.Context, e *Env) error {
	sub, err := e.exactPair(ctx, "a", "b")
	if err != nil {
		return err
	}
	first, err := e.pull(ctx, sub, 2)
	if err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 0, first[0]); err != nil {
		return err
	}
	got := verdicts(e.ack(ctx, sub, first...))
	if v := got[first[0].AckId]; v != invalidAckID {
		return fmt.Errorf("the verdict on the nacked one is %q", v)
	}
	if v := got[first[1].AckId]; v == invalidAckID {
		return errors.New("the good one is called invalid")
	}
	if err := e.ack(ctx, sub, first[1]); err != nil { // as clients do on a transient failure
		return fmt.Errorf("the good one again: %w", err)
	}
	again, err := e.pull(ctx, sub, 1)
	return errors.Join(err, sameTexts(again, texts(first[:1])...), e.none(ctx, sub, 500*time.Millisecond))
}

func checkConfirmed(ctx context.Context, e *Env) error {
	sub, err := e.exactPair(ctx, "a", "b")
	if err != nil {
		return err
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub})
	if err != nil {
		return err
	}
	defer t.close()
	all, _, err := t.read(2)
	if err != nil {
		return err
	}
	if err := t.stream.Send(&pb.StreamingPullRequest{ModifyDeadlineAckIds: ids(all[1:]), ModifyDeadlineSeconds: []int32{0}}); err != nil {
		return err
	}
	if _, _, err := t.read(1); err != nil {
		return err
	}
	if err := t.stream.Send(&pb.StreamingPullRequest{AckIds: ids(all)}); err != nil {
		return err
	}
	timeout := time.After(5 * time.Second)
	for {
		select {
		case r := <-t.in:
			if c := r.AcknowledgeConfirmation; c != nil {
				return errors.Join(
					same("confirmed", strings.Join(c.AckIds, " "), all[0].AckId),
					same("invalid", strings.Join(c.InvalidAckIds, " "), all[1].AckId))
			}
		case err := <-t.ended:
			t.ended <- err
			return err
		case <-timeout:
			return errors.New("no confirmation came")
		}
	}
}

func checkProperties(ctx context.Context, e *Env) error {
	sub, err := e.exactPair(ctx, "a")
	if err != nil {
		return err
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub})
	if err != nil {
		return err
	}
	defer t.close()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case r := <-t.in:
			if r.SubscriptionProperties.GetExactlyOnceDeliveryEnabled() {
				return nil
			}
		case err := <-t.ended:
			t.ended <- err
			return err
		case <-timeout:
			return errors.New("subscription_properties does not say so")
		}
	}
}
