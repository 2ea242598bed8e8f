package query

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/go-json-experiment/json/jsontext"
)

// A Writer writes a result. Records have the schema it was made for.
type Writer interface {
	Write(rec arrow.RecordBatch) error

	// Close writes what is left; what was written is whole only then. It does not
	// close the writer underneath.
	Close() error
}

// Formats are the names that NewWriter takes.
//
//   - table: aligned, for people; cells are cut at 40 columns, nulls are ∅,
//     decimals lose their trailing zeros, text that is empty or would disturb a
//     terminal is quoted.
//   - csv: RFC 4180 with a header. A null is an empty field, an empty string is
//     "". A string that begins with = + - @, a tab or a carriage return gets a
//     leading apostrophe, so that a spreadsheet does not run it as a formula:
//     whoever needs such strings unchanged takes another format. Numbers keep
//     their sign and all their digits.
//   - json: one object per line, keys in the order of the columns. Nulls are
//     null, integers and decimals are exact numbers, binary is base64. A float
//     that JSON has no number for is a string: "NaN", "+Inf", "-Inf".
//   - parquet: a Parquet file, snappy.
//   - arrow: an Arrow IPC stream, strings in dictionaries.
var Formats = []string{"table", "csv", "json", "parquet", "arrow"}

// NewWriter makes the writer of a format for records of the schema.
func NewWriter(format string, w io.Writer, schema *arrow.Schema) (Writer, error) {
	switch format {
	case "table":
		return &tableWriter{w: bufio.NewWriter(w), schema: schema}, nil
	case "csv":
		return newCSV(w, schema), nil
	case "json":
		return newJSON(w, schema)
	case "parquet":
		return newParquet(w, schema)
	case "arrow":
		return ipc.NewWriter(w, ipc.WithSchema(schema)), nil
	}
	return nil, fmt.Errorf("%w: no format %q; there are %s", ErrInvalid, format, strings.Join(Formats, ", "))
}

// A jsonWriter writes an object per line.
type jsonWriter struct {
	w    *bufio.Writer
	keys [][]byte // `{"symbol":`, `,"price":`
	line []byte
}

func newJSON(w io.Writer, schema *arrow.Schema) (*jsonWriter, error) {
	j := &jsonWriter{w: bufio.NewWriterSize(w, 64<<10)}
	for i, f := range schema.Fields() {
		key, err := jsontext.AppendQuote([]byte{"{,"[min(i, 1)]}, f.Name)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		j.keys = append(j.keys, append(key, ':'))
	}
	return j, nil
}

func (j *jsonWriter) Write(rec arrow.RecordBatch) error {
	cells := make([]func([]byte, int) ([]byte, error), rec.NumCols())
	for i := range cells {
		cells[i] = jsonCells(rec.Column(i))
	}
	for row := range int(rec.NumRows()) {
		j.line = j.line[:0]
		for i, key := range j.keys {
			j.line = append(j.line, key...)
			if rec.Column(i).IsNull(row) {
				j.line = append(j.line, "null"...)
				continue
			}
			var err error
			if j.line, err = cells[i](j.line, row); err != nil {
				return fmt.Errorf("column %s: %w", rec.ColumnName(i), err)
			}
		}
		j.line = append(j.line, "}\n"...)
		if _, err := j.w.Write(j.line); err != nil {
			return err
		}
	}
	return nil
}

// jsonCells gives the values of a column as JSON.
func jsonCells(arr arrow.Array) func(dst []byte, row int) ([]byte, error) {
	text := cellsOf(arr)
	switch a := arr.(type) {
	case *array.Dictionary:
		values := a.Dictionary().(*array.String)
		return func(dst []byte, row int) ([]byte, error) {
			return jsontext.AppendQuote(dst, values.Value(a.GetValueIndex(row)))
		}
	case *array.String:
		return func(dst []byte, row int) ([]byte, error) { return jsontext.AppendQuote(dst, a.Value(row)) }
	case *array.Int32, *array.Int64, *array.Decimal128, *array.Boolean:
		return func(dst []byte, row int) ([]byte, error) { return text(dst, row), nil }
	case *array.Float64:
		return func(dst []byte, row int) ([]byte, error) {
			if v := a.Value(row); v-v == 0 { // finite
				return appendFloat(dst, v), nil
			}
			return quoted(text, dst, row), nil
		}
	}
	return func(dst []byte, row int) ([]byte, error) { return quoted(text, dst, row), nil }
}

