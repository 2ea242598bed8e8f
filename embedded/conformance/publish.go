package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
)

var publishing = []Check{
	{"Publishing", "a message arrives with data, attributes, ordering key, id and publish time", checkArrives},
	{"Publishing", "ids are unique and grow", checkIDs},
	{"Publishing", "an empty message is refused", checkEmpty},
	{"Publishing", "a message of 10 MB passes, a larger one is refused", checkLarge},
	{"Publishing", "more than 1,000 messages a request are refused", checkCount},
	{"Publishing", "limits of attributes and ordering keys are enforced", checkAttributeLimits},
	{"Publishing", "one request holds one ordering key", checkOneKey},
	{"Publishing", "every subscription of a topic gets a message", checkFanOut},
}

var pulling = []Check{
	{"Pull and acknowledge", "an acknowledged message does not come back", checkAcked},
	{"Pull and acknowledge", "Pull gives at most max_messages, and refuses 0", checkMaxMessages},
	{"Pull and acknowledge", "an ack id that was never given is refused", checkStrangeAck},
}

func checkArrives(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	sent := &pb.PubsubMessage{Data: []byte("data \x00\xff"), Attributes: map[string]string{"a": "b", "ü": ""}, OrderingKey: "key"}
	sentIDs, err := e.publish(ctx, topic, sent)
	if err != nil {
		return err
	}
	messages, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	got := messages[0].Message
	_, hasEmpty := got.Attributes["ü"]
	return errors.Join(
		same("data", string(got.Data), string(sent.Data)),
		same("attribute a", got.Attributes["a"], "b"),
		same("an empty attribute is there", hasEmpty, true),
		same("ordering key", got.OrderingKey, "key"),
		same("id", got.MessageId, sentIDs[0]),
		same("publish time is now", time.Since(got.PublishTime.AsTime()).Abs() < time.Hour, true),
		same("delivery_attempt without a dead-letter policy", messages[0].DeliveryAttempt, 0),
	)
}

func checkIDs(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	last := int64(-1)
	for range 20 {
		got, err := e.publish(ctx, topic, text("a"), text("b"), text("c"))
		if err != nil {
			return err
		}
		for _, id := range got {
			n, err := strconv.ParseInt(id, 10, 64)
			if err != nil || n <= last {
				return fmt.Errorf("id %q after %d", id, last)
			}
			last = n
		}
	}
	return nil
}

func checkEmpty(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	errs := map[string]error{}
	_, errs["empty message"] = e.publish(ctx, topic, &pb.PubsubMessage{})
	_, errs["one of two is empty"] = e.publish(ctx, topic, text("a"), &pb.PubsubMessage{OrderingKey: ""})
	_, errs["no messages"] = e.publish(ctx, topic)
	if _, err := e.publish(ctx, topic, &pb.PubsubMessage{Attributes: map[string]string{"a": "b"}}); err != nil {
		return fmt.Errorf("attributes alone: %w", err)
	}
	return refused(codes.InvalidArgument, errs)
}

func checkLarge(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	big := bytes.Repeat([]byte("x"), 9_999_000)
	if _, err := e.publish(ctx, topic, &pb.PubsubMessage{Data: big}); err != nil {
		return fmt.Errorf("10 MB: %w", err)
	}
	messages, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	if err := same("its data came whole", bytes.Equal(messages[0].Message.Data, big), true); err != nil {
		return err
	}
	_, err = e.publish(ctx, topic, &pb.PubsubMessage{Data: make([]byte, 11<<20)})
	return code(err, codes.InvalidArgument)
}

func checkCount(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, slices.Repeat([]*pb.PubsubMessage{text("a")}, 1000)...); err != nil {
		return fmt.Errorf("1000 messages: %w", err)
	}
	_, err = e.publish(ctx, topic, slices.Repeat([]*pb.PubsubMessage{text("a")}, 1001)...)
	return code(err, codes.InvalidArgument)
}

func checkAttributeLimits(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	with := func(a map[string]string) *pb.PubsubMessage {
		return &pb.PubsubMessage{Data: []byte("a"), Attributes: a}
	}
	hundred := map[string]string{}
	for i := range 100 {
		hundred[strconv.Itoa(i)] = "v"
	}
	good := with(hundred)
	if _, err := e.publish(ctx, topic, good, with(map[string]string{strings.Repeat("k", 256): strings.Repeat("v", 1024)})); err != nil {
		return fmt.Errorf("at the limits: %w", err)
	}
	hundred["one more"] = "v"
	errs := map[string]error{}
	_, errs["101 attributes"] = e.publish(ctx, topic, with(hundred))
	_, errs["a key of 257 bytes"] = e.publish(ctx, topic, with(map[string]string{strings.Repeat("k", 257): "v"}))
	_, errs["a value of 1025 bytes"] = e.publish(ctx, topic, with(map[string]string{"k": strings.Repeat("v", 1025)}))
	_, errs["an ordering key of 1025 bytes"] = e.publish(ctx, topic, &pb.PubsubMessage{Data: []byte("a"), OrderingKey: strings.Repeat("k", 1025)})
	return refused(codes.InvalidArgument, errs)
}

func checkOneKey(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	_, err = e.publish(ctx, topic, &pb.PubsubMessage{Data: []byte("a"), OrderingKey: "a"}, &pb.PubsubMessage{Data: []byte("b"), OrderingKey: "b"})
	return code(err, codes.InvalidArgument)
}

func checkFanOut(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	other, err := e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName("other"), Topic: topic})
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	for _, name := range []string{sub, other.Name} {
		messages, err := e.pull(ctx, name, 1)
		if err := errors.Join(err, sameTexts(messages, "a")); err != nil {
			return err
		}
	}
	return nil
}

func checkAcked(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a", "b"); err != nil {
		return err
	}
	messages, err := e.pull(ctx, sub, 2)
	if err != nil {
		return err
	}
	if err := e.ack(ctx, sub, messages[0]); err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 0, messages...); err != nil { // a nack of the acked one says nothing
		return err
	}
	again, err := e.pull(ctx, sub, 1)
	if err := errors.Join(err, sameTexts(again, texts(messages[1:])...)); err != nil {
		return err
	}
	return e.none(ctx, sub, 500*time.Millisecond)
}

func checkMaxMessages(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a", "b", "c"); err != nil {
		return err
	}
	out, err := e.Subscriber.Pull(ctx, &pb.PullRequest{Subscription: sub, MaxMessages: 2})
	if err != nil {
		return err
	}
	if n := len(out.ReceivedMessages); n < 1 || n > 2 {
		return fmt.Errorf("%d messages, want 1 or 2", n)
	}
	_, err = e.Subscriber.Pull(ctx, &pb.PullRequest{Subscription: sub})
	return code(err, codes.InvalidArgument)
}

func checkStrangeAck(ctx context.Context, e *Env) error {
	_, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	errs := map[string]error{}
	_, errs["ack"] = e.Subscriber.Acknowledge(ctx, &pb.AcknowledgeRequest{Subscription: sub, AckIds: []string{"never given"}})
	_, errs["no ids"] = e.Subscriber.Acknowledge(ctx, &pb.AcknowledgeRequest{Subscription: sub})
	_, errs["deadline of 601 s"] = e.Subscriber.ModifyAckDeadline(ctx, &pb.ModifyAckDeadlineRequest{Subscription: sub, AckIds: []string{"x"}, AckDeadlineSeconds: 601})
	return refused(codes.InvalidArgument, errs)
}
