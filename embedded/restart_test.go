package embedded_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/buffetbot/ingest/embedded"
)

// copyDir takes the directory of a running server as a kill would leave it.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Everything that was answered is there again, whether the server was closed or
// killed.
func TestARestartKeepsWhatWasAnswered(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			b := newBox(t, embedded.Config{SegmentBytes: 2000})
			b.pair(&pb.Subscription{
				AckDeadlineSeconds: 33, Filter: `NOT attributes:skip`, RetryPolicy: &pb.RetryPolicy{MinimumBackoff: durationpb.New(time.Second)},
				Labels: map[string]string{"a": "b"},
			})
			b.subscription(&pb.Subscription{Name: subName + "2", Topic: topicName})
			b.subscription(&pb.Subscription{Name: subName + "3", Topic: topicName})
			var want []string
			for i := range 50 {
				want = append(want, strconv.Itoa(i))
				b.publish(want[i])
			}
			got := b.pull(subName, 50)
			b.ack(subName, got[10:20]...)
			b.ack(subName, got[0])
			b.ack(subName+"2", b.pull(subName+"2", 50)...)
			snap := &pb.CreateSnapshotRequest{Name: "projects/p/snapshots/snap", Subscription: subName}
			if _, err := b.Subscriber.CreateSnapshot(t.Context(), snap); err != nil {
				t.Fatal(err)
			}
			b.ack(subName, got[1:5]...)
			schema := &pb.Schema{Type: pb.Schema_AVRO, Definition: `"string"`}
			if _, err := b.Schemas.CreateSchema(t.Context(), &pb.CreateSchemaRequest{Parent: "projects/p", SchemaId: "schema", Schema: schema}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Subscriber.DeleteSubscription(t.Context(), &pb.DeleteSubscriptionRequest{Subscription: subName + "3"}); err != nil {
				t.Fatal(err)
			}
			before, _ := b.Subscriber.GetSubscription(t.Context(), &pb.GetSubscriptionRequest{Subscription: subName})
			if killed {
				b.cfg.Dir = copyDir(t, b.cfg.Dir)
			}
			b.restart()
			after, err := b.Subscriber.GetSubscription(t.Context(), &pb.GetSubscriptionRequest{Subscription: subName})
			if err != nil || !proto.Equal(before, after) {
				t.Errorf("subscription %v, %v; want %v", after, err, before)
			}
			unacked := slices.Concat(want[5:10], want[20:])
			if again := texts(b.pull(subName, 35)); !slices.Equal(again, unacked) {
				t.Errorf("came again: %v\nwant %v", again, unacked)
			}
			if again := b.now(subName + "2"); len(again) > 0 {
				t.Errorf("acknowledged, and came again: %v", texts(again))
			}
			_, err = b.Subscriber.GetSubscription(t.Context(), &pb.GetSubscriptionRequest{Subscription: subName + "3"})
			wantCode(t, "the deleted subscription", err, codes.NotFound)
			_, err = b.Subscriber.Seek(t.Context(), &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Snapshot{Snapshot: snap.Name}})
			if err != nil {
				t.Fatal(err)
			}
			if again := texts(b.pull(subName, 39)); !slices.Equal(again, slices.Concat(want[1:10], want[20:])) {
				t.Errorf("after the seek: %v", again)
			}
			if got, err := b.Schemas.GetSchema(t.Context(), &pb.GetSchemaRequest{Name: "projects/p/schemas/schema"}); err != nil || got.Definition != `"string"` {
				t.Errorf("schema %v, %v", got, err)
			}
			b.publish("new")
			if again := texts(b.pull(subName, 1)); !slices.Equal(again, []string{"new"}) {
				t.Errorf("published after the restart: %v", again)
			}
		})
	}
}

// A seek holds after a restart, and so do acks that follow it.
func TestARestartKeepsASeek(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(&pb.Subscription{RetainAckedMessages: true})
	b.publish("a", "b", "c")
	b.ack(subName, b.pull(subName, 3)...)
	past := &pb.SeekRequest{Subscription: subName, Target: &pb.SeekRequest_Time{Time: timestamppb.New(time.Now().Add(-time.Hour))}}
	if _, err := b.Subscriber.Seek(t.Context(), past); err != nil {
		t.Fatal(err)
	}
	b.ack(subName, b.pull(subName, 3)[1])
	b.cfg.Dir = copyDir(t, b.cfg.Dir)
	b.restart()
	if got := texts(b.pull(subName, 2)); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("after the restart %v came", got)
	}
}

