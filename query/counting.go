package query

import (
	"context"
	"sync/atomic"

	"github.com/buffetbot/ingest/objstore"
)

// counting counts what is read through it.
type counting struct {
	objstore.Reader
	requests, bytes atomic.Int64
}

func (c *counting) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	b, err := c.Reader.Read(ctx, name, off, n)
	c.requests.Add(1)
	c.bytes.Add(int64(len(b)))
	return b, err
}
