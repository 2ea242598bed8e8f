package columnar

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// How an object is read: its end first, which nearly always holds the whole
// footer; then the column chunks that are needed, those close to each other by
// one request, a few requests at once.
const (
	tailRead     = 64 << 10
	maxGap       = 128 << 10 // bytes read and thrown away rather than asked for twice
	maxRange     = 16 << 20
	rangesAtOnce = 4
)

// A File is an opened Parquet object. It is immutable: any number of goroutines
// may use it at once.
type File struct {
	name string
	meta *footerMeta
	read func(ctx context.Context, off, n int64) ([]byte, error)
	mem  bool // read costs nothing

	data []byte      // the object, where it is in memory …
	at   io.ReaderAt // … or on a local disk
}

// OpenBytes opens an object that is in memory. data must not change while the
// file is in use; records read from it keep no reference to it.
func OpenBytes(name string, data []byte) (*File, error) {
	f := &File{name: name, mem: true, data: data, read: func(_ context.Context, off, n int64) ([]byte, error) {
		return data[off : off+n], nil // verified by parseFooter
	}}
	return f, f.open(data, int64(len(data)))
}

// OpenAt opens an object whose bytes r has, as a local file has them.
func OpenAt(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{name: name, at: r, read: func(_ context.Context, off, n int64) ([]byte, error) {
		data := make([]byte, n)
		if got, err := r.ReadAt(data, off); int64(got) < n {
			return nil, err
		}
		return data, nil
	}}
	tail, err := f.readTail(context.Background(), size)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return f, f.open(tail, size)
}

// Open opens the object of the given size, reading its footer only.
func Open(ctx context.Context, r objstore.Reader, name string, size int64) (*File, error) {
	f := &File{name: name, read: func(ctx context.Context, off, n int64) ([]byte, error) {
		data, err := r.Read(ctx, name, off, n)
		if err == nil && int64(len(data)) != n {
			err = fmt.Errorf("%d bytes at %d where %d were expected: %w", len(data), off, n, ErrCorrupt)
		}
		return data, err
	}}
	tail, err := f.readTail(ctx, size)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return f, f.open(tail, size)
}

// readTail reads the end of the object, and once more if the footer is longer.
func (f *File) readTail(ctx context.Context, size int64) ([]byte, error) {
	n := min(size, tailRead)
	if n < int64(tailLength) {
		return nil, fmt.Errorf("%d bytes: %w", size, ErrCorrupt)
	}
	tail, err := f.read(ctx, size-n, n)
	if err != nil {
		return nil, err
	}
	footer, err := footerLength(tail, size)
	if err != nil || footer+int64(tailLength) <= n {
		return tail, err
	}
	n = footer + int64(tailLength)
	return f.read(ctx, size-n, n)
}

// open parses and verifies the footer at the end of tail.
func (f *File) open(tail []byte, size int64) error {
	n, err := footerLength(tail, size)
	if err != nil {
		return fmt.Errorf("open %s: %w", f.name, err)
	}
	end := len(tail) - tailLength
	footer := tail[end-int(n) : end]
	if f.data == nil { // what is kept of it must not keep the rest
		footer = slices.Clone(footer)
	}
	if f.meta, err = parseFooter(footer, size-int64(tailLength)-n); err == nil {
		err = f.meta.verifySums(footer)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", f.name, err)
	}
	return nil
}

// Name is the name the file was opened by.
func (f *File) Name() string { return f.name }

// Summary is what the file's footer says of its rows.
func (f *File) Summary() (Summary, error) {
	s, err := ParseSummary(f.meta.kv)
	if err == nil && s.Rows != f.meta.rows {
		err = fmt.Errorf("summary of %d rows in a file of %d: %w", s.Rows, f.meta.rows, ErrCorrupt)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("%s: %w", f.name, err)
	}
	return s, nil
}

// NumRows is the number of rows in the file.
func (f *File) NumRows() int64 { return f.meta.rows }

// NumRowGroups is the number of row groups in the file.
func (f *File) NumRowGroups() int { return len(f.meta.groups) }

// RowGroupRows is the number of rows in a row group.
func (f *File) RowGroupRows(rg int) int64 { return f.meta.groups[rg].rows }

// Read reads columns (indexes into def.Fields; nil for all) of row groups (nil
// for all, else in the given order). The record has those columns in the order
// of def, projected by name: a column the file lacks is null, one that def lacks
// is not read. Columns are found by their name, else by an alias of def's.
func (f *File) Read(ctx context.Context, def *schema.Definition, columns []int, rowGroups []int) (arrow.RecordBatch, error) {
	rec, err := f.readRecord(ctx, def, columns, rowGroups)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.name, err)
	}
	return rec, nil
}

func (f *File) readRecord(ctx context.Context, def *schema.Definition, columns, rowGroups []int) (arrow.RecordBatch, error) {
	plan, err := f.plan(def, columns, rowGroups)
	if err != nil {
		return nil, err
	}
	if err := f.fetch(ctx, plan); err != nil {
		return nil, err
	}
	fields := make([]arrow.Field, len(plan.columns))
	arrays := make([]arrow.Array, len(plan.columns))
	for i, c := range plan.columns {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		fields[i] = arrow.Field{Name: c.field.Name, Type: c.field.Arrow(), Nullable: true}
		if arrays[i], err = f.decode(plan, c); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.field.Name, err)
		}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, int64(plan.rows)), nil
}

