package compaction

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/schema"
)

// Samples of a large partition are encoded to find out how well it compresses.
const (
	samples    = 8
	sampleRows = 8 << 10
)

// cut splits merged rows into files of about the target size, between symbols
// only: a symbol larger than that has one large file. Where it cuts depends on
// the rows and the target alone, so that the same rows make the same files
// however they arrived.
func cut(merged rows, def *schema.Definition, target int64) ([]rows, error) {
	n := int(merged.rec.NumRows())
	if n == 0 {
		return nil, nil
	}
	bytes, err := encodedSize(merged.rec, def, target)
	if err != nil {
		return nil, err
	}
	files := max((bytes+target-1)/target, 1)
	share := (int64(n) + files - 1) / files
	var parts []rows
	start := 0
	for _, end := range ends(symbolsOf(merged.rec, def), n, int(share)) {
		parts = append(parts, merged.slice(start, end))
		start = end
	}
	return parts, nil
}

// ends are the rows behind the last of each file: as many whole symbols as fit
// into share rows, and at least one.
func ends(s symbols, n, share int) []int {
	var all []int
	start, boundary := 0, 0
	for row := 1; row <= n; row++ {
		if row < n && s.same(row-1, row) {
			continue
		}
		if row-start > share && boundary > start {
			all = append(all, boundary)
			start = boundary
		}
		boundary = row
	}
	return append(all, n)
}

// encodedSize is about the size of rec as one file: that of a small one, an
// estimate for a large one, a bound for what surely fits.
func encodedSize(rec arrow.RecordBatch, def *schema.Definition, target int64) (int64, error) {
	plain, n := plainSize(rec), rec.NumRows()
	if plain <= target {
		return plain, nil
	}
	if n <= samples*sampleRows {
		data, _, err := columnar.Encode(rec, def)
		return int64(len(data)), err
	}
	var encoded, of int64
	for i := range int64(samples) {
		from := i * n / samples
		sample := rec.NewSlice(from, from+sampleRows)
		data, _, err := columnar.Encode(sample, def)
		if err != nil {
			return 0, err
		}
		encoded += int64(len(data))
		of += plainSize(sample)
	}
	return int64(float64(plain) * float64(encoded) / float64(max(of, 1))), nil
}

// plainSize is the size of the values as they are, a function of the rows alone:
// dictionaries differ with the way rows arrived.
func plainSize(rec arrow.RecordBatch) int64 {
	var bytes int64
	for _, column := range rec.Columns() {
		switch c := column.(type) {
		case *array.Dictionary:
			words := c.Dictionary().(*array.String)
			for i := range c.Len() {
				if c.IsValid(i) {
					bytes += int64(len(words.Value(c.GetValueIndex(i))))
				}
			}
		case *array.Binary:
			bytes += int64(len(c.ValueBytes()))
		default:
			bytes += 8 * int64(c.Len())
		}
	}
	return bytes
}

// symbols are the values of a record's symbol column.
type symbols struct {
	codes *array.Dictionary
	words *array.String
}

func symbolsOf(rec arrow.RecordBatch, def *schema.Definition) symbols {
	d := rec.Column(def.SymbolField).(*array.Dictionary)
	return symbols{d, d.Dictionary().(*array.String)}
}

// at is the symbol of a row, "" where it has none.
func (s symbols) at(row int) string {
	if s.codes.IsNull(row) {
		return ""
	}
	return s.words.Value(s.codes.GetValueIndex(row))
}

// same tells whether two rows have one symbol. A row without one is in a file
// with those of the empty symbol.
func (s symbols) same(a, b int) bool { return s.at(a) == s.at(b) }
