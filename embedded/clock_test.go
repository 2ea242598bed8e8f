package embedded_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/buffetbot/ingest/embedded"
)

// A clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A message is there until its retention ends, even if 10 minutes unacknowledged.
func TestRetention(t *testing.T) {
	c := newClock()
	b := newBox(t, embedded.Config{Clock: c.Now, SegmentBytes: 100})
	b.pair(nil)
	b.subscription(&pb.Subscription{Name: subName + "2", Topic: topicName, MessageRetentionDuration: durationpb.New(time.Hour)})
	b.publish("old")
	c.add(59 * time.Minute)
	b.publish("new")
	b.server.TrimNow()
	if got := texts(b.pull(subName+"2", 2)); !slices.Equal(got, []string{"old", "new"}) {
		t.Errorf("within its retention: %v", got)
	}
	c.add(2 * time.Minute)
	b.server.TrimNow()
	if got := texts(b.pull(subName+"2", 1)); !slices.Equal(got, []string{"new"}) { // both leases have run out
		t.Errorf("past the retention of one: %v", got)
	}
	c.add(6 * 24 * time.Hour)
	b.server.TrimNow()
	if got := texts(b.pull(subName, 2)); !slices.Equal(got, []string{"old", "new"}) {
		t.Errorf("after 6 days: %v", got)
	}
	c.add(25 * time.Hour)
	b.server.TrimNow()
	if got := texts(b.now(subName)); len(got) > 0 {
		t.Errorf("after 7 days: %v", got)
	}
	b.publish("newest")
	if got := texts(b.pull(subName, 1)); !slices.Equal(got, []string{"newest"}) {
		t.Errorf("after 7 days: %v", got)
	}
}

// A topic's retention keeps messages longer than the subscription's own.
func TestTheLongerRetentionCounts(t *testing.T) {
	c := newClock()
	b := newBox(t, embedded.Config{Clock: c.Now})
	_, err := b.Publisher.CreateTopic(t.Context(), &pb.Topic{Name: topicName, MessageRetentionDuration: durationpb.New(3 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	b.subscription(&pb.Subscription{Name: subName, Topic: topicName, MessageRetentionDuration: durationpb.New(time.Hour)})
	b.publish("a")
	c.add(2 * time.Hour)
	b.server.TrimNow()
	if got := texts(b.pull(subName, 1)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v came", got)
	}
	c.add(2 * time.Hour)
	b.server.TrimNow()
	if got := texts(b.now(subName)); len(got) > 0 {
		t.Errorf("%v came", got)
	}
}

// A snapshot keeps what it holds from being deleted, and expires.
func TestASnapshotKeepsMessagesUntilItExpires(t *testing.T) {
	c := newClock()
	b := newBox(t, embedded.Config{Clock: c.Now, SegmentBytes: 100})
	b.pair(nil)
	b.publish("a")
	name := "projects/p/snapshots/snap"
	snap := func(name string) error {
		_, err := b.Subscriber.CreateSnapshot(t.Context(), &pb.CreateSnapshotRequest{Name: name, Subscription: subName})
		return err
	}
	c.add(24 * time.Hour)
	if err := snap(name); err != nil {
		t.Fatal(err)
	}
	b.ack(subName, b.pull(subName, 1)...)
	b.publish("b")
	b.ack(subName, b.pull(subName, 1)...)
	b.server.TrimNow()
	c.add(5*24*time.Hour + 23*time.Hour)
	b.server.TrimNow()
	seek := func() error {
		_, err := b.Subscriber.Seek(t.Context(), &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Snapshot{Snapshot: name}})
		return err
	}
	if err := seek(); err != nil {
		t.Fatal(err)
	}
	got := b.pull(subName, 2)
	if !slices.Equal(texts(got), []string{"a", "b"}) {
		t.Errorf("%v came", texts(got))
	}
	wantCode(t, "a snapshot that would live less than an hour", func() error { c.add(2 * time.Minute); return snap(name + "2") }(), codes.FailedPrecondition)
	c.add(2 * time.Hour)
	wantCode(t, "seek to an expired snapshot", seek(), codes.NotFound)
	b.server.TrimNow()
	b.restart()
	wantCode(t, "after a restart", seek(), codes.NotFound)
}

// Leases end when the clock says so, also when it leaps.
func TestALeaseEndsWithItsDeadline(t *testing.T) {
	c := newClock()
	b := newBox(t, embedded.Config{Clock: c.Now})
	b.pair(&pb.Subscription{AckDeadlineSeconds: 30})
	b.publish("a")
	b.pull(subName, 1)
	c.add(29 * time.Second)
	time.Sleep(150 * time.Millisecond) // the server looks every 50 ms
	if got := b.now(subName); len(got) > 0 {
		t.Error("it came back after 29 s")
	}
	for _, leap := range []time.Duration{2 * time.Second, time.Hour} {
		c.add(leap)
		if got := b.pull(subName, 1); len(got) != 1 {
			t.Errorf("it did not come back after %v", leap)
		}
	}
}

// Publish times never go back, and a seek by them is right, when the clock does.
func TestAClockThatGoesBack(t *testing.T) {
	c := newClock()
	b := newBox(t, embedded.Config{Clock: c.Now})
	b.pair(&pb.Subscription{RetainAckedMessages: true})
	b.publish("a")
	c.add(-time.Hour)
	b.publish("b")
	c.add(2 * time.Hour)
	b.publish("c")
	got := b.pull(subName, 3)
	for i := range 2 {
		if got[i+1].Message.PublishTime.AsTime().Before(got[i].Message.PublishTime.AsTime()) {
			t.Errorf("message %d was published before message %d", i+1, i)
		}
	}
	b.ack(subName, got...)
	at := got[2].Message.PublishTime.AsTime()
	for when, want := range map[time.Time][]string{at: {"c"}, at.Add(-time.Second): {"c"}, at.Add(-100 * time.Hour): {"a", "b", "c"}} {
		_, err := b.Subscriber.Seek(t.Context(), &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Time{Time: timestamppb.New(when)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(b.pull(subName, len(want))); !slices.Equal(got, want) {
			t.Errorf("seek to %v: %v, want %v", when, got, want)
		}
	}
}

// What a subscription retains is kept when it is acknowledged, until the retention
// ends, and not longer.
func TestRetainedMessagesStayUntilTheirRetentionEnds(t *testing.T) {
	c := newClock()
	b := newBox(t, embedded.Config{Clock: c.Now, SegmentBytes: 100})
	b.pair(&pb.Subscription{RetainAckedMessages: true, MessageRetentionDuration: durationpb.New(time.Hour)})
	seek := &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Time{Time: timestamppb.New(c.Now().Add(-time.Hour))}}
	b.publish("a")
	c.add(30 * time.Minute)
	b.publish("b")
	b.ack(subName, b.pull(subName, 2)...)
	for _, tt := range []struct {
		later time.Duration
		want  []string
	}{{0, []string{"a", "b"}}, {31 * time.Minute, []string{"b"}}, {30 * time.Minute, nil}} {
		c.add(tt.later)
		b.server.TrimNow()
		b.restart()
		if _, err := b.Subscriber.Seek(t.Context(), seek); err != nil {
			t.Fatal(err)
		}
		got := b.pull(subName, len(tt.want))
		if !slices.Equal(texts(got), tt.want) {
			t.Errorf("%v later %v came, want %v", tt.later, texts(got), tt.want)
		}
		if len(got) > 0 {
			b.ack(subName, got...)
		}
	}
	b.server.TrimNow()
	eventually(t, "segments go", func() bool { return b.server.Stats().Segments <= 3 })
}
