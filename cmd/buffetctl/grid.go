package main

import (
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/query"
)

// A listing is how a command prints what there is.
type listing struct {
	Format string `enum:"table,csv,json" default:"table" help:"Output: ${enum}. csv and json give bytes and seconds as numbers."`
}

// A kind is what a column of a grid holds.
type kind int

const (
	words   kind = iota // string
	number              // int or int64
	size                // int64, bytes; a table shows 1.4 MiB
	elapsed             // time.Duration; a table shows 3h12m0s, the others whole seconds
	instant             // time.Time
)

// A grid is rows of a few kinds of columns, printed like the rows of a query:
// text that a spreadsheet would run is guarded, control characters are quoted.
type grid struct {
	format string
	kinds  []kind
	schema *arrow.Schema
	rows   *array.RecordBuilder
}

type column struct {
	name string
	kind kind
}

func newGrid(format string, columns ...column) *grid {
	g := &grid{format: format}
	var fields []arrow.Field
	for _, c := range columns {
		g.kinds = append(g.kinds, c.kind)
		fields = append(fields, arrow.Field{Name: c.name, Type: g.typeOf(c.kind), Nullable: true})
	}
	g.schema = arrow.NewSchema(fields, nil)
	g.rows = array.NewRecordBuilder(memory.DefaultAllocator, g.schema)
	return g
}

func (g *grid) typeOf(k kind) arrow.DataType {
	switch {
	case k == instant:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case k == words, g.format == "table" && (k == size || k == elapsed):
		return arrow.BinaryTypes.String
	}
	return arrow.PrimitiveTypes.Int64
}

// row adds a row: a value for each column, nil where there is none.
func (g *grid) row(values ...any) {
	for i, v := range values {
		switch b := g.rows.Field(i).(type) {
		case *array.StringBuilder:
			if v == nil {
				b.AppendNull()
				continue
			}
			b.Append(g.text(g.kinds[i], v))
		case *array.Int64Builder:
			switch v := v.(type) {
			case int:
				b.Append(int64(v))
			case int64:
				b.Append(v)
			case time.Duration:
				b.Append(int64(v / time.Second))
			default:
				b.AppendNull()
			}
		case *array.TimestampBuilder:
			if t, ok := v.(time.Time); ok && !t.IsZero() {
				b.Append(arrow.Timestamp(t.UnixMicro()))
				continue
			}
			b.AppendNull()
		}
	}
}

func (g *grid) text(k kind, v any) string {
	switch v := v.(type) {
	case int64:
		if k == size {
			return config.Bytes(v).Human()
		}
	case time.Duration:
		return v.Round(time.Second).String()
	}
	return fmt.Sprint(v)
}

// write prints the rows.
func (g *grid) write(out io.Writer) error {
	rec := g.rows.NewRecordBatch()
	defer rec.Release()
	defer g.rows.Release()
	w, err := query.NewWriter(g.format, out, g.schema)
	if err != nil {
		return err
	}
	if err := w.Write(rec); err != nil {
		return err
	}
	return w.Close()
}

// note prints a remark: below a table, else where it does not mix with the rows.
func (l listing) note(std streams, format string, args ...any) {
	w := std.diagnostics
	if l.Format == "table" {
		w = std.out
	}
	fmt.Fprintf(w, format+"\n", args...)
}

// bounded is how a command prints a list that may be long.
type bounded struct {
	listing
	Limit int `default:"100" help:"At most so many (0: all)."`
}

// Problems implements the check of config.Parse.
func (b *bounded) Problems() []error {
	if b.Limit < 0 {
		return []error{fmt.Errorf("--limit %d: must not be negative", b.Limit)}
	}
	return nil
}

// cut says how many of n to show, and that there are more.
func (b bounded) cut(n int) int {
	if b.Limit == 0 {
		return n
	}
	return min(n, b.Limit)
}

func (b bounded) more(std streams, shown, n int, what string) {
	if shown < n {
		b.note(std, "%d of %d %s; --limit 0 shows all", shown, n, what)
	}
}
