// Package journal is an append-only log of records in numbered segment files,
// made durable in groups.
//
// What always holds:
//
//   - Commit returns nil only when every record of the batch is on disk;
//   - a batch that failed leaves nothing behind it could be mixed up with: the file
//     is cut back to what was durable before anything else is written;
//   - a record is handed out, at replay or by Read, only when its CRC-32C is right;
//   - at Open a tail that a crash tore is cut, and damage to what was durable is
//     an error (ErrCorrupt), never skipped in silence.
//
// It knows nothing of what the records mean, starts no goroutine, and does not
// lock its directory: that is its owner's part. FORMAT.md, one folder up, has the
// bytes.
package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ErrCorrupt says that bytes which were durable are not what was written.
var ErrCorrupt = errors.New("damaged")

// A Position is where a record begins.
type Position struct {
	Segment uint64
	Offset  uint32
}

// Before reports whether p lies before q.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// A File is what the journal needs of a segment file. Tests wrap it to make a
// disk fail.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Options are how a journal is opened.
type Options struct {
	// SegmentBytes, 64 MiB: a segment of this size or more is followed by another.
	// At most 1 GiB.
	SegmentBytes int64
	// NoSync leaves out every fsync, for a journal that is not kept.
	NoSync bool
	// Replay is handed every record in order; body is valid until it returns. Its
	// error ends Open.
	Replay func(at Position, kind byte, body []byte) error
	// SkipDamage opens a damaged journal without what is damaged, telling of each
	// stretch that is left out.
	SkipDamage func(file string, from, to int64)
	// OpenFile, os.OpenFile: how a segment is opened.
	OpenFile func(name string, flag int, perm os.FileMode) (File, error)
}

// A Journal is an open log. One goroutine at a time may call Begin, Commit and
// Remove; Read may be called by any.
type Journal struct {
	dir  string
	opts Options

	mu       sync.RWMutex // guards segments
	segments []*segment

	size   int64  // durable bytes of the last segment
	group  uint64 // of the last fsync
	index  uint32 // records written since
	broken error  // why the last batch failed: the tail has to be cut first
	batch  Batch
}

type segment struct {
	number uint64
	name   string
	mu     sync.RWMutex // held for reading while the file is read
	file   File         // nil once removed
}

// Open opens the journal in dir, which must exist, replays what is in it and
// cuts a torn tail.
func Open(dir string, o Options) (*Journal, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	o.SegmentBytes = min(o.SegmentBytes, 1<<30) // offsets have 32 bits
	if o.OpenFile == nil {
		o.OpenFile = func(name string, flag int, perm os.FileMode) (File, error) { return os.OpenFile(name, flag, perm) }
	}
	if o.Replay == nil {
		o.Replay = func(Position, byte, []byte) error { return nil }
	}
	j := &Journal{dir: dir, opts: o}
	if err := j.load(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Close closes the files. What Commit reported as durable stays so.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, s := range j.segments {
		errs = append(errs, s.close())
	}
	j.segments = nil
	return errors.Join(errs...)
}

func (s *segment) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// End is where the next record would begin.
func (j *Journal) End() Position {
	last := j.last()
	return Position{Segment: last.number, Offset: uint32(j.size)}
}

// Segments lists the numbers of the segments, oldest first; the last is the one
// being written.
func (j *Journal) Segments() []uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	numbers := make([]uint64, len(j.segments))
	for i, s := range j.segments {
		numbers[i] = s.number
	}
	return numbers
}

func (j *Journal) last() *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.segments[len(j.segments)-1]
}

// Remove deletes a segment, which must not be the one being written. Reads of it
// that are under way end first.
func (j *Journal) Remove(number uint64) error {
	j.mu.Lock()
	i := slices.IndexFunc(j.segments, func(s *segment) bool { return s.number == number })
	if i < 0 || i == len(j.segments)-1 {
		j.mu.Unlock()
		return fmt.Errorf("remove segment %d: it is in use or gone", number)
	}
	s := j.segments[i]
	j.segments = slices.Delete(j.segments, i, i+1)
	j.mu.Unlock()
	err := s.close()
	return errors.Join(err, os.Remove(s.name))
}

// Read reads the record at a position into buf, which it may grow, and returns
// its body. size is the size of the record as Batch.Size gave it.
func (j *Journal) Read(at Position, size int, buf []byte) ([]byte, []byte, error) {
	s := j.find(at.Segment)
	if s == nil {
		return nil, buf, fmt.Errorf("read segment %d: it was removed", at.Segment)
	}
	buf = slices.Grow(buf[:0], size)[:size]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil {
		return nil, buf, fmt.Errorf("read segment %d: it was removed", at.Segment)
	}
	if _, err := s.file.ReadAt(buf, int64(at.Offset)); err != nil {
		return nil, buf, fmt.Errorf("read %s at %d: %w", s.name, at.Offset, err)
	}
	r, err := parse(buf)
	if err != nil || r.size != size {
		return nil, buf, fmt.Errorf("read %s at %d: %w: %w", s.name, at.Offset, ErrCorrupt, err)
	}
	return r.body, buf, nil
}

func (j *Journal) find(number uint64) *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	i, found := slices.BinarySearchFunc(j.segments, number, func(s *segment, n uint64) int {
		switch {
		case s.number < n:
			return -1
		case s.number > n:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return j.segments[i]
}

func segmentName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x.seg", number))
}
