// Package query plans, explains and runs reads over the lake.
//
// A read sees the processed table at one version together with the raw objects
// that this version has not consumed, each row once: rows that are in both, or
// twice in raw, are merged by identity exactly as compaction merges them, so
// that a read gives the same rows before, during and after a compaction.
//
// What always holds:
//
//   - raw objects are listed before the snapshot is taken (P14), so that a row
//     on its way from one to the other is seen in at least one of them;
//   - an object is left out only on proof: consumed by the snapshot, or by its
//     partition, name, metadata or statistics unable to hold a matching row.
//     A missing statistic proves nothing;
//   - nothing is skipped silently: a raw object that has gone makes the read go
//     on from a new plan, never without its rows;
//   - numbers are compared exactly: a decimal or integer column is never
//     compared as a float.
//
// Rows come partition by partition, in the total order of rows inside one.
//
// Package query holds an objstore.Reader: it cannot change the lake. It keeps no
// state between queries, and the goroutines of an execution end before it does.
package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// Sentinels for callers who branch.
var (
	// ErrSnapshotExpired: the objects of the snapshot have been deleted while
	// they were read, more often than the read could start over. Run it again.
	ErrSnapshotExpired = errors.New("the snapshot has expired")

	// ErrInvalid: the query itself is wrong; the error says how.
	ErrInvalid = errors.New("invalid query")
)

// A DataQuery says which rows and columns to read. Its conditions are joined by
// and. Only DataType is required.
type DataQuery struct {
	DataType string
	Symbols  []string  // any of these; none: all
	From     time.Time // event time at or after From; the zero time: no bound
	To       time.Time // event time before To; the zero time: no bound
	Columns  []string  // in this order; none: all of the definition's, system columns last
	Where    string    // a predicate, see ParseWhere
	Limit    int64     // at most so many rows; 0: all
	AsOf     AsOf      // a past version of the processed table
}

// AsOf names a past version of the processed table, by number or by the instant
// at which it was current. The zero AsOf is now.
//
// A read as of a past version has no raw rows: which raw objects there were is
// not recorded, and those that the version has not consumed may be newer than
// it. Rows show up under their version once compaction has taken them in.
type AsOf struct {
	Version *int64
	Time    time.Time
}

// IsZero tells whether a is now.
func (a AsOf) IsZero() bool { return a.Version == nil && a.Time.IsZero() }

// Options are what a read may use.
type Options struct {
	Parallel int // objects read at once, 8 if 0
	Restarts int // new plans after objects have gone, 5 if 0
}

// NewPlan finds out what has to be read for q: it reads the listing and the
// log, no data object.
func NewPlan(ctx context.Context, store objstore.Reader, reg *schema.Registry, q DataQuery, opts Options) (*Plan, error) {
	panic("not yet")
}

// A Plan is what will be read, and why the rest will not.
type Plan struct{}

// Schema is that of the records Execute yields.
func (p *Plan) Schema() *arrow.Schema { panic("not yet") }

// Explain writes what will be read and why the rest will not; after Execute, the
// real figures as well.
func (p *Plan) Explain(w io.Writer) error { panic("not yet") }

// Result is what an execution did.
type Result struct {
	Rows int64
}

// Execute reads the rows and yields them as records, which are the callee's.
func (p *Plan) Execute(ctx context.Context, yield func(arrow.RecordBatch) error) (Result, error) {
	panic("not yet")
}

var _ = fmt.Sprint
var _ = slices.Sort[[]int]
var _ = strings.Join
