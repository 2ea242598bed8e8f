package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
)

// A wire is between client and broker: it sees requests, and can lose them.
type wire struct {
	acks, modacks, nacks atomic.Int64 // ids in requests that got through
	opened               atomic.Int64 // streams
	most                 atomic.Int64 // ids in one request

	mu    sync.Mutex
	lose  func(method string, call func() error) error // nil: nothing is lost
	reset time.Duration                                // 0: streams last
}

func (w *wire) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	call := func() error { return invoke(ctx, method, req, reply, cc, opts...) }
	w.mu.Lock()
	lose := w.lose
	w.mu.Unlock()
	name := method[strings.LastIndex(method, "/")+1:]
	var err error
	if lose != nil {
		err = lose(name, call)
	} else {
		err = call()
	}
	if err != nil {
		return err
	}
	count := func(n *atomic.Int64, ids []string) {
		n.Add(int64(len(ids)))
		if int64(len(ids)) > w.most.Load() {
			w.most.Store(int64(len(ids)))
		}
	}
	switch in := req.(type) {
	case *pubsubpb.AcknowledgeRequest:
		count(&w.acks, in.AckIds)
	case *pubsubpb.ModifyAckDeadlineRequest:
		if in.AckDeadlineSeconds == 0 {
			count(&w.nacks, in.AckIds)
		} else {
			count(&w.modacks, in.AckIds)
		}
	}
	return nil
}

func (w *wire) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	w.opened.Add(1)
	w.mu.Lock()
	after := w.reset
	w.mu.Unlock()
	if after > 0 { // the server's end of it comes as DEADLINE_EXCEEDED, and no later than that
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, after)
		context.AfterFunc(ctx, cancel)
	}
	return open(ctx, desc, cc, method, opts...)
}

func (w *wire) set(lose func(string, func() error) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = lose
}

// wired is startPubSub with a wire between the two.
func wired(t *testing.T, w *wire, faults ...embedded.FaultPlan) (*embedded.Server, *gcp.PubSub) {
	t.Helper()
	broker, _ := startPubSub(t, faults...)
	return broker, wiredClient(t, w, broker)
}

