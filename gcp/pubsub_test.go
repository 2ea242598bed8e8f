package gcp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
)

const patience = 10 * time.Second

// startPubSub starts a broker that misbehaves as planned, with the topic topic-t
// and its subscription sub-s, and a client of it.
func startPubSub(t *testing.T, faults ...embedded.FaultPlan) (*embedded.Server, *gcp.PubSub) {
	t.Helper()
	ends := []goleak.Option{
		goleak.IgnoreCurrent(),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), // never ends
		// It looks for its end only at every tick of its tickers, seconds later.
		goleak.IgnoreTopFunction("cloud.google.com/go/pubsub/v2.(*messageIterator).streamKeepAliveHandler"),
	}
	t.Cleanup(func() { goleak.VerifyNone(t, ends...) })
	broker, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	t.Setenv("PUBSUB_EMULATOR_HOST", broker.Addr())
	client := openPubSub(t)
	if err := client.EnsureTopics(t.Context(), "topic-t"); err != nil {
		t.Fatal(err)
	}
	if err := client.EnsureSubscriptions(t.Context(), gcp.SubscriptionSpec{Name: "sub-s", Topic: "topic-t"}); err != nil {
		t.Fatal(err)
	}
	for _, plan := range faults {
		broker.Faults().Set(plan)
	}
	return broker, client
}

// denied is a plan by which methods are refused for want of a right.
func denied(methods ...string) embedded.FaultPlan {
	plan := embedded.FaultPlan{Refuse: map[string]float64{}, RefuseCode: codes.PermissionDenied}
	for _, m := range methods {
		plan.Refuse[m] = 1
	}
	return plan
}

// counted are the broker's counts of sub-s.
func counted(t *testing.T, broker *embedded.Server) embedded.SubscriptionStats {
	t.Helper()
	all := broker.Stats().Subscriptions
	if len(all) != 1 {
		t.Fatalf("%d subscriptions", len(all))
	}
	return all[0]
}

