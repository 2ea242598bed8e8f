package backup

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/buffetbot/ingest/objstore"
)

// How objects are copied where the caller does not say.
const defaultMemory = 512 << 20 // bytes of objects that pass through here at once

func defaultWorkers() int { return max(8, 2*runtime.NumCPU()) }

// A ferry copies objects from one store to another, or within one.
type ferry struct {
	from   objstore.Reader
	to     objstore.ReadWriter
	copy   Copy // nil: the bytes pass through here
	memory int64
	budget *semaphore.Weighted
}

func newFerry(from objstore.Reader, to objstore.ReadWriter, copy Copy, memory int64) *ferry {
	if memory <= 0 {
		memory = defaultMemory
	}
	return &ferry{from, to, copy, memory, semaphore.NewWeighted(memory)}
}

// carry copies an object, as from's Stat described it, to a name. That the name
// exists with the same bytes is success: an earlier run made it.
func (f *ferry) carry(ctx context.Context, o objstore.Object, name string) error {
	made, err := f.make(ctx, o, name)
	if err != nil && !errors.Is(err, objstore.ErrNotExist) && ctx.Err() == nil {
		there, failed := f.to.Stat(ctx, name)
		if failed != nil {
			return fmt.Errorf("copy %s: %w", o.Name, err)
		}
		if errors.Is(err, objstore.ErrExist) && (there.Size != o.Size || there.CRC32C != o.CRC32C) {
			return fmt.Errorf("copy %s: other bytes are there: %w: %w", o.Name, badObject(name, there.Size, there.CRC32C, o.Size, o.CRC32C), err)
		}
		if there.Size == o.Size && there.CRC32C == o.CRC32C {
			return nil
		}
		return fmt.Errorf("copy %s: %w", o.Name, err)
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", o.Name, err)
	}
	if made.Size != o.Size || made.CRC32C != o.CRC32C {
		return fmt.Errorf("copy %s: the copy is not as the original: %w", o.Name, badObject(name, made.Size, made.CRC32C, o.Size, o.CRC32C))
	}
	return nil
}

func (f *ferry) make(ctx context.Context, o objstore.Object, name string) (objstore.Object, error) {
	if f.copy != nil {
		return f.copy(ctx, o, name)
	}
	data, done, err := f.read(ctx, o)
	if err != nil {
		return objstore.Object{}, err
	}
	defer done()
	made, err := f.to.Create(ctx, name, data, o.Metadata)
	if err == nil && !made.HasCRC32C {
		made.CRC32C = objstore.Checksum(data) // Create vouches for the bytes
	}
	return made, err
}

// read reads the whole object within the memory that there is; done gives it back.
func (f *ferry) read(ctx context.Context, o objstore.Object) (data []byte, done func(), err error) {
	need := min(max(o.Size, 1), f.memory)
	if err := f.budget.Acquire(ctx, need); err != nil {
		return nil, nil, err
	}
	data, err = f.from.Read(ctx, o.Name, 0, -1)
	if err == nil && (int64(len(data)) != o.Size || objstore.Checksum(data) != o.CRC32C) {
		err = fmt.Errorf("what was read is not what the store has: %w", badObject(o.Name, int64(len(data)), objstore.Checksum(data), o.Size, o.CRC32C))
	}
	if err != nil {
		f.budget.Release(need)
		return nil, nil, err
	}
	return data, func() { f.budget.Release(need) }, nil
}