func wiredClient(t *testing.T, w *wire, broker *embedded.Server) *gcp.PubSub {
	t.Helper()
	client, err := gcp.OpenPubSub(t.Context(), gcp.PubSubConfig{Project: "p", Options: []option.ClientOption{
		option.WithEndpoint(broker.Addr()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithUnaryInterceptor(w.unary)),
		option.WithGRPCDialOption(grpc.WithStreamInterceptor(w.stream)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

func publishMany(t *testing.T, client *gcp.PubSub, n int) {
	t.Helper()
	topic := client.Topic("topic-t", gcp.TopicSettings{})
	defer topic.Close()
	var sent []*gcp.Publication
	for i := range n {
		sent = append(sent, topic.Start(t.Context(), &schema.Message{Data: fmt.Append(nil, i)}))
	}
	for _, p := range sent {
		if _, err := p.ID(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A holder keeps what is delivered until it is told otherwise.
type holder struct {
	mu    sync.Mutex
	all   []pipeline.Lease
	data  map[string]int // deliveries of each
	atOne func(pipeline.Lease)
}

func (h *holder) take(_ context.Context, some []pipeline.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.data == nil {
		h.data = map[string]int{}
	}
	for i := range some {
		h.data[string(some[i].Data)]++
		if h.atOne != nil {
			h.atOne(some[i].Lease)
		} else {
			h.all = append(h.all, some[i].Lease)
		}
	}
}

func (h *holder) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// different is how many messages were delivered at least once.
func (h *holder) different() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.data)
}

func (h *holder) ackAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.all {
		l.Ack()
	}
	h.all = nil
}

// run receives in the background; the cause ends it.
func run(t *testing.T, s *gcp.Stream, h *holder) (stop context.CancelCauseFunc, done chan error) {
	ctx, stop := context.WithCancelCause(context.Background())
	done = make(chan error, 1)
	go func() { done <- s.ReceiveMany(ctx, h.take) }()
	t.Cleanup(func() { stop(nil) })
	return stop, done
}

func ended(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("ReceiveMany does not return")
	}
	return nil
}

// A clock that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// clocked is wired with a broker that goes by the clock.
func clocked(t *testing.T, w *wire, c *clock) (*embedded.Server, *gcp.PubSub) {
	t.Helper()
	startPubSub(t) // for its checks at the end
	broker, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Clock: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	client := wiredClient(t, w, broker)
	if err := client.EnsureTopics(t.Context(), "topic-t"); err != nil {
		t.Fatal(err)
	}
	if err := client.EnsureSubscriptions(t.Context(), gcp.SubscriptionSpec{Name: "sub-s", Topic: "topic-t"}); err != nil {
		t.Fatal(err)
	}
	return broker, client
}

// Thousands of messages stay leased for many times their deadline: each id is in
// an extension, though a request takes 2,000.
func TestLeasesOutlastTheirDeadline(t *testing.T) {
	var c clock
	w := &wire{}
	broker, client := clocked(t, w, &c)
	const n = 4500
	publishMany(t, client, n)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{NumGoroutines: 2, MaxExtension: time.Hour}), &holder{}
	s.Renew(20 * time.Millisecond)
	stop, done := run(t, s, h)
	eventually(t, "all delivered", func() bool { return h.len() == n })
	for range 6 { // 4 minutes, with a deadline of one
		w.modacks.Store(0)
		eventually(t, "all extended", func() bool { return w.modacks.Load() >= 2*n })
		c.ahead.Add(int64(40 * time.Second))
	}
	publishMany(t, client, 1) // makes the broker look at its clock
	eventually(t, "one more", func() bool { return h.len() == n+1 })
	if got := counted(t, broker); got.Expired != 0 || got.Delivered != n+1 {
		t.Errorf("the broker counts %+v; want no lease expired", got)
	}
	h.ackAll()
	stop(nil)
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	if got := counted(t, broker); got.Acked != n+1 || got.Backlog != 0 {
		t.Errorf("in the end the broker counts %+v", got)
	}
	if most := w.most.Load(); most > 2000 || most < 1000 {
		t.Errorf("%d ids in one request, want many and 2,000 at most", most)
	}
}

// A lease is not extended for ever.
func TestExtensionEnds(t *testing.T) {
	w := &wire{}
	_, client := wired(t, w)
	publishMany(t, client, 1)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{MaxExtension: 50 * time.Millisecond, DrainTimeout: 10 * time.Millisecond}), &holder{}
	s.Renew(5 * time.Millisecond)
	stop, done := run(t, s, h)
	eventually(t, "delivered and extended", func() bool { return h.len() == 1 && w.modacks.Load() > 0 })
	eventually(t, "extended no longer", func() bool {
		before := w.modacks.Load()
		time.Sleep(30 * time.Millisecond)
		return w.modacks.Load() == before
	})
	stop(nil)
	if err := ended(t, done); !errors.Is(err, gcp.ErrUnsettled) {
		t.Errorf("ReceiveMany = %v, want ErrUnsettled", err)
	}
}

// Streams that the server ends lose no message and no ack.
func TestStreamsThatEnd(t *testing.T) {
	const n = 3000
	w := &wire{}
	broker, client := wired(t, w, embedded.FaultPlan{ResetStream: 0.5})
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{NumGoroutines: 2}), &holder{atOne: pipeline.Lease.Ack}
	stop, done := run(t, s, h)
	for range 10 {
		publishMany(t, client, n/10)
	}
	eventually(t, "all acked", func() bool { return counted(t, broker).Acked == n })
	stop(nil)
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	if got := counted(t, broker); got.Backlog != 0 || w.opened.Load() < 4 {
		t.Errorf("after %d streams the broker counts %+v", w.opened.Load(), got)
	}
}

// Streams that end every few milliseconds, whatever is on its way, do neither. What
// was lost with a stream comes again when its lease has run out.
func TestStreamsThatEndOften(t *testing.T) {
	const n = 3000
	var c clock
	w := &wire{reset: 30 * time.Millisecond}
	broker, client := clocked(t, w, &c)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{NumGoroutines: 2}), &holder{atOne: pipeline.Lease.Ack}
	stop, done := run(t, s, h)
	for range 10 {
		before := w.opened.Load()
		publishMany(t, client, n/10)
		eventually(t, "another stream", func() bool { return w.opened.Load() > before })
	}
	more := 0
	eventually(t, "all acked", func() bool {
		c.ahead.Add(int64(time.Minute))
		publishMany(t, client, 1) // makes the broker look at its clock
		more++
		time.Sleep(20 * time.Millisecond)
		return counted(t, broker).Backlog == 0
	})
	stop(nil)
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	if got := counted(t, broker); got.Acked != uint64(n+more) {
		t.Errorf("after %d streams the broker counts %+v", w.opened.Load(), got)
	}
}

