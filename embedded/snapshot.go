package embedded

import (
	"context"
	"fmt"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/buffetbot/ingest/embedded/journal"
)

// A snapshot is what a subscription had acknowledged at one moment. It keeps what
// was not from being deleted.
type snapshot struct {
	pb    *pb.Snapshot
	topic *topic
	acked seqset // never changed
}

// A snapshot lives as long as its oldest unacknowledged message would, and at
// least an hour.
const (
	snapshotLife    = 7 * 24 * time.Hour
	snapshotLeast   = time.Hour
	unnamedSnapshot = "projects/%s/snapshots/snapshot-%x"
)

// CreateSnapshot remembers what a subscription has acknowledged.
func (s *Server) CreateSnapshot(_ context.Context, in *pb.CreateSnapshotRequest) (*pb.Snapshot, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	sub, err := s.subscription(in.Subscription)
	if err != nil {
		return nil, err
	}
	if err := sub.usableErr(); err != nil {
		return nil, err
	}
	made := &pb.Snapshot{Name: in.Name, Topic: sub.settings().Topic, Labels: in.Labels}
	if made.Name == "" {
		project, _, _ := splitName(in.Subscription, "subscriptions")
		made.Name = fmt.Sprintf(unnamedSnapshot, project, s.random.Uint64())
	}
	if err := checkName(made.Name, "snapshots"); err != nil {
		return nil, err
	}
	if s.hasSnapshot(made.Name) {
		return nil, alreadyExists(made.Name)
	}
	sub.mu.Lock()
	acked := sub.acked.clone()
	sub.mu.Unlock()
	life := snapshotLife - s.age(sub.topic, acked.floor)
	if life < snapshotLeast {
		return nil, precondition("The snapshot would expire in less than an hour: the oldest unacknowledged message of %s is too old.", in.Subscription)
	}
	made.ExpireTime = timestamppb.New(s.now().Add(life))
	made = proto.CloneOf(made)
	snap := &snapshot{pb: made, topic: sub.topic, acked: acked}
	return answer(made, s.putSnapshot(snap))
}

// age is how long ago message n was published; 0 if it was not.
func (s *Server) age(t *topic, n uint64) time.Duration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	first := max(n, t.index.first(t.next))
	r, ok := t.index.find(first)
	if !ok {
		return 0
	}
	return max(0, s.now().Sub(time.Unix(0, r.time)))
}

func (s *Server) putSnapshot(snap *snapshot) error {
	return s.change(kindSnapshot, func(b []byte) []byte { return encodeSnapshot(b, snap) }, func(st *state) {
		st.snapshots[snap.pb.Name] = snap
	})
}

func encodeSnapshot(b []byte, snap *snapshot) []byte {
	b = putUint(b, snap.topic.uid)
	b = putProto(b, snap.pb)
	b = putUint(b, snap.acked.floor)
	return putSpans(b, snap.acked.above())
}

func (s *Server) hasSnapshot(name string) bool {
	_, err := s.snapshot(name)
	return err == nil
}

func (s *Server) snapshot(name string) (*snapshot, error) {
	s.mu.RLock()
	snap := s.state.snapshots[name]
	s.mu.RUnlock()
	if snap == nil || snap.pb.ExpireTime.AsTime().Before(s.now()) {
		if err := checkName(name, "snapshots"); err != nil {
			return nil, err
		}
		return nil, notFound(name)
	}
	return snap, nil
}

// GetSnapshot returns a snapshot.
func (s *Server) GetSnapshot(_ context.Context, in *pb.GetSnapshotRequest) (*pb.Snapshot, error) {
	snap, err := s.snapshot(in.Snapshot)
	if err != nil {
		return nil, err
	}
	return answer(snap.pb, nil)
}

// ListSnapshots lists the snapshots of a project by name.
func (s *Server) ListSnapshots(_ context.Context, in *pb.ListSnapshotsRequest) (*pb.ListSnapshotsResponse, error) {
	s.mu.RLock()
	names := inProject(s.state.snapshots, in.Project)
	s.mu.RUnlock()
	names, next, err := page(names, in.PageSize, in.PageToken)
	if err != nil {
		return nil, err
	}
	out := &pb.ListSnapshotsResponse{NextPageToken: next}
	for _, name := range names {
		if snap, err := s.snapshot(name); err == nil {
			out.Snapshots = append(out.Snapshots, snap.pb)
		}
	}
	return answer(out, nil)
}

