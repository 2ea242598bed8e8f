package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/durationpb"
)

var leases = []Check{
	{"Ack deadlines", "a message comes back when its deadline passes", checkExpiry},
	{"Ack deadlines", "not before, and not when it was extended", checkExtended},
	{"Ack deadlines", "a nacked message comes back at once", checkNack},
	{"Ack deadlines", "an ack after the deadline counts, if nobody else was faster (documented as: may)", checkLateAck},
	{"Ack deadlines", "a retry policy delays what was nacked", checkBackoff},
	{"Ack deadlines", "the stream's own deadline counts", checkStreamDeadline},
}

func checkExpiry(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	first, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 1, first...); err != nil {
		return err
	}
	start := time.Now()
	again, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	if took := time.Since(start); took > 8*time.Second { // the subscription's own deadline is 10s
		return fmt.Errorf("it came back after %v, its deadline was 1s", took.Round(time.Millisecond))
	}
	return errors.Join(sameTexts(again, "a"),
		same("the id", again[0].Message.MessageId, first[0].Message.MessageId),
		same("the ack id is another", again[0].AckId != first[0].AckId, true))
}

func checkExtended(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	first, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 2, first...); err != nil {
		return err
	}
	if err := e.none(ctx, sub, time.Second); err != nil {
		return fmt.Errorf("before the deadline: %w", err)
	}
	if err := e.deadline(ctx, sub, 60, first...); err != nil {
		return err
	}
	return e.none(ctx, sub, 2500*time.Millisecond)
}

func checkNack(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	got, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	start := time.Now()
	for range 3 {
		if err := e.deadline(ctx, sub, 0, got...); err != nil {
			return err
		}
		if got, err = e.pull(ctx, sub, 1); err != nil {
			return err
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		return fmt.Errorf("three times took %v", took.Round(time.Millisecond))
	}
	return nil
}

func checkLateAck(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	first, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 1, first...); err != nil {
		return err
	}
	again, err := e.pull(ctx, sub, 1) // its deadline has passed
	if err != nil {
		return err
	}
	if err := e.ack(ctx, sub, first...); err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 0, again...); err != nil {
		return err
	}
	return e.none(ctx, sub, time.Second)
}

func checkBackoff(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, &pb.Subscription{RetryPolicy: &pb.RetryPolicy{
		MinimumBackoff: durationpb.New(2 * time.Second), MaximumBackoff: durationpb.New(4 * time.Second),
	}})
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	first, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := e.deadline(ctx, sub, 0, first...); err != nil {
		return err
	}
	if _, err := e.pull(ctx, sub, 1); err != nil {
		return err
	}
	if took := time.Since(start); took < 1500*time.Millisecond {
		return fmt.Errorf("it came back after %v, its backoff is 2s", took.Round(time.Millisecond))
	}
	return nil
}

func checkStreamDeadline(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, &pb.Subscription{AckDeadlineSeconds: 60})
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub, StreamAckDeadlineSeconds: 10})
	if err != nil {
		return err
	}
	defer t.close()
	if _, _, err := t.read(1); err != nil {
		return err
	}
	start := time.Now()
	again, _, err := t.read(1)
	if err := errors.Join(err, sameTexts(again, "a")); err != nil {
		return err
	}
	if took := time.Since(start); took < 8*time.Second {
		return fmt.Errorf("it came back after %v", took.Round(time.Millisecond))
	}
	return nil
}