// What was sent on a stream that ended is acked by the id it came with.
func TestAckAfterItsStreamEnded(t *testing.T) {
	w := &wire{reset: 100 * time.Millisecond}
	broker, client := wired(t, w)
	publishMany(t, client, 100)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{}), &holder{}
	stop, done := run(t, s, h)
	eventually(t, "delivered", func() bool { return h.len() == 100 })
	before := w.opened.Load()
	eventually(t, "two streams later", func() bool { return w.opened.Load() >= before+2 })
	h.ackAll()
	stop(nil)
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	if got := counted(t, broker); got.Acked != 100 || got.Delivered != 100 {
		t.Errorf("the broker counts %+v", got)
	}
}

// An ack that is lost, or whose answer is, is sent again while the lease lasts.
func TestLostAcksAreSentAgain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		applied bool
		code    codes.Code
	}{
		{"before it arrived", false, codes.Unavailable},
		{"after it was applied", true, codes.Unavailable},
		{"no answer in time", true, codes.DeadlineExceeded},
		{"over the quota", false, codes.ResourceExhausted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &wire{}
			broker, client := wired(t, w)
			var lost atomic.Int64
			w.set(func(method string, call func() error) error {
				if method != "Acknowledge" || lost.Add(1) > 3 {
					return call()
				}
				if tt.applied {
					if err := call(); err != nil {
						return err
					}
				}
				return status.Error(tt.code, "lost by a test")
			})
			const n = 100
			publishMany(t, client, n)
			s, h := client.Stream("sub-s", gcp.SubscriptionSettings{}), &holder{}
			stop, done := run(t, s, h)
			eventually(t, "delivered", func() bool { return h.len() == n })
			h.ackAll()
			stop(nil) // which waits for the acks
			if err := ended(t, done); err != nil {
				t.Error(err)
			}
			if got := counted(t, broker); got.Acked != n || got.Delivered != n || lost.Load() < 4 {
				t.Errorf("after %d requests the broker counts %+v", lost.Load(), got)
			}
		})
	}
}

// A refusal that will not change is not tried again, and holds nothing up.
func TestAckThatIsRefused(t *testing.T) {
	w := &wire{}
	_, client := wired(t, w)
	var refused atomic.Int64
	w.set(func(method string, call func() error) error {
		if method == "Acknowledge" {
			refused.Add(1)
			return status.Error(codes.InvalidArgument, "refused by a test")
		}
		return call()
	})
	publishMany(t, client, 1)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{}), &holder{atOne: pipeline.Lease.Ack}
	stop, done := run(t, s, h)
	eventually(t, "refused", func() bool { return refused.Load() == 1 })
	stop(nil)
	if err := ended(t, done); err != nil || refused.Load() != 1 {
		t.Errorf("ReceiveMany = %v after %d requests", err, refused.Load())
	}
}

// An ack that comes when the lease has run out does no harm: the message comes again,
// and both are settled.
func TestLateAcks(t *testing.T) {
	broker, client := startPubSub(t, embedded.FaultPlan{LoseLeases: 1})
	publishMany(t, client, 50)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{}), &holder{}
	stop, done := run(t, s, h)
	eventually(t, "delivered again", func() bool { return h.len() >= 100 })
	broker.Faults().Set(embedded.FaultPlan{})
	eventually(t, "all acked", func() bool {
		h.ackAll()
		return counted(t, broker).Backlog == 0
	})
	stop(nil)
	h.ackAll()
	eventually(t, "ended", func() bool { h.ackAll(); return len(done) == 1 })
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	if s.Held() != 0 {
		t.Errorf("%d held", s.Held())
	}
}

