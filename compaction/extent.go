package compaction

import (
	"context"
	"math"
	"slices"

	"github.com/buffetbot/ingest/partition"
)

// An extent is where rows are: symbols from first to last, or any, at event times
// from and to, in µs. A row's symbol and event time are part of its identity (C2),
// so that files outside of all extents of new rows hold no duplicate of theirs.
type extent struct {
	any         bool // of the symbols
	first, last string
	from, to    int64
}

// extents are those of raw objects, as far as a listing tells: the symbol by the
// name, the times by the summary. It decides only what a plan expects; what is
// merged is decided on the rows themselves.
func extents(raw []partition.RawFile) []extent {
	all := make([]extent, 0, len(raw))
	for _, r := range raw {
		e := extent{any: true, from: math.MinInt64, to: math.MaxInt64}
		if r.Summary != nil && r.Summary.Rows > 0 {
			e.from, e.to = r.Summary.First, r.Summary.Last
		}
		if n, err := partition.ParseName(r.Name); err == nil && !n.Multi && n.Hashed == "" {
			e.any, e.first, e.last = false, n.First, n.First
		}
		if len(all) > 0 && all[len(all)-1] == e {
			continue
		}
		all = append(all, e)
	}
	return all
}

// overlapping are the files that may hold a row of one of the extents, in their
// order.
func overlapping(files []partition.File, extents []extent) []partition.File {
	var found []partition.File
	for _, f := range files {
		if slices.ContainsFunc(extents, func(e extent) bool { return e.meets(f) }) {
			found = append(found, f)
		}
	}
	return found
}

func (e extent) meets(f partition.File) bool {
	return (e.any || e.first <= f.Last && f.First <= e.last) && e.from <= f.LastEvent && f.FirstEvent <= e.to
}

// narrow sets what is merged by the rows that were read: the live files that may
// hold a duplicate of one of them, and what the policy takes along. A day's final
// form is made of all.
func (m *merge) narrow(ctx context.Context) error {
	if !m.o.Policy.on() || len(m.group.Raw) == 0 || m.group.Final || len(m.group.Live) == 0 {
		return nil
	}
	need := map[string]bool{}
	for _, path := range m.group.Small {
		need[path] = true
	}
	for i := 0; i < len(m.inputs); {
		rows, err := m.rowExtents(ctx, &m.inputs[i])
		if err != nil {
			if err := m.mend(ctx, &inputError{i, err}); err != nil {
				return err
			}
			continue // it is taken out
		}
		for _, f := range overlapping(m.group.Live, rows) {
			need[f.Path] = true
		}
		i++
	}
	var merge []partition.File
	for _, f := range m.group.Live {
		if need[f.Path] {
			merge = append(merge, f)
		}
	}
	m.group.Merge = merge
	return nil
}

// rowExtents are those of an input's rows: one for each symbol.
func (m *merge) rowExtents(ctx context.Context, in *input) ([]extent, error) {
	file, err := in.object.open()
	if err != nil {
		return nil, err
	}
	symbols, err := file.Extents(ctx, m.def)
	if err != nil {
		return nil, err
	}
	all := make([]extent, len(symbols))
	for i, s := range symbols {
		all[i] = extent{first: s.Symbol, last: s.Symbol, from: s.From, to: s.To}
	}
	return all, nil
}
