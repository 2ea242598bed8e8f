package embedded_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"

	"github.com/buffetbot/ingest/embedded"
)

func TestFaultsDoWhatTheySay(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	b.publish("a")
	b.server.Faults().Set(embedded.FaultPlan{Duplicate: 1})
	first := b.pull(subName, 1)
	b.server.Faults().Set(embedded.FaultPlan{})
	if again := b.pull(subName, 1); again[0].Message.MessageId != first[0].Message.MessageId || again[0].AckId == first[0].AckId {
		t.Errorf("a duplicate: %v then %v", first, again)
	}
	b.ack(subName, first...)

	b.publish("b")
	b.server.Faults().Set(embedded.FaultPlan{DropAcks: 1})
	held := b.pull(subName, 1)
	b.ack(subName, held...)
	b.server.Faults().Set(embedded.FaultPlan{})
	b.nack(subName, held...)
	if got := texts(b.pull(subName, 1)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after a dropped ack %v came, want b", got)
	}

	b.publish("c")
	b.server.Faults().Set(embedded.FaultPlan{LoseLeases: 1})
	held = b.pull(subName, 1)
	b.server.Faults().Set(embedded.FaultPlan{})
	if got := texts(b.pull(subName, 1)); !slices.Equal(got, []string{"c"}) {
		t.Errorf("after a lost lease %v came, want c", got)
	}
	b.ack(subName, held...)

	b.server.Faults().Set(embedded.FaultPlan{Refuse: map[string]float64{"Publish": 1, "GetTopic": 1}, RefuseCode: codes.PermissionDenied})
	_, err := b.tryPublish("d")
	wantCode(t, "publish", err, codes.PermissionDenied)
	_, err = b.Publisher.GetTopic(t.Context(), &pb.GetTopicRequest{Topic: topicName})
	wantCode(t, "get", err, codes.PermissionDenied)
	b.server.Faults().Set(embedded.FaultPlan{ResetStream: 1})
	stream, err := b.Subscriber.StreamingPull(t.Context())
	if err == nil {
		err = stream.Send(&pb.StreamingPullRequest{Subscription: subName, StreamAckDeadlineSeconds: 10})
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, "stream", err, codes.Unavailable)

	b.server.Faults().Set(embedded.FaultPlan{Delay: 200 * time.Millisecond, Seed: 1})
	b.publish("e")
	start := time.Now()
	b.pull(subName, 1)
	if took := time.Since(start); took < 5*time.Millisecond {
		t.Errorf("a delayed delivery took %v", took)
	}
}

// The same seed throws the same dice.
func TestFaultsAreSeeded(t *testing.T) {
	throw := func(seed uint64) string {
		b := newBox(t, embedded.Config{Faults: embedded.FaultPlan{Seed: seed, Refuse: map[string]float64{"Publish": 0.5}}})
		b.topic(topicName)
		var got string
		for range 30 {
			_, err := b.tryPublish("a")
			got += strconv.FormatBool(err == nil)[:1]
		}
		return got
	}
	if a, b := throw(7), throw(7); a != b {
		t.Errorf("one seed throws %s and %s", a, b)
	}
	if a, b := throw(7), throw(8); a == b {
		t.Errorf("two seeds throw %s", a)
	}
}

// Through every fault at once, the Go client gets each message, with exactly-once
// delivery too, and nothing is left behind.
func TestTheClientGetsThroughFaults(t *testing.T) {
	for _, exactly := range []bool{false, true} {
		t.Run(fmt.Sprintf("exactly once=%v", exactly), func(t *testing.T) {
			b := newBox(t, embedded.Config{})
			b.pair(&pb.Subscription{EnableExactlyOnceDelivery: exactly, AckDeadlineSeconds: 10})
			const n = 2000
			for i := 0; i < n; i += 100 {
				var batch []string
				for j := range 100 {
					batch = append(batch, strconv.Itoa(i+j))
				}
				b.publish(batch...)
			}
			b.server.Faults().Set(embedded.FaultPlan{
				Seed: 3, Duplicate: 0.02, DropAcks: 0.01, LoseLeases: 0.02, ResetStream: 0.2, Delay: 5 * time.Millisecond,
				Refuse: map[string]float64{"Acknowledge": 0.1, "ModifyAckDeadline": 0.1, "StreamingPull": 0.1},
			})
			got := receiveSet(t, b, n)
			b.server.Faults().Set(embedded.FaultPlan{})
			for i := range n {
				if !got[strconv.Itoa(i)] {
					t.Fatalf("%d never came", i)
				}
			}
		})
	}
}

// receiveSet receives with the Go client until n different messages came.
func receiveSet(t *testing.T, b *box, n int) map[string]bool {
	t.Helper()
	t.Setenv("PUBSUB_EMULATOR_HOST", b.server.Addr())
	client, err := pubsub.NewClient(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	in := make(chan string)
	done := make(chan error, 1)
	go func() {
		done <- client.Subscriber("sub").Receive(ctx, func(_ context.Context, m *pubsub.Message) {
			m.Ack()
			select {
			case in <- string(m.Data):
			case <-ctx.Done():
			}
		})
	}()
	got := map[string]bool{}
	for len(got) < n {
		select {
		case s := <-in:
			got[s] = true
		case <-ctx.Done():
			t.Fatalf("%d of %d messages came", len(got), n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return got
}
