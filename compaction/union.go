package compaction

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/partition"
)

// errNothingRaw: the group has raw objects, and none that could be used.
var errNothingRaw = errors.New("no raw object is readable")

// union merges the inputs into local files, and makes sure that every row of them
// is in these or has been dropped for one that is. An input that turns out to be
// unusable is left out, and the others are merged again; one in no order is sorted.
func (m *merge) union(ctx context.Context) (*outputs, error) {
	for {
		merged, err := m.unionOnce(ctx)
		var lie *inputError
		switch {
		case err == nil:
			return merged, nil
		case !errors.As(err, &lie):
			return merged, err
		}
		if err := m.mend(ctx, lie); err != nil {
			return merged, err
		}
	}
}

// An inputError says which input cannot be merged as it is.
type inputError struct {
	input int
	err   error
}

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// mend sorts an input that is in no order, and takes out a raw one that is no good. A
// local disk that is full or damaged says nothing about an input.
func (m *merge) mend(ctx context.Context, e *inputError) error {
	in := &m.inputs[e.input]
	unsorted := errors.Is(e.err, columnar.ErrUnsorted) && in.parts == nil
	if unsorted {
		e.err = m.sort(ctx, in)
	}
	switch {
	case e.err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(e.err, columnar.ErrTemporary):
		return fmt.Errorf("merge %s: %s: %w", m.group.Key, in.name, e.err)
	case !in.raw:
		return fmt.Errorf("live file of %s: %s: %w", m.group.Key, in.name, e.err)
	}
	m.leave(in.name, unreadable("%s: %w", in.name, e.err))
	m.result.report.RowsIn -= in.Rows
	m.result.report.BytesIn -= in.size
	m.inputs = append(m.inputs[:e.input:e.input], m.inputs[e.input+1:]...)
	for _, in := range m.inputs {
		if in.raw {
			return nil
		}
	}
	return errNothingRaw
}

// sort makes sorted files of an input's row groups.
func (m *merge) sort(ctx context.Context, in *input) error {
	file, err := in.object.open()
	if err != nil {
		return err
	}
	return file.SortRowGroups(ctx, m.def, func(data []byte) error {
		c, err := m.scratch.keep(in.name, data)
		if err != nil {
			return err
		}
		f, err := c.open()
		if err == nil {
			in.parts = append(in.parts, closeFile(c, f))
		}
		return err
	})
}

// A source is a file to be merged and the input it comes from; -1: from several.
type source struct {
	closed
	input int
}

func (m *merge) sources() []source {
	var all []source
	for i, in := range m.inputs {
		if in.parts == nil {
			all = append(all, source{in.object, i})
		}
		for _, part := range in.parts {
			all = append(all, source{part, i})
		}
	}
	return all
}

// unionOnce merges in as many steps as the memory takes.
func (m *merge) unionOnce(ctx context.Context) (*outputs, error) {
	sources := m.sources()
	for len(sources) > 1 {
		groups := m.fitting(sources)
		if len(groups) == 1 {
			break
		}
		var next []source
		for _, g := range groups {
			s, err := m.gather(ctx, g)
			if err != nil {
				return nil, err
			}
			next = append(next, s...)
		}
		sources = next
	}
	merged, err := m.merge(ctx, sources)
	if err != nil {
		return merged, err
	}
	return merged, m.conserved(ctx, merged)
}

// What a merge needs beside its sources, and the least that it gets for these.
const (
	windowMemory = 4 << 20 // for each row group worked on at once
	leastSources = 8 << 20
)

func (m *merge) rowGroups() int { return int(min(max(m.need/(16<<20), 1), 8)) }

// fitting cuts the sources into groups that can be merged at once.
func (m *merge) fitting(sources []source) [][]source {
	least := int64(leastSources)
	if m.o.leastSources > 0 {
		least = m.o.leastSources
	}
	room := max(m.need-int64(m.rowGroups())*windowMemory, least)
	var groups [][]source
	start, weight := 0, int64(0)
	for i, s := range sources {
		w := s.weight
		if weight += w; (weight > room || i-start == columnar.MaxSources) && i-start > 1 {
			groups = append(groups, sources[start:i])
			start, weight = i, w
		}
	}
	return append(groups, sources[start:])
}

