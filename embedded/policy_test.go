package embedded_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/buffetbot/ingest/embedded"
)

const deadName = "projects/p/topics/dead"

func deadPair(b *box) {
	b.topic(deadName)
	b.subscription(&pb.Subscription{Name: "projects/p/subscriptions/dead", Topic: deadName})
	b.pair(&pb.Subscription{DeadLetterPolicy: &pb.DeadLetterPolicy{DeadLetterTopic: deadName, MaxDeliveryAttempts: 5}})
}

// Attempts are counted across kills and restarts: a message that takes the server
// down with it is dead-lettered in the end, and once.
func TestAttemptsAreCountedAcrossKills(t *testing.T) {
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) { testAttempts(t, killed) })
	}
}

func testAttempts(t *testing.T, killed bool) {
	b := newBox(t, embedded.Config{})
	restart := func() {
		if killed {
			b.cfg.Dir = copyDir(t, b.cfg.Dir)
		}
		b.restart()
	}
	deadPair(b)
	b.publish("poison", "good")
	for attempt := int32(1); attempt <= 5; attempt++ {
		got := b.pull(subName, 1)
		if got[0].DeliveryAttempt != attempt {
			t.Errorf("delivery_attempt %d, want %d", got[0].DeliveryAttempt, attempt)
		}
		if attempt == 1 {
			b.ack(subName, got[1])
		}
		// The attempt is written without being waited for; a later answer says that it is.
		b.topic(topicName + string(rune('a'+attempt)))
		restart()
	}
	if got := b.now(subName); len(got) > 0 {
		t.Errorf("a sixth delivery: %v", texts(got))
	}
	letters := b.pull("projects/p/subscriptions/dead", 1)
	if !slices.Equal(texts(letters), []string{"poison"}) {
		t.Errorf("dead letters %v", texts(letters))
	}
	restart()
	for _, sub := range b.server.Stats().Subscriptions {
		if sub.Name == subName && sub.Backlog != 0 {
			t.Errorf("dead-lettered, and %d in the backlog after a restart", sub.Backlog)
		}
	}
	if got := b.now(subName); len(got) > 0 {
		t.Errorf("dead-lettered, and delivered again: %v", texts(got))
	}
	if again := b.pull("projects/p/subscriptions/dead", 1); len(again) != 1 {
		t.Errorf("%d dead letters after a restart", len(again))
	}
}

// A dead-letter topic that is gone costs nothing but time.
func TestWithoutItsDeadLetterTopicAMessageGoesOn(t *testing.T) {
	c := newClock()
	b := newBox(t, embedded.Config{Clock: c.Now})
	deadPair(b)
	b.publish("a")
	if _, err := b.Publisher.DeleteTopic(t.Context(), &pb.DeleteTopicRequest{Topic: deadName}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		b.nack(subName, b.pull(subName, 1)...)
	}
	b.topic(deadName)
	b.subscription(&pb.Subscription{Name: "projects/p/subscriptions/dead2", Topic: deadName})
	var letters []*pb.ReceivedMessage
	eventually(t, "the dead letter", func() bool {
		c.add(11 * time.Second)
		b.now(subName)
		letters = b.now("projects/p/subscriptions/dead2")
		return len(letters) > 0
	})
}

func TestWhatIsNotSupportedIsRefusedClearly(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	push := &pb.PushConfig{PushEndpoint: "https://example.com"}
	errs := map[string]error{}
	create := func(s *pb.Subscription) error {
		s.Name, s.Topic = subName+"2", topicName
		_, err := b.Subscriber.CreateSubscription(t.Context(), s)
		return err
	}
	errs["push"] = create(&pb.Subscription{PushConfig: push})
	errs["BigQuery"] = create(&pb.Subscription{BigqueryConfig: &pb.BigQueryConfig{Table: "a.b.c"}})
	errs["Cloud Storage"] = create(&pb.Subscription{CloudStorageConfig: &pb.CloudStorageConfig{Bucket: "b"}})
	errs["transform"] = create(&pb.Subscription{MessageTransforms: []*pb.MessageTransform{{}}})
	_, errs["modify push"] = b.Subscriber.ModifyPushConfig(t.Context(), &pb.ModifyPushConfigRequest{Subscription: subName, PushConfig: push})
	_, errs["ingestion"] = b.Publisher.CreateTopic(t.Context(), &pb.Topic{Name: topicName + "2", IngestionDataSourceSettings: &pb.IngestionDataSourceSettings{}})
	_, errs["protobuf schema"] = b.Schemas.CreateSchema(t.Context(), &pb.CreateSchemaRequest{Parent: "projects/p", SchemaId: "schema",
		Schema: &pb.Schema{Type: pb.Schema_PROTOCOL_BUFFER, Definition: "x"}})
	for what, err := range errs {
		wantCode(t, what, err, codes.Unimplemented)
	}
	if _, err := b.Subscriber.ModifyPushConfig(t.Context(), &pb.ModifyPushConfigRequest{Subscription: subName, PushConfig: &pb.PushConfig{}}); err != nil {
		t.Errorf("an empty push config, which is pull: %v", err)
	}
}

