package columnar

import (
	"bytes"
	"context"
	"math"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

// An Extent says between which event times, in µs, the rows of a symbol are. Rows
// without a symbol count to "".
type Extent struct {
	Symbol   string
	From, To int64
}

// Extents gives that of each symbol of the file, in the order in which they come. It
// reads two columns, a row group at a time.
func (f *File) Extents(ctx context.Context, def *schema.Definition) ([]Extent, error) {
	var all []Extent
	known := map[string]int{}
	for g := range f.meta.groups {
		rec, err := f.Read(ctx, def, []int{def.SymbolField, def.TimeField}, []int{g})
		if err != nil {
			return nil, err
		}
		symbol, time := 0, 1
		if def.TimeField < def.SymbolField {
			symbol, time = 1, 0
		}
		symbols, last := stringsOf(rec.Column(symbol).(*array.Dictionary)), -1
		for row, at := range eventTimes(rec.Column(time)) {
			if row == 0 || (symbols.nulls || symbols.codes[row] != symbols.codes[row-1]) && !bytes.Equal(symbols.value(row), symbols.value(row-1)) {
				name := string(symbols.value(row))
				i, ok := known[name]
				if !ok {
					i = len(all)
					known[name], all = i, append(all, Extent{name, math.MaxInt64, math.MinInt64})
				}
				last = i
			}
			all[last].From, all[last].To = min(all[last].From, at), max(all[last].To, at)
		}
	}
	return all, nil
}