// Ids grow across restarts; and when the tail of the journal is torn off, those
// that were in it are not given again.
func TestNoIDIsGivenTwice(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	last := uint64(0)
	check := func() {
		t.Helper()
		for _, id := range b.publish("a", "b", "c") {
			n, err := strconv.ParseUint(id, 10, 64)
			if err != nil || n <= last {
				t.Fatalf("id %s after %d", id, last)
			}
			last = n
		}
	}
	for range 3 {
		check()
		b.restart()
	}
	check()
	torn := copyDir(t, b.cfg.Dir)
	segments, _ := filepath.Glob(filepath.Join(torn, "*.seg"))
	tail := segments[len(segments)-1]
	info, err := os.Stat(tail)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(tail, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	b.cfg.Dir = torn
	b.restart()
	check()
}

func TestADirectoryHasOneServer(t *testing.T) {
	b := newBox(t, embedded.Config{})
	_, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Dir: b.cfg.Dir})
	if want := fmt.Sprintf("process %d serves this directory", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// Close lets what was asked for become durable: whatever was answered while the
// server closed is there afterwards.
func TestCloseKeepsWhatItAnswered(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	var mu sync.Mutex
	var answered []string
	var wg sync.WaitGroup
	var began atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("%d-%d", w, i)
				if _, err := b.tryPublish(text); err != nil {
					return
				}
				began.Add(1)
				mu.Lock()
				answered = append(answered, text)
				mu.Unlock()
			}
		})
	}
	eventually(t, "publishing", func() bool { return began.Load() > 100 })
	if err := b.server.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	b.conn.Close()
	b.open()
	got := map[string]bool{}
	for len(got) < len(answered) {
		for _, s := range texts(b.pull(subName, 1)) {
			got[s] = true
		}
	}
	for _, s := range answered {
		if !got[s] {
			t.Errorf("%s was answered and is lost", s)
		}
	}
}

// Segments go when everything in them is acknowledged, and not before.
func TestSegmentsGoWhenNobodyNeedsThem(t *testing.T) {
	b := newBox(t, embedded.Config{SegmentBytes: 10_000})
	b.pair(nil)
	payload := strings.Repeat("x", 1000)
	for range 100 {
		b.publish(payload)
	}
	if n := b.server.Stats().Segments; n < 10 {
		t.Fatalf("%d segments", n)
	}
	got := b.pull(subName, 100)
	b.ack(subName, got[:99]...)
	eventually(t, "segments go", func() bool { return b.server.Stats().Segments <= 3 })
	b.restart()
	if got := b.pull(subName, 1); len(got) != 1 {
		t.Errorf("%d messages are left, want 1", len(got))
	}
	if files, _ := filepath.Glob(filepath.Join(b.cfg.Dir, "*.seg")); len(files) > 4 {
		t.Errorf("%d files", len(files))
	}
}

func TestADamagedDirectoryIsRefused(t *testing.T) {
	b := newBox(t, embedded.Config{SegmentBytes: 1000})
	b.pair(nil)
	for range 10 {
		b.publish(strings.Repeat("x", 500))
	}
	b.close()
	good := b.cfg.Dir
	err := filepath.WalkDir(good, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" || d.Name() == "epoch" {
			return err
		}
		dir := copyDir(t, good)
		file := filepath.Join(dir, d.Name())
		bytes, err := os.ReadFile(file)
		if err != nil || len(bytes) < 100 {
			return err
		}
		bytes[60] ^= 1
		if err := os.WriteFile(file, bytes, 0o644); err != nil {
			return err
		}
		if s, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Dir: dir}); err == nil {
			s.Close()
			t.Errorf("opened with a flipped bit in %s", d.Name())
		} else if !strings.Contains(err.Error(), d.Name()) {
			t.Errorf("%s: the error does not name it: %v", d.Name(), err)
		}
		if !strings.HasSuffix(d.Name(), ".seg") {
			return nil
		}
		s, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Dir: dir, SkipDamage: true})
		if err != nil {
			t.Errorf("SkipDamage: %v", err)
			return nil
		}
		return s.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	b.open()
}

func TestTheTemporaryDirectoryGoes(t *testing.T) {
	s, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", s.Dir(), err)
	}
}

// A checkpoint that is not whole is refused wherever it was cut, also between two
// of its records.
func TestACutCheckpointIsRefused(t *testing.T) {
	b := newBox(t, embedded.Config{})
	b.pair(nil)
	b.publish("a")
	b.close()
	name := filepath.Join(b.cfg.Dir, "checkpoint")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(name, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Dir: b.cfg.Dir}); err == nil {
			s.Close()
			t.Fatalf("opened with %d of %d bytes", n, len(whole))
		}
	}
	if err := os.WriteFile(name, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	b.open()
}
