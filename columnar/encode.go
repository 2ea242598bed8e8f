package columnar

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/buffetbot/ingest/schema"
)

// Encode writes sorted rows as one Parquet object and says what is in it. The
// bytes are a function of the rows; rec may be used again afterwards.
//
// Strings are dictionary encoded unless nearly every value is another;
// timestamps, dates and integers are delta encoded; decimals are integers; floats
// are plain. BenchmarkEncodings has the figures that decided.
func Encode(rec arrow.RecordBatch, def *schema.Definition) ([]byte, Summary, error) {
	if err := check(rec, def); err != nil {
		return nil, Summary{}, err
	}
	k := keysOf([]arrow.RecordBatch{rec}, def)[0]
	if !k.sorted() {
		return nil, Summary{}, fmt.Errorf("encode %d rows of %s: %w", k.n, def.Name, ErrUnsorted)
	}
	s := summarize(k, def)
	data, err := write(rec, def, s, settingsFor(rec, def))
	if err != nil {
		return nil, Summary{}, fmt.Errorf("encode %d rows of %s: %w", k.n, def.Name, err)
	}
	return data, s, nil
}

func summarize(k *keyed, def *schema.Definition) Summary {
	s := Summary{Rows: int64(k.n), SchemaVersion: def.Version.String(), DataType: def.Name, Hash: hashSum(k.rec)}
	s.First, s.Last = math.MaxInt64, math.MinInt64
	for i, t := range k.times {
		if k.timeArr.IsValid(i) {
			s.First, s.Last = min(s.First, t), max(s.Last, t)
		}
	}
	if s.First > s.Last {
		s.First, s.Last = 0, 0
	}
	return s
}

// A columnSetting is how one column is written. The zero value is plain.
type columnSetting struct {
	dictionary, delta bool
	noStatistics      bool
}

// settingsFor chooses each column's encoding from the rows alone.
func settingsFor(rec arrow.RecordBatch, def *schema.Definition) []columnSetting {
	settings := make([]columnSetting, len(def.Fields))
	for i := range def.Fields {
		settings[i].noStatistics = boundless(rec.Column(i))
		switch def.Fields[i].Kind {
		case schema.String:
			settings[i].dictionary = repeats(rec.Column(i).(*array.Dictionary))
		case schema.Timestamp, schema.Date, schema.Int32, schema.Int64:
			settings[i].delta = true
		}
	}
	return settings
}

// boundless says whether a column holds a value that the Parquet library leaves
// out of its bounds: an empty string, which it takes for no value, or a NaN. The
// bounds would hide that row from an engine, so the column gets no statistics.
func boundless(arr arrow.Array) bool {
	var out func(i int) bool
	switch a := arr.(type) {
	case *array.Dictionary:
		s := stringsOf(a)
		out = func(i int) bool { return len(s.value(i)) == 0 }
	case *array.Binary:
		out = func(i int) bool { return a.ValueLen(i) == 0 }
	case *array.Float64:
		out = func(i int) bool { return math.IsNaN(a.Value(i)) }
	default:
		return false
	}
	for i := range arr.Len() {
		if out(i) && arr.IsValid(i) {
			return true
		}
	}
	return false
}

// A string column is worth a dictionary if, of up to sampleRows rows spread over
// the record, at least every second one repeats a value.
const sampleRows = 2048

func repeats(a *array.Dictionary) bool {
	s := stringsOf(a)
	stride := max(1, len(s.codes)/sampleRows)
	seen := make(map[string]struct{}, sampleRows)
	sampled := 0
	for i := 0; i < len(s.codes); i += stride {
		if v := s.value(i); v != nil {
			seen[string(v)] = struct{}{}
			sampled++
		}
	}
	return len(seen)*2 <= sampled
}

// dictionaryLimit is the size of the values in one row group's dictionary beyond
// which they are written plain, as every reader has to hold the dictionary.
const dictionaryLimit = 1 << 20

// createdBy is written into each object. It names the format, not the build.
const createdBy = "buffetbot ingest version 1.0.0"

func write(rec arrow.RecordBatch, def *schema.Definition, s Summary, settings []columnSetting) ([]byte, error) {
	groups, err := rowGroups(rec, def, settings)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(writeSchema(def, settings), &buf, properties(def, settings), pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if err := w.Write(g); err != nil {
			return nil, err
		}
	}
	if err := keyValues(w, s, len(groups)*len(def.Fields)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), setSums(buf.Bytes())
}

func keyValues(w *pqarrow.FileWriter, s Summary, chunks int) error {
	kv := s.Metadata()
	kv[metaChecksums] = blankSums(chunks)
	for _, key := range slices.Sorted(maps.Keys(kv)) {
		if err := w.AppendKeyValueMetadata(key, kv[key]); err != nil {
			return err
		}
	}
	return nil
}

