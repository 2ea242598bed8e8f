package backup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A Verify checks backups against the bucket that they are in. It reads, and changes
// nothing.
type Verify struct {
	Vault objstore.Reader

	// Deep reads every object, the Parquet files row group by row group. Without it
	// sizes and checksums are the store's word, and the logs are read.
	Deep     bool
	Workers  int
	Memory   int64
	Progress func(Progress)
}

// A Finding is an object of a backup that is not what it should be.
type Finding struct {
	Backup string `json:"backup"`
	Object string `json:"object"` // in the lake; "" of a table or manifest
	Text   string `json:"text"`
}

// Backup checks one backup. The error is that of the context alone.
func (v *Verify) Backup(ctx context.Context, m *Manifest) ([]Finding, error) {
	var mu sync.Mutex
	var found []Finding
	add := func(object string, err error) {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, Finding{m.ID, object, err.Error()})
	}
	progress := Progress{Step: "verify " + m.ID, OfObjects: len(m.Entries), OfBytes: m.Bytes}
	reader := newFerry(v.Vault, nil, nil, v.Memory)
	err := each(ctx, v.Workers, m.Entries, func(ctx context.Context, e Entry) error {
		if err := v.object(ctx, reader, e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			add(e.Name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		progress.Objects++
		progress.Bytes += e.Size
		if v.Progress != nil {
			v.Progress(progress)
		}
		return nil
	})
	if err != nil {
		return found, err
	}
	for _, t := range m.Tables {
		if t.Version < 0 || slices.ContainsFunc(found, func(f Finding) bool { return strings.HasPrefix(f.Object, partition.TableRoot(t.Type)+"_delta_log/") }) {
			continue // without a log there is nothing to compare with
		}
		s, err := m.Snapshot(ctx, v.Vault, t.Type)
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		if err != nil {
			add("", fmt.Errorf("%s cannot be read: %w", t.Type, err))
			continue
		}
		if s.Version != t.Version {
			add("", fmt.Errorf("%s is at version %d, the manifest says %d", t.Type, s.Version, t.Version))
		}
		for _, f := range s.Files(nil) {
			if e, ok := m.Entry(f.ObjectName()); !ok || e.Size != f.Size || e.CRC32C != f.CRC32C {
				add(f.ObjectName(), fmt.Errorf("version %d names it, and the backup does not have it so", t.Version))
			}
		}
	}
	return found, nil
}

func (v *Verify) object(ctx context.Context, reader *ferry, e Entry) error {
	o, err := holds(ctx, v.Vault, e)
	if err != nil || !v.Deep {
		return err
	}
	data, done, err := reader.read(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	if !isData(e.Name) {
		return nil
	}
	f, err := columnar.OpenBytes(e.Name, data)
	if err != nil {
		return err
	}
	_, err = f.Summary()
	return err
}

// isData tells whether an object of the lake is a file of rows.
func isData(name string) bool {
	return strings.HasSuffix(name, ".parquet") && !strings.Contains(name, "/_delta_log/")
}
