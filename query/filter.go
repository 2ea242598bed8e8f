package query

import (
	"cmp"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

// A mask has an entry per row of a record: does the row satisfy all conditions?
// The nil mask is all true.
type mask []bool

// apply evaluates the conditions on rec; position[c] is def's column c in rec.
// Outside rows [from, to) no row can satisfy them, nor can another row of such a
// row's identity: they need no part in the merge.
func apply(conditions []condition, rec arrow.RecordBatch, position []int) (m mask, from, to int) {
	n := int(rec.NumRows())
	if len(conditions) == 0 {
		return nil, 0, n
	}
	m = make(mask, n)
	for i := range m {
		m[i] = true
	}
	to = n
	for _, identical := range []bool{true, false} {
		for i := range conditions {
			if c := &conditions[i]; c.identical == identical {
				c.and(m, rec.Column(position[c.col]))
			}
		}
		if !identical {
			continue
		}
		for from < to && !m[from] {
			from++
		}
		for to > from && !m[to-1] {
			to--
		}
	}
	return m, from, to
}

// and clears the rows of m that do not satisfy c.
func (c *condition) and(m mask, arr arrow.Array) {
	if c.orNull && arr.NullN() > 0 {
		strict, holds := *c, slices.Clone(m)
		strict.orNull = false
		strict.and(holds, arr)
		for i := range m {
			m[i] = m[i] && (holds[i] || arr.IsNull(i))
		}
		return
	}
	if c.null || c.notNull {
		for i := range m {
			m[i] = m[i] && arr.IsNull(i) == c.null
		}
		return
	}
	switch a := arr.(type) {
	case *array.Dictionary:
		c.andDictionary(m, a)
	case *array.Binary:
		for i := range m {
			m[i] = m[i] && a.IsValid(i) && c.texts.contains(a.ValueString(i))
		}
	case *array.Float64:
		andValues(m, a, a.Float64Values(), func(v float64) bool { return c.floats.contains(v) })
	case *array.Int64:
		andValues(m, a, a.Int64Values(), c.holds)
	case *array.Int32:
		andValues(m, a, a.Int32Values(), func(v int32) bool { return c.holds(int64(v)) })
	case *array.Timestamp:
		andValues(m, a, a.TimestampValues(), func(v arrow.Timestamp) bool { return c.holds(int64(v)) })
	case *array.Date32:
		andValues(m, a, a.Date32Values(), func(v arrow.Date32) bool { return c.holds(int64(v)) })
	case *array.Decimal128:
		for i := range m {
			m[i] = m[i] && a.IsValid(i) && c.holds(int64(a.Value(i).LowBits())) // at most 18 digits: the low word says it all
		}
	case *array.Boolean:
		for i := range m {
			m[i] = m[i] && a.IsValid(i) && c.holds(bit(a.Value(i)))
		}
	}
}

// holds tells whether an integral value satisfies c.
func (c *condition) holds(v int64) bool {
	if len(c.ints) == 1 {
		return !c.ints[0].endsBelow(v) && !c.ints[0].startsAbove(v)
	}
	return c.ints.contains(v)
}

// andDictionary asks once per value of the dictionary.
func (c *condition) andDictionary(m mask, a *array.Dictionary) {
	values, codes := a.Dictionary().(*array.String), a.Indices().(*array.Int32).Int32Values()
	verdicts := make([]bool, values.Len())
	for i := range verdicts {
		verdicts[i] = c.texts.contains(values.Value(i))
	}
	some := a.NullN() > 0
	for i, code := range codes {
		m[i] = m[i] && !(some && a.IsNull(i)) && verdicts[code]
	}
}

func andValues[T cmp.Ordered](m mask, arr arrow.Array, values []T, holds func(T) bool) {
	some := arr.NullN() > 0
	for i, v := range values {
		m[i] = m[i] && !(some && arr.IsNull(i)) && holds(v)
	}
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// columnsOf lists the columns that conditions look at.
func columnsOf(conditions []condition) []int {
	var cols []int
	for _, c := range conditions {
		cols = append(cols, c.col)
	}
	return cols
}

// identityColumns are the columns that say which rows are one, and the order of
// the rows: symbol, event time, _id, _index, _published_at.
func identityColumns(def *schema.Definition) []int {
	return []int{def.SymbolField, def.TimeField, def.Field(schema.ColID), def.Field(schema.ColIndex), def.Field(schema.ColPublishedAt)}
}
