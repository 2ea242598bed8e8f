package query

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
	"unicode"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/rivo/uniseg"
)

const (
	maxCellWidth = 40  // a longer text is cut, its last column is …
	measuredRows = 500 // the first rows say how wide the columns are
	nullText     = "∅"
)

// A tableWriter aligns columns. It holds back the first rows to measure them.
type tableWriter struct {
	w      *bufio.Writer
	schema *arrow.Schema
	held   [][]string
	widths []int // nil: not measured yet
}

func (t *tableWriter) Write(rec arrow.RecordBatch) error {
	cells := make([]cell, rec.NumCols())
	for i := range cells {
		cells[i] = cellsOf(rec.Column(i))
	}
	var buf []byte
	for row := range int(rec.NumRows()) {
		line := make([]string, len(cells))
		for i, c := range cells {
			line[i] = nullText
			if col := rec.Column(i); col.IsValid(row) {
				buf = c(buf[:0], row)
				line[i] = tableText(col.DataType(), buf)
			}
		}
		if t.widths != nil {
			t.line(line)
		} else if t.held = append(t.held, line); len(t.held) == measuredRows {
			t.begin()
		}
	}
	_, err := t.w.Write(nil) // gives the error of any write before
	return err
}

// tableText is a value as a table shows it.
func tableText(dt arrow.DataType, text []byte) string {
	switch {
	case dt.ID() == arrow.DECIMAL128:
		if bytes.IndexByte(text, '.') >= 0 {
			text = bytes.TrimSuffix(bytes.TrimRight(text, "0"), []byte("."))
		}
		return string(text)
	case isText(dt):
		s := string(text)
		if s == "" || s == nullText || s[0] == ' ' || s[0] == '"' || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			s = strconv.Quote(s)
		}
		return cut(s)
	case len(text) == 0: // binary
		return `""`
	}
	return cut(string(text))
}

// cut shortens a text to the widest a cell may be.
func cut(s string) string {
	if len(s) <= maxCellWidth || uniseg.StringWidth(s) <= maxCellWidth {
		return s
	}
	var b strings.Builder
	width, state := 0, -1
	for len(s) > 0 {
		cluster, rest, w, next := uniseg.FirstGraphemeClusterInString(s, state)
		if width+w > maxCellWidth-1 {
			break
		}
		b.WriteString(cluster)
		width, s, state = width+w, rest, next
	}
	return b.String() + "…"
}

// begin measures the rows held back and writes them under the header.
func (t *tableWriter) begin() {
	header := make([]string, t.schema.NumFields())
	for i, f := range t.schema.Fields() {
		header[i] = f.Name
	}
	t.widths = make([]int, len(header))
	for _, line := range append([][]string{header}, t.held...) {
		for i, s := range line {
			t.widths[i] = max(t.widths[i], uniseg.StringWidth(s))
		}
	}
	t.line(header)
	rule := make([]string, len(header))
	for i := range rule {
		rule[i] = strings.Repeat("─", t.widths[i])
	}
	t.line(rule)
	for _, line := range t.held {
		t.line(line)
	}
	t.held = nil
}

// line writes cells: numbers to the right, the rest to the left. Errors stay in
// the buffer.
func (t *tableWriter) line(cells []string) {
	var b strings.Builder
	for i, s := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", max(t.widths[i]-uniseg.StringWidth(s), 0))
		switch t.schema.Field(i).Type.ID() {
		case arrow.DECIMAL128, arrow.FLOAT64, arrow.INT32, arrow.INT64:
			b.WriteString(pad + s)
		default:
			b.WriteString(s + pad)
		}
	}
	_, _ = t.w.WriteString(strings.TrimRight(b.String(), " ") + "\n")
}

func (t *tableWriter) Close() error {
	if t.widths == nil {
		t.begin()
	}
	return t.w.Flush()
}
