package query_test

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/buffetbot/ingest/query"
)

var update = flag.Bool("update", false, "rewrite golden files")

func (l *lake) write(format string, recs ...arrow.RecordBatch) []byte {
	l.Helper()
	var out bytes.Buffer
	w, err := query.NewWriter(format, &out, l.def.Arrow())
	l.must(err)
	for _, rec := range recs {
		l.must(w.Write(rec))
	}
	l.must(w.Close())
	return out.Bytes()
}

// odd are rows with what formats trip over.
func odd() []row {
	rows := kinds()
	for i, note := range []string{"=cmd()|'/c calc'!A0", "+1", "-1", "@sum", "\tx", "\rx", "a,b", "two\nlines", " padded ", "∅", "\u202ereversed\u200b", "日本語のとても長いテキストは表の中で切り詰められるはずです", `back\slash "quote"`, "</script>\u2028"} {
		rows = append(rows, row{symbol: "ODD", at: at(2, "10:00:00") + int64(i), note: &note, beta: p(math.Pow(10, float64(3*i-9))), id: "e:odd", index: int32(i), pub: 1})
	}
	return rows
}

func TestGoldenFormats(t *testing.T) {
	l := newLake(t)
	rec := l.record(odd())
	for _, format := range []string{"table", "csv", "json"} {
		t.Run(format, func(t *testing.T) {
			got := l.write(format, rec.NewSlice(0, 3), rec.NewSlice(3, rec.NumRows()))
			if whole := l.write(format, rec); !bytes.Equal(whole, got) {
				t.Error("the same rows in two records give another text")
			}
			name := filepath.Join("testdata", "odd."+format)
			if *update {
				l.must(os.WriteFile(name, got, 0o644))
			}
			want, err := os.ReadFile(name)
			l.must(err)
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestNoRowsInEveryFormat(t *testing.T) {
	l := newLake(t)
	for format, want := range map[string]string{
		"csv":  "symbol,timestamp,price,volume,size,beta,active,payload,note,expiry,_id,_index,_published_at,_schema_version,_flags\r\n",
		"json": "",
	} {
		if got := string(l.write(format)); got != want {
			t.Errorf("%s: %q, want %q", format, got, want)
		}
	}
	if got := l.write("table"); bytes.Count(got, []byte("\n")) != 2 {
		t.Errorf("table: %q, want a header and a rule", got)
	}
	if got := l.readArrow(l.write("arrow")); len(got) != 0 {
		t.Errorf("arrow: %q", got)
	}
	if got := l.readParquet(l.write("parquet")); len(got) != 0 {
		t.Errorf("parquet: %q", got)
	}
	if _, err := query.NewWriter("xml", nil, l.def.Arrow()); err == nil || err.Error() != `invalid query: no format "xml"; there are table, csv, json, parquet, arrow` {
		t.Errorf("error = %v", err)
	}
}

// readArrow reads a stream back and gives it as JSON lines.
func (l *lake) readArrow(data []byte) []string {
	l.Helper()
	r, err := ipc.NewReader(bytes.NewReader(data))
	l.must(err)
	var lines []string
	for r.Next() {
		lines = append(lines, l.jsonLines(r.RecordBatch())...)
	}
	l.must(r.Err())
	return lines
}

func (l *lake) readParquet(data []byte) []string {
	l.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(data), file.WithReadProps(parquet.NewReaderProperties(memory.DefaultAllocator)))
	l.must(err)
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	l.must(err)
	table, err := fr.ReadTable(l.Context())
	l.must(err)
	var lines []string
	columns := make([]arrow.Array, table.NumCols())
	if table.NumRows() == 0 {
		return nil
	}
	for i := range columns {
		chunks := table.Column(i).Data().Chunks()
		if len(chunks) != 1 {
			l.Fatalf("%d chunks", len(chunks))
		}
		columns[i] = chunks[0]
	}
	return append(lines, l.jsonLines(newRecord(table.Schema(), columns, table.NumRows()))...)
}

func (l *lake) jsonLines(rec arrow.RecordBatch) []string {
	l.Helper()
	var out bytes.Buffer
	w, err := query.NewWriter("json", &out, rec.Schema())
	l.must(err)
	l.must(w.Write(rec))
	l.must(w.Close())
	var lines []string
	for line := range bytes.Lines(out.Bytes()) {
		lines = append(lines, string(bytes.TrimSuffix(line, []byte("\n"))))
	}
	return lines
}

// What is written as Parquet or Arrow reads back the same, also when every
// record has dictionaries of its own.
func TestBinaryFormatsRoundTrip(t *testing.T) {
	l := newLake(t)
	first, second := l.record(odd()[:4]), l.record(odd()[4:])
	want := append(l.jsonLines(first), l.jsonLines(second)...)
	if got := l.readArrow(l.write("arrow", first, second)); !slices.Equal(got, want) {
		t.Errorf("arrow: got %q\nwant %q", got, want)
	}
	if got := l.readParquet(l.write("parquet", first, second)); !slices.Equal(got, want) {
		t.Errorf("parquet: got %q\nwant %q", got, want)
	}
}
