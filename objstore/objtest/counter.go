package objtest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/buffetbot/ingest/objstore"
)

// A Counter counts the operations on a store. It is safe for concurrent use.
type Counter struct {
	objstore.Store
	mu   sync.Mutex
	done map[string]int
}

// Taken gives what was done since the last call, as "list raw/market_data/ 1",
// sorted; of a read, stat or write the object's name.
func (c *Counter) Taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, op := range slices.Sorted(maps.Keys(c.done)) {
		all = append(all, fmt.Sprintf("%s %d", op, c.done[op]))
	}
	c.done = nil
	return all
}

func (c *Counter) count(op, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = map[string]int{}
	}
	c.done[op+" "+name]++
}

// List implements objstore.Reader. One is counted however many pages it has.
func (c *Counter) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		c.count("list", prefix)
		c.Store.List(ctx, prefix, after)(yield)
	}
}

// Stat implements objstore.Reader.
func (c *Counter) Stat(ctx context.Context, name string) (objstore.Object, error) {
	c.count("stat", name)
	return c.Store.Stat(ctx, name)
}

// Read implements objstore.Reader.
func (c *Counter) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	c.count("read", name)
	return c.Store.Read(ctx, name, off, n)
}

// Create implements objstore.Writer.
func (c *Counter) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	c.count("create", name)
	return c.Store.Create(ctx, name, data, metadata)
}

// Replace implements objstore.Writer.
func (c *Counter) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	c.count("replace", name)
	return c.Store.Replace(ctx, name, data, metadata, match)
}

// Remove implements objstore.Remover.
func (c *Counter) Remove(ctx context.Context, name string, match objstore.Generation) error {
	c.count("remove", name)
	return c.Store.Remove(ctx, name, match)
}