// A readPlan is what a Read needs of the object.
type readPlan struct {
	rows    int
	groups  []int
	columns []plannedColumn
	chunks  []plannedChunk // of column i and group j: at i*len(groups)+j
}

type plannedColumn struct {
	field *schema.Field
	leaf  int // the file's column, -1 if it lacks it
	first int // the column's first chunk in readPlan.chunks
}

type plannedChunk struct {
	start, end int64
	data       []byte
}

func (f *File) plan(def *schema.Definition, columns, rowGroups []int) (*readPlan, error) {
	p := &readPlan{groups: rowGroups}
	if rowGroups == nil {
		for g := range f.meta.groups {
			p.groups = append(p.groups, g)
		}
	}
	for _, g := range p.groups {
		if g < 0 || g >= len(f.meta.groups) {
			return nil, fmt.Errorf("row group %d of %d: %w", g, len(f.meta.groups), ErrRecord)
		}
		p.rows += int(f.meta.groups[g].rows)
	}
	if p.rows > math.MaxInt32 {
		return nil, fmt.Errorf("%d rows in one record: %w", p.rows, ErrUnsupported)
	}
	if columns == nil {
		for c := range def.Fields {
			columns = append(columns, c)
		}
	}
	columns = slices.Compact(slices.Sorted(slices.Values(columns)))
	for _, c := range columns {
		if c < 0 || c >= len(def.Fields) {
			return nil, fmt.Errorf("column %d of %d: %w", c, len(def.Fields), ErrRecord)
		}
		p.add(f, &def.Fields[c])
	}
	return p, nil
}

func (p *readPlan) add(f *File, field *schema.Field) {
	leaf := f.leaf(field)
	p.columns = append(p.columns, plannedColumn{field: field, leaf: leaf, first: len(p.chunks)})
	if leaf < 0 {
		return
	}
	for _, g := range p.groups {
		c := &f.meta.groups[g].chunks[leaf]
		p.chunks = append(p.chunks, plannedChunk{start: c.start, end: c.end})
	}
}

// leaf is the index of the file's column for the field, -1 if it lacks it.
func (f *File) leaf(field *schema.Field) int {
	leaf := f.meta.column(field.Name)
	for i := 0; leaf < 0 && i < len(field.Aliases); i++ {
		leaf = f.meta.column(field.Aliases[i])
	}
	return leaf
}

// A byteRange is one request and the chunks it serves, ascending.
type byteRange struct {
	start, end int64
	chunks     []*plannedChunk
}

// ranges coalesces the plan's chunks into requests.
func (p *readPlan) ranges() []byteRange {
	chunks := make([]*plannedChunk, len(p.chunks))
	for i := range p.chunks {
		chunks[i] = &p.chunks[i]
	}
	slices.SortFunc(chunks, func(a, b *plannedChunk) int { return int(a.start - b.start) })
	var all []byteRange
	for _, c := range chunks {
		if n := len(all); n > 0 && c.start-all[n-1].end <= maxGap && c.end-all[n-1].start <= maxRange {
			all[n-1].end = max(all[n-1].end, c.end)
			all[n-1].chunks = append(all[n-1].chunks, c)
			continue
		}
		all = append(all, byteRange{c.start, c.end, []*plannedChunk{c}})
	}
	return all
}

// fetch reads the plan's chunks.
func (f *File) fetch(ctx context.Context, p *readPlan) error {
	if f.mem {
		for i := range p.chunks {
			p.chunks[i].data, _ = f.read(ctx, p.chunks[i].start, p.chunks[i].end-p.chunks[i].start)
		}
		return nil
	}
	workers := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(rangesAtOnce)
	for _, r := range p.ranges() {
		workers.Go(func(ctx context.Context) error {
			data, err := f.read(ctx, r.start, r.end-r.start)
			if err != nil {
				return err
			}
			for _, c := range r.chunks {
				c.data = data[c.start-r.start : c.end-r.start]
			}
			return nil
		})
	}
	return workers.Wait()
}

// decode builds one column from its chunks. The decoder checks every length and
// code it meets; a slip of it must still not end the process, hence the recover.
func (f *File) decode(p *readPlan, c plannedColumn) (arr arrow.Array, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decode: %v: %w", r, ErrCorrupt)
		}
	}()
	if c.leaf < 0 {
		return nullColumn(c.field, p.rows)
	}
	b, err := newColumn(c.field, f.meta.columns[c.leaf], p.rows)
	if err != nil {
		return nil, err
	}
	for i, g := range p.groups {
		data := p.chunks[c.first+i].data
		if err = f.meta.verifyChunk(g, c.leaf, data); err == nil {
			err = b.chunk(data, f.meta.groups[g].chunks[c.leaf].codec, int(f.meta.groups[g].rows))
		}
		if err != nil {
			return nil, fmt.Errorf("row group %d: %w", g, err)
		}
	}
	return b.array(), nil
}