func openPubSub(t *testing.T) *gcp.PubSub {
	t.Helper()
	client, err := gcp.OpenPubSub(t.Context(), gcp.PubSubConfig{Project: "p", Answer: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// A receiver runs Receive in the background.
type receiver struct {
	deliveries chan *pipeline.Delivery
	stop       context.CancelFunc
	done       chan error
}

// A source is what both ways to receive have.
type source interface {
	pipeline.Source
	Held() int64
}

// both runs a test with each way to receive.
func both(t *testing.T, test func(t *testing.T, open opener)) {
	t.Run("client", func(t *testing.T) {
		test(t, func(c *gcp.PubSub, name string, s gcp.SubscriptionSettings) source { return c.Subscription(name, s) })
	})
	t.Run("stream", func(t *testing.T) {
		test(t, func(c *gcp.PubSub, name string, s gcp.SubscriptionSettings) source { return c.Stream(name, s) })
	})
}

type opener = func(*gcp.PubSub, string, gcp.SubscriptionSettings) source

func receive(t *testing.T, s pipeline.Source) *receiver {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &receiver{deliveries: make(chan *pipeline.Delivery, 1000), stop: stop, done: make(chan error, 1)}
	go func() {
		r.done <- s.Receive(ctx, func(_ context.Context, d *pipeline.Delivery) { r.deliveries <- d })
	}()
	t.Cleanup(stop)
	return r
}

func (r *receiver) next(t *testing.T) *pipeline.Delivery {
	t.Helper()
	select {
	case d := <-r.deliveries:
		return d
	case err := <-r.done:
		t.Fatalf("Receive returned %v", err)
	case <-time.After(patience):
		t.Fatal("nothing delivered")
	}
	return nil
}

func (r *receiver) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		t.Fatal("Receive does not return")
	}
	return nil
}

func publish(t *testing.T, client *gcp.PubSub, messages ...*schema.Message) {
	t.Helper()
	topic := client.Topic("topic-t", gcp.TopicSettings{})
	defer topic.Close()
	for _, m := range messages {
		if err := topic.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADeliveryIsWhatWasPublished(t *testing.T) { both(t, aDeliveryIsWhatWasPublished) }

func aDeliveryIsWhatWasPublished(t *testing.T, open opener) {
	_, client := startPubSub(t)
	want := &schema.Message{
		Data:        []byte(`{"symbol":"AAPL"}`),
		Attributes:  map[string]string{"schema_version": "v1.2.0", "source": "yahoo"},
		OrderingKey: "AAPL",
	}
	before := time.Now().Add(-time.Second)
	publish(t, client, want)
	r := receive(t, open(client, "sub-s", gcp.SubscriptionSettings{}))
	d := r.next(t)
	if diff := cmp.Diff(*want, d.Message, cmpopts.IgnoreFields(schema.Message{}, "ID", "PublishTime")); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
	if d.ID == "" || d.PublishTime.Before(before) || d.PublishTime.After(time.Now().Add(time.Second)) {
		t.Errorf("id %q, published at %v", d.ID, d.PublishTime)
	}
	d.Ack()
	r.stop()
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
}

func TestAckSettlesAndNackBringsBack(t *testing.T) { both(t, ackSettlesAndNackBringsBack) }

func ackSettlesAndNackBringsBack(t *testing.T, open opener) {
	broker, client := startPubSub(t)
	publish(t, client, &schema.Message{Data: []byte("good")}, &schema.Message{Data: []byte("bad")})
	sub := open(client, "sub-s", gcp.SubscriptionSettings{})
	r := receive(t, sub)
	refused := false
	for acked := 0; acked < 2; {
		d := r.next(t)
		if string(d.Data) == "bad" && !refused {
			refused = true
			d.Nack()
			d.Ack() // too late: settled once
			continue
		}
		d.Ack()
		acked++
	}
	r.stop()
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if c := counted(t, broker); c.Delivered != 3 || c.Acked != 2 || c.Nacked != 1 || c.Backlog != 0 {
		t.Errorf("the broker counts %+v; want 3 deliveries, 2 acks, 1 nack", c)
	}
	if held := sub.Held(); held != 0 {
		t.Errorf("Held() = %d at the end", held)
	}
}

func TestDrainAfterCancelStillAcks(t *testing.T) { both(t, drainAfterCancelStillAcks) }

func drainAfterCancelStillAcks(t *testing.T, open opener) {
	broker, client := startPubSub(t)
	const n = 5
	for i := range n {
		publish(t, client, &schema.Message{Data: fmt.Append(nil, i)})
	}
	sub := open(client, "sub-s", gcp.SubscriptionSettings{NumGoroutines: 2})
	r := receive(t, sub)
	var held []*pipeline.Delivery
	for range n { // the callbacks have returned, the messages are held
		held = append(held, r.next(t))
	}
	r.stop()
	publish(t, client, &schema.Message{Data: []byte("after the end of intake")})
	select {
	case err := <-r.done:
		t.Fatalf("Receive returned %v with %d messages held", err, sub.Held())
	case <-time.After(300 * time.Millisecond):
	}
	for _, d := range held {
		d.Ack()
	}
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if len(r.deliveries) != 0 {
		t.Errorf("%d deliveries after intake ended", len(r.deliveries))
	}
	if c := counted(t, broker); c.Acked != n || c.Backlog != 1 {
		t.Errorf("when Receive has returned the broker counts %+v; want %d acked and one waiting", c, n)
	}
}

func TestDrainGivesUpOnMessagesNobodySettles(t *testing.T) {
	both(t, drainGivesUpOnMessagesNobodySettles)
}

func drainGivesUpOnMessagesNobodySettles(t *testing.T, open opener) {
	_, client := startPubSub(t)
	publish(t, client, &schema.Message{Data: []byte("x")})
	r := receive(t, open(client, "sub-s", gcp.SubscriptionSettings{DrainTimeout: 100 * time.Millisecond}))
	d := r.next(t)
	r.stop()
	if err := r.wait(t); !errors.Is(err, gcp.ErrUnsettled) {
		t.Errorf("Receive = %v, want ErrUnsettled", err)
	}
	d.Nack() // lets the client end
}

func TestABlockedCallbackEndsWithIntake(t *testing.T) { both(t, aBlockedCallbackEndsWithIntake) }

func aBlockedCallbackEndsWithIntake(t *testing.T, open opener) {
	_, client := startPubSub(t)
	publish(t, client, &schema.Message{Data: []byte("x")})
	ctx, stop := context.WithCancel(t.Context())
	err := open(client, "sub-s", gcp.SubscriptionSettings{}).Receive(ctx, func(ctx context.Context, d *pipeline.Delivery) {
		stop()
		<-ctx.Done()
		d.Nack()
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPublishManyInFlight(t *testing.T) {
	broker, client := startPubSub(t)
	topic := client.Topic("topic-t", gcp.TopicSettings{MaxInFlight: 20})
	defer topic.Close()
	var sent []*gcp.Publication
	for i := range 500 {
		sent = append(sent, topic.Start(t.Context(), &schema.Message{Data: fmt.Append(nil, i)}))
	}
	ids := map[string]bool{}
	for i, p := range sent {
		id, err := p.ID(t.Context())
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		ids[id] = true
	}
	if len(ids) != 500 || broker.Stats().Published != 500 {
		t.Errorf("%d ids, %d messages at the broker; want 500", len(ids), broker.Stats().Published)
	}
}

func TestPublishErrorsSayWhatToDo(t *testing.T) {
	_, client := startPubSub(t, denied("Publish"))
	topic := client.Topic("topic-t", gcp.TopicSettings{})
	defer topic.Close()
	for _, tt := range []struct {
		name string
		data []byte
		key  string
		want error
		says string
	}{
		{"denied", []byte("x"), "", gcp.ErrDenied, "grant roles/pubsub.publisher"},
		{"denied with a key", []byte("x"), "AAPL", gcp.ErrDenied, "grant roles/pubsub.publisher"},
		{"denied with the same key, which is not held back", []byte("x"), "AAPL", gcp.ErrDenied, "grant roles/pubsub.publisher"},
		{"too large", bytes.Repeat([]byte("x"), 10_000_001), "", gcp.ErrTooLarge, "limit of 10 MB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, topic.Publish(t.Context(), &schema.Message{Data: tt.data, OrderingKey: tt.key}), tt.want, tt.says)
		})
	}
}

func TestPublishOnATopicThatIsMissing(t *testing.T) {
	_, client := startPubSub(t)
	topic := client.Topic("nowhere", gcp.TopicSettings{})
	defer topic.Close()
	wantError(t, topic.Publish(t.Context(), &schema.Message{Data: []byte("x")}), gcp.ErrNotFound, "projects/p/topics/nowhere")
}

func TestPublishLeavesTheMessageToItsCaller(t *testing.T) {
	_, client := startPubSub(t)
	m := &schema.Message{Data: []byte("x"), Attributes: map[string]string{"a": "b"}}
	publish(t, client, m)
	if diff := cmp.Diff(&schema.Message{Data: []byte("x"), Attributes: map[string]string{"a": "b"}}, m); diff != "" {
		t.Errorf("message after Publish (-want +got):\n%s", diff)
	}
}

func TestReceiveFromASubscriptionThatIsMissing(t *testing.T) {
	both(t, receiveFromASubscriptionThatIsMissing)
}

func receiveFromASubscriptionThatIsMissing(t *testing.T, open opener) {
	_, client := startPubSub(t)
	err := open(client, "nowhere", gcp.SubscriptionSettings{}).Receive(t.Context(), func(context.Context, *pipeline.Delivery) {})
	wantError(t, err, gcp.ErrNotFound, "create it (--create, or terraform)")
}

func TestEnsureCreatesWhatIsMissingOnce(t *testing.T) {
	_, client := startPubSub(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := client.EnsureTopics(t.Context(), "topic-a", "topic-b", "topic-a-undelivered"); err != nil {
				t.Error(err)
			}
			if err := client.EnsureSubscriptions(t.Context(),
				gcp.SubscriptionSpec{Name: "a-ingest", Topic: "topic-a", Undelivered: "topic-a-undelivered"},
				gcp.SubscriptionSpec{Name: "b-ingest", Topic: "topic-b", AckDeadline: 10 * time.Minute}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := client.CheckSubscription(t.Context(), "a-ingest", "topic-a"); err != nil {
		t.Error(err)
	}
}

func TestEnsureRefusesWhatWouldNotWork(t *testing.T) {
	_, client := startPubSub(t)
	for _, tt := range []struct {
		name string
		spec gcp.SubscriptionSpec
		want error
		says string
	}{
		{"no topic", gcp.SubscriptionSpec{Name: "sub-x", Topic: "nowhere"}, gcp.ErrNotFound, "topic nowhere: not found: create it first"},
		{"the subscription is of another topic", gcp.SubscriptionSpec{Name: "sub-s", Topic: "other"}, gcp.ErrUnsuitable, "it is of projects/p/topics/topic-t, not projects/p/topics/other"},
		{"a deadline too short", gcp.SubscriptionSpec{Name: "sub-x", Topic: "topic-t", AckDeadline: 10 * time.Second}, nil, "not between 60s and 600s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, client.EnsureSubscriptions(t.Context(), tt.spec), tt.want, tt.says)
		})
	}
}

func TestCheckSubscription(t *testing.T) {
	for _, tt := range []struct {
		name, subscription, topic string
		faults                    []embedded.FaultPlan
		want                      error
		says                      string
	}{
		{name: "there", subscription: "sub-s", topic: "topic-t"},
		{name: "there, by its full name", subscription: "projects/p/subscriptions/sub-s"},
		{name: "missing", subscription: "nowhere", want: gcp.ErrNotFound, says: "subscription nowhere: not found: create it (--create, or terraform)"},
		{name: "of another topic", subscription: "sub-s", topic: "other", want: gcp.ErrUnsuitable, says: "it is of projects/p/topics/topic-t"},
		{name: "may consume but not look", subscription: "sub-s", faults: []embedded.FaultPlan{denied("GetSubscription")}},
		{name: "may neither look nor consume", subscription: "sub-s", faults: []embedded.FaultPlan{denied("GetSubscription", "Acknowledge")}, want: gcp.ErrDenied, says: "grant roles/pubsub.subscriber"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, client := startPubSub(t, tt.faults...)
			wantError(t, client.CheckSubscription(t.Context(), tt.subscription, tt.topic), tt.want, tt.says)
		})
	}
}

func TestAnEmulatorThatIsDownIsSaidToBeDown(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, addr := range map[string]string{"nobody listens": closed.Addr().String(), "nobody answers": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PUBSUB_EMULATOR_HOST", addr)
			client := openPubSub(t)
			began := time.Now()
			says := "nothing answers at " + addr + " (from PUBSUB_EMULATOR_HOST)"
			wantError(t, client.CheckSubscription(t.Context(), "sub-s", ""), gcp.ErrUnreachable, says)
			wantError(t, client.EnsureTopics(t.Context(), "topic-t"), gcp.ErrUnreachable, says)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v to say so", took)
			}
		})
	}
}

func TestOpenWithoutAProject(t *testing.T) {
	_, err := gcp.OpenPubSub(t.Context(), gcp.PubSubConfig{})
	wantError(t, err, nil, "GOOGLE_CLOUD_PROJECT")
}

// wantError checks that err is want (where given) and says a text; neither
// given means no error.
func wantError(t *testing.T, err, want error, says string) {
	t.Helper()
	if want == nil && says == "" {
		if err != nil {
			t.Errorf("error = %v, want none", err)
		}
		return
	}
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("error = %v, want %v saying %q", err, want, says)
	}
}
