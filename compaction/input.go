package compaction

import (
	"context"
	"errors"
	"fmt"

	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// readsAtOnce bounds the requests of one group: raw objects are small, so that
// reading them one by one is waiting for the store.
const readsAtOnce = 8

// An input is an object that was copied and found to be what its writer made.
type input struct {
	name   string
	raw    bool
	size   int64
	object closed
	parts  []closed // in its place, where its rows were in no order
	total           // as its footer has it
}

// A closed file is opened where it is needed: what is known of an open one takes more
// memory than a small one's rows, and there may be any number of them.
type closed struct {
	copied
	weight int64 // of the open file
}

// closeFile gives back what the open file takes.
func closeFile(c copied, f *columnar.File) closed { return closed{c, f.Weight()} }

// errUnreadable: the object's bytes cannot be used, however often they are read.
var errUnreadable = errors.New("unreadable")

// unreadable says why.
func unreadable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errUnreadable, fmt.Errorf(format, args...))
}

// fetchRaw copies the group's raw objects. One that cannot be used stays where it
// is and is reported: it is nobody's to delete.
func (m *merge) fetchRaw(ctx context.Context) error {
	inputs := make([]input, len(m.group.Raw))
	errs := make([]error, len(m.group.Raw))
	p := pool.New().WithMaxGoroutines(readsAtOnce)
	for i, r := range m.group.Raw {
		p.Go(func() { inputs[i], errs[i] = m.fetchRawFile(ctx, r) })
	}
	p.Wait()
	for i, err := range errs {
		switch {
		case errors.Is(err, errUnreadable):
			m.leave(m.group.Raw[i].Name, err)
		case err != nil:
			return err
		default:
			m.accept(inputs[i])
			m.result.report.RowsIn += inputs[i].Rows
		}
	}
	return nil
}

// leave reports a raw object that cannot be used.
func (m *merge) leave(name string, err error) {
	m.result.report.Unreadable = append(m.result.report.Unreadable, Unreadable{name, err.Error()})
}

func (m *merge) accept(in input) {
	m.inputs = append(m.inputs, in)
	m.result.report.BytesIn += in.size
}

func (m *merge) fetchRawFile(ctx context.Context, r partition.RawFile) (input, error) {
	o := object{name: r.Name, size: r.Object.Size, crc: r.Object.CRC32C, hasCRC: r.Object.HasCRC32C}
	in, err := m.fetch(ctx, o)
	if err != nil {
		return input{}, err
	}
	in.raw = true
	if s := r.Summary; s != nil && (total{s.Rows, s.Hash}) != in.total {
		return input{}, unreadable("%s: its metadata says %s, it holds %s", r.Name, total{s.Rows, s.Hash}, in.total)
	}
	return in, nil
}

// fetchLive copies the live files to be merged. What is wrong with one of them is
// wrong with the table: the group fails.
func (m *merge) fetchLive(ctx context.Context) error {
	for _, f := range m.group.Merge {
		o := object{name: f.ObjectName(), size: f.Size, crc: f.CRC32C, hasCRC: true}
		in, err := m.fetch(ctx, o)
		if err != nil {
			return fmt.Errorf("live file of %s: %w", m.group.Key, err)
		}
		if want := (total{f.Rows, f.Hash}); in.total != want {
			return fmt.Errorf("live file of %s: %s: the log says %s, it holds %s", m.group.Key, o.name, want, in.total)
		}
		m.accept(in)
	}
	return nil
}

// An object is what is known of one before it is read.
type object struct {
	name   string
	size   int64
	crc    uint32
	hasCRC bool // the listing of a local directory has none: the checksums in the file's footer stand in
}

// fetch copies an object, and once more if the bytes are not what they should
// be: they may have been damaged on their way.
func (m *merge) fetch(ctx context.Context, o object) (input, error) {
	in, err := m.fetchOnce(ctx, o)
	failpoint.Hit(failpoint.MidRead)
	if errors.Is(err, errUnreadable) {
		in, err = m.fetchOnce(ctx, o)
	}
	if errors.Is(err, objstore.ErrNotExist) {
		return in, fmt.Errorf("%w: %w", errGone, err)
	}
	return in, err
}

// fetchOnce verifies size and checksums before anything is decoded.
func (m *merge) fetchOnce(ctx context.Context, o object) (input, error) {
	c, err := m.scratch.fetch(ctx, m.store, o.name, o.size)
	if err != nil {
		return input{}, err
	}
	if c.size != o.size {
		return input{}, unreadable("%s: %d bytes where %d are listed", o.name, c.size, o.size)
	}
	if o.hasCRC && c.crc != o.crc {
		return input{}, unreadable("%s: checksum %08x where %08x is recorded", o.name, c.crc, o.crc)
	}
	file, err := c.open()
	if err != nil {
		return input{}, notOurs(ctx, o.name, err)
	}
	if err := file.Verify(ctx); err != nil {
		return input{}, notOurs(ctx, o.name, err)
	}
	says, err := file.Summary()
	if err != nil {
		return input{}, notOurs(ctx, o.name, err)
	}
	if err := understood(says, m.def); err != nil {
		return input{}, unreadable("%s: %w", o.name, err)
	}
	return input{name: o.name, size: o.size, object: closeFile(c, file), total: total{says.Rows, says.Hash}}, nil
}

// notOurs is the verdict on bytes that cannot be decoded, unless it is our disk that
// is to blame, or an end asked for.
func notOurs(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read %s: %w", name, ctx.Err())
	}
	if errors.Is(err, columnar.ErrTemporary) {
		return fmt.Errorf("read the copy of %s: %w", name, err)
	}
	return unreadable("%s: %w", name, err)
}

// understood refuses rows that our definition would cut columns off.
func understood(s columnar.Summary, def *schema.Definition) error {
	if s.DataType != def.Name {
		return fmt.Errorf("it holds %s, not %s", s.DataType, def.Name)
	}
	v, err := schema.ParseVersion(s.SchemaVersion)
	if err != nil {
		return err
	}
	if v.Compare(def.Version) > 0 {
		return fmt.Errorf("it was written under schema %s, this program knows %s", v, def.Version)
	}
	return nil
}