// One subscription that takes nothing, and has much to take, does not hold up
// another.
func TestAStalledSubscriptionHoldsUpNobody(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	b.subscription(&pb.Subscription{Name: subName + "2", Topic: topicName})
	stream, err := b.Subscriber.StreamingPull(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.StreamingPullRequest{Subscription: subName, StreamAckDeadlineSeconds: 60}); err != nil {
		t.Fatal(err)
	}
	big := string(make([]byte, 100_000)) // never received: the stream's window fills
	for range 300 {
		b.publish(big)
	}
	n := 0
	for n < 300 {
		got := b.pull(subName+"2", 1)
		b.ack(subName+"2", got...)
		n += len(got)
	}
}

// When streams end, what they held goes to the others after its deadline, and a
// stream with the same client id goes on with it.
func TestAClientThatComesBackKeepsItsShare(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	b.publish("a", "b", "c")
	first := &pb.StreamingPullRequest{Subscription: subName, StreamAckDeadlineSeconds: 60, MaxOutstandingMessages: 2, ClientId: "me"}
	open := func() pb.Subscriber_StreamingPullClient {
		s, err := b.Subscriber.StreamingPull(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(first); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	out, err := s.Recv()
	if err != nil || len(out.ReceivedMessages) != 2 {
		t.Fatalf("%v, %v", out, err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err == nil {
		t.Error("the stream goes on")
	}
	s = open()
	time.Sleep(200 * time.Millisecond) // time enough for a third message to come too early
	if n := b.server.Stats().Subscriptions[0].Outstanding; n != 2 {
		t.Errorf("%d messages are under way, and max_outstanding_messages is 2", n)
	}
	b.ack(subName, out.ReceivedMessages[0])
	next, err := s.Recv()
	if err != nil || len(next.ReceivedMessages) != 1 || string(next.ReceivedMessages[0].Message.Data) != "c" {
		t.Errorf("after one ack %v came, %v; want c", next, err)
	}
	b.ack(subName, out.ReceivedMessages[1], next.ReceivedMessages[0])
}

func TestStats(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	b.publish("a", "b", "c")
	got := b.pull(subName, 3)
	b.ack(subName, got[0])
	b.nack(subName, got[1])
	b.pull(subName, 1)
	s := b.server.Stats()
	if len(s.Subscriptions) != 1 || s.Published != 3 || s.Topics != 1 {
		t.Fatalf("%+v", s)
	}
	sub := s.Subscriptions[0]
	if sub.Oldest <= 0 || sub.Oldest > time.Minute {
		t.Errorf("oldest %v", sub.Oldest)
	}
	sub.Oldest = 0
	want := embedded.SubscriptionStats{Name: subName, Topic: topicName, Backlog: 2, Outstanding: 2, Delivered: 4, Acked: 1, Nacked: 1}
	if sub != want {
		t.Errorf("%+v\nwant %+v", sub, want)
	}
}

// What was handed out before a seek is forgotten: its acks, nacks and extensions
// say nothing about the delivery that follows.
func TestAckIDsFromBeforeASeekCountNoLonger(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(&pb.Subscription{RetainAckedMessages: true})
	b.publish("a")
	old := b.pull(subName, 1)
	past := &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Time{Time: timestamppb.New(time.Now().Add(-time.Hour))}}
	if _, err := b.Subscriber.Seek(t.Context(), past); err != nil {
		t.Fatal(err)
	}
	b.ack(subName, old...)
	if got := texts(b.pull(subName, 1)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after the seek %v came", got)
	}
	b.nack(subName, old...)
	if got := texts(b.now(subName)); len(got) > 0 {
		t.Errorf("an old nack brought %v back", got)
	}
}
