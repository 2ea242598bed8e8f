package embedded_test

import (
	"context"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/embedded/conformance"
)

const (
	topicName = "projects/p/topics/topic"
	subName   = "projects/p/subscriptions/sub"
)

// A box is a server on a directory, and a client of it; it may be opened again.
type box struct {
	t      *testing.T
	cfg    embedded.Config
	server *embedded.Server
	conn   *grpc.ClientConn
	*conformance.Env
}

func newBox(t *testing.T, cfg embedded.Config) *box {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	b := &box{t: t, cfg: cfg}
	b.open()
	t.Cleanup(b.close)
	return b
}

func (b *box) open() {
	b.t.Helper()
	b.cfg.Addr = "127.0.0.1:0"
	server, err := embedded.Open(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.server = server
	if b.conn, err = conformance.Connect(server.Addr()); err != nil {
		b.t.Fatal(err)
	}
	b.Env = conformance.NewEnv(b.conn)
}

func (b *box) close() {
	if b.server == nil {
		return
	}
	b.conn.Close()
	if err := b.server.Close(); err != nil {
		b.t.Errorf("Close: %v", err)
	}
	b.server = nil
}

func (b *box) restart() {
	b.t.Helper()
	b.close()
	b.open()
}

// pair makes the topic and the subscription.
func (b *box) pair(s *pb.Subscription) {
	b.t.Helper()
	b.topic(topicName)
	if s == nil {
		s = &pb.Subscription{}
	}
	s.Name, s.Topic = subName, topicName
	b.subscription(s)
}

func (b *box) topic(name string) {
	b.t.Helper()
	if _, err := b.Publisher.CreateTopic(b.t.Context(), &pb.Topic{Name: name}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) subscription(s *pb.Subscription) {
	b.t.Helper()
	if _, err := b.Subscriber.CreateSubscription(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) tryPublish(texts ...string) ([]string, error) {
	in := &pb.PublishRequest{Topic: topicName}
	for _, s := range texts {
		in.Messages = append(in.Messages, &pb.PubsubMessage{Data: []byte(s)})
	}
	out, err := b.Publisher.Publish(b.t.Context(), in)
	return out.GetMessageIds(), err
}

func (b *box) publish(texts ...string) []string {
	b.t.Helper()
	ids, err := b.tryPublish(texts...)
	if err != nil {
		b.t.Fatal(err)
	}
	return ids
}

// pull takes what there is, at least n messages.
func (b *box) pull(sub string, n int) []*pb.ReceivedMessage {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	var all []*pb.ReceivedMessage
	for len(all) < n {
		out, err := b.Subscriber.Pull(ctx, &pb.PullRequest{Subscription: sub, MaxMessages: 1000})
		if err != nil {
			b.t.Fatalf("%d messages came, want %d: %v", len(all), n, err)
		}
		all = append(all, out.ReceivedMessages...)
	}
	return all
}

// now takes what there is, without waiting.
func (b *box) now(sub string) []*pb.ReceivedMessage {
	b.t.Helper()
	//lint:ignore SA1019 not to wait is the point
	out, err := b.Subscriber.Pull(b.t.Context(), &pb.PullRequest{Subscription: sub, MaxMessages: 1000, ReturnImmediately: true})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.ReceivedMessages
}

func (b *box) ack(sub string, messages ...*pb.ReceivedMessage) {
	b.t.Helper()
	if err := b.tryAck(sub, messages...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) tryAck(sub string, messages ...*pb.ReceivedMessage) error {
	_, err := b.Subscriber.Acknowledge(b.t.Context(), &pb.AcknowledgeRequest{Subscription: sub, AckIds: ackIDs(messages)})
	return err
}

func (b *box) nack(sub string, messages ...*pb.ReceivedMessage) {
	b.t.Helper()
	_, err := b.Subscriber.ModifyAckDeadline(b.t.Context(), &pb.ModifyAckDeadlineRequest{Subscription: sub, AckIds: ackIDs(messages)})
	if err != nil {
		b.t.Fatal(err)
	}
}

func ackIDs(messages []*pb.ReceivedMessage) []string {
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.AckId)
	}
	return ids
}

func texts(messages []*pb.ReceivedMessage) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Message.Data))
	}
	return all
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 400 {
		if f() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s: not within 10s", what)
}
