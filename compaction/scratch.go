package compaction

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
)

// A scratch is the room that one group's inputs are copied to: the first of them
// in memory, the rest in one local file without a name, so that neither memory
// nor descriptors limit their number. What is copied here was verified, and is
// read again as often as a merge wants.
type scratch struct {
	dir string

	mu     sync.Mutex
	memory int64 // bytes that may still be kept in memory
	file   *os.File
	off    int64
}

// inMemory is how much of the inputs of a group may lie in memory: all of a small
// one, so that it needs no file; little of a large one.
func inMemory(need int64) int64 { return max(need/32, min(need/2, 2<<20)) }

// rangeBytes is how much of a large object is read at once.
const rangeBytes = 8 << 20

func newScratch(dir string, memory int64) *scratch { return &scratch{dir: dir, memory: memory} }

func (s *scratch) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// fits takes n bytes of those that may be kept in memory, if there are so many.
func (s *scratch) fits(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.memory || n > rangeBytes {
		return false
	}
	s.memory -= n
	return true
}

// reserve gives a place of n bytes in the file.
func (s *scratch) reserve(n int64) (*os.File, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		f, err := columnar.TempFile(s.dir)
		if err != nil {
			return nil, 0, err
		}
		s.file = f
	}
	s.off += n
	return s.file, s.off - n, nil
}

// A copied object is readable as often as one likes.
type copied struct {
	name string
	size int64
	data []byte // where it is in memory
	at   *io.SectionReader
	crc  uint32
}

func (c copied) open() (*columnar.File, error) {
	if c.at == nil {
		return columnar.OpenBytes(c.name, c.data)
	}
	return columnar.OpenAt(c.name, local{c.at}, c.size)
}

// local is a part of our file: what cannot be read there is not the object's fault.
type local struct{ *io.SectionReader }

// ReadAt implements io.ReaderAt.
func (l local) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.SectionReader.ReadAt(p, off)
	switch {
	case err == io.EOF && off+int64(n) < l.Size():
		err = fmt.Errorf("read a %w: %w", columnar.ErrTemporary, io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		err = fmt.Errorf("read a %w: %w", columnar.ErrTemporary, err)
	}
	return n, err
}

// fetch copies an object, and says what its checksum is.
func (s *scratch) fetch(ctx context.Context, store objstore.Reader, name string, size int64) (copied, error) {
	c := copied{name: name, size: size}
	if s.fits(size) {
		data, err := store.Read(ctx, name, 0, -1)
		if err != nil {
			return c, fmt.Errorf("read %s: %w", name, err)
		}
		c.data, c.size, c.crc = data, int64(len(data)), objstore.Checksum(data)
		return c, nil
	}
	file, off, err := s.reserve(size)
	if err != nil {
		return c, err
	}
	c.at = io.NewSectionReader(file, off, size)
	for from := int64(0); ; {
		data, err := store.Read(ctx, name, from, rangeBytes)
		if err != nil {
			return c, fmt.Errorf("read %s: %w", name, err)
		}
		if from+int64(len(data)) > size {
			c.size = from + int64(len(data)) // longer than it was told
			return c, nil
		}
		if _, err := file.WriteAt(data, off+from); err != nil {
			return c, fmt.Errorf("copy %s to a %w: %w", name, columnar.ErrTemporary, err)
		}
		c.crc = crc32.Update(c.crc, castagnoli, data)
		if from += int64(len(data)); len(data) < rangeBytes {
			c.size = from
			return c, nil
		}
	}
}

// keep copies bytes that were made here.
func (s *scratch) keep(name string, data []byte) (copied, error) {
	c := copied{name: name, size: int64(len(data))}
	if s.fits(c.size) {
		c.data = bytes.Clone(data)
		return c, nil
	}
	file, off, err := s.reserve(c.size)
	if err != nil {
		return c, err
	}
	c.at = io.NewSectionReader(file, off, c.size)
	if _, err := file.WriteAt(data, off); err != nil {
		return c, fmt.Errorf("write %s to a %w: %w", name, columnar.ErrTemporary, err)
	}
	return c, nil
}

// A scratchWriter writes a file of unknown length, in memory while it is short. One
// at a time may write to a scratch, and nothing may be fetched meanwhile.
type scratchWriter struct {
	s    *scratch
	buf  bytes.Buffer
	file *os.File // nil: in memory
	off  int64
	n    int64
	crc  uint32
	sha  hash.Hash // nil: nobody asks for it
}

// shortFile is what is kept in memory.
const shortFile = 1 << 20

func (s *scratch) writer() *scratchWriter { return &scratchWriter{s: s} }

// Write implements io.Writer.
func (w *scratchWriter) Write(p []byte) (int, error) {
	w.crc = crc32.Update(w.crc, castagnoli, p)
	if w.sha != nil {
		w.sha.Write(p)
	}
	w.n += int64(len(p))
	if w.file == nil && w.n <= shortFile {
		return w.buf.Write(p)
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	if _, err := w.file.WriteAt(p, w.off+w.n-int64(len(p))); err != nil {
		return 0, fmt.Errorf("write to a %w: %w", columnar.ErrTemporary, err)
	}
	return len(p), nil
}

// begin moves what is in memory to the file, behind everything else, at a
// position that can be mapped.
func (w *scratchWriter) begin() (err error) {
	if w.file != nil {
		return nil
	}
	page := int64(os.Getpagesize())
	w.s.off = (w.s.off + page - 1) / page * page
	if w.file, w.off, err = w.s.reserve(0); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(w.buf.Bytes(), w.off); err != nil {
		return fmt.Errorf("write to a %w: %w", columnar.ErrTemporary, err)
	}
	w.buf = bytes.Buffer{}
	return nil
}

// done is what was written.
func (w *scratchWriter) done(name string) copied {
	c := copied{name: name, size: w.n, crc: w.crc}
	if w.file == nil {
		c.data = w.buf.Bytes()
		return c
	}
	w.s.off = w.off + w.n
	c.at = io.NewSectionReader(w.file, w.off, w.n)
	return c
}

// bytes gives the whole of what was written, mapped where it is in the file: the
// system may forget mapped pages as it likes. unmap ends their use.
func (s *scratch) bytes(c copied) (data []byte, unmap func(), err error) {
	if c.at == nil {
		return c.data, func() {}, nil
	}
	_, off, n := c.at.Outer()
	return mapped(s.file, off, n)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