// UpdateSnapshot changes labels or the expiry.
func (s *Server) UpdateSnapshot(_ context.Context, in *pb.UpdateSnapshotRequest) (*pb.Snapshot, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	snap, err := s.snapshot(in.GetSnapshot().GetName())
	if err != nil {
		return nil, err
	}
	updated := proto.CloneOf(snap.pb)
	if err := applyMask(updated, in.Snapshot, in.UpdateMask.GetPaths(), []string{"labels", "expire_time"}); err != nil {
		return nil, err
	}
	updated = proto.CloneOf(updated)
	if err := checkLabels(updated.Labels); err != nil {
		return nil, err
	}
	if updated.ExpireTime.AsTime().After(s.now().Add(snapshotLife)) {
		return nil, invalid("Invalid expire_time given: it is at most 7 days away.")
	}
	return answer(updated, s.putSnapshot(&snapshot{pb: updated, topic: snap.topic, acked: snap.acked}))
}

// DeleteSnapshot deletes a snapshot.
func (s *Server) DeleteSnapshot(_ context.Context, in *pb.DeleteSnapshotRequest) (*emptypb.Empty, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, err := s.snapshot(in.Snapshot); err != nil {
		return nil, err
	}
	if err := s.dropSnapshot(in.Snapshot); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *Server) dropSnapshot(name string) error {
	return s.change(kindSnapshotGone, func(b []byte) []byte { return putString(b, name) }, func(st *state) {
		delete(st.snapshots, name)
	})
}

// Seek sets what a subscription has acknowledged, to a time or to a snapshot.
// What is under way is forgotten, and ack ids from before count no longer.
func (s *Server) Seek(_ context.Context, in *pb.SeekRequest) (*pb.SeekResponse, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	sub, err := s.subscription(in.Subscription)
	if err != nil {
		return nil, err
	}
	if err := sub.usableErr(); err != nil {
		return nil, err
	}
	var acked func() seqset
	switch target := in.Target.(type) {
	case *pb.SeekRequest_Time:
		if err := target.Time.CheckValid(); err != nil {
			return nil, invalid("Invalid time given: %v.", err)
		}
		acked = func() seqset { return sub.ackedAt(target.Time.AsTime()) }
	case *pb.SeekRequest_Snapshot:
		snap, err := s.snapshot(target.Snapshot)
		if err != nil {
			return nil, err
		}
		if snap.topic != sub.topic {
			return nil, invalid("The snapshot %s is of another topic than the subscription %s.", target.Snapshot, in.Subscription)
		}
		acked = func() seqset {
			set := snap.acked.clone()
			set.raise(sub.topic.first())
			return set
		}
	default:
		return nil, invalid("A seek needs a time or a snapshot.")
	}
	var set seqset
	err = s.commit(&op{
		encode: func(b *journal.Batch) {
			set = acked()
			sub.mu.Lock()
			era := sub.era + 1
			sub.mu.Unlock()
			b.Add(kindAckState, encodeAckState(b.Buf(), sub.uid, era, &set))
		},
		apply: func() {
			sub.mu.Lock()
			defer sub.mu.Unlock()
			sub.reset(set)
		},
	})
	if err != nil {
		return nil, err
	}
	return &pb.SeekResponse{}, nil
}

func encodeAckState(b []byte, sub, era uint64, set *seqset) []byte {
	b = putUint(b, sub)
	b = putUint(b, era)
	b = putUint(b, set.floor)
	return putSpans(b, set.above())
}

// ackedAt is what a seek to a time makes of the subscription: everything
// published before is acknowledged; of what was published later, that which is
// retained is not, and the rest is as it was.
func (s *subscription) ackedAt(t time.Time) seqset {
	target := s.topic.since(t)
	retained := s.retained()
	head := s.topic.head()
	s.mu.Lock()
	defer s.mu.Unlock()
	if from := max(target, retained, s.topic.first()); from < head && from <= s.acked.floor {
		set := seqset{floor: from}
		return set
	}
	set := seqset{floor: target}
	below := max(target, min(retained, head))
	if s.acked.floor > target {
		set.raise(min(s.acked.floor, below))
	}
	for _, sp := range s.acked.above() {
		for n := max(sp.first, target); n < min(sp.first+sp.count, below); n++ {
			set.add(n)
		}
	}
	return set
}

// retained is from where on acknowledged messages are still there for a seek:
// those the subscription keeps, or the topic does. Without either, none are.
func (s *subscription) retained() uint64 {
	settings, from := s.settings(), s.keepFrom()
	now := s.server.now()
	kept := ^uint64(0)
	if settings.RetainAckedMessages {
		kept = max(from, s.topic.since(now.Add(-settings.MessageRetentionDuration.AsDuration())))
	}
	if d := s.topic.settings().MessageRetentionDuration; d != nil {
		kept = min(kept, s.topic.since(now.Add(-d.AsDuration())))
	}
	return kept
}
