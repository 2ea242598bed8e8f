package backup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A view is a backup as if it were the lake, for reading: the names and times are
// the lake's.
type view struct {
	vault    objstore.Reader
	manifest *Manifest
}

func (v view) describe(e Entry) objstore.Object {
	o := objstore.Object{Name: e.Name, Size: e.Size, Generation: 1, CRC32C: e.CRC32C, HasCRC32C: true}
	if e.Made != nil {
		o.Created = *e.Made
	}
	return o
}

// List implements objstore.Reader.
func (v view) List(_ context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for _, e := range v.manifest.Under(prefix) {
			if e.Name > after && !yield(v.describe(e), nil) {
				return
			}
		}
	}
}

// Stat implements objstore.Reader.
func (v view) Stat(_ context.Context, name string) (objstore.Object, error) {
	e, ok := v.manifest.Entry(name)
	if !ok {
		return objstore.Object{}, fmt.Errorf("%s in backup %s: %w", name, v.manifest.ID, objstore.ErrNotExist)
	}
	return v.describe(e), nil
}

// Read implements objstore.Reader.
func (v view) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	e, ok := v.manifest.Entry(name)
	if !ok {
		return nil, fmt.Errorf("%s in backup %s: %w", name, v.manifest.ID, objstore.ErrNotExist)
	}
	return v.vault.Read(ctx, e.Object(), off, n)
}

// Create implements objstore.Writer, by refusing.
func (view) Create(context.Context, string, []byte, map[string]string) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}

// Replace implements objstore.Writer, by refusing.
func (view) Replace(context.Context, string, []byte, map[string]string, objstore.Generation) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}

var errReadOnly = errors.New("a backup is only read")

// Reader is the backup as if it were a lake: every table at its version, under the
// lake's names.
func (m *Manifest) Reader(vault objstore.Reader) objstore.Reader { return view{vault, m} }

// Snapshot is a table as the backup has it.
func (m *Manifest) Snapshot(ctx context.Context, vault objstore.Reader, dataType string) (*partition.Snapshot, error) {
	// The clock stands still: a log in a backup does not move while it is read.
	clock := func() time.Time { return m.Made }
	s, err := partition.OpenTable(view{vault, m}, dataType, clock).Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", m.ID, err)
	}
	return s, nil
}

// onlyReads is a lake that is not written to.
type onlyReads struct{ objstore.Reader }

func (onlyReads) Create(context.Context, string, []byte, map[string]string) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}

func (onlyReads) Replace(context.Context, string, []byte, map[string]string, objstore.Generation) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}
