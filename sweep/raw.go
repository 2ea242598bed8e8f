package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// raw archives and deletes consumed raw objects.
func (p *pass) raw(ctx context.Context) error {
	p.forgettable()
	return p.each(ctx, p.dueRaw(), p.retire)
}

// dueRaw are the raw objects to delete. P12: any true snapshot that shows one
// consumed will do, since consumed rows stay live.
func (p *pass) dueRaw() []objstore.Object {
	var due []objstore.Object
	for _, f := range p.listed {
		if mark, ok := p.snapshot.Txns[f.Name]; ok && p.old(mark.Updated, p.o.Grace) {
			due = append(due, f.Object)
		}
	}
	return due
}

// forgettable are the marks of raw objects that are gone since the grace at
// least (P13).
func (p *pass) forgettable() {
	p.report.gone = nil
	if !p.rawKnown {
		return
	}
	there := make(map[string]bool, len(p.listed))
	for _, f := range p.listed {
		there[f.Name] = true
	}
	root := partition.RawRoot(p.report.Type)
	for name, mark := range p.snapshot.Txns {
		if len(name) > len(root) && name[:len(root)] == root && !there[name] && p.old(mark.Updated, p.o.Grace) {
			p.report.gone = append(p.report.gone, name)
		}
	}
}

// retire archives a raw object and deletes it.
func (p *pass) retire(ctx context.Context, o objstore.Object) error {
	if p.Archive != nil {
		failpoint.Hit(failpoint.BeforeArchive)
		if err := p.archive(ctx, o); err != nil {
			return err
		}
		failpoint.Hit(failpoint.AfterArchive)
	}
	return p.remove(ctx, o, &p.report.Raw)
}

// archive makes sure that the archive holds the object's bytes.
func (p *pass) archive(ctx context.Context, o objstore.Object) error {
	if p.o.DryRun {
		p.report.count(&p.report.Archived, o.Size)
		return nil
	}
	data, err := p.Store.Read(ctx, o.Name, 0, -1)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil // another sweeper's work
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if sum := objstore.Checksum(data); int64(len(data)) != o.Size || o.HasCRC32C && sum != o.CRC32C {
		return fmt.Errorf("archive: read %d bytes with checksum %08x, the store has %d with %08x: the object is damaged, or is another now", len(data), sum, o.Size, o.CRC32C)
	}
	_, err = p.Archive.Create(ctx, o.Name, data, o.Metadata)
	if errors.Is(err, objstore.ErrExist) {
		there, err := p.Archive.Read(ctx, o.Name, 0, -1)
		if err != nil {
			return fmt.Errorf("archive: compare with what is there: %w", err)
		}
		if !bytes.Equal(there, data) {
			return errors.New("archive: an object of that name with other bytes is there")
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	p.report.count(&p.report.Archived, o.Size)
	return nil
}

// remove deletes one object at the generation that was seen.
func (p *pass) remove(ctx context.Context, o objstore.Object, sum *Sum) error {
	if !p.o.DryRun {
		err := p.Store.Remove(ctx, o.Name, o.Generation)
		failpoint.Hit(failpoint.AfterDelete)
		if errors.Is(err, objstore.ErrNotExist) {
			return nil // another sweeper's work
		}
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	p.report.count(sum, o.Size)
	return nil
}

// each works on objects, several at once. One that cannot be dealt with is kept
// and reported; it stops no other.
func (p *pass) each(ctx context.Context, objects []objstore.Object, work func(context.Context, objstore.Object) error) error {
	workers := pool.New().WithMaxGoroutines(p.o.Workers)
	for _, o := range objects {
		if ctx.Err() != nil {
			break
		}
		workers.Go(func() {
			if err := work(ctx, o); err != nil && ctx.Err() == nil {
				p.report.keep(o.Name, err.Error())
			}
		})
	}
	workers.Wait()
	return ctx.Err()
}
