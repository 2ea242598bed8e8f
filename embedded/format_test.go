package embedded_test

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/buffetbot/ingest/embedded"
)

var writeV1 = flag.Bool("write-v1", false, "write testdata/v1 anew: only while nobody has files of version 1")

// A directory that version 1 wrote is read as long as there is a server: with a
// checkpoint, and with the journal alone.
func TestVersion1IsRead(t *testing.T) {
	dir := filepath.Join("testdata", "v1")
	if *writeV1 {
		writeVersion1(t, dir)
	}
	for _, without := range []string{"", "checkpoint"} {
		t.Run("without "+without, func(t *testing.T) {
			copied := copyDir(t, dir)
			if err := os.RemoveAll(filepath.Join(copied, cmp.Or(without, "none"))); err != nil {
				t.Fatal(err)
			}
			c := &clock{now: version1Time.Add(time.Minute)}
			b := newBox(t, embedded.Config{Dir: copied, Clock: c.Now})
			got := b.pull(subName, 2)
			if !slices.Equal(texts(got), []string{"you", "there"}) {
				t.Errorf("%v came, want you and there", texts(got))
			}
			if lang := got[1].Message.Attributes["lang"]; lang != "en" {
				t.Errorf("lang = %q", lang)
			}
			if !got[0].Message.PublishTime.AsTime().Equal(version1Time) {
				t.Errorf("published at %v", got[0].Message.PublishTime.AsTime())
			}
			if got[0].DeliveryAttempt != 2 || got[1].DeliveryAttempt != 1 {
				t.Errorf("attempts %d and %d, want 2 and 1", got[0].DeliveryAttempt, got[1].DeliveryAttempt)
			}
			_, err := b.Subscriber.Seek(t.Context(), &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Snapshot{Snapshot: "projects/p/snapshots/snap"}})
			if err != nil {
				t.Fatal(err)
			}
			if again := texts(b.pull(subName, 3)); !slices.Equal(again, []string{"hello", "you", "there"}) {
				t.Errorf("after the seek %v came", again)
			}
			if s, err := b.Schemas.GetSchema(t.Context(), &pb.GetSchemaRequest{Name: "projects/p/schemas/schema"}); err != nil || s.Definition != `"long"` {
				t.Errorf("schema %v, %v", s, err)
			}
			if id := b.publish("new")[0]; id <= got[1].Message.MessageId {
				t.Errorf("id %s after %s", id, got[1].Message.MessageId)
			}
		})
	}
}

var version1Time = time.Date(2026, 1, 2, 3, 4, 5, 600000000, time.UTC)

func writeVersion1(t *testing.T, dir string) {
	b := newBox(t, embedded.Config{Clock: func() time.Time { return version1Time }})
	deadPair(b)
	b.publish("hello", "you")
	got := b.pull(subName, 2)
	snap := &pb.CreateSnapshotRequest{Name: "projects/p/snapshots/snap", Subscription: subName}
	if _, err := b.Subscriber.CreateSnapshot(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	b.ack(subName, got[0])
	gone := topicName + "2"
	if _, err := b.Publisher.CreateTopic(t.Context(), &pb.Topic{Name: gone, MessageRetentionDuration: durationpb.New(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publisher.DeleteTopic(t.Context(), &pb.DeleteTopicRequest{Topic: gone}); err != nil {
		t.Fatal(err)
	}
	schema := &pb.Schema{Type: pb.Schema_AVRO, Definition: `"long"`}
	if _, err := b.Schemas.CreateSchema(t.Context(), &pb.CreateSchemaRequest{Parent: "projects/p", SchemaId: "schema", Schema: schema}); err != nil {
		t.Fatal(err)
	}
	in := &pb.PublishRequest{Topic: topicName, Messages: []*pb.PubsubMessage{{Data: []byte("there"), Attributes: map[string]string{"lang": "en"}}}}
	if _, err := b.Publisher.Publish(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	b.close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(b.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
}
