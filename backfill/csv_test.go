package backfill

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/schema"
)

func TestCSV(t *testing.T) {
	const head = "symbol,timestamp,price,note\n"
	row := func(rest string) string { return `{"symbol":"A","timestamp":"2024-01-15",` + rest + `}` }
	plain := `{"symbol":"B","timestamp":"2024-01-16","price":2}`
	for _, tt := range []struct {
		name   string
		s      Settings
		in     string
		want   []string
		broken int
	}{
		{name: "plain", in: head + "A,2024-01-15,1.5,x\n", want: []string{row(`"price":1.5,"note":"x"`)}},
		{name: "gzip", in: zipped(head + "A,2024-01-15,1.5,x\n"), want: []string{row(`"price":1.5,"note":"x"`)}},
		{name: "gzip in two members", in: zipped(head) + zipped("A,2024-01-15,1.5,x\n"), want: []string{row(`"price":1.5,"note":"x"`)}},
		{name: "no newline at the end, CRLF before it", in: "symbol,timestamp,price,note\r\nB,2024-01-16,2,\r\nB,2024-01-16,2,", want: []string{plain, plain}},
		{name: "byte-order mark and quoted names", in: "\xef\xbb\xbf\"symbol\",\"timestamp\",price,note\nB,2024-01-16,2,\n", want: []string{plain}},
		{name: "empty lines are no records", in: head + "\n\r\nB,2024-01-16,2,\n\n", want: []string{plain}},
		{name: "a cell of spaces is one", in: head + "A,2024-01-15, ,  x\n", want: []string{row(`"price":" ","note":"  x"`)}},
		{name: "quotes", in: head + `A,2024-01-15,"1.5","say ""hi"", you"` + "\n", want: []string{row(`"price":1.5,"note":"say \"hi\", you"`)}},
		{name: "newlines in quotes", in: head + "A,2024-01-15,1.5,\"two\r\nlines\n\nand four\"\nB,2024-01-16,2,\n",
			want: []string{row(`"price":1.5,"note":"two\r\nlines\n\nand four"`), plain}},
		{name: "an empty cell in quotes is no value", in: head + `B,2024-01-16,2,""` + "\n", want: []string{plain}},
		{name: "control characters", in: head + "A,2024-01-15,1.5,a\x00\tb\\\n", want: []string{row(`"price":1.5,"note":"a\u0000\tb\\"`)}},
		{name: "bytes that are not UTF-8 stay", in: head + "A,2024-01-15,1.5,\xff\n", want: []string{row("\"price\":1.5,\"note\":\"\xff\"")}},
		{name: "too few cells", in: head + "A,1\nB,2024-01-16,2,\n", want: []string{`"CSV line 2: 2 cells where the header has 4: A,1"`, plain}, broken: 1},
		{name: "too many cells", in: head + "A,1,2,3,4\nB,2024-01-16,2,\n", want: []string{`"CSV line 2: 5 cells where the header has 4: A,1,2,3,4"`, plain}, broken: 1},
		{name: "a quote in the middle", in: head + "A,2024-01-15,5\" pipe,\nB,2024-01-16,2,\n",
			want: []string{`"CSV line 2: a quote inside cell 3, which does not start with one: A,2024-01-15,5\" pipe,"`, plain}, broken: 1},
		{name: "text behind a quote", in: head + "A,2024-01-15,\"5\" pipe,\nB,2024-01-16,2,\n",
			want: []string{`"CSV line 2: cell 3 goes on after its closing quote: A,2024-01-15,\"5\" pipe,"`, plain}, broken: 1},
		{name: "a quote that is never closed", in: head + "A,2024-01-15,1,\"x\nB,2024-01-16,2,\nB,2024-01-16,2,\n",
			want: []string{`"CSV line 2: a quote is not closed: A,2024-01-15,1,\"x"`, plain, plain}, broken: 1},
		{name: "two stray quotes cost a line each", in: head + "A,2024-01-15,1,\"x\nB,2024-01-16,2,\nA,2024-01-15,\"1,x\nB,2024-01-16,2,\n",
			want: []string{
				`"CSV line 2: cell 4 goes on after its closing quote: A,2024-01-15,1,\"x"`, plain,
				`"CSV line 4: a quote is not closed: A,2024-01-15,\"1,x"`, plain,
			}, broken: 2},
		{name: "texts that mean nothing", s: Settings{Null: []string{"N/A", "-"}}, in: head + "B,2024-01-16,2,N/A\nB,2024-01-16,2,-\n", want: []string{plain, plain}},
		{name: "another delimiter", s: Settings{Delimiter: ';'}, in: "symbol;timestamp;price;note\nB;2024-01-16;2;\n", want: []string{plain}},
		{name: "no header", s: Settings{Header: []string{"symbol", "timestamp", "price", "-"}}, in: "\xef\xbb\xbfB,2024-01-16,2,x\n", want: []string{plain}},
		{name: "mapped, twice from one column, and set",
			s:    Settings{Map: map[string]string{"timestamp": "date", "price": "close", "beta": "close"}, Set: map[string]string{"volume": "007", "remark": "from x"}},
			in:   "close,date,symbol,note\n1.5,2024-01-15,A,dropped\n",
			want: []string{`{"beta":1.5,"price":1.5,"timestamp":"2024-01-15","symbol":"A","note":"from x","volume":7}`}},
		{name: "names in other letters", in: "Symbol, TIMESTAMP ,Price,Remark\nA,2024-01-15,1,x\n", want: []string{row(`"price":1,"note":"x"`)}},
		{name: "the exact name before another spelling", in: "symbol,timestamp,Price,price\nB,2024-01-16,1,2\n", want: []string{plain}},
		{name: "true and false", in: "symbol,timestamp,halted\nA,2024-01-15,true\nA,2024-01-15,True\n", want: []string{row(`"halted":true`), row(`"halted":"True"`)}},
		{name: "times that are numbers", in: "symbol,timestamp\nA,1705276800\nA,+1\n", want: []string{`{"symbol":"A","timestamp":1705276800}`, `{"symbol":"A","timestamp":"+1"}`}},
		{name: "symbols that look like numbers and nulls stay text", in: "symbol,timestamp\n0700,2024-01-15\nNaN,2024-01-15\nnull,2024-01-15\n",
			want: []string{`{"symbol":"0700","timestamp":"2024-01-15"}`, `{"symbol":"NaN","timestamp":"2024-01-15"}`, `{"symbol":"null","timestamp":"2024-01-15"}`}},
		{name: "a header alone", in: head},
		{name: "nothing", s: Settings{Format: CSV}, in: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, broken := texts(t, tt.s, tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if broken != tt.broken {
				t.Errorf("%d broken, want %d", broken, tt.broken)
			}
		})
	}
}

