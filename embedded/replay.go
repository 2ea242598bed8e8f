package embedded

import (
	"fmt"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/buffetbot/ingest/embedded/filter"
	"github.com/buffetbot/ingest/embedded/journal"
)

// replay takes one record of the journal into the state. Before the checkpoint
// only messages matter: all else is in it.
func (s *Server) replay(at journal.Position, kind byte, body []byte) error {
	if at.Before(s.checkpointed) && kind != kindMessages {
		return nil
	}
	return s.apply(kind, body, at)
}

// apply takes a record of the journal or of a checkpoint into the state. What it
// belongs to may be gone: then it says nothing.
func (s *Server) apply(kind byte, body []byte, at journal.Position) error {
	d := &decoder{b: body}
	switch kind {
	case kindMessages:
		return s.applyMessages(body, at)
	case kindAcks:
		s.applyAcksRecord(d)
	case kindTopic:
		s.applyTopic(d)
	case kindTopicGone:
		if t := s.state.topicUIDs[d.uint()]; t != nil {
			s.state.deleteTopic(t)
		}
	case kindSubscription:
		if err := s.applySubscription(d); err != nil {
			return err
		}
	case kindSubGone:
		if sub := s.state.subUIDs[d.uint()]; sub != nil {
			s.state.deleteSubscription(sub)
		}
	case kindAckState:
		s.applyAckState(d)
	case kindSnapshot:
		s.applySnapshot(d)
	case kindSnapshotGone:
		delete(s.state.snapshots, string(d.bytes()))
	case kindSchema:
		m := &pb.Schema{}
		if d.proto(m); d.err == nil {
			return s.state.addRevision(m)
		}
	case kindSchemaGone:
		s.state.dropRevision(string(d.bytes()), string(d.bytes()))
	case kindAttempts:
		s.applyAttempts(d)
	default:
		return fmt.Errorf("record of kind %d: a newer program wrote it", kind)
	}
	if d.err != nil {
		return fmt.Errorf("record of kind %d: %w", kind, d.err)
	}
	return nil
}

func (s *Server) applyMessages(body []byte, at journal.Position) error {
	r, err := decodeRun(body)
	if err != nil {
		return fmt.Errorf("record of messages: %w", err)
	}
	s.lastTime = max(s.lastTime, r.time)
	s.lastID = max(s.lastID, r.id+uint64(r.count)-1)
	t := s.state.topicUIDs[r.topic]
	if t == nil {
		return nil
	}
	end := r.first + uint64(r.count)
	if r.first > t.next && !s.cfg.SkipDamage {
		return fmt.Errorf("%w: messages %d to %d of %s are missing", journal.ErrCorrupt, t.next, r.first, t.name())
	}
	t.index.add(ref{
		first: r.first, time: r.time, at: at, size: uint32(journal.RecordSize(len(body))), count: r.count,
	})
	s.segments.add(at.Segment, 1)
	t.next = max(t.next, end)
	return nil
}

func (s *Server) applyAcksRecord(d *decoder) {
	sub, era := s.state.subUIDs[d.uint()], d.uint()
	d.spans(func(sp span) {
		if sub != nil && era == sub.era && sp.first+sp.count <= sub.topic.next {
			sub.applyAcks(era, []span{sp})
		}
	})
}

func (s *Server) applyTopic(d *decoder) {
	uid, next, deleted := d.uint(), d.uint(), d.uint()
	settings := &pb.Topic{}
	if d.proto(settings); d.err != nil {
		return
	}
	s.state.lastUID = max(s.state.lastUID, uid)
	if t := s.state.topicUIDs[uid]; t != nil {
		t.pb = settings
		return
	}
	t := &topic{uid: uid, pb: settings, next: next, deleted: deleted == 1, subs: map[*subscription]struct{}{}}
	s.state.topicUIDs[uid] = t
	if !t.deleted {
		s.state.topics[settings.Name] = t
	}
}

func (s *Server) applySubscription(d *decoder) error {
	uid, topicUID, start, retainFrom := d.uint(), d.uint(), d.uint(), d.uint()
	settings := &pb.Subscription{}
	if d.proto(settings); d.err != nil {
		return nil
	}
	s.state.lastUID = max(s.state.lastUID, uid)
	if sub := s.state.subUIDs[uid]; sub != nil {
		sub.put(settings, retainFrom)
		return nil
	}
	t := s.state.topicUIDs[topicUID]
	if t == nil {
		return fmt.Errorf("subscription %s: %w: its topic is missing", settings.Name, journal.ErrCorrupt)
	}
	var wants *filter.Filter
	if settings.Filter != "" {
		var err error
		if wants, err = filter.Parse(settings.Filter); err != nil {
			return fmt.Errorf("subscription %s: %w", settings.Name, err)
		}
	}
	sub := newSubscription(s, uid, t, start)
	sub.retainFrom = retainFrom
	sub.attach(settings, wants)
	s.state.addSubscription(sub)
	return nil
}

func (s *Server) applyAckState(d *decoder) {
	sub, era, set := s.state.subUIDs[d.uint()], d.uint(), seqset{floor: d.uint()}
	d.spans(func(sp span) {
		for n := sp.first; n < sp.first+min(sp.count, 1<<32); n++ {
			set.add(n)
		}
	})
	if sub != nil && d.err == nil {
		sub.reset(set)
		sub.era = era
	}
}

func (s *Server) applySnapshot(d *decoder) {
	t := s.state.topicUIDs[d.uint()]
	snap := &snapshot{pb: &pb.Snapshot{}, topic: t}
	d.proto(snap.pb)
	snap.acked.floor = d.uint()
	d.spans(func(sp span) {
		for n := sp.first; n < sp.first+min(sp.count, 1<<32); n++ {
			snap.acked.add(n)
		}
	})
	if t != nil && d.err == nil {
		s.state.snapshots[snap.pb.Name] = snap
	}
}

func (s *Server) applyAttempts(d *decoder) {
	sub, era := s.state.subUIDs[d.uint()], d.uint()
	for len(d.b) > 0 {
		seq, n, attempt := d.uint(), d.uint(), d.uint()
		for i := uint64(0); i < n && sub != nil && sub.era == era && seq+i < sub.topic.next; i++ {
			if sub.acked.has(seq + i) {
				continue
			}
			if sub.prior == nil {
				sub.prior = map[uint64]uint32{}
			}
			sub.prior[seq+i] = uint32(attempt)
		}
	}
}
