package embedded_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/embedded"
)

// A model is what a subscription has to do, in the plainest way.
type model struct {
	box       *box
	settings  *pb.Subscription
	published []string              // text by number
	keys      map[string]string     // text to ordering key
	acked     map[string]bool       // text
	held      []*pb.ReceivedMessage // handed out, and not settled as far as the model knows
	filtered  map[string]bool
	snapshots map[string]map[string]bool
	restarts  int
}

// Random orders of everything that can be asked for, with restarts and kills in
// between: what comes is unacknowledged, a key's messages come in order, and in
// the end all that is unacknowledged comes and nothing else.
func TestASubscriptionDoesWhatTheModelDoes(t *testing.T) {
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		dir := fmt.Sprintf("%s/%d", t.TempDir(), run)
		defer os.RemoveAll(dir)
		c := newClock()
		m := &model{
			keys: map[string]string{}, acked: map[string]bool{}, filtered: map[string]bool{}, snapshots: map[string]map[string]bool{},
			settings: &pb.Subscription{
				EnableMessageOrdering:     rapid.Bool().Draw(rt, "ordering"),
				RetainAckedMessages:       rapid.Bool().Draw(rt, "retain"),
				EnableExactlyOnceDelivery: rapid.Bool().Draw(rt, "exactly once"),
			},
			box: &box{t: t, cfg: embedded.Config{Dir: dir, Clock: c.Now, SegmentBytes: rapid.SampledFrom([]int64{100, 2000, 1 << 20}).Draw(rt, "segment")}},
		}
		if rapid.Bool().Draw(rt, "filter") {
			m.settings.Filter = `NOT attributes:skip`
		}
		m.box.open()
		defer m.box.close()
		m.box.pair(m.settings)
		rt.Repeat(map[string]func(*rapid.T){
			"publish": m.publish, "pull": m.pull, "ack": m.ack, "nack": m.nack,
			"expire":   func(rt *rapid.T) { c.add(11 * time.Second); m.held = nil },
			"trim":     func(rt *rapid.T) { m.box.server.TrimNow() },
			"restart":  func(rt *rapid.T) { m.held = nil; m.box.restart() },
			"kill":     m.kill,
			"snapshot": m.snapshot, "seek": m.seek,
		})
		m.settings.EnableMessageOrdering = false // keys of what is held are not asked about any more
		c.add(time.Minute)
		m.drain(rt)
	})
}

func (m *model) publish(rt *rapid.T) {
	key := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(rt, "key")
	in := &pb.PublishRequest{Topic: topicName}
	for range rapid.IntRange(1, 5).Draw(rt, "messages") {
		text := fmt.Sprint(len(m.published))
		msg := &pb.PubsubMessage{Data: []byte(text), OrderingKey: key}
		if rapid.IntRange(0, 3).Draw(rt, "skip") == 0 {
			msg.Attributes = map[string]string{"skip": ""}
			if m.settings.Filter != "" {
				m.acked[text], m.filtered[text] = true, true
			}
		}
		m.published = append(m.published, text)
		m.keys[text] = key
		in.Messages = append(in.Messages, msg)
	}
	if _, err := m.box.Publisher.Publish(m.box.t.Context(), in); err != nil {
		rt.Fatal(err)
	}
}

func (m *model) pull(rt *rapid.T) {
	n := rapid.IntRange(1, 10).Draw(rt, "max")
	//lint:ignore SA1019 not to wait is the point
	out, err := m.box.Subscriber.Pull(m.box.t.Context(), &pb.PullRequest{Subscription: subName, MaxMessages: int32(n), ReturnImmediately: true})
	if err != nil {
		rt.Fatal(err)
	}
	last := map[string]int{}
	for _, r := range out.ReceivedMessages {
		text := string(r.Message.Data)
		if m.acked[text] {
			rt.Fatalf("%s came, and is acknowledged", text)
		}
		for _, h := range m.held {
			if string(h.Message.Data) == text {
				rt.Fatalf("%s came, and is held", text)
			}
		}
		number := number(r)
		key := m.keys[text]
		if m.settings.EnableMessageOrdering && key != "" {
			if before, ok := last[key]; ok && number < before {
				rt.Fatalf("%d came after %d of its key", number, before)
			}
			last[key] = number
			for n := range number { // nothing earlier of the key may be left out
				earlier := fmt.Sprint(n)
				if m.keys[earlier] == key && !m.acked[earlier] && !comes(out.ReceivedMessages, earlier) {
					rt.Fatalf("%d came before %d of its key", number, n)
				}
			}
		}
	}
	m.held = append(m.held, out.ReceivedMessages...)
}

// number is which message it is, of all that were published. Their ids have more
// digits after many restarts: as texts they do not compare.
func number(r *pb.ReceivedMessage) (n int) {
	fmt.Sscan(string(r.Message.Data), &n)
	return n
}