func TestNumbersKeepTheirValue(t *testing.T) {
	for in, want := range map[string]string{
		"1.5": "1.5", "150.250": "150.250", "123456789012345678.123456789": "123456789012345678.123456789",
		"-0": "-0", "1e5": "1e5", "1.5E+05": "1.5E+05", "-12.5e-3": "-12.5e-3",
		".89": "0.89", "-.5": "-0.5", "+1.5": "1.5", "5.": "5", "000": "0", "007.10": "7.10", " 7 ": "7", "00.": "0", "0012e3": "12e3",
		"": `""`, ".": `"."`, "-": `"-"`, "e5": `"e5"`, "1e": `"1e"`, "1e+": `"1e+"`, "1.5.2": `"1.5.2"`, "1,234": `"1,234"`, "0x10": `"0x10"`,
		"NaN": `"NaN"`, "$1": `"$1"`, "1 2": `"1 2"`, "--1": `"--1"`, "1_000": `"1_000"`,
	} {
		got := string(appendCell(nil, []byte(in), asNumber))
		if got != want || !json.Valid([]byte(got)) {
			t.Errorf("number cell %q = %s, want %s", in, got, want)
		}
		if got[0] != '"' && got != in && jsonNumber([]byte(in)) {
			t.Errorf("number cell %q is JSON, and became %s", in, got)
		}
	}
}

// Any cells, written by the rules, come back as they were.
func TestCellsComeBack(t *testing.T) {
	def := definition(t)
	names := []string{"symbol", "timestamp", "note"}
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringOfN(rapid.RuneFrom([]rune("ab,\"\n\r ;é\\\t0")), 0, 12, -1)
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, 3, 3), 1, 8).Draw(t, "rows")
		var in strings.Builder
		for _, row := range rows {
			for i, c := range row {
				fmt.Fprintf(&in, `%s"%s"`, strings.Repeat(",", min(i, 1)), strings.ReplaceAll(c, `"`, `""`))
			}
			in.WriteByte('\n')
		}
		s, err := Settings{Definition: def}.complete()
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.mapping(names)
		if err != nil {
			t.Fatal(err)
		}
		r := &csv{lines: newLines(strings.NewReader(in.String())), delimiter: ',', mapping: m}
		for i, row := range rows {
			got, rec, err := r.next(nil)
			if err != nil || rec.broken != "" {
				t.Fatalf("record %d of %q: %v %s", i, in.String(), err, rec.broken)
			}
			var values map[string]string
			_ = json.Unmarshal(got, &values) // a number for the time is no string: not drawn below
			for k, name := range names {
				if name != "timestamp" && values[name] != row[k] {
					t.Fatalf("record %d of %q: %s = %q, want %q", i, in.String(), name, values[name], row[k])
				}
			}
		}
	})
}

// Whatever the bytes are, every line that is not empty is in a record, and the
// decoder sees as many records as were made.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("A,2024-01-15,1\n\"x\n\xff,\"\",\r\n\r\n\"a\"\"b\nc\",2024-01-15,2\n"))
	def := definition(f)
	s, err := Settings{Definition: def, Delimiter: ','}.complete()
	if err != nil {
		f.Fatal(err)
	}
	m, err := s.mapping([]string{"symbol", "timestamp", "price"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c := cutter{records: &csv{lines: newLines(strings.NewReader(string(in))), delimiter: ',', mapping: m}, rows: 4, bytes: 200}
		sees(t, def, &c)
	})
}

func FuzzNDJSON(f *testing.F) {
	f.Add([]byte("{\"symbol\":\"A\",\"timestamp\":1}\n\xef\xbb\xbf{}\n[1]\n\n \t\r\nnull\n\"\x0b"))
	def := definition(f)
	s, err := Settings{Definition: def, Map: map[string]string{"price": "close"}, Set: map[string]string{"note": "x"}}.complete()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, names := range []*renaming{nil, s.renaming()} {
			c := cutter{records: &ndjson{lines: newLines(strings.NewReader(string(in))), names: names}, rows: 4, bytes: 200}
			sees(t, def, &c)
		}
	})
}

// sees checks that the decoder finds the records that the cutter made.
func sees(t *testing.T, def *schema.Definition, c *cutter) {
	t.Helper()
	decoder, rows := def.NewDecoder(schema.Standard), schema.NewColumns(def)
	for {
		b, err := c.next()
		if err != nil {
			return
		}
		rows.Reset()
		rejected := decoder.Decode(&schema.Message{ID: "1", Data: b.data, Attributes: map[string]string{"content_type": "application/x-ndjson"}}, rows)
		if rows.Len()+len(rejected) != len(b.lines) {
			t.Fatalf("%d records made, %d seen in %q", len(b.lines), rows.Len()+len(rejected), b.data)
		}
	}
}
