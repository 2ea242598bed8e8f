package objstore

import (
	"context"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// castagnoli is the polynomial of Object.CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC32C of data, as in Object.
func Checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// Mem is a Store in memory. It keeps metadata and checksums, as Cloud Storage
// does. Listings see concurrent changes ahead of them, as paged listings do.
// It is safe for concurrent use.
type Mem struct {
	Clock func() time.Time // Created of new objects; time.Now where nil. Set it before use.

	mu      sync.RWMutex
	names   []string // sorted
	objects map[string]memObject
	last    Generation
}

type memObject struct {
	Object
	data []byte // never changed
}

// NewMem gives an empty store.
func NewMem() *Mem { return &Mem{objects: map[string]memObject{}} }

// List implements Reader.
func (m *Mem) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for after := after; ; {
			if err := ctx.Err(); err != nil {
				yield(Object{}, fmt.Errorf("list %s*: %w", prefix, err))
				return
			}
			o, ok := m.next(prefix, after)
			if !ok || !yield(o, nil) {
				return
			}
			after = o.Name
		}
	}
}

// next is the first object that starts with prefix and is greater than after.
func (m *Mem) next(prefix, after string) (Object, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	at, _ := slices.BinarySearch(m.names, prefix)
	if after >= prefix {
		var found bool
		if at, found = slices.BinarySearch(m.names, after); found {
			at++
		}
	}
	if at == len(m.names) || !strings.HasPrefix(m.names[at], prefix) {
		return Object{}, false
	}
	return m.objects[m.names[at]].describe(), true
}

// Stat implements Reader.
func (m *Mem) Stat(ctx context.Context, name string) (Object, error) {
	o, err := m.get(ctx, "stat", name)
	return o.describe(), err
}

// Read implements Reader.
func (m *Mem) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	o, err := m.get(ctx, "read", name)
	if err != nil {
		return nil, err
	}
	start, length := Range(o.Size, off, n)
	return slices.Clone(o.data[start : start+length]), nil
}

func (m *Mem) get(ctx context.Context, op, name string) (memObject, error) {
	if err := ready(ctx, op, name); err != nil {
		return memObject{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.objects[name]
	if !ok {
		return memObject{}, fmt.Errorf("%s %s: %w", op, name, ErrNotExist)
	}
	return o, nil
}

// Create implements Writer.
func (m *Mem) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (Object, error) {
	o, err := m.put(ctx, "create", name, data, metadata, 0)
	if err != nil {
		return Object{}, err
	}
	return o, nil
}

// Replace implements Writer.
func (m *Mem) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match Generation) (Object, error) {
	return m.put(ctx, "replace", name, data, metadata, match)
}

func (m *Mem) put(ctx context.Context, op, name string, data []byte, metadata map[string]string, match Generation) (Object, error) {
	if err := ready(ctx, op, name); err != nil {
		return Object{}, err
	}
	stored := memObject{data: slices.Clone(data)}
	sum := Checksum(stored.data)
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.objects[name].Generation // 0 where there is none
	switch {
	case op == "create" && old != 0:
		return Object{}, fmt.Errorf("%s %s: %w", op, name, ErrExist)
	case match != Any && match != old:
		return Object{}, fmt.Errorf("%s %s: %w: at %d, not %d", op, name, ErrPrecondition, old, match)
	}
	m.last++
	stored.Object = Object{
		Name: name, Size: int64(len(data)), Generation: m.last, Created: m.now(),
		CRC32C: sum, HasCRC32C: true, Metadata: maps.Clone(metadata),
	}
	if old == 0 {
		at, _ := slices.BinarySearch(m.names, name)
		m.names = slices.Insert(m.names, at, name)
	}
	m.objects[name] = stored
	return stored.describe(), nil
}

// Remove implements Remover.
func (m *Mem) Remove(ctx context.Context, name string, match Generation) error {
	if err := ready(ctx, "remove", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.objects[name].Generation
	switch {
	case old == 0:
		return fmt.Errorf("remove %s: %w", name, ErrNotExist)
	case match != Any && match != old:
		return fmt.Errorf("remove %s: %w: at %d, not %d", name, ErrPrecondition, old, match)
	}
	at, _ := slices.BinarySearch(m.names, name)
	m.names = slices.Delete(m.names, at, at+1)
	delete(m.objects, name)
	return nil
}

func (m *Mem) now() time.Time {
	if m.Clock == nil {
		return time.Now()
	}
	return m.Clock()
}

// describe gives the caller a copy that shares nothing.
func (o memObject) describe() Object {
	d := o.Object
	d.Metadata = maps.Clone(d.Metadata)
	return d
}

// ready says why an operation should not start.
func ready(ctx context.Context, op, name string) error {
	err := ctx.Err()
	if err == nil {
		err = CheckName(name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

// Range is the part of an object of the given size that Read(off, n) means:
// clipped to the object, so that length is 0 where nothing is left to read.
func Range(size, off, n int64) (start, length int64) {
	switch {
	case off < 0:
		start = max(size+off, 0)
	default:
		start = min(off, size)
	}
	length = size - start
	if n >= 0 {
		length = min(length, n)
	}
	return start, length
}