// quoted is for text without anything to escape.
func quoted(text cell, dst []byte, row int) []byte {
	return append(text(append(dst, '"'), row), '"')
}

func (j *jsonWriter) Close() error { return j.w.Flush() }

// A csvWriter writes RFC 4180.
type csvWriter struct {
	w    *bufio.Writer
	line []byte
	text []byte
}

func newCSV(w io.Writer, schema *arrow.Schema) *csvWriter {
	c := &csvWriter{w: bufio.NewWriterSize(w, 64<<10)}
	for i, f := range schema.Fields() {
		if i > 0 {
			c.line = append(c.line, ',')
		}
		c.line = appendCSV(c.line, []byte(f.Name))
	}
	c.line = append(c.line, "\r\n"...) // written before the first row, or by Close
	return c
}

func (c *csvWriter) Write(rec arrow.RecordBatch) error {
	cells := make([]cell, rec.NumCols())
	strs := make([]bool, rec.NumCols())
	for i := range cells {
		cells[i] = cellsOf(rec.Column(i))
		strs[i] = isText(rec.Column(i).DataType())
	}
	for row := range int(rec.NumRows()) {
		for i := range cells {
			if i > 0 {
				c.line = append(c.line, ',')
			}
			if rec.Column(i).IsNull(row) {
				continue
			}
			c.text = cells[i](c.text[:0], row)
			if strs[i] {
				c.text = guard(c.text)
			}
			c.line = appendCSV(c.line, c.text)
		}
		c.line = append(c.line, "\r\n"...)
		if err := c.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *csvWriter) flush() error {
	_, err := c.w.Write(c.line)
	c.line = c.line[:0]
	return err
}

func (c *csvWriter) Close() error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.w.Flush()
}

// guard keeps a spreadsheet from reading text as a formula.
func guard(text []byte) []byte {
	if len(text) > 0 && strings.IndexByte("=+-@\t\r", text[0]) >= 0 {
		text = append(text, 0)
		copy(text[1:], text)
		text[0] = '\''
	}
	return text
}

// appendCSV appends a field that is not null.
func appendCSV(dst, text []byte) []byte {
	plain := len(text) > 0
	for _, c := range text {
		plain = plain && c != '"' && c != ',' && c != '\n' && c != '\r'
	}
	if plain && text[0] != ' ' && text[len(text)-1] != ' ' {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// A parquetWriter writes a Parquet file. Unlike the lake's own files it follows
// no order and keeps no summary: it is a result.
type parquetWriter struct {
	w *pqarrow.FileWriter
}

func newParquet(w io.Writer, schema *arrow.Schema) (*parquetWriter, error) {
	options := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Snappy), parquet.WithDictionaryDefault(false), parquet.WithStoreDecimalAsInteger(true),
	}
	for _, f := range schema.Fields() {
		switch f.Type.ID() {
		case arrow.DICTIONARY:
			options = append(options, parquet.WithDictionaryFor(f.Name, true))
		case arrow.TIMESTAMP:
			options = append(options, parquet.WithEncodingFor(f.Name, parquet.Encodings.DeltaBinaryPacked))
		}
	}
	fw, err := pqarrow.NewFileWriter(schema, unclosed{w}, parquet.NewWriterProperties(options...), pqarrow.NewArrowWriterProperties(pqarrow.WithAllocator(memory.DefaultAllocator)))
	if err != nil {
		return nil, fmt.Errorf("write Parquet: %w", err)
	}
	return &parquetWriter{fw}, nil
}

// unclosed hides that the writer underneath can be closed.
type unclosed struct{ io.Writer }

func (p *parquetWriter) Write(rec arrow.RecordBatch) error {
	if err := p.w.WriteBuffered(rec); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}

func (p *parquetWriter) Close() error {
	if err := p.w.Close(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}