func comes(messages []*pb.ReceivedMessage, text string) bool {
	return slices.Contains(texts(messages), text)
}

// some takes a few of the held messages away.
func (m *model) some(rt *rapid.T) []*pb.ReceivedMessage {
	if len(m.held) == 0 {
		rt.Skip("nothing is held")
	}
	from := rapid.IntRange(0, len(m.held)-1).Draw(rt, "from")
	to := rapid.IntRange(from+1, len(m.held)).Draw(rt, "to")
	taken := slices.Clone(m.held[from:to])
	m.held = slices.Delete(m.held, from, to)
	return taken
}

func (m *model) ack(rt *rapid.T) {
	taken := m.some(rt)
	if err := m.box.tryAck(subName, taken...); err != nil {
		rt.Fatal(err)
	}
	for _, r := range taken {
		m.acked[string(r.Message.Data)] = true
	}
}

func (m *model) nack(rt *rapid.T) {
	taken := m.some(rt)
	_, err := m.box.Subscriber.ModifyAckDeadline(m.box.t.Context(), &pb.ModifyAckDeadlineRequest{Subscription: subName, AckIds: ackIDs(taken)})
	if err != nil {
		rt.Fatal(err)
	}
	if m.settings.EnableMessageOrdering { // later ones of the keys are called back
		m.held = slices.DeleteFunc(m.held, func(h *pb.ReceivedMessage) bool {
			return slices.ContainsFunc(taken, func(n *pb.ReceivedMessage) bool {
				return n.Message.OrderingKey != "" && n.Message.OrderingKey == h.Message.OrderingKey && number(n) < number(h)
			})
		})
	}
}

// kill goes on with the directory as it is on disk.
func (m *model) kill(rt *rapid.T) {
	m.restarts++
	to := fmt.Sprintf("%s.%d", m.box.cfg.Dir, m.restarts)
	// A segment or checkpoint may be replaced while it is copied; nothing else
	// writes here, so trying again is enough.
	for os.CopyFS(to, os.DirFS(m.box.cfg.Dir)) != nil {
		os.RemoveAll(to)
	}
	m.box.close()
	os.RemoveAll(m.box.cfg.Dir)
	m.box.cfg.Dir = to
	m.box.open()
	m.held = nil
}

func (m *model) snapshot(rt *rapid.T) {
	name := fmt.Sprintf("projects/p/snapshots/snap%d", len(m.snapshots))
	_, err := m.box.Subscriber.CreateSnapshot(m.box.t.Context(), &pb.CreateSnapshotRequest{Name: name, Subscription: subName})
	if err != nil {
		rt.Fatal(err)
	}
	m.snapshots[name] = maps.Clone(m.acked)
}

func (m *model) seek(rt *rapid.T) {
	in := &pb.SeekRequest{Subscription: subName}
	names := slices.Sorted(maps.Keys(m.snapshots))
	switch i := rapid.IntRange(0, len(names)+1).Draw(rt, "to"); {
	case i < len(names):
		in.Target = &pb.SeekRequest_Snapshot{Snapshot: names[i]}
		m.acked = maps.Clone(m.snapshots[names[i]])
		m.leaveOut()
	case i == len(names):
		in.Target = &pb.SeekRequest_Time{Time: timestamppb.New(time.Now().Add(-time.Hour))}
		if m.settings.RetainAckedMessages {
			m.acked = map[string]bool{}
			m.leaveOut()
		}
	default:
		in.Target = &pb.SeekRequest_Time{Time: timestamppb.New(time.Now().Add(100 * time.Hour))}
		for _, text := range m.published {
			m.acked[text] = true
		}
	}
	if _, err := m.box.Subscriber.Seek(m.box.t.Context(), in); err != nil {
		rt.Fatal(err)
	}
	m.held = nil
}

// leaveOut notes what the filter leaves out after a seek.
func (m *model) leaveOut() {
	if m.settings.Filter == "" {
		return
	}
	for _, text := range m.published {
		if m.filtered[text] {
			m.acked[text] = true
		}
	}
}

func (m *model) drain(rt *rapid.T) {
	want := map[string]bool{}
	for _, text := range m.published {
		if !m.acked[text] {
			want[text] = true
		}
	}
	for range 300 {
		got := m.box.now(subName)
		for _, r := range got {
			if !want[string(r.Message.Data)] {
				rt.Fatalf("%s came in the end, and is acknowledged", r.Message.Data)
			}
			delete(want, string(r.Message.Data))
		}
		if len(got) > 0 {
			if err := m.box.tryAck(subName, got...); err != nil {
				rt.Fatal(err)
			}
			continue
		}
		if len(want) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	rt.Fatalf("%v never came", slices.Sorted(maps.Keys(want)))
}
