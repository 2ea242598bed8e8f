package columnar

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// A File is an opened Parquet object. It is immutable: any number of goroutines
// may use it at once.
type File struct {
	name string
}

// OpenBytes opens an object that is in memory. data must not change while the
// file or a record read from it is in use.
func OpenBytes(name string, data []byte) (*File, error) { panic("not yet") }

// Open opens the object of the given size, reading its footer only.
func Open(ctx context.Context, r objstore.Reader, name string, size int64) (*File, error) {
	panic("not yet")
}

// Summary is what the file's footer says of its rows.
func (f *File) Summary() (Summary, error) { panic("not yet") }

// NumRows is the number of rows in the file.
func (f *File) NumRows() int64 { panic("not yet") }

// NumRowGroups is the number of row groups in the file.
func (f *File) NumRowGroups() int { panic("not yet") }

// RowGroupBounds gives the bounds of a field in a row group.
func (f *File) RowGroupBounds(rg int, field string) (min, max any, nulls int64, ok bool) {
	panic("not yet")
}

// Read reads columns (indexes into def.Fields; nil for all) of row groups (nil
// for all), projected onto def by name: a column the file lacks is null.
func (f *File) Read(ctx context.Context, def *schema.Definition, columns []int, rowGroups []int) (arrow.RecordBatch, error) {
	panic("not yet")
}
