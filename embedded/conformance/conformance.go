// Package conformance says what a Pub/Sub server has to honour, as checks that run
// against any endpoint of the google.pubsub.v1 services, and as a table of who
// honours what.
//
// Each check makes resources of its own, so that checks may run side by side and
// against a server that holds other things. What they ask for is Google's
// documentation; where servers differ, that decides.
package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// A Check is one promise of the service.
type Check struct {
	Area    string // the heading it stands under
	Promise string // what holds, in a few words
	Run     func(ctx context.Context, e *Env) error
}

// All lists the checks, area by area.
func All() []Check {
	var all []Check
	for _, area := range [][]Check{
		administration, publishing, pulling, streaming, leases, ordering, filtering, deadLettering, exactlyOnce, seeking, schemas,
	} {
		all = append(all, area...)
	}
	return all
}

// An Env is the server under check, and a place of the check's own on it.
type Env struct {
	Publisher  pb.PublisherClient
	Subscriber pb.SubscriberClient
	Schemas    pb.SchemaServiceClient
	Project    string // "projects/..."
}

// Connect opens a connection to a server without security, at host:port.
func Connect(addr string) (*grpc.ClientConn, error) {
	again := backoff.DefaultConfig
	again.BaseDelay, again.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20), grpc.MaxCallSendMsgSize(32<<20)))
}

// NewEnv makes a place for one check: a project that nobody else uses.
func NewEnv(conn *grpc.ClientConn) *Env {
	return &Env{
		Publisher: pb.NewPublisherClient(conn), Subscriber: pb.NewSubscriberClient(conn), Schemas: pb.NewSchemaServiceClient(conn),
		Project: "projects/check-" + strings.ToLower(rand.Text()[:10]),
	}
}

func (e *Env) topicName(id string) string { return e.Project + "/topics/" + id }
func (e *Env) subName(id string) string   { return e.Project + "/subscriptions/" + id }
func (e *Env) snapName(id string) string  { return e.Project + "/snapshots/" + id }

// topic makes a topic and returns its name.
func (e *Env) topic(ctx context.Context, id string) (string, error) {
	_, err := e.Publisher.CreateTopic(ctx, &pb.Topic{Name: e.topicName(id)})
	return e.topicName(id), err
}

// pair makes a topic and a subscription with these settings.
func (e *Env) pair(ctx context.Context, settings *pb.Subscription) (topic, sub string, err error) {
	if topic, err = e.topic(ctx, "topic"); err != nil {
		return "", "", err
	}
	if settings == nil {
		settings = &pb.Subscription{}
	}
	settings.Name, settings.Topic = e.subName("subscription"), topic
	_, err = e.Subscriber.CreateSubscription(ctx, settings)
	return topic, settings.Name, err
}

func text(s string) *pb.PubsubMessage { return &pb.PubsubMessage{Data: []byte(s)} }

func (e *Env) publish(ctx context.Context, topic string, messages ...*pb.PubsubMessage) ([]string, error) {
	out, err := e.Publisher.Publish(ctx, &pb.PublishRequest{Topic: topic, Messages: messages})
	return out.GetMessageIds(), err
}

func (e *Env) publishTexts(ctx context.Context, topic string, texts ...string) error {
	for _, s := range texts {
		if _, err := e.publish(ctx, topic, text(s)); err != nil {
			return err
		}
	}
	return nil
}

// pull collects n messages; fewer within the wait are an error.
func (e *Env) pull(ctx context.Context, sub string, n int) ([]*pb.ReceivedMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var all []*pb.ReceivedMessage
	for len(all) < n {
		out, err := e.Subscriber.Pull(ctx, &pb.PullRequest{Subscription: sub, MaxMessages: int32(n - len(all))})
		if err != nil {
			if over(ctx, err) {
				return all, fmt.Errorf("%d messages came, want %d", len(all), n)
			}
			return all, err
		}
		all = append(all, out.ReceivedMessages...)
	}
	return all, nil
}

// over reports whether the wait is over: the server may notice a little earlier
// than this side.
func over(ctx context.Context, err error) bool {
	c := status.Code(err)
	return ctx.Err() != nil || c == codes.DeadlineExceeded || c == codes.Canceled
}

// none checks that nothing comes for a while.
func (e *Env) none(ctx context.Context, sub string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		out, err := e.Subscriber.Pull(ctx, &pb.PullRequest{Subscription: sub, MaxMessages: 10})
		if over(ctx, err) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(out.ReceivedMessages) > 0 {
			return fmt.Errorf("%q came, want nothing", texts(out.ReceivedMessages))
		}
	}
}

func (e *Env) ack(ctx context.Context, sub string, messages ...*pb.ReceivedMessage) error {
	_, err := e.Subscriber.Acknowledge(ctx, &pb.AcknowledgeRequest{Subscription: sub, AckIds: ids(messages)})
	return err
}

func (e *Env) deadline(ctx context.Context, sub string, seconds int32, messages ...*pb.ReceivedMessage) error {
	_, err := e.Subscriber.ModifyAckDeadline(ctx, &pb.ModifyAckDeadlineRequest{Subscription: sub, AckIds: ids(messages), AckDeadlineSeconds: seconds})
	return err
}

func ids(messages []*pb.ReceivedMessage) []string {
	var all []string
	for _, m := range messages {
		all = append(all, m.AckId)
	}
	return all
}

func texts(messages []*pb.ReceivedMessage) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Message.Data))
	}
	return all
}

// code checks the code of an error.
func code(err error, want codes.Code) error {
	if got := status.Code(err); got != want {
		return fmt.Errorf("%v, want %v (%v)", got, want, err)
	}
	return nil
}

// refused checks several answers, each under its name.
func refused(want codes.Code, errs map[string]error) error {
	var wrong []error
	for what, err := range errs {
		if err := code(err, want); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, err))
		}
	}
	return errors.Join(wrong...)
}

// same compares what came with what was expected.
func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

// sameTexts compares the data of messages, in order.
func sameTexts(messages []*pb.ReceivedMessage, want ...string) error {
	return same("what came", strings.Join(texts(messages), " "), strings.Join(want, " "))
}
