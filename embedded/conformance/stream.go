package conformance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
)

var streaming = []Check{
	{"Streaming pull", "a backlog comes many messages to a response", checkBatches},
	{"Streaming pull", "acks and deadlines sent on the stream count", checkStreamAcks},
	{"Streaming pull", "max_outstanding_messages holds back the server", checkOutstanding},
	{"Streaming pull", "max_outstanding_bytes holds back the server", checkOutstandingBytes},
	{"Streaming pull", "a wrong first request ends the stream", checkStreamStart},
	{"Streaming pull", "limits cannot be changed later", checkStreamLater},
}

// A tap is an open stream and what came on it.
type tap struct {
	stream pb.Subscriber_StreamingPullClient
	in     chan *pb.StreamingPullResponse
	ended  chan error
	cancel context.CancelFunc
}

func (e *Env) open(ctx context.Context, first *pb.StreamingPullRequest) (*tap, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := e.Subscriber.StreamingPull(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	if first.StreamAckDeadlineSeconds == 0 {
		first.StreamAckDeadlineSeconds = 60
	}
	if err := stream.Send(first); err != nil {
		cancel()
		return nil, err
	}
	t := &tap{stream: stream, in: make(chan *pb.StreamingPullResponse, 1000), ended: make(chan error, 1), cancel: cancel}
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				t.ended <- err
				return
			}
			t.in <- r
		}
	}()
	return t, nil
}

// close ends the stream and waits until nothing of it runs.
func (t *tap) close() {
	t.cancel()
	for {
		select {
		case <-t.ended:
			return
		case <-t.in:
		}
	}
}

// read collects n messages; most is the largest response.
func (t *tap) read(n int) (all []*pb.ReceivedMessage, most int, err error) {
	timeout := time.After(15 * time.Second)
	for len(all) < n {
		select {
		case r := <-t.in:
			all = append(all, r.ReceivedMessages...)
			most = max(most, len(r.ReceivedMessages))
		case err := <-t.ended:
			t.ended <- err
			return all, most, err
		case <-timeout:
			return all, most, fmt.Errorf("%d messages came, want %d", len(all), n)
		}
	}
	return all, most, nil
}

// quiet checks that no message comes for a while.
func (t *tap) quiet(wait time.Duration) error {
	timeout := time.After(wait)
	for {
		select {
		case r := <-t.in:
			if len(r.ReceivedMessages) > 0 {
				return fmt.Errorf("%q came, want nothing", texts(r.ReceivedMessages))
			}
		case err := <-t.ended:
			t.ended <- err
			return err
		case <-timeout:
			return nil
		}
	}
}

// end waits for the stream to be ended by the server.
func (t *tap) end() error {
	timeout := time.After(10 * time.Second)
	for {
		select {
		case <-t.in:
		case err := <-t.ended:
			t.ended <- err
			return err
		case <-timeout:
			return errors.New("the stream goes on")
		}
	}
}

func numbers(n int) []*pb.PubsubMessage {
	all := make([]*pb.PubsubMessage, n)
	for i := range all {
		all[i] = text(strconv.Itoa(i))
	}
	return all
}

func checkBatches(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, numbers(500)...); err != nil {
		return err
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub})
	if err != nil {
		return err
	}
	defer t.close()
	all, most, err := t.read(500)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, m := range all {
		seen[string(m.Message.Data)] = true
	}
	if most < 10 {
		return fmt.Errorf("the largest of the responses has %d messages of 500", most)
	}
	return same("messages", len(seen), 500)
}

func checkStreamAcks(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a", "b"); err != nil {
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
	err = t.stream.Send(&pb.StreamingPullRequest{
		AckIds: ids(all[:1]), ModifyDeadlineAckIds: ids(all[1:]), ModifyDeadlineSeconds: []int32{0},
	})
	if err != nil {
		return err
	}
	again, _, err := t.read(1)
	if err := errors.Join(err, sameTexts(again, texts(all[1:])...)); err != nil {
		return err
	}
	return t.quiet(500 * time.Millisecond)
}

func checkOutstanding(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, numbers(20)...); err != nil {
		return err
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub, MaxOutstandingMessages: 5})
	if err != nil {
		return err
	}
	defer t.close()
	all, _, err := t.read(5)
	if err == nil && len(all) > 5 {
		err = fmt.Errorf("%d messages came, want 5", len(all))
	}
	if err == nil {
		err = t.quiet(500 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	if err := e.ack(ctx, sub, all[:2]...); err != nil {
		return err
	}
	more, _, err := t.read(2)
	if err != nil {
		return fmt.Errorf("after 2 acks: %w", err)
	}
	if len(more) > 2 {
		return fmt.Errorf("after 2 acks %d more came", len(more))
	}
	return t.quiet(300 * time.Millisecond)
}

func checkOutstandingBytes(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	for range 6 {
		if _, err := e.publish(ctx, topic, &pb.PubsubMessage{Data: make([]byte, 10_000)}); err != nil {
			return err
		}
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub, MaxOutstandingBytes: 25_000})
	if err != nil {
		return err
	}
	defer t.close()
	all, _, err := t.read(2)
	if err != nil {
		return err
	}
	for { // the one that crosses the limit may still come
		more, _, err := t.readFor(300 * time.Millisecond)
		if err != nil {
			return err
		}
		if len(more) == 0 {
			break
		}
		all = append(all, more...)
	}
	if len(all) > 3 {
		return fmt.Errorf("%d messages of 10 kB came, the limit is 25 kB", len(all))
	}
	return nil
}

// readFor collects what comes within a while.
func (t *tap) readFor(wait time.Duration) (all []*pb.ReceivedMessage, most int, err error) {
	timeout := time.After(wait)
	for {
		select {
		case r := <-t.in:
			all = append(all, r.ReceivedMessages...)
			most = max(most, len(r.ReceivedMessages))
		case err := <-t.ended:
			t.ended <- err
			return all, most, err
		case <-timeout:
			return all, most, nil
		}
	}
}

func checkStreamStart(ctx context.Context, e *Env) error {
	_, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	var wrong []error
	for _, c := range []struct {
		what  string
		first *pb.StreamingPullRequest
		want  codes.Code
	}{
		{"deadline of 9 s", &pb.StreamingPullRequest{Subscription: sub, StreamAckDeadlineSeconds: 9}, codes.InvalidArgument},
		{"deadline of 601 s", &pb.StreamingPullRequest{Subscription: sub, StreamAckDeadlineSeconds: 601}, codes.InvalidArgument},
		{"no subscription", &pb.StreamingPullRequest{}, codes.InvalidArgument},
		{"a missing subscription", &pb.StreamingPullRequest{Subscription: e.subName("none")}, codes.NotFound},
	} {
		t, err := e.open(ctx, c.first)
		if err != nil {
			return err
		}
		if err := code(t.end(), c.want); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", c.what, err))
		}
		t.close()
	}
	return errors.Join(wrong...)
}

func checkStreamLater(ctx context.Context, e *Env) error {
	_, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub, MaxOutstandingMessages: 5})
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.stream.Send(&pb.StreamingPullRequest{MaxOutstandingMessages: 10}); err != nil {
		return err
	}
	return code(t.end(), codes.InvalidArgument)
}
