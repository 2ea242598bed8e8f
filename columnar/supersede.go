package columnar

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

// Supersede fills in _superseded_at of sorted rows of distinct identities: of the
// rows with one natural key all but the latest get the publish time of the next.
// The latest is the one with the greatest _published_at, and of those the one with
// the greatest _id, then _index: a total order, and no other than of the rows' own
// values, so that the order of arrival does not show. What the column held before
// does not matter. A row that has no value in a field of the key, as one written
// before there was that field, corrects nothing and is not corrected.
//
// The rows of one symbol and event time must all be in rec; then so are those of
// one key. Without a natural key rec is returned as it is.
func Supersede(rec arrow.RecordBatch, def *schema.Definition) (arrow.RecordBatch, error) {
	column := def.Superseded()
	if column < 0 {
		return rec, nil
	}
	if err := check(rec, def); err != nil {
		return nil, fmt.Errorf("supersede: %w", err)
	}
	by := SupersededBy(rec.Column, int(rec.NumRows()), def)
	if by == nil && rec.Column(column).NullN() == rec.Column(column).Len() {
		return rec, nil
	}
	b := Timestamps(rec.Column(column).DataType(), int(rec.NumRows()), by)
	columns := slices.Clone(rec.Columns())
	columns[column] = b
	return array.NewRecordBatch(rec.Schema(), columns, rec.NumRows()), nil
}

// Timestamps are the values, in µs, at the rows that have one, and null at the others.
func Timestamps(dt arrow.DataType, rows int, values map[int]int64) arrow.Array {
	words, valid := make([]int64, rows), make([]byte, (rows+7)/8)
	for row, v := range values {
		words[row] = v
		valid[row/8] |= 1 << (row % 8)
	}
	return newArray(dt, rows, rows-len(values), nil, valid, arrow.Int64Traits.CastToBytes(words))
}

// SupersededBy gives, of the sorted rows that another of them supersedes, the
// publish time of the next of their key, in µs, as Supersede does. nil: there are
// none. column gives the values of a field of def, by its index: of those of the key,
// _id, _index and _published_at.
func SupersededBy(column func(field int) arrow.Array, rows int, def *schema.Definition) map[int]int64 {
	if len(def.NaturalKey) == 0 || rows < 2 {
		return nil
	}
	s := newSuperseder(column, def)
	for from := 0; from < rows; {
		to := from + 1
		for to < rows && s.samePlace(from, to) {
			to++
		}
		if to-from > 1 {
			s.group(from, to)
		}
		from = to
	}
	return s.by
}

// A superseder looks for rows of one key among those of one symbol and event time.
type superseder struct {
	symbol, id stringColumn
	times      []int64
	index      *array.Int32
	published  *array.Timestamp
	present    []arrow.Array        // what a key needs
	rest       []func(i, j int) int // compare the other fields of the key
	rows       []int                // of a group
	by         map[int]int64
}

func newSuperseder(column func(int) arrow.Array, def *schema.Definition) *superseder {
	s := &superseder{
		symbol:    stringsOf(column(def.SymbolField).(*array.Dictionary)),
		id:        stringsOf(column(def.Own).(*array.Dictionary)),
		times:     eventTimes(column(def.TimeField)),
		index:     column(def.Own + 1).(*array.Int32),
		published: column(def.Own + 2).(*array.Timestamp),
	}
	s.present = []arrow.Array{s.published}
	for _, f := range def.NaturalKey {
		s.present = append(s.present, column(f))
		if f != def.SymbolField && f != def.TimeField {
			s.rest = append(s.rest, comparing(column(f)))
		}
	}
	return s
}

func (s *superseder) samePlace(i, j int) bool {
	if s.times[i] != s.times[j] {
		return false
	}
	if !s.symbol.nulls && s.symbol.codes[i] == s.symbol.codes[j] {
		return true
	}
	a, b := s.symbol.value(i), s.symbol.value(j)
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
}

// group looks through rows [from, to).
func (s *superseder) group(from, to int) {
	s.rows = s.rows[:0]
	for row := from; row < to; row++ {
		if !slices.ContainsFunc(s.present, func(a arrow.Array) bool { return a.IsNull(row) }) {
			s.rows = append(s.rows, row)
		}
	}
	slices.SortStableFunc(s.rows, func(i, j int) int { return cmp.Or(s.compareKeys(i, j), s.compareAges(i, j)) })
	for n := 1; n < len(s.rows); n++ {
		row, next := s.rows[n-1], s.rows[n]
		if s.compareKeys(row, next) == 0 {
			if s.by == nil {
				s.by = map[int]int64{}
			}
			s.by[row] = int64(s.published.Value(next))
		}
	}
}

func (s *superseder) compareKeys(i, j int) int {
	for _, compare := range s.rest {
		if c := compare(i, j); c != 0 {
			return c
		}
	}
	return 0
}

// compareAges orders rows of one key, the current one last.
func (s *superseder) compareAges(i, j int) int {
	return cmp.Or(
		cmp.Compare(s.published.Value(i), s.published.Value(j)),
		bytes.Compare(s.id.value(i), s.id.value(j)),
		compareValues(s.index, i, s.index, j, s.index.Value, s.index.Value),
	)
}

// comparing compares two rows' values of a column that a key may have; neither is
// null.
func comparing(column arrow.Array) func(i, j int) int {
	switch a := column.(type) {
	case *array.Dictionary:
		s := stringsOf(a)
		return func(i, j int) int { return bytes.Compare(s.value(i), s.value(j)) }
	case *array.Int32:
		return func(i, j int) int { return cmp.Compare(a.Value(i), a.Value(j)) }
	case *array.Int64:
		return func(i, j int) int { return cmp.Compare(a.Value(i), a.Value(j)) }
	case *array.Date32:
		return func(i, j int) int { return cmp.Compare(a.Value(i), a.Value(j)) }
	case *array.Timestamp:
		return func(i, j int) int { return cmp.Compare(a.Value(i), a.Value(j)) }
	case *array.Decimal128:
		return func(i, j int) int { return a.Value(i).Cmp(a.Value(j)) }
	case *array.Boolean:
		return func(i, j int) int { return compareBools(a.Value(i), a.Value(j)) }
	}
	panic(fmt.Sprintf("natural key: no column type %s", column.DataType())) // a definition has none
}
