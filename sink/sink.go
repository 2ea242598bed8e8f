// Package sink makes sealed batches durable.
//
// A batch becomes one or a few Parquet objects under raw/: a symbol with many
// rows gets one of its own, the long tail shares one.
//
// What always holds:
//
//   - Write returns nil only when every row of the batch is in an object whose
//     creation the store confirmed;
//   - an object's name and bytes are a function of the batch, so writing the same
//     batch again adds no rows;
//   - a name carries the writer's id, new at each start, and the batch's number:
//     nobody else can make it. So "exists already" means that an earlier try
//     succeeded and its answer was lost. The sink needs no right to read,
//     replace or delete.
//
// Package sink settles no batch and starts no goroutine that outlives a call.
package sink

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/sourcegraph/conc/panics"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// ErrBatch marks what is wrong with the batch, or with our handling of it, and not
// with the store: writing the same batch again ends the same way.
var ErrBatch = errors.New("the batch cannot be written")

// A Config is what a sink may be told.
type Config struct {
	Writer      string // id of this writer, never used before; NewWriterID() where empty
	OwnFileRows int    // a symbol with this many rows in a batch gets an object of its own; 0: DefaultOwnFileRows
	Uploads     int    // objects of one batch encoded and uploaded at once; 0: DefaultUploads
}

// Defaults of Config.
const (
	DefaultOwnFileRows = 10_000
	DefaultUploads     = 4
)

// A Sink writes batches to a store.
type Sink struct {
	store  objstore.Writer
	config Config
}

// New makes a sink.
func New(store objstore.Writer, c Config) *Sink {
	c.Writer = cmp.Or(c.Writer, NewWriterID())
	c.OwnFileRows = cmp.Or(max(c.OwnFileRows, 0), DefaultOwnFileRows)
	c.Uploads = cmp.Or(max(c.Uploads, 0), DefaultUploads)
	return &Sink{store: store, config: c}
}

// NewWriterID is an id that no writer had before: 80 random bits.
func NewWriterID() string { return strings.ToLower(rand.Text()[:16]) }

// Writer is the sink's id, as it stands in the names of its objects.
func (s *Sink) Writer() string { return s.config.Writer }

// A Written is one object that Write made durable.
type Written struct {
	Name    partition.RawName
	Bytes   int64
	Summary columnar.Summary
}

// Write returns nil only when every row of b is durable. The same batch may be
// written again after an error; that adds no rows. b stays the caller's, who
// must not touch it until Write returns.
func (s *Sink) Write(ctx context.Context, b *batching.Batch) (written []Written, err error) {
	var caught panics.Catcher
	caught.Try(func() { written, err = s.write(ctx, b) })
	if r := caught.Recovered(); r != nil {
		written, err = nil, fmt.Errorf("%w: %w", ErrBatch, r.AsError())
	}
	if err != nil {
		return nil, fmt.Errorf("flush batch %d of %s: %w", b.Seq, b.Key, err)
	}
	return written, nil
}

func (s *Sink) write(ctx context.Context, b *batching.Batch) ([]Written, error) {
	b.Unpack()
	def := b.Rows.Definition()
	rows := b.Rows.Len()
	sorted, err := columnar.Sort(b.Rows.Record(), def)
	if err != nil {
		return nil, fmt.Errorf("sort: %w: %w", ErrBatch, err)
	}
	parts, err := split(sorted, def, s.config.OwnFileRows)
	if err != nil {
		return nil, fmt.Errorf("split by symbol: %w: %w", ErrBatch, err)
	}
	if err := sameRows(parts, rows); err != nil {
		return nil, err
	}
	written := make([]Written, len(parts))
	uploads := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(s.config.Uploads)
	for i, p := range parts {
		uploads.Go(func(ctx context.Context) (err error) {
			written[i], err = s.upload(ctx, b, def, p)
			return err
		})
	}
	if err := uploads.Wait(); err != nil {
		return nil, err
	}
	return written, nil
}

// sameRows checks that the split lost and doubled nothing.
func sameRows(parts []part, want int) error {
	got := 0
	for _, p := range parts {
		got += int(p.rows.NumRows())
	}
	if got != want {
		return fmt.Errorf("split by symbol: %w: %d rows in, %d out", ErrBatch, want, got)
	}
	return nil
}

func (s *Sink) upload(ctx context.Context, b *batching.Batch, def *schema.Definition, p part) (Written, error) {
	data, summary, err := encode(p.rows, def)
	if err != nil {
		return Written{}, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	name := partition.RawName{
		Key: b.Key, Category: def.Category, First: p.symbol, Multi: p.multi, Model: p.model,
		Time: summary.First, Major: def.Version.Major, Writer: s.config.Writer, Seq: b.Seq,
	}
	failpoint.Hit(failpoint.BeforePut)
	_, err = s.store.Create(ctx, name.String(), data, summary.Metadata())
	failpoint.Hit(failpoint.AfterPut)
	if err != nil && !errors.Is(err, objstore.ErrExist) {
		return Written{}, fmt.Errorf("upload: %w", err)
	}
	return Written{Name: name, Bytes: int64(len(data)), Summary: summary}, nil
}

// encode checks the object before anybody relies on it: the footer, as a reader
// will read it, counts the rows that went in.
func encode(rows arrow.RecordBatch, def *schema.Definition) ([]byte, columnar.Summary, error) {
	data, summary, err := columnar.Encode(rows, def)
	if err != nil {
		return nil, summary, fmt.Errorf("encode: %w", err)
	}
	file, err := columnar.OpenBytes("encoded batch", data)
	if err != nil {
		return nil, summary, fmt.Errorf("check what was encoded: %w", err)
	}
	if n := rows.NumRows(); summary.Rows != n || file.NumRows() != n {
		return nil, summary, fmt.Errorf("check what was encoded: %d rows in, %d in the summary, %d in the footer", n, summary.Rows, file.NumRows())
	}
	return data, summary, nil
}
