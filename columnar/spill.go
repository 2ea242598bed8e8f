package columnar

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// ErrTemporary: a temporary file could not be made, written or read: its folder is
// not there, or its disk is full or damaged. No file that is merged is to blame.
var ErrTemporary = errors.New("temporary file")

// A spill keeps pieces of bytes until it is reset: the first few MiB in memory,
// the rest in a temporary file without a name.
type spill struct {
	dir    string
	memory int // bytes kept there

	mu   sync.Mutex
	mem  []byte
	file *os.File
	off  int64
}

// spillMemory is what is kept in memory.
const spillMemory = 4 << 20

// A piece is where bytes are.
type piece struct {
	file   bool
	off, n int64
}

// put keeps a copy of data. It may be called by several goroutines at once.
func (s *spill) put(data []byte) (piece, error) {
	p, file, err := s.reserve(data)
	if err != nil || file == nil {
		return p, err
	}
	if _, err := file.WriteAt(data, p.off); err != nil {
		return p, fmt.Errorf("write to a %w: %w", ErrTemporary, err)
	}
	return p, nil
}

func (s *spill) reserve(data []byte) (piece, *os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(data))
	if len(s.mem)+len(data) <= s.memory {
		s.mem = append(s.mem, data...)
		return piece{false, int64(len(s.mem)) - n, n}, nil, nil
	}
	if s.file == nil {
		f, err := TempFile(s.dir)
		if err != nil {
			return piece{}, nil, err
		}
		s.file = f
	}
	s.off += n
	return piece{true, s.off - n, n}, s.file, nil
}

// get reads a piece, into buf where it is not in memory.
func (s *spill) get(p piece, buf []byte) ([]byte, error) {
	if !p.file {
		return s.mem[p.off : p.off+p.n], nil
	}
	buf = growTo(buf, int(p.n))[:p.n]
	if n, err := s.file.ReadAt(buf, p.off); int64(n) < p.n {
		return nil, fmt.Errorf("read a %w: %w", ErrTemporary, unexpected(err))
	}
	return buf, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *spill) reset() { s.mem, s.off = s.mem[:0], 0 }

func (s *spill) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// TempFile makes a temporary file in dir (the system's where empty) that has no
// name any more, so that it goes when it is closed, or the process ends, however
// it does. An error is ErrTemporary.
func TempFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "buffetbot-*")
	if err != nil {
		return nil, fmt.Errorf("make a %w: %w", ErrTemporary, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make a %w: %w", ErrTemporary, err), f.Close())
	}
	return f, nil
}
