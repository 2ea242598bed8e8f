package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/rivo/uniseg"
	"golang.org/x/term"

	"github.com/buffetbot/ingest/query"
)

// Dead letters hold whatever somebody sent: escape sequences that command a
// terminal, characters that turn the direction of text, formulas. What follows
// lets none of it through.

// clean is s with everything escaped that is not plainly visible.
func clean(s string) string {
	visible := utf8.ValidString(s)
	for _, r := range s {
		visible = visible && strconv.IsPrint(r)
	}
	if visible {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// cutTo is a clean s of at most n columns on a terminal.
func cutTo(s string, n int) string {
	if n <= 0 || uniseg.StringWidth(s) <= n {
		return s
	}
	var b strings.Builder
	for left, state := n-1, -1; len(s) > 0; {
		cluster, rest, w, next := uniseg.FirstGraphemeClusterInString(s, state)
		if left -= w; left < 0 {
			break
		}
		b.WriteString(cluster)
		s, state = rest, next
	}
	return b.String() + "…"
}

// width is how many columns there are to write in.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return max(n, 40)
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return max(n, 40)
	}
	return 120
}

// A letterColumn is a column of a table, and how wide it may be; 0: what is left.
type letterColumn struct {
	name string
	most int
}

// writeTable writes aligned columns of cleaned cells, no line wider than total.
func writeTable(w io.Writer, columns []letterColumn, rows [][]string, total int) error {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = len(c.name)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = cutTo(clean(row[i]), columns[i].most)
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
	}
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	for _, row := range append([][]string{header}, rows...) {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell + strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell)+2))
		}
		if _, err := fmt.Fprintln(w, cutTo(strings.TrimRight(b.String(), " "), total)); err != nil {
			return err
		}
	}
	return nil
}

// writeCSV writes rows as a query would: a formula does not survive.
func writeCSV(w io.Writer, header []string, rows [][]string) error {
	fields := make([]arrow.Field, len(header))
	for i, name := range header {
		fields[i] = arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	out, err := query.NewWriter("csv", w, schema)
	if err != nil {
		return err
	}
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	for _, row := range rows {
		for i, cell := range row {
			if b := builder.Field(i).(*array.StringBuilder); cell == "" {
				b.AppendNull()
			} else {
				b.Append(cell)
			}
		}
	}
	if err := out.Write(builder.NewRecordBatch()); err != nil {
		return err
	}
	return out.Close()
}

// writeJSON writes v as one line, or indented, with every character escaped that
// a terminal might act on.
func writeJSON(w io.Writer, v any, indent bool) error {
	marshal := json.Marshal
	if indent {
		marshal = func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }
	}
	text, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeJSON(text), '\n'))
	return err
}

// escapeJSON escapes what is not plainly visible. In JSON that can only be inside
// a string.
func escapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r == '\n', r < utf8.RuneSelf && r != 0x7f, strconv.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
