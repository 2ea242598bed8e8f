package sink

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/schema"
)

// A part is the rows of one object.
type part struct {
	rows   arrow.RecordBatch // sorted
	symbol string
	multi  bool   // several symbols
	model  string // of forecasts: the one model of all rows, or ""
}

// split gives each symbol with at least own rows a part of its own. The others
// share one, in which the order of rows holds.
func split(sorted arrow.RecordBatch, def *schema.Definition, own int) ([]part, error) {
	symbols, err := textColumn(sorted, def.SymbolField)
	if err != nil {
		return nil, err
	}
	var parts []part
	var tail []arrow.RecordBatch
	tailSymbols, tailSymbol, tailFrom := 0, "", 0
	flushTail := func(to int) {
		if to > tailFrom {
			tail = append(tail, sorted.NewSlice(int64(tailFrom), int64(to)))
		}
	}
	n := symbols.len()
	for from := 0; from < n; {
		to := symbols.runEnd(from)
		if to-from < own {
			tailSymbols++
			tailSymbol = symbols.name(from)
		} else {
			flushTail(from)
			tailFrom = to
			parts = append(parts, part{rows: sorted.NewSlice(int64(from), int64(to)), symbol: symbols.name(from)})
		}
		from = to
	}
	flushTail(n)
	if len(tail) > 0 {
		rows, err := columnar.Concat(tail, def)
		if err != nil {
			return nil, err
		}
		shared := part{rows: rows, multi: tailSymbols > 1}
		if !shared.multi {
			shared.symbol = tailSymbol
		}
		parts = append(parts, shared)
	}
	return parts, nameModels(parts, def)
}

// nameModels notes the model of each part that has but one.
func nameModels(parts []part, def *schema.Definition) error {
	col := def.Field("model_name")
	if def.Category != "forecast" || col < 0 {
		return nil
	}
	for i := range parts {
		models, err := textColumn(parts[i].rows, col)
		if err != nil {
			return err
		}
		if models.len() > 0 && models.uniform() {
			parts[i].model = models.name(0)
		}
	}
	return nil
}

// texts reads a string column.
type texts struct {
	codes  *array.Dictionary
	values *array.String
}

func textColumn(rec arrow.RecordBatch, col int) (texts, error) {
	codes, ok := rec.Column(col).(*array.Dictionary)
	if !ok {
		return texts{}, fmt.Errorf("column %s is no dictionary of strings", rec.ColumnName(col))
	}
	values, ok := codes.Dictionary().(*array.String)
	if !ok {
		return texts{}, fmt.Errorf("column %s is no dictionary of strings", rec.ColumnName(col))
	}
	return texts{codes, values}, nil
}

func (t texts) len() int { return t.codes.Len() }

// name is a row's string as a copy, which outlives the record.
func (t texts) name(row int) string { return strings.Clone(t.at(row)) }

// at is the string of a row, "" where it is null. It aliases the record.
func (t texts) at(row int) string {
	if t.codes.IsNull(row) {
		return ""
	}
	return t.values.Value(t.codes.GetValueIndex(row))
}

// same compares by code first: a dictionary may hold a value twice, but seldom does.
func (t texts) same(a, b int) bool {
	if t.codes.IsValid(a) && t.codes.IsValid(b) && t.codes.GetValueIndex(a) == t.codes.GetValueIndex(b) {
		return true
	}
	return t.codes.IsNull(a) == t.codes.IsNull(b) && t.at(a) == t.at(b)
}

// runEnd is the end of the rows that are equal to the one at from.
func (t texts) runEnd(from int) int {
	to := from + 1
	for to < t.len() && t.same(from, to) {
		to++
	}
	return to
}

// uniform reports whether all rows are equal.
func (t texts) uniform() bool { return t.runEnd(0) == t.len() }