// In a pause nothing is pulled, what is held stays leased for as long as it takes,
// and receiving goes on afterwards.
func TestPauseOfAStream(t *testing.T) {
	w := &wire{}
	broker, client := wired(t, w)
	publishMany(t, client, 10)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{DrainTimeout: 150 * time.Millisecond}), &holder{}
	s.Renew(5 * time.Millisecond)
	stop, done := run(t, s, h)
	eventually(t, "delivered", func() bool { return h.len() == 10 })
	never := make(chan struct{})
	stop(&pipeline.Pause{Ended: never})
	eventually(t, "the stream has ended", func() bool { return counted(t, broker).Outstanding == 10 })
	publishMany(t, client, 5)
	w.modacks.Store(0)
	eventually(t, "leases are extended", func() bool { return w.modacks.Load() > 600 }) // which takes longer than DrainTimeout
	select {
	case err := <-done:
		t.Fatalf("ReceiveMany = %v in the pause", err)
	default:
	}
	if h.len() != 10 {
		t.Errorf("%d deliveries in the pause", h.len()-10)
	}
	h.ackAll()
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	stop, done = run(t, s, h)
	eventually(t, "the rest is delivered", func() bool { return h.len() == 5 })
	h.ackAll()
	stop(nil)
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	if got := counted(t, broker); got.Acked != 15 || got.Delivered != 15 {
		t.Errorf("the broker counts %+v", got)
	}
}

// When the process is to end within a pause, the drain's deadline holds from then on.
func TestAPauseThatEndsWithTheProcess(t *testing.T) {
	_, client := startPubSub(t)
	publishMany(t, client, 1)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{DrainTimeout: 20 * time.Millisecond}), &holder{}
	stop, done := run(t, s, h)
	eventually(t, "delivered", func() bool { return h.len() == 1 })
	end := make(chan struct{})
	stop(&pipeline.Pause{Ended: end})
	close(end)
	if err := ended(t, done); !errors.Is(err, gcp.ErrUnsettled) {
		t.Errorf("ReceiveMany = %v, want ErrUnsettled", err)
	}
	h.ackAll() // too late, and harmless
}

// Messages that come when intake has ended are handed back at once.
func TestWhatComesTooLateGoesBack(t *testing.T) {
	broker, client := startPubSub(t)
	publishMany(t, client, 500)
	ctx, stop := context.WithCancel(t.Context())
	err := client.Stream("sub-s", gcp.SubscriptionSettings{}).Receive(ctx, func(_ context.Context, d *pipeline.Delivery) {
		stop()
		d.Ack()
	})
	if err != nil {
		t.Error(err)
	}
	got := counted(t, broker)
	if got.Acked < 1 || got.Acked > 4 || got.Outstanding != 0 || got.Delivered != got.Acked+got.Nacked {
		t.Errorf("the broker counts %+v; want all but the first handed back", got)
	}
}

// No more is outstanding than was asked for, and callbacks that block stop the stream.
func TestLimitsOfAStream(t *testing.T) {
	broker, client := startPubSub(t)
	publishMany(t, client, 500)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{MaxOutstandingMessages: 100, NumGoroutines: 4}), &holder{}
	stop, done := run(t, s, h)
	eventually(t, "100 delivered", func() bool { return h.len() == 100 })
	if got := counted(t, broker); got.Outstanding != 100 {
		t.Errorf("%d outstanding", got.Outstanding)
	}
	eventually(t, "the rest, as acks make room", func() bool { h.ackAll(); return counted(t, broker).Acked == 500 })
	stop(nil)
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
}

