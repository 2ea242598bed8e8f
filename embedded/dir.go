package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/embedded/journal"
)

// openDir locks the directory and reads what is in it.
func (s *Server) openDir() error {
	if err := s.makeDir(); err != nil {
		return err
	}
	lock, err := lockDir(filepath.Join(s.dir, "lock"))
	if err != nil {
		return err
	}
	s.lock = lock
	if err := s.recover(); err != nil {
		return errors.Join(err, s.closeDir())
	}
	return nil
}

func (s *Server) temporary() bool { return s.cfg.Dir == "" }

func (s *Server) makeDir() (err error) {
	if s.temporary() {
		s.dir, err = os.MkdirTemp("", "pubsub-")
		return err
	}
	return os.MkdirAll(s.dir, 0o755)
}

func (s *Server) recover() error {
	if err := s.loadCheckpoint(); err != nil {
		return err
	}
	opts := journal.Options{SegmentBytes: s.cfg.SegmentBytes, NoSync: s.temporary(), Replay: s.replay, OpenFile: s.openFile}
	if s.cfg.SkipDamage {
		opts.SkipDamage = func(file string, from, to int64) {
			s.log.Error("embedded Pub/Sub: damage in the journal is left out", zap.String("file", file), zap.Int64("from", from), zap.Int64("to", to))
		}
	}
	j, err := journal.Open(s.dir, opts)
	if err != nil {
		return err
	}
	s.journal = j
	for _, sub := range s.state.subUIDs {
		sub.reader.journal = j
		sub.next = sub.acked.floor
	}
	return s.nextEpoch()
}

// Ids of messages are epoch<<epochShift and a counter.
const epochShift = 40

// nextEpoch begins the epoch of this opening. It is durable before any id of it
// is given out; so ids grow across restarts, and one whose message was torn off
// the journal is not given again.
func (s *Server) nextEpoch() error {
	name := filepath.Join(s.dir, "epoch")
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the epoch: %w", err)
	}
	kept, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil && len(b) > 0 {
		return fmt.Errorf("read %s: %w: it holds a number: put one there that is higher than ever was", name, err)
	}
	s.epoch = max(kept, s.epoch, s.lastID>>epochShift) + 1
	if err := s.replaceFile(name, []byte(strconv.FormatUint(s.epoch, 10)+"\n")); err != nil {
		return fmt.Errorf("write the epoch: %w", err)
	}
	s.lastID = s.epoch << epochShift
	return nil
}

func (s *Server) closeDir() error {
	var errs []error
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	if s.temporary() && s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
