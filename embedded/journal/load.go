package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// load reads every segment in order. Records are read through a window that
// grows to the largest record.
func (j *Journal) load() error {
	numbers, err := list(j.dir)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for i, number := range numbers {
		if err := j.loadSegment(number, i == len(numbers)-1); err != nil {
			return err
		}
	}
	if len(j.segments) == 0 {
		next := uint64(1)
		if len(numbers) > 0 {
			next = numbers[len(numbers)-1]
		}
		return j.create(next)
	}
	return nil
}

func list(dir string) ([]uint64, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".seg"), 16, 64)
		if err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, cmp.Compare)
	return numbers, nil
}

func (j *Journal) loadSegment(number uint64, last bool) error {
	name := segmentName(j.dir, number)
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	file, err := j.opts.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	s := &segment{number: number, name: name, file: file}
	size := info.Size()
	if err := checkStart(file, size, number); err != nil {
		if last && size <= segmentHeader { // the crash came while the segment was begun
			return errors.Join(file.Close(), os.Remove(name))
		}
		file.Close()
		return fmt.Errorf("open segment %s: %w", name, err)
	}
	j.segments = append(j.segments, s)
	end, err := j.replay(s, size, last)
	if err != nil {
		return err
	}
	j.size = end
	if last && end < size {
		if err := file.Truncate(end); err != nil {
			return fmt.Errorf("cut the torn tail of %s: %w", name, err)
		}
	}
	if last && !j.opts.NoSync { // what was replayed may be in the page cache only
		return file.Sync()
	}
	return nil
}

func checkStart(file File, size int64, number uint64) error {
	b := make([]byte, segmentHeader)
	if size < segmentHeader {
		return fmt.Errorf("%w: %d bytes are no segment", ErrCorrupt, size)
	}
	if _, err := file.ReadAt(b, 0); err != nil {
		return err
	}
	if crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) || !bytes.Equal(b[4:12], []byte(magic)) {
		return fmt.Errorf("%w: not the start of a segment", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[12:]); v != version {
		return fmt.Errorf("version %d: this program reads version %d", v, version)
	}
	if n := binary.LittleEndian.Uint64(b[16:]); n != number {
		return fmt.Errorf("%w: its name says %d, its start %d", ErrCorrupt, number, n)
	}
	return nil
}

// replay hands out the records of a segment and returns where the good ones end.
func (j *Journal) replay(s *segment, size int64, last bool) (int64, error) {
	w := &window{file: s.file, size: size}
	at := int64(segmentHeader)
	for at < size {
		r, err := w.record(at)
		if err != nil && !isDamage(err) {
			return at, fmt.Errorf("read %s at %d: %w", s.name, at, err)
		}
		if err != nil {
			next, end, err := j.damage(w, s, at, last, err)
			if err != nil || end {
				return at, err
			}
			at = next
			continue
		}
		if err := j.opts.Replay(Position{Segment: s.number, Offset: uint32(at)}, r.kind, r.body); err != nil {
			return at, fmt.Errorf("replay %s at %d: %w", s.name, at, err)
		}
		j.group = r.group
		at += int64(r.size)
	}
	return at, nil
}

func isDamage(err error) bool {
	return errors.Is(err, errShort) || errors.Is(err, errChecksum) || errors.Is(err, errLength)
}

// damage decides what a bad record at an offset is: the torn tail of the last
// batch (end is true), or damage to what was durable. The difference is what
// follows it. A group is begun only when the one before it is durable, so what
// is behind a tear is of the torn group, and not its first record.
func (j *Journal) damage(w *window, s *segment, at int64, last bool, cause error) (next int64, end bool, err error) {
	next, r, err := w.find(at + 1)
	if err != nil {
		return 0, false, fmt.Errorf("read %s: %w", s.name, err)
	}
	for behind := next; last && (behind < 0 || r.group == j.group || r.group == j.group+1 && r.index > 0); {
		if behind < 0 {
			return 0, true, nil
		}
		if behind, r, err = w.find(behind + int64(r.size)); err != nil {
			return 0, false, fmt.Errorf("read %s: %w", s.name, err)
		}
	}
	if j.opts.SkipDamage == nil {
		return 0, false, fmt.Errorf("read %s at %d: %w: %w: restore the file from a copy, or open with SkipDamage to go on without what is lost",
			s.name, at, ErrCorrupt, cause)
	}
	if next < 0 {
		j.opts.SkipDamage(s.name, at, w.size)
		return w.size, false, nil
	}
	j.opts.SkipDamage(s.name, at, next)
	return next, false, nil
}

// A window reads a file forward in large pieces.
type window struct {
	file File
	size int64
	from int64
	buf  []byte
}

const windowBytes = 1 << 20

// fill makes [at, at+n) available, as far as the file goes.
func (w *window) fill(at int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.size-at))
	if at < w.from || at+int64(n) > w.from+int64(len(w.buf)) {
		want := int(min(int64(max(n, windowBytes)), w.size-at))
		w.buf = slices.Grow(w.buf[:0], want)[:want]
		w.from = at
		if _, err := w.file.ReadAt(w.buf, at); err != nil {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	return w.buf[at-w.from:], nil
}

func (w *window) record(at int64) (record, error) {
	b, err := w.fill(at, recordHeader)
	if err != nil {
		return record{}, err
	}
	if len(b) < recordHeader {
		return record{}, errShort
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > MaxRecord {
		return record{}, errLength
	}
	if at+recordHeader+int64(n) > w.size {
		return record{}, errShort
	}
	if b, err = w.fill(at, recordHeader+int(n)); err != nil {
		return record{}, err
	}
	return parse(b)
}

// find looks for the next good record at or behind an offset; -1 if there is
// none. Only plausible lengths are checked in full.
func (w *window) find(at int64) (int64, record, error) {
	for ; at+recordHeader <= w.size; at++ {
		r, err := w.record(at)
		if err == nil {
			return at, r, nil
		}
		if !isDamage(err) {
			return 0, record{}, err
		}
	}
	return -1, record{}, nil
}
