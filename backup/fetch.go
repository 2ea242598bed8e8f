package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/objstore"
)

// A want is one object of the lake that is to be in the backup.
type want struct {
	name     string
	size     int64
	crc      uint32
	sure     bool       // crc is known
	promised bool       // by a log: other bytes are damage
	loose    bool       // whatever is there now will do, and nothing if it is gone
	made     *time.Time // see Entry
}

func wantOf(o objstore.Object) want {
	return want{name: o.Name, size: o.Size, crc: o.CRC32C, sure: o.HasCRC32C}
}

type count struct {
	objects int
	bytes   int64
}

// fetch makes sure that the backup has every object wanted, several at once.
func (r *run) fetch(ctx context.Context, step string, wants []want) ([]Entry, error) {
	var mu sync.Mutex
	entries := make([]Entry, 0, len(wants))
	progress := Progress{Step: step, OfObjects: len(wants)}
	for _, w := range wants {
		progress.OfBytes += w.size
	}
	workers := r.Workers
	if workers <= 0 {
		workers = defaultWorkers()
	}
	p := pool.New().WithMaxGoroutines(workers).WithContext(ctx).WithCancelOnError().WithFirstError()
	for _, w := range wants {
		p.Go(func(ctx context.Context) error {
			e, skipped, err := r.one(ctx, w)
			if w.loose && errors.Is(err, errMoved) {
				err = nil // it is gone, which is what the lake says now
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			progress.Objects++
			progress.Bytes += w.size
			if skipped {
				progress.Skipped++
				progress.SkippedSum += w.size
			} else if e.In != "" {
				r.copied.objects++
				r.copied.bytes += e.Size
			}
			if r.Progress != nil {
				r.Progress(progress)
			}
			if e.In != "" {
				e.Made = w.made
				entries = append(entries, e)
			}
			return nil
		})
	}
	err := p.Wait()
	return entries, err
}

// looseTries bounds how often an object that is being replaced is looked at again.
const looseTries = 4

// one makes sure that the backup has one object; skipped tells that it had.
func (r *run) one(ctx context.Context, w want) (e Entry, skipped bool, err error) {
	if w.sure {
		if e, ok := r.known.find(ctx, w.name, w.size, w.crc); ok {
			return e, true, nil
		}
	}
	for try := 1; ; try++ {
		e, skipped, err = r.look(ctx, w)
		if !w.loose || err == nil || errors.Is(err, errMoved) || try == looseTries || ctx.Err() != nil {
			return e, skipped, err
		}
	}
}

func (r *run) look(ctx context.Context, w want) (e Entry, skipped bool, err error) {
	o, err := r.Lake.Stat(ctx, w.name)
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return e, false, fmt.Errorf("%s is gone: %w", w.name, errMoved)
	case err != nil:
		return e, false, err
	case w.loose:
	case w.promised && (o.Size != w.size || o.CRC32C != w.crc):
		return e, false, fmt.Errorf("%w: the lake's copy is damaged, and no backup has it", badObject(w.name, o.Size, o.CRC32C, w.size, w.crc))
	case o.Size != w.size || w.sure && o.CRC32C != w.crc:
		return e, false, fmt.Errorf("%w: %w", badObject(w.name, o.Size, o.CRC32C, w.size, w.crc), errMoved)
	}
	if e, ok := r.known.find(ctx, o.Name, o.Size, o.CRC32C); ok {
		return e, true, nil
	}
	e = Entry{Name: o.Name, Size: o.Size, CRC32C: o.CRC32C, In: r.id}
	if err := r.ferry.carry(ctx, o, e.Object()); err != nil {
		if errors.Is(err, objstore.ErrNotExist) {
			err = fmt.Errorf("%w: %w", err, errMoved)
		}
		return Entry{}, false, err
	}
	return e, false, nil
}
