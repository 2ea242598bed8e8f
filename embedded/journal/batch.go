package journal

import (
	"fmt"
	"os"
)

// A Batch is records that become durable together.
type Batch struct {
	base    Position
	group   uint64
	index   uint32 // of the next record in its group
	buf     []byte
	open    int // where the record being written begins
	records []span
}

type span struct{ from, to int }

// Begin starts the next batch. The one before it is no longer valid.
func (j *Journal) Begin() (*Batch, error) {
	if err := j.ready(); err != nil {
		return nil, err
	}
	b := &j.batch
	if cap(b.buf) > 4<<20 { // one huge batch does not hold memory for ever
		b.buf = nil
	}
	*b = Batch{base: j.End(), group: j.group + 1, index: j.index, buf: b.buf[:0], records: b.records[:0]}
	return b, nil
}

// Buf begins a record and returns the buffer to append its body to; Add ends it.
func (b *Batch) Buf() []byte {
	b.open = len(b.buf)
	return append(b.buf, make([]byte, recordHeader)...)
}

// Add ends the record that Buf began, with the buffer as it grew since. It
// returns the record's number in the batch.
func (b *Batch) Add(kind byte, buf []byte) int {
	b.buf = buf
	seal(b.buf[b.open:], b.group, b.index, kind)
	b.index++
	b.records = append(b.records, span{b.open, len(b.buf)})
	return len(b.records) - 1
}

// Position is where record i lies once the batch is durable.
func (b *Batch) Position(i int) Position {
	return Position{Segment: b.base.Segment, Offset: b.base.Offset + uint32(b.records[i].from)}
}

// Size is the size of record i in the file.
func (b *Batch) Size(i int) int { return b.records[i].to - b.records[i].from }

// Bytes is how much the batch adds to the journal.
func (b *Batch) Bytes() int { return len(b.buf) }

// Commit makes the batch of the last Begin durable; sync false writes it without
// waiting for the disk, for what may be lost with the machine but not with the
// process. An error means that nothing of the batch is there, except that it may
// come back at the next Open if the file could not be cut until then.
func (j *Journal) Commit(sync bool) error {
	b := &j.batch
	if len(b.buf) == 0 {
		return nil
	}
	file := j.last().file
	err := func() error {
		if _, err := file.WriteAt(b.buf, j.size); err != nil {
			return err
		}
		if sync && !j.opts.NoSync {
			return file.Sync()
		}
		return nil
	}()
	if err != nil {
		j.broken = err
		_ = j.repair() // now if it can be; Begin tries again
		return fmt.Errorf("append to %s: %w", j.last().name, err)
	}
	j.size += int64(len(b.buf))
	j.index = b.index
	if sync { // a group is what one fsync made durable
		j.group, j.index = b.group, 0
	}
	b.buf, b.records = b.buf[:0], b.records[:0]
	return nil
}

// ready cuts what a failed batch left, and begins a new segment when the last is
// full.
func (j *Journal) ready() error {
	if j.broken != nil {
		if err := j.repair(); err != nil {
			return err
		}
	}
	if j.size < j.opts.SegmentBytes {
		return nil
	}
	if !j.opts.NoSync { // unsynced batches must not be left behind in a file that nobody syncs again
		if err := j.last().file.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", j.last().name, err)
		}
	}
	if j.index > 0 {
		j.group, j.index = j.group+1, 0
	}
	return j.create(j.last().number + 1)
}

// repair cuts the tail of a batch that failed. Nothing is written before that
// succeeds: a record behind a failed one would not be found.
func (j *Journal) repair() error {
	last := j.last()
	err := last.file.Truncate(j.size)
	if err == nil && !j.opts.NoSync {
		err = last.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("cut the tail of %s after %w: %w", last.name, j.broken, err)
	}
	j.broken = nil
	return nil
}

// create begins the segment of this number.
func (j *Journal) create(number uint64) error {
	name := segmentName(j.dir, number)
	file, err := j.opts.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	_, err = file.WriteAt(segmentStart(number), 0)
	if err == nil && !j.opts.NoSync {
		if err = file.Sync(); err == nil {
			err = SyncDir(j.dir)
		}
	}
	if err != nil {
		file.Close()
		os.Remove(name)
		return fmt.Errorf("begin segment %s: %w", name, err)
	}
	j.mu.Lock()
	j.segments = append(j.segments, &segment{number: number, name: name, file: file})
	j.mu.Unlock()
	j.size = segmentHeader
	return nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
