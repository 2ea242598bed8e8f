package objtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// ErrInjected is what a failed operation gives where Faults names no other.
var ErrInjected = errors.New("injected fault")

// A Mode says what happens to the operation that meets the fault.
type Mode uint8

// The modes.
const (
	Fail     Mode = iota // it is not applied, and gives an error
	Lose                 // it is applied, and gives an error: the answer was lost
	Truncate             // a read gives half of its bytes as if they were all; a listing gives half of its objects, then an error; others fail
	Corrupt              // a read gives its bytes with one bit flipped; others fail
	Hang                 // it waits until its context ends, and is not applied
)

// Faults is a store in which operation FailAt (counted from 0, in the order
// they start) goes wrong. For a sweep over all faults start at 0 and go on until
// a run ends without Fired.
//
//	for k := 0; ; k++ {
//		faults := &objtest.Faults{Store: objstore.NewMem(), FailAt: k}
//		// … run the operation under test on faults …
//		if !faults.Fired() {
//			break
//		}
//	}
type Faults struct {
	objstore.Store
	FailAt int // the first operation that goes wrong; below 0: none
	Times  int // how many in succession go wrong; 0: one; below 0: all that follow
	Mode   Mode
	Lost   bool  // the same as Mode Lose
	Err    error // what it gives; ErrInjected where nil

	// Match, where set, says which operations count and can go wrong: "list",
	// "stat", "read", "create", "replace" or "remove" of a name (for "list", of a prefix).
	Match func(op, name string) bool

	Delay time.Duration // every operation starts this much later

	mu    sync.Mutex
	count int
	fired bool
}

// Fired says whether an operation has gone wrong.
func (f *Faults) Fired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// Count is how many operations have started.
func (f *Faults) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// next counts an operation and says whether it goes wrong.
func (f *Faults) next(op, name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Match != nil && !f.Match(op, name) {
		return false
	}
	at := f.count
	f.count++
	times := f.Times
	if times == 0 {
		times = 1
	}
	hit := f.FailAt >= 0 && at >= f.FailAt && (times < 0 || at < f.FailAt+times)
	f.fired = f.fired || hit
	return hit
}

func (f *Faults) mode() Mode {
	if f.Lost {
		return Lose
	}
	return f.Mode
}

func (f *Faults) err(op, name string) error {
	err := f.Err
	if err == nil {
		err = ErrInjected
	}
	return fmt.Errorf("%s %s: %w", op, name, err)
}

// meet counts the operation, delays it, and says whether to apply it and which
// error to give whatever comes of it.
func (f *Faults) meet(ctx context.Context, op, name string) (wrong, apply bool, err error) {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-ctx.Done():
			return false, false, fmt.Errorf("%s %s: %w", op, name, ctx.Err())
		}
	}
	if !f.next(op, name) {
		return false, true, nil
	}
	reads := op == "read" || op == "list"
	switch m := f.mode(); {
	case m == Lose:
		return true, true, f.err(op, name)
	case m == Hang:
		<-ctx.Done()
		return true, false, fmt.Errorf("%s %s: %w", op, name, ctx.Err())
	case m == Truncate && reads, m == Corrupt && op == "read":
		return true, true, nil
	}
	return true, false, f.err(op, name)
}

// List implements objstore.Reader.
func (f *Faults) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		wrong, apply, err := f.meet(ctx, "list", prefix)
		if !wrong && apply {
			f.Store.List(ctx, prefix, after)(yield)
			return
		}
		if apply && err == nil {
			if !f.half(ctx, prefix, after, yield) {
				return
			}
			err = f.err("list", prefix)
		}
		yield(objstore.Object{}, err)
	}
}

// half yields the first half of a listing, rounded up.
func (f *Faults) half(ctx context.Context, prefix, after string, yield func(objstore.Object, error) bool) bool {
	var all []objstore.Object
	for o, err := range f.Store.List(ctx, prefix, after) {
		if err != nil {
			return yield(objstore.Object{}, err)
		}
		all = append(all, o)
	}
	for _, o := range all[:(len(all)+1)/2] {
		if !yield(o, nil) {
			return false
		}
	}
	return true
}

// Stat implements objstore.Reader.
func (f *Faults) Stat(ctx context.Context, name string) (objstore.Object, error) {
	_, apply, err := f.meet(ctx, "stat", name)
	if !apply || err != nil {
		return objstore.Object{}, err
	}
	return f.Store.Stat(ctx, name)
}

// Read implements objstore.Reader.
func (f *Faults) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	wrong, apply, err := f.meet(ctx, "read", name)
	if !apply || err != nil {
		return nil, err
	}
	data, err := f.Store.Read(ctx, name, off, n)
	if err != nil || !wrong {
		return data, err
	}
	if f.mode() == Truncate {
		return data[:len(data)/2], nil
	}
	if len(data) > 0 {
		data[len(data)/2] ^= 1
	}
	return data, nil
}

// Create implements objstore.Writer.
func (f *Faults) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	return f.write(ctx, "create", name, func() (objstore.Object, error) {
		return f.Store.Create(ctx, name, data, metadata)
	})
}

// Replace implements objstore.Writer.
func (f *Faults) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	return f.write(ctx, "replace", name, func() (objstore.Object, error) {
		return f.Store.Replace(ctx, name, data, metadata, match)
	})
}

// Remove implements objstore.Remover.
func (f *Faults) Remove(ctx context.Context, name string, match objstore.Generation) error {
	_, err := f.write(ctx, "remove", name, func() (objstore.Object, error) {
		return objstore.Object{}, f.Store.Remove(ctx, name, match)
	})
	return err
}

func (f *Faults) write(ctx context.Context, op, name string, apply func() (objstore.Object, error)) (objstore.Object, error) {
	_, applied, fault := f.meet(ctx, op, name)
	if !applied {
		return objstore.Object{}, fault
	}
	o, err := apply()
	if fault != nil { // whatever came of it, nobody learns
		return objstore.Object{}, fault
	}
	return o, err
}
