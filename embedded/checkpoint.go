package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/embedded/journal"
)

// A checkpoint is everything but the messages, as records. The journal is
// replayed from the checkpoint's position; what lies before it is needed for the
// messages alone, and a segment without needed messages can go.

const (
	checkpointVersion = 1
	checkpointBytes   = 64 << 20 // of journal, after which another is written
)

func (s *Server) checkpointName() string { return filepath.Join(s.dir, "checkpoint") }

// checkpointDue reports whether to write one now: enough was written since, or
// segments wait to be deleted.
func (s *Server) checkpointDue() bool {
	return s.sinceCheckpoint >= checkpointBytes || s.counts.wantCheckpoint.Swap(false)
}

// writeCheckpoint writes one; only the committer does, between batches. A failure
// costs disk space and a longer replay, nothing else.
func (s *Server) writeCheckpoint() {
	at := s.journal.End()
	s.sinceCheckpoint = 0
	if err := s.replaceFile(s.checkpointName(), s.encodeCheckpoint(at)); err != nil {
		s.log.Warn("embedded Pub/Sub: write a checkpoint", zap.Error(err))
		return
	}
	s.mu.Lock()
	s.checkpointed = at
	s.mu.Unlock()
	signal(s.trimWake)
}

// replaceFile replaces a file as a whole, or leaves it as it was.
func (s *Server) replaceFile(name string, b []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && !s.temporary() {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	if s.temporary() {
		return nil
	}
	return journal.SyncDir(filepath.Dir(name))
}

func (s *Server) encodeCheckpoint(at journal.Position) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := &s.state
	var b []byte
	records := uint64(0)
	add := func(kind byte, body func([]byte) []byte) {
		b = journal.AppendRecord(b, kind, body)
		records++
	}
	add(kindCheckpoint, func(b []byte) []byte {
		b = putUint(b, checkpointVersion)
		b = putUint(b, s.epoch)
		b = putUint(b, st.lastUID)
		b = putUint(b, uint64(s.lastTime))
		b = putUint(b, at.Segment)
		return putUint(b, uint64(at.Offset))
	})
	for _, h := range st.schemas {
		for _, r := range h.revisions {
			add(kindSchema, func(b []byte) []byte { return putProto(b, r.pb) })
		}
	}
	for _, t := range st.topicUIDs {
		settings := t.settings()
		add(kindTopic, func(b []byte) []byte { return encodeTopic(b, t, settings) })
	}
	for _, sub := range st.subUIDs {
		sub.mu.Lock()
		add(kindSubscription, func(b []byte) []byte {
			return encodeSubscription(b, sub, sub.pb, sub.acked.floor, sub.retainFrom)
		})
		add(kindAckState, func(b []byte) []byte { return encodeAckState(b, sub.uid, sub.era, &sub.acked) })
		if all := sub.attempts(); len(all) > 0 {
			add(kindAttempts, func(b []byte) []byte { return encodeAttempts(b, sub.uid, sub.era, all) })
		}
		sub.mu.Unlock()
	}
	for _, snap := range st.snapshots {
		add(kindSnapshot, func(b []byte) []byte { return encodeSnapshot(b, snap) })
	}
	n := records
	add(kindEnd, func(b []byte) []byte { return putUint(b, n) })
	return b
}

// attempts lists the delivery attempts that count, those of a subscription that
// dead-letters; mu is held.
func (s *subscription) attempts() []waiting {
	if s.pb.DeadLetterPolicy == nil {
		return nil
	}
	var all []waiting
	note := func(seq uint64, n uint32) {
		if n > 0 && !s.acked.has(seq) {
			all = append(all, waiting{seq: seq, attempt: n})
		}
	}
	for seq, n := range s.prior {
		if seq >= s.next {
			note(seq, n)
		}
	}
	for i := range s.leases.all {
		if v := &s.leases.all[i]; v.held {
			note(v.seq, v.attempt)
		}
	}
	for _, group := range [][]waiting{s.waiting, s.dead} {
		for _, w := range group {
			note(w.seq, w.attempt)
		}
	}
	for _, k := range s.keys {
		for _, w := range k.queue {
			note(w.seq, w.attempt)
		}
	}
	return all
}

// loadCheckpoint reads the checkpoint, if there is one, into the state.
func (s *Server) loadCheckpoint() error {
	b, err := os.ReadFile(s.checkpointName())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	records, ended := uint64(0), false
	err = journal.Records(b, func(kind byte, body []byte) error {
		if kind == kindEnd {
			d := decoder{b: body}
			ended = d.uint() == records && d.err == nil
			return nil
		}
		if records++; kind == kindCheckpoint {
			return s.applyCheckpoint(body)
		}
		return s.apply(kind, body, journal.Position{})
	})
	if err == nil && !ended {
		err = fmt.Errorf("%w: it has no end", journal.ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w: restore the directory from a copy, or move it away to begin anew", s.checkpointName(), err)
	}
	return nil
}

func (s *Server) applyCheckpoint(body []byte) error {
	d := decoder{b: body}
	if v := d.uint(); d.err == nil && v != checkpointVersion {
		return fmt.Errorf("version %d: this program reads version %d", v, checkpointVersion)
	}
	s.epoch = d.uint()
	s.state.lastUID = d.uint()
	s.lastTime = int64(d.uint())
	s.checkpointed = journal.Position{Segment: d.uint(), Offset: uint32(d.uint())}
	return d.err
}