func (m *merge) options() columnar.UnionOptions {
	day := m.group.Key.Day
	o := columnar.UnionOptions{
		Within: columnar.Times{From: day.Start().UnixMicro(), To: (day + 1).Start().UnixMicro()},
		Groups: m.rowGroups(), Dir: m.o.TempDir, Workers: 1,
	}
	if m.need > m.o.MemoryBudget/2 { // few others at work
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return o
}

// gather merges a few sources into one, duplicates and all; into none, if they have
// no rows.
func (m *merge) gather(ctx context.Context, sources []source) ([]source, error) {
	if len(sources) == 1 {
		return sources, nil
	}
	o := m.options()
	o.KeepAll = true
	w := m.scratch.writer()
	_, err := m.write(ctx, sources, o, func() io.Writer { return w }, nil)
	if err != nil || w.n == 0 {
		return nil, err
	}
	c := w.done("merged inputs of " + m.group.Key.String())
	f, err := c.open()
	if err != nil {
		return nil, err
	}
	return []source{{closeFile(c, f), -1}}, nil
}

// merge merges the sources into the files that are to be uploaded.
func (m *merge) merge(ctx context.Context, sources []source) (*outputs, error) {
	o := m.options()
	o.Target = m.o.TargetFileSize
	merged := &outputs{scratch: m.scratch}
	var w *scratchWriter
	dropped, err := m.write(ctx, sources, o, func() io.Writer {
		w = m.scratch.outputWriter()
		return w
	}, func(written columnar.Written) {
		merged.add(written, w)
	})
	merged.dropped = dropped
	return merged, err
}

// write merges sources into files, for each of which it asks for a writer first
// and tells what is in it afterwards.
func (m *merge) write(ctx context.Context, sources []source, o columnar.UnionOptions, to func() io.Writer, done func(columnar.Written)) (columnar.Dropped, error) {
	files := make([]*columnar.File, len(sources))
	for i := range sources {
		var err error
		if files[i], err = sources[i].open(); err != nil {
			return columnar.Dropped{}, m.blame(sources, &columnar.SourceError{Index: i, Err: err})
		}
	}
	u, err := columnar.NewUnion(files, m.def, o)
	if err != nil {
		return columnar.Dropped{}, m.blame(sources, err)
	}
	defer u.Close()
	for {
		written, err := u.Next(ctx, to())
		if err == io.EOF {
			return u.Dropped(), nil
		}
		if err != nil {
			return columnar.Dropped{}, m.blame(sources, err)
		}
		if done != nil {
			done(written)
		}
	}
}

// blame finds the input that an error is about.
func (m *merge) blame(sources []source, err error) error {
	var s *columnar.SourceError
	if errors.As(err, &s) && sources[s.Index].input >= 0 {
		return &inputError{sources[s.Index].input, m.plainly(s.Err)}
	}
	return fmt.Errorf("merge %s: %w", m.group.Key, err)
}

// plainly says which day a row of another day is of.
func (m *merge) plainly(err error) error {
	var o *columnar.OutsideError
	switch {
	case !errors.As(err, &o):
		return err
	case o.Missing:
		return fmt.Errorf("row %d has no %s", o.Row, m.def.Fields[m.def.TimeField].Name)
	}
	return fmt.Errorf("row %d is of %s, not of %s", o.Row, partition.DayOf(o.At), m.group.Key.Day)
}

// conserved makes sure that the rows of the inputs, as their writers counted and
// hashed them, are those that were written, as they were read back, and those that
// were dropped. If they are not, the inputs are looked at one by one: one that does
// not hold what its footer says is to blame.
func (m *merge) conserved(ctx context.Context, merged *outputs) error {
	var in total
	for i := range m.inputs {
		in.add(m.inputs[i].total)
	}
	out := merged.total
	out.add(total{merged.dropped.Rows, merged.dropped.Hash})
	if in == out {
		return nil
	}
	for i := range m.inputs {
		var holds total
		file, err := m.inputs[i].object.open()
		if err == nil {
			holds.Rows, holds.Hash, err = file.Rows(ctx, m.def)
		}
		if err == nil && holds != m.inputs[i].total {
			err = fmt.Errorf("its footer says %s, it holds %s", m.inputs[i].total, holds)
		}
		if err != nil {
			return &inputError{i, err}
		}
	}
	return &ConservationError{Key: m.group.Key, In: in, Out: out, Inputs: m.names()}
}