// A subscription with exactly-once delivery is received from all the same, by the
// client that knows how.
func TestExactlyOnceIsLeftToTheClient(t *testing.T) {
	broker, client := startPubSub(t)
	raw, err := pubsub.NewClient(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, err = raw.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/p/subscriptions/exact", Topic: "projects/p/topics/topic-t", AckDeadlineSeconds: 60, EnableExactlyOnceDelivery: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	publishMany(t, client, 20)
	var acked atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	s := client.Stream("exact", gcp.SubscriptionSettings{})
	done := make(chan error, 1)
	go func() {
		done <- s.ReceiveMany(ctx, func(_ context.Context, all []pipeline.Delivery) {
			for i := range all {
				if all[i].Lease != nil {
					t.Error("a delivery of our own stream")
				}
				all[i].Ack()
				acked.Add(1)
			}
		})
	}()
	exact := func() embedded.SubscriptionStats {
		i := slices.IndexFunc(broker.Stats().Subscriptions, func(s embedded.SubscriptionStats) bool { return strings.HasSuffix(s.Name, "/exact") })
		return broker.Stats().Subscriptions[i]
	}
	eventually(t, "all acked", func() bool { return exact().Acked == 20 })
	stop()
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
	if acked.Load() != 20 || exact().Expired != 0 {
		t.Errorf("%d callbacks; the broker counts %+v", acked.Load(), exact())
	}
}

// Messages of one key come in order, whatever the number of streams.
func TestOrderOfAKey(t *testing.T) {
	_, client := startPubSub(t)
	raw, err := pubsub.NewClient(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, err = raw.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/p/subscriptions/ordered", Topic: "projects/p/topics/topic-t", AckDeadlineSeconds: 60, EnableMessageOrdering: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	const keys, each = 5, 40
	for i := range each {
		for k := range keys {
			publish(t, client, &schema.Message{Data: fmt.Append(nil, i), OrderingKey: fmt.Sprint("k", k)})
		}
	}
	var mu sync.Mutex
	got := map[string][]string{}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	n := 0
	err = client.Stream("ordered", gcp.SubscriptionSettings{NumGoroutines: 3}).ReceiveMany(ctx, func(_ context.Context, all []pipeline.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		for i := range all {
			got[all[i].OrderingKey] = append(got[all[i].OrderingKey], string(all[i].Data))
			all[i].Lease.Ack()
			if n++; n == keys*each {
				stop()
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
	for key, all := range got {
		for i, data := range all {
			if data != fmt.Sprint(i) {
				t.Fatalf("key %s: %v", key, all)
			}
		}
	}
	if len(got) != keys {
		t.Errorf("%d keys", len(got))
	}
}

// A right that is missing, or taken away, ends receiving with a clear error.
func TestDeniedStream(t *testing.T) {
	broker, client := startPubSub(t, denied("StreamingPull"))
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{NumGoroutines: 3}), &holder{atOne: pipeline.Lease.Ack}
	_, done := run(t, s, h)
	wantError(t, ended(t, done), gcp.ErrDenied, "receive from projects/p/subscriptions/sub-s: permission denied: grant roles/pubsub.subscriber")
	broker.Faults().Set(embedded.FaultPlan{})
	publishMany(t, client, 1)
	_, done = run(t, s, h)
	eventually(t, "it flows", func() bool { return counted(t, broker).Acked == 1 })
	plan := denied("StreamingPull")
	plan.ResetStream = 1
	broker.Faults().Set(plan)
	publishMany(t, client, 1)
	wantError(t, ended(t, done), gcp.ErrDenied, "grant roles/pubsub.subscriber")
}

// A broker that is down is waited for.
func TestStreamWhileTheBrokerIsDown(t *testing.T) {
	broker, client := startPubSub(t, embedded.FaultPlan{Refuse: map[string]float64{"StreamingPull": 1}})
	publishMany(t, client, 1)
	s, h := client.Stream("sub-s", gcp.SubscriptionSettings{}), &holder{atOne: pipeline.Lease.Ack}
	stop, done := run(t, s, h)
	select {
	case err := <-done:
		t.Fatalf("ReceiveMany = %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	broker.Faults().Set(embedded.FaultPlan{})
	eventually(t, "it flows", func() bool { return h.different() == 1 })
	stop(nil)
	if err := ended(t, done); err != nil {
		t.Error(err)
	}
}
