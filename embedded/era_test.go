package embedded

import (
	"context"
	"os"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// An ack that was accepted before a seek, and comes behind it in the journal,
// does not count: neither at once nor when the journal is replayed.
func TestAnAckOvertakenByASeekDoesNotCount(t *testing.T) {
	cfg := Config{Addr: "127.0.0.1:0", Dir: t.TempDir()}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	ctx := context.Background()
	const topicName, subName = "projects/p/topics/topic", "projects/p/subscriptions/sub"
	if _, err := s.CreateTopic(ctx, &pb.Topic{Name: topicName}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateSubscription(ctx, &pb.Subscription{Name: subName, Topic: topicName, RetainAckedMessages: true}); err != nil {
		t.Fatal(err)
	}
	to, _ := s.topic(topicName)
	message := [][]byte{{dataField<<3 | 2, 1, 'a'}}
	if _, err := s.publish(ctx, &op{topic: to, messages: message, bytes: 3}); err != nil {
		t.Fatal(err)
	}
	sub, _ := s.subscription(subName)
	before := sub.era
	past := &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Time{Time: timestamppb.New(time.Now().Add(-time.Hour))}}
	if _, err := s.Seek(ctx, past); err != nil {
		t.Fatal(err)
	}
	late := &ackOp{sub: sub, era: before, seqs: []uint64{0}}
	if err := s.commit(late.op()); err != nil {
		t.Fatal(err)
	}
	if sub.stats().Backlog != 1 {
		t.Error("the ack from before the seek counted at once")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.checkpointName()); err != nil { // so that all is replayed
		t.Fatal(err)
	}
	if s, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	sub, _ = s.subscription(subName)
	if sub.stats().Backlog != 1 {
		t.Error("the ack from before the seek counted after a restart")
	}
}
