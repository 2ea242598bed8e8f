package query

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// Totals sum up the rows of a query.
type Totals struct {
	Rows   int64
	Values int64  // of the column, nulls left out
	Sum    string // exact, with the column's number of decimals; "" without a column
}

// Sum counts the rows that q selects and adds up a column of integers or
// decimals exactly; column may be "". q's own columns do not matter.
func Sum(ctx context.Context, store objstore.Reader, reg *schema.Registry, q DataQuery, column string, opts Options) (Totals, error) {
	def, ok := reg.Latest(q.DataType)
	scale := int32(0)
	switch col := -1; {
	case !ok: // Prepare says so
	case column == "":
		q.Columns = []string{def.Fields[def.TimeField].Name}
	default:
		if col = def.Field(column); col < 0 {
			return Totals{}, fmt.Errorf("%w: no column %q; columns of %s: %s", ErrInvalid, column, def.Name, columnNames(def))
		}
		f := def.Fields[col]
		if f.Kind != schema.Decimal && f.Kind != schema.Int32 && f.Kind != schema.Int64 {
			return Totals{}, fmt.Errorf("%w: sum of %s: it is %s, not an integer or a decimal", ErrInvalid, f.Name, kindName(f))
		}
		scale, q.Columns = f.Scale, []string{f.Name}
	}
	plan, err := Prepare(ctx, store, reg, q, opts)
	if err != nil {
		return Totals{}, err
	}
	var t Totals
	var sum accumulator
	result, err := plan.Execute(ctx, func(rec arrow.RecordBatch) error {
		if column != "" {
			t.Values += sum.addAll(rec.Column(0))
		}
		return nil
	})
	if err != nil {
		return Totals{}, err
	}
	t.Rows = result.Rows
	if column != "" {
		t.Sum = decimalText(sum.total(), scale)
	}
	return t, nil
}

// An accumulator adds 64-bit integers without overflow.
type accumulator struct {
	high big.Int
	low  int64
}

func (a *accumulator) add(v int64) {
	if s := a.low + v; (s > a.low) == (v > 0) {
		a.low = s
		return
	}
	a.high.Add(&a.high, big.NewInt(a.low))
	a.low = v
}

func (a *accumulator) total() *big.Int { return new(big.Int).Add(&a.high, big.NewInt(a.low)) }

// addAll adds the values of a column and says how many there are.
func (a *accumulator) addAll(arr arrow.Array) (n int64) {
	value := func(i int) int64 { return int64(arr.(*array.Decimal128).Value(i).LowBits()) } // precision <= 18
	switch x := arr.(type) {
	case *array.Int64:
		value = x.Value
	case *array.Int32:
		value = func(i int) int64 { return int64(x.Value(i)) }
	}
	for i := range arr.Len() {
		if arr.IsValid(i) {
			a.add(value(i))
			n++
		}
	}
	return n
}

// decimalText writes unscaled / 10^scale with all its decimals.
func decimalText(unscaled *big.Int, scale int32) string {
	s := unscaled.String()
	if scale <= 0 {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if pad := int(scale) + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	return sign + s[:len(s)-int(scale)] + "." + s[len(s)-int(scale):]
}
