package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/objstore"
)

const (
	loadTries    = 8
	loadParallel = 8                     // log objects read at once
	loadPause    = 10 * time.Millisecond // before the second try, doubled for each further one
)

// errMoved: the log changed while it was read. What was read is thrown away.
var errMoved = errors.New("the log changed while it was read")

// Load is the table as it is now (P9). Of the log's past, which may be thousands
// of objects, it lists as little as the hint allows.
func (t *Table) Load(ctx context.Context) (*Snapshot, error) {
	return t.settled(ctx, func() (*Snapshot, error) {
		start := t.clock()
		l, err := t.listRecent(ctx)
		if err != nil {
			return nil, err
		}
		return t.loadListed(ctx, l, start)
	})
}

// LoadWithPast is Load, and what the log held when it was listed for it.
func (t *Table) LoadWithPast(ctx context.Context) (*Snapshot, Past, error) {
	var past Past
	s, err := t.settled(ctx, func() (*Snapshot, error) {
		start := t.clock()
		l, err := t.list(ctx, "")
		if err != nil {
			return nil, err
		}
		past = Past{l}
		return t.loadListed(ctx, l, start)
	})
	return s, past, err
}

func (t *Table) loadListed(ctx context.Context, l listing, start time.Time) (*Snapshot, error) {
	if err := t.readable(l); err != nil {
		return nil, err
	}
	return t.loadFrom(ctx, l, start)
}

// Refresh is the table as it is now, read from where s left off; s itself if
// nothing happened since.
func (t *Table) Refresh(ctx context.Context, s *Snapshot) (*Snapshot, error) {
	start := t.clock()
	l, err := t.list(ctx, t.logName(s.Version+1))
	if err != nil {
		return nil, err
	}
	// P10: once a later checkpoint exists, the entries after s may be ghosts.
	if len(l.checkpoints) > 0 || l.foreign != "" {
		return t.Load(ctx)
	}
	if len(l.entries) == 0 {
		return s, nil
	}
	next, err := t.replay(ctx, t.from(s), l.entries)
	if err == nil {
		err = t.inTime(start, next)
	}
	if errors.Is(err, errMoved) {
		return t.Load(ctx)
	}
	return next, err
}

// settled tries again while the log moves under the reader.
func (t *Table) settled(ctx context.Context, load func() (*Snapshot, error)) (*Snapshot, error) {
	pause := loadPause
	for try := 1; ; try++ {
		s, err := load()
		if !errors.Is(err, errMoved) {
			return s, err
		}
		if try == loadTries {
			return nil, fmt.Errorf("load %s: %d tries: %w", t.dataType, try, err)
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return nil, fmt.Errorf("load %s: %w", t.dataType, ctx.Err())
		}
	}
}

// readable refuses a listing of which no table can be read.
func (t *Table) readable(l listing) error {
	if l.foreign != "" {
		return t.unsupported(l.foreign, 0, "a checkpoint of another kind than the classic")
	}
	if len(l.entries) == 0 && len(l.checkpoints) == 0 {
		return fmt.Errorf("load %s: %w", t.dataType, ErrNoTable)
	}
	return nil
}

// loadFrom reads what a listing names. P9: the highest checkpoint listed,
// whatever _last_checkpoint says, and every entry above it.
func (t *Table) loadFrom(ctx context.Context, l listing, start time.Time) (*Snapshot, error) {
	st := t.from(emptySnapshot(t.dataType))
	if n := len(l.checkpoints); n > 0 {
		if err := t.restore(ctx, st, l.checkpoints[n-1], l.entries); err != nil {
			return nil, err
		}
	}
	s, err := t.replay(ctx, st, above(l.entries, st.version))
	if err != nil {
		return nil, err
	}
	return s, t.inTime(start, s)
}

// inTime is P9's other half: a load that took longer than the log keeps its
// past may have read entries that were cleaned up under it.
func (t *Table) inTime(start time.Time, s *Snapshot) error {
	if t.clock().Sub(start) > s.Properties().LogRetain {
		return fmt.Errorf("load %s: reading took longer than the log keeps its past: %w", t.dataType, errMoved)
	}
	return nil
}

// restore reads a checkpoint.
func (t *Table) restore(ctx context.Context, st *state, c logObject, entries []logObject) error {
	data, err := t.read(ctx, c.Object)
	if err != nil {
		return err
	}
	actions, err := t.decodeCheckpoint(ctx, c.Name, data)
	if err != nil {
		return err
	}
	if err := st.restore(c.Object, c.version, actions); err != nil {
		return err
	}
	// The version is as old as its entry, which outlives the cleanup.
	if same := above(entries, c.version-1); len(same) > 0 && same[0].version == c.version {
		st.time = same[0].Created
	}
	return nil
}

// replay applies entries, which must follow the state without a gap, and makes
// sure that they are the table's. The state must not be used afterwards.
func (t *Table) replay(ctx context.Context, st *state, entries []logObject) (*Snapshot, error) {
	first := st.version + 1
	for i, e := range entries {
		if want := first + int64(i); e.version != want {
			return nil, t.missing(want)
		}
	}
	read, err := t.readAll(ctx, entries)
	if err != nil {
		return nil, err
	}
	name := t.logName(max(st.version, 0))
	for i, e := range entries {
		if err := st.apply(e.Object, e.version, read[i]); err != nil {
			return nil, err
		}
		name = e.Name
	}
	if len(entries) > 0 {
		// P9: an entry may have been cleaned up and made again by a ghost after it
		// was listed. Cleanup needs a checkpoint above it, which shows here.
		c, found, err := t.checkpointAtOrAbove(ctx, first)
		if err != nil {
			return nil, err
		}
		if found {
			return nil, fmt.Errorf("load %s: checkpoint %d appeared: %w", t.dataType, c, errMoved)
		}
	}
	return st.snapshot(name)
}

// readAll reads and decodes entries, several at once.
func (t *Table) readAll(ctx context.Context, entries []logObject) ([][]action, error) {
	read := make([][]action, len(entries))
	p := pool.New().WithMaxGoroutines(loadParallel).WithContext(ctx).WithCancelOnError().WithFirstError()
	for i, e := range entries {
		p.Go(func(ctx context.Context) error {
			data, err := t.read(ctx, e.Object)
			if err != nil {
				return err
			}
			read[i], err = t.decodeEntry(e.Name, data)
			return err
		})
	}
	return read, p.Wait()
}

// read reads an object of the log as it was listed. One that is gone or another
// by now means that the log moved on; if it stays so, it is damaged.
func (t *Table) read(ctx context.Context, o objstore.Object) ([]byte, error) {
	data, err := t.store.Read(ctx, o.Name, 0, -1)
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", t.damaged(o.Name, 0, "gone since it was listed"), errMoved)
	case err != nil:
		return nil, fmt.Errorf("read the log of %s: %w", t.dataType, err)
	case int64(len(data)) != o.Size:
		err = t.damaged(o.Name, 0, fmt.Sprintf("%d bytes, listed as %d", len(data), o.Size))
		return nil, fmt.Errorf("%w: %w", err, errMoved)
	case o.HasCRC32C && objstore.Checksum(data) != o.CRC32C:
		return nil, fmt.Errorf("%w: %w", t.damaged(o.Name, 0, "its checksum is not the listed one"), errMoved)
	}
	return data, nil
}

func (t *Table) missing(v int64) error {
	return fmt.Errorf("%w: %w", t.damaged(t.entryName(v), 0, "missing between entries that are there"), errMoved)
}
