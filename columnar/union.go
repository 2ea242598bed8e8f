package columnar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/buffetbot/ingest/schema"
)

// A Union merges sorted files into sorted files: the rows of all of them, of rows
// with one identity the first in order; superseded rows of a natural key are marked.
// It is Merge and Supersede in bounded memory: of every file it holds a page of the
// key columns, and of one or two columns at a time another; of the rows in between, a
// few row groups' order and encoded columns. What a key's symbol and event time have
// in common is held too, where rows correct each other: some 60 bytes a row.
//
// The files that come out are a function of the rows alone. They are as long as
// Target says, cut between symbols, and have the bytes that Encode gives their rows.
// Each chunk was decoded again, and what the summary says is of what was decoded.
//
// A Union is for one goroutine. It starts others, which end before Next returns.
type Union struct {
	def     *schema.Definition
	o       UnionOptions
	files   []*File
	t       *tournament
	columns []unionColumn
	workers []*unionWorker
	hashes  []rowHashes // of the window's groups
	dropped Dropped

	corrector *corrector // nil: rows do not correct each other, or not yet
	spill     *spill     // of the window
	spills    []*spill

	pending plan // the rows to come, as far as they are known
}

// UnionOptions say what may come in and how the output is cut.
type UnionOptions struct {
	Within  Times  // event times the rows must have; both 0: any
	Target  int64  // bytes of a file, about; 0: all rows in one
	KeepAll bool   // duplicates too, nothing marked: what comes out is sorted and no more
	Workers int    // columns worked on at once; 0: one for each processor
	Groups  int    // row groups worked on at once, 0: 1; each takes some MiB, and spares reading pages again
	Dir     string // for temporary files; empty: the system's

	sizes *sizes // nil: the standard ones
}

// A unionColumn is one column of all files.
type unionColumn struct {
	field   *schema.Field
	cursors []cursor
	told    bool // publishers tell it
	null    bool // in every row of every file
}

// MaxSources is how many files a Union merges.
const MaxSources = math.MaxUint16

// A SourceError says which of the files cannot be merged. Without it the others
// can.
type SourceError struct {
	Index int // of the files that NewUnion was given
	Err   error
}