func properties(def *schema.Definition, settings []columnSetting) *parquet.WriterProperties {
	props := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Snappy),
		parquet.WithCreatedBy(createdBy),
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithDataPageVersion(parquet.DataPageV1),
		parquet.WithDictionaryDefault(false),
		parquet.WithDictionaryPageSizeLimit(2 * dictionaryLimit),
		parquet.WithMaxRowGroupLength(RowGroupRows),
		parquet.WithStats(true),
		parquet.WithStoreDecimalAsInteger(true),
		parquet.WithSortingColumns(sortingColumns(def)),
	}
	for i, s := range settings {
		if s.dictionary {
			props = append(props, parquet.WithDictionaryFor(def.Fields[i].Name, true))
		}
		if s.noStatistics {
			props = append(props, parquet.WithStatsFor(def.Fields[i].Name, false))
		}
		if s.delta {
			props = append(props, parquet.WithEncodingFor(def.Fields[i].Name, parquet.Encodings.DeltaBinaryPacked))
		}
	}
	return parquet.NewWriterProperties(props...)
}

// sortingColumns is the order of rows as far as columns express it; the row hash
// behind them is no column.
func sortingColumns(def *schema.Definition) []parquet.SortingColumn {
	var cols []parquet.SortingColumn
	for _, c := range []int{def.SymbolField, def.TimeField, def.Own, def.Own + 1, def.Own + 2} {
		cols = append(cols, parquet.SortingColumn{ColumnIdx: int32(c), NullsFirst: true})
	}
	return cols
}

// writeSchema is def's schema with plain strings where no dictionary is wanted.
func writeSchema(def *schema.Definition, settings []columnSetting) *arrow.Schema {
	fields := def.Arrow().Fields()
	for i := range fields {
		if def.Fields[i].Kind == schema.String && !settings[i].dictionary {
			fields[i].Type = arrow.BinaryTypes.String
		}
	}
	return arrow.NewSchema(fields, nil)
}

// rowGroups slices rec and rebuilds its strings, so that neither the batches nor
// the dictionaries the rows came in can be told from the object.
func rowGroups(rec arrow.RecordBatch, def *schema.Definition, settings []columnSetting) ([]arrow.RecordBatch, error) {
	rows := rec.NumRows()
	columns := make([][]arrow.Array, len(def.Fields))
	for c := range columns {
		for from := int64(0); from < rows; from += RowGroupRows {
			columns[c] = append(columns[c], array.NewSlice(rec.Column(c), from, min(from+RowGroupRows, rows)))
		}
		if def.Fields[c].Kind != schema.String {
			continue
		}
		var err error
		if columns[c], err = rebuildStrings(columns[c], &settings[c]); err != nil {
			return nil, fmt.Errorf("column %s: %w", def.Fields[c].Name, err)
		}
	}
	sc := writeSchema(def, settings)
	var groups []arrow.RecordBatch
	for g := int64(0); g*RowGroupRows < rows; g++ {
		cols := make([]arrow.Array, len(columns))
		for c := range cols {
			cols[c] = columns[c][g]
		}
		groups = append(groups, array.NewRecordBatch(sc, cols, min(RowGroupRows, rows-g*RowGroupRows)))
	}
	return groups, nil
}

// rebuildStrings gives the groups of a string column the smallest dictionaries,
// in order of first occurrence, or none if one of them would be too large.
func rebuildStrings(groups []arrow.Array, s *columnSetting) ([]arrow.Array, error) {
	out := make([]arrow.Array, len(groups))
	for i := 0; s.dictionary && i < len(groups); i++ {
		arr, ok := minimal(groups[i].(*array.Dictionary))
		out[i], s.dictionary = arr, ok
	}
	if s.dictionary {
		return out, nil
	}
	for i := range groups {
		var err error
		if out[i], err = dense(groups[i].(*array.Dictionary)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// minimal is the column with a dictionary of the values it uses, each once.
func minimal(a *array.Dictionary) (arrow.Array, bool) {
	s := stringsOf(a)
	b := dictionaryBuilder{offsets: make([]int32, 1, 1024), codes: map[string]int32{}}
	known := make([]int32, s.dictLen()) // new code + 1
	codes := make([]int32, len(s.codes))
	for i, c := range s.codes {
		if s.nulls && a.IsNull(i) {
			continue
		}
		if known[c] == 0 {
			known[c] = b.code(s.entry(c)) + 1
			if b.full() || len(b.data) > dictionaryLimit {
				return nil, false
			}
		}
		codes[i] = known[c] - 1
	}
	return newArray(a.DataType(), len(codes), a.NullN(), b.array().Data(), ownValidity(a), arrow.Int32Traits.CastToBytes(codes)), true
}

// dense is the column without a dictionary.
func dense(a *array.Dictionary) (arrow.Array, error) {
	s := stringsOf(a)
	size := 0
	for i := range s.codes {
		size += len(s.value(i))
	}
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("%d bytes of strings in a row group: %w", size, ErrRecord)
	}
	data := make([]byte, 0, size)
	offsets := make([]int32, 1, len(s.codes)+1)
	for i := range s.codes {
		data = append(data, s.value(i)...)
		offsets = append(offsets, int32(len(data)))
	}
	return newArray(arrow.BinaryTypes.String, len(s.codes), a.NullN(), nil, ownValidity(a), arrow.Int32Traits.CastToBytes(offsets), data), nil
}

// ownValidity is the array's validity from its first row on, nil without nulls.
func ownValidity(a arrow.Array) []byte {
	valid, _ := gatherValidity([]arrow.Array{a}, []run{{0, 0, int32(a.Len())}}, a.Len())
	return valid
}
