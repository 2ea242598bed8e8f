package compaction

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
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

// An input is an object that was read and found to be what its writer made.
type input struct {
	name string
	raw  bool
	rec  arrow.RecordBatch
	size int64
	total
}

// errUnreadable: the object's bytes cannot be used, however often they are read.
var errUnreadable = errors.New("unreadable")

// unreadable says why.
func unreadable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errUnreadable, fmt.Errorf(format, args...))
}

// readRaw reads the group's raw objects. One that cannot be used stays where it
// is and is reported: it is nobody's to delete.
func (m *merge) readRaw(ctx context.Context) error {
	inputs := make([]input, len(m.group.Raw))
	errs := make([]error, len(m.group.Raw))
	p := pool.New().WithMaxGoroutines(readsAtOnce)
	for i, r := range m.group.Raw {
		p.Go(func() { inputs[i], errs[i] = m.readRawFile(ctx, r) })
	}
	p.Wait()
	for i, err := range errs {
		switch {
		case errors.Is(err, errUnreadable):
			m.result.report.Unreadable = append(m.result.report.Unreadable, Unreadable{m.group.Raw[i].Name, err.Error()})
		case err != nil:
			return err
		default:
			m.accept(inputs[i])
			m.result.report.RowsIn += inputs[i].Rows
		}
	}
	return nil
}

func (m *merge) accept(in input) {
	m.inputs = append(m.inputs, in)
	m.result.report.BytesIn += in.size
}

func (m *merge) readRawFile(ctx context.Context, r partition.RawFile) (input, error) {
	o := object{name: r.Name, size: r.Object.Size, crc: r.Object.CRC32C, hasCRC: r.Object.HasCRC32C}
	in, err := m.read(ctx, o)
	if err != nil {
		return input{}, err
	}
	in.raw = true
	if s := r.Summary; s != nil && (total{s.Rows, s.Hash}) != in.total {
		return input{}, unreadable("%s: its metadata says %s, it holds %s", r.Name, total{s.Rows, s.Hash}, in.total)
	}
	return in, nil
}

// readLive reads the live files to be merged. What is wrong with one of them is
// wrong with the table: the group fails.
func (m *merge) readLive(ctx context.Context) error {
	for _, f := range m.group.Merge {
		o := object{name: f.ObjectName(), size: f.Size, crc: f.CRC32C, hasCRC: true}
		in, err := m.read(ctx, o)
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

// read reads an object whole, and once more if the bytes are not what they
// should be: they may have been damaged on their way.
func (m *merge) read(ctx context.Context, o object) (input, error) {
	in, err := m.readOnce(ctx, o)
	failpoint.Hit(failpoint.MidRead)
	if errors.Is(err, errUnreadable) {
		in, err = m.readOnce(ctx, o)
	}
	if errors.Is(err, objstore.ErrNotExist) {
		return in, fmt.Errorf("%w: %w", errGone, err)
	}
	return in, err
}

func (m *merge) readOnce(ctx context.Context, o object) (input, error) {
	data, err := m.store.Read(ctx, o.name, 0, -1)
	if err != nil {
		return input{}, fmt.Errorf("read %s: %w", o.name, err)
	}
	if int64(len(data)) != o.size {
		return input{}, unreadable("%s: %d bytes where %d are listed", o.name, len(data), o.size)
	}
	if crc := objstore.Checksum(data); o.hasCRC && crc != o.crc {
		return input{}, unreadable("%s: checksum %08x where %08x is recorded", o.name, crc, o.crc)
	}
	in := input{name: o.name, size: o.size}
	in.rec, in.total, err = decode(ctx, o.name, data, m.def, m.group.Key.Day)
	return in, err
}

// decode turns an object's bytes into sorted rows, and checks them against what
// the object says of itself.
func decode(ctx context.Context, name string, data []byte, def *schema.Definition, day partition.Day) (arrow.RecordBatch, total, error) {
	f, err := columnar.OpenBytes(name, data)
	if err != nil {
		return nil, total{}, notOurs(ctx, name, err)
	}
	says, err := f.Summary()
	if err != nil {
		return nil, total{}, notOurs(ctx, name, err)
	}
	if err := understood(says, def); err != nil {
		return nil, total{}, unreadable("%s: %w", name, err)
	}
	rec, err := f.Read(ctx, def, nil, nil)
	if err != nil {
		return nil, total{}, notOurs(ctx, name, err)
	}
	holds := rowsOf(rec).total()
	if want := (total{says.Rows, says.Hash}); holds != want {
		return nil, total{}, unreadable("%s: its footer says %s, it holds %s", name, want, holds)
	}
	if err := inDay(rec, def, day); err != nil {
		return nil, total{}, unreadable("%s: %w", name, err)
	}
	if rec, err = columnar.Sort(rec, def); err != nil {
		return nil, total{}, notOurs(ctx, name, err)
	}
	return rec, holds, nil
}

// notOurs is the verdict on bytes that cannot be decoded.
func notOurs(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read %s: %w", name, ctx.Err())
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

// inDay makes sure that every row is one of the partition: a reader who asks for
// its true day would never find it here.
func inDay(rec arrow.RecordBatch, def *schema.Definition, day partition.Day) error {
	column := rec.Column(def.TimeField)
	for i := range column.Len() {
		if column.IsNull(i) {
			return fmt.Errorf("row %d has no %s", i, def.Fields[def.TimeField].Name)
		}
		var at partition.Day
		switch c := column.(type) {
		case *array.Timestamp:
			at = partition.DayOf(int64(c.Value(i)))
		case *array.Date32:
			at = partition.Day(c.Value(i))
		}
		if at != day {
			return fmt.Errorf("row %d is of %s, not of %s", i, at, day)
		}
	}
	return nil
}