func (e *SourceError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// NewUnion opens a merge of files. ErrUnsorted, in a SourceError here or from Next,
// says that a file has to be sorted first. Close ends it.
func NewUnion(files []*File, def *schema.Definition, o UnionOptions) (*Union, error) {
	if err := checkKey(def); err != nil {
		return nil, err
	}
	if len(files) > MaxSources {
		return nil, fmt.Errorf("merge %d files at once: %w", len(files), ErrUnsupported)
	}
	if o.Within == (Times{}) {
		o.Within = Times{math.MinInt64 + 1, math.MaxInt64}
	}
	if o.Target <= 0 {
		o.Target = math.MaxInt64
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Groups = max(o.Groups, 1)
	if o.sizes == nil {
		o.sizes = &standardSizes
	}
	u := &Union{def: def, o: o, files: files}
	if !o.KeepAll {
		u.corrector = newCorrector(def)
	}
	feeds := make([]*feed, len(files))
	for i, f := range files {
		var err error
		if feeds[i], err = newFeed(f, def, o.Within); err != nil {
			return nil, &SourceError{i, err}
		}
	}
	if err := u.open(); err != nil {
		return nil, err
	}
	var err error
	u.t, err = newTournament(feeds, o.KeepAll, u.o.Workers)
	return u, err
}

func (u *Union) open() error {
	u.columns = make([]unionColumn, len(u.def.Fields))
	for c := range u.columns {
		col := &u.columns[c]
		col.field, col.null = &u.def.Fields[c], true
		if c == u.def.Superseded() {
			continue // what it held does not matter
		}
		col.told = c < u.def.Own && told(col.field)
		col.cursors = make([]cursor, len(u.files))
		for i, f := range u.files {
			var err error
			if col.cursors[i], err = newCursor(f, col.field); err != nil {
				return &SourceError{i, err}
			}
			col.null = col.null && f.allNull(col.cursors[i].leaf)
		}
	}
	rows := int64(0)
	for _, f := range u.files {
		rows += f.meta.rows
	}
	if rows < int64(u.o.sizes.pageRows) { // not worth a second goroutine
		u.o.Workers = 1
	}
	for range min(u.o.Workers, len(u.columns)) {
		u.workers = append(u.workers, &unionWorker{u: u, encoder: newEncoder(u.o.sizes)})
	}
	return nil
}

// allNull tells whether the file has no value in a column.
func (f *File) allNull(leaf int) bool {
	if leaf < 0 {
		return true
	}
	for i := range f.meta.groups {
		if g := &f.meta.groups[i]; g.chunks[leaf].nulls != g.rows {
			return false
		}
	}
	return true
}

// Close gives back what the union holds.
func (u *Union) Close() error {
	for _, w := range u.workers {
		encoders.Put(w.encoder)
	}
	u.workers = nil
	var errs []error
	for _, s := range u.spills {
		errs = append(errs, s.close())
	}
	u.spills = nil
	return errors.Join(errs...)
}

// Dropped is what was left out so far because an identity was already there.
func (u *Union) Dropped() Dropped { return u.dropped }

// Written says what is in a file that a Union wrote.
type Written struct {
	Summary
	Bytes       int64
	First, Last string  // symbols of the first and the last row, "" where there is none
	Columns     []Range // of each field
}

// Next writes the next file to w, and says what is in it. It gives io.EOF if there
// are no more rows, and writes nothing then.
func (u *Union) Next(ctx context.Context, w io.Writer) (Written, error) {
	written, err := u.next(ctx, w)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("merge %d files of %s: %w", len(u.files), u.def.Name, err)
	}
	return written, err
}

func (u *Union) next(ctx context.Context, w io.Writer) (Written, error) {
	out := unionFile{w: w, low: math.MaxInt64, high: math.MinInt64, end: math.MaxInt}
	rows := u.o.Groups * u.o.sizes.groupRows
	for int(out.rows) < out.end {
		if err := u.t.fill(&u.pending, rows+1); err != nil {
			return Written{}, err
		}
		if out.full > 0 {
			if err := u.findEnd(&out, rows); err != nil {
				return Written{}, err
			}
		}
		p := u.pending.take(min(rows, out.end-int(out.rows)))
		if p.rows == 0 {
			break
		}
		if err := u.window(ctx, &p, &out); err != nil {
			return Written{}, err
		}
	}
	if out.rows == 0 {
		return Written{}, io.EOF
	}
	return out.finish(u.def)
}

// A unionFile is a file being written.
type unionFile struct {
	w       io.Writer
	writer  *fileWriter
	full    int // rows at which it is about as long as it should be; 0: not known yet
	end     int // rows that it gets; MaxInt: not known yet
	start   int // row at which the last symbol begins, as far as is known; 0: the first one
	rows    int64
	low     int64
	high    int64
	hash    SetHash
	first   string
	last    string
	columns []bounds
	groups  []*unionGroup // that are not written yet
}

// findEnd finds the end of the file if it lies in its next rows: those of the planned
// ops, and then of the pending ones. It looks ahead as far as the next symbol behind
// them, no farther: the order of a whole file's rows can take more memory than
// all the rest.
func (u *Union) findEnd(out *unionFile, rows int, planned ...[]op) error {
	for out.end == math.MaxInt {
		var found int
		if found, out.start = end(out.full, int(out.rows), out.start, append(planned, u.pending.ops)...); found > 0 {
			out.end = found
			break
		}
		if out.start == 0 || out.start >= int(out.rows)+rows || u.t.ended {
			break
		}
		if err := u.t.fill(&u.pending, u.pending.rows+u.pending.rows/2+u.o.sizes.groupRows); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the footer, if all rows that were counted are in the file.
func (f *unionFile) finish(def *schema.Definition) (Written, error) {
	if def.Fields[def.TimeField].Kind == schema.Date {
		f.low, f.high = f.low*microsPerDay, f.high*microsPerDay
	}
	s := Summary{Rows: f.rows, First: f.low, Last: f.high, SchemaVersion: def.Version.String(), DataType: def.Name, Hash: f.hash}
	if f.writer.rows != f.rows {
		return Written{}, fmt.Errorf("%d rows were written of %d: %w", f.writer.rows, f.rows, ErrCorrupt)
	}
	if err := f.writer.finish(s); err != nil {
		return Written{}, err
	}
	written := Written{Summary: s, Bytes: f.writer.off, First: f.first, Last: f.last}
	for c := range f.columns {
		written.Columns = append(written.Columns, f.columns[c].rangeOf(&def.Fields[c]))
	}
	return written, nil
}
