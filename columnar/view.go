package columnar

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

// stringColumn reads a Dictionary<int32, utf8> column without a call per value.
// Entry i of the dictionary is data[offsets[i]:offsets[i+1]].
type stringColumn struct {
	codes   []int32 // undefined where null
	arr     *array.Dictionary
	nulls   bool
	offsets []int32
	data    []byte
}

func stringsOf(a *array.Dictionary) stringColumn {
	dict := a.Dictionary().(*array.String)
	s := stringColumn{arr: a, nulls: a.NullN() > 0, codes: a.Indices().(*array.Int32).Int32Values(), data: []byte{}}
	if dict.Len() > 0 {
		s.offsets = dict.ValueOffsets()
		if buf := dict.Data().Buffers()[2]; buf != nil && buf.Len() > 0 {
			s.data = buf.Bytes()
		}
	}
	return s
}

func (s *stringColumn) dictLen() int { return max(len(s.offsets)-1, 0) }

func (s *stringColumn) entry(code int32) []byte {
	return s.data[s.offsets[code]:s.offsets[code+1]]
}

// value is row i's string, nil if null. An empty string is not nil.
func (s *stringColumn) value(i int) []byte {
	if s.nulls && s.arr.IsNull(i) {
		return nil
	}
	c := s.codes[i]
	return s.data[s.offsets[c]:s.offsets[c+1]:s.offsets[c+1]]
}

// check says whether rec has exactly the columns of def.
func check(rec arrow.RecordBatch, def *schema.Definition) error {
	if int(rec.NumCols()) != len(def.Fields) {
		return fmt.Errorf("%s %s: %d columns, want %d: %w", def.Name, def.Version, rec.NumCols(), len(def.Fields), ErrRecord)
	}
	for i := range def.Fields {
		f := &def.Fields[i]
		if rec.ColumnName(i) != f.Name || !arrow.TypeEqual(rec.Column(i).DataType(), f.Arrow()) {
			return fmt.Errorf("%s %s: column %d is %s %s, want %s %s: %w", def.Name, def.Version,
				i, rec.ColumnName(i), rec.Column(i).DataType(), f.Name, f.Arrow(), ErrRecord)
		}
	}
	return checkKey(def)
}

// checkKey says whether def has the columns that the order of rows is made of.
func checkKey(def *schema.Definition) error {
	kinds := []struct {
		name  string
		index int
		kinds []schema.Kind
	}{
		{"symbol", def.SymbolField, []schema.Kind{schema.String}},
		{"event time", def.TimeField, []schema.Kind{schema.Timestamp, schema.Date}},
		{schema.ColID, def.Own, []schema.Kind{schema.String}},
		{schema.ColIndex, def.Own + 1, []schema.Kind{schema.Int32}},
		{schema.ColPublishedAt, def.Own + 2, []schema.Kind{schema.Timestamp}},
		{schema.ColSchemaVersion, def.Own + 3, []schema.Kind{schema.String}},
	}
	for _, k := range kinds {
		ok := false
		for _, kind := range k.kinds {
			ok = ok || k.index >= 0 && k.index < len(def.Fields) && def.Fields[k.index].Kind == kind
		}
		if !ok {
			return fmt.Errorf("%s %s: no fitting column for %s: %w", def.Name, def.Version, k.name, ErrRecord)
		}
	}
	return nil
}
