package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// everything has a column of every kind.
const everything = `{
  "type": "record", "name": "everything", "doc": "",
  "bb.version": "1.0.0", "bb.topic": "everything", "bb.category": "thing", "bb.symbol": "s", "bb.event_time": "t",
  "fields": [
    {"name": "s", "type": "string"},
    {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "str", "type": ["null", "string"], "default": null},
    {"name": "bin", "type": ["null", "bytes"], "default": null},
    {"name": "bool", "type": ["null", "boolean"], "default": null},
    {"name": "i32", "type": ["null", "int"], "default": null},
    {"name": "i64", "type": ["null", "long"], "default": null},
    {"name": "f64", "type": ["null", "double"], "default": null},
    {"name": "dec", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}], "default": null},
    {"name": "date", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null}
  ]
}`

func parse(t testing.TB, text string) *Definition {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// drawRow sets a row of arbitrary values, some null, and says how it ends.
func drawRow(t *rapid.T, c *Columns) {
	words := rapid.SampledFrom([]string{"", "a", "b", "AAPL", "a longer word than the others", "é"})
	c.Begin()
	c.SetString(0, []byte(words.Draw(t, "s")))
	c.SetTimestamp(1, rapid.Int64Range(-1e15, 2e15).Draw(t, "t"))
	if rapid.Bool().Draw(t, "str?") {
		c.SetString(2, []byte(words.Draw(t, "str")))
	}
	if rapid.Bool().Draw(t, "bin?") {
		c.SetBinary(3, []byte("dropped"))
		c.SetBinary(3, []byte(words.Draw(t, "bin")))
	}
	if rapid.Bool().Draw(t, "bool?") {
		c.SetBool(4, rapid.Bool().Draw(t, "bool"))
	}
	if rapid.Bool().Draw(t, "numbers?") {
		c.SetInt32(5, rapid.Int32().Draw(t, "i32"))
		c.SetInt64(6, rapid.Int64().Draw(t, "i64"))
		c.SetFloat64(7, rapid.Float64().Draw(t, "f64"))
	}
	if rapid.Bool().Draw(t, "dec?") {
		c.SetDecimal(8, rapid.Int64Range(-9999999999, 9999999999).Draw(t, "dec"))
		c.SetDate(9, rapid.Int32Range(-100000, 100000).Draw(t, "date"))
	}
	if rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
		c.Rollback()
		return
	}
	c.Commit()
}

// Appending ranges gives the rows themselves, whatever came before in either.
func TestAppendCopiesRows(t *testing.T) {
	def := parse(t, everything)
	rapid.Check(t, func(t *rapid.T) {
		src, dst := NewColumns(def), NewColumns(def)
		var want strings.Builder
		for round := range rapid.IntRange(1, 4).Draw(t, "rounds") {
			if rapid.Bool().Draw(t, "reset") {
				src.Reset()
			}
			for range rapid.IntRange(0, 40).Draw(t, "rows") {
				drawRow(t, src)
			}
			all := strings.SplitAfter(show(src.Record()), "\n")
			from := rapid.IntRange(0, src.Len()).Draw(t, "from")
			to := rapid.IntRange(from, src.Len()).Draw(t, "to")
			switch rapid.SampledFrom([]string{"range", "one by one", "picked", "picked and packed"}).Draw(t, "how") {
			case "range":
				dst.Append(src, from, to)
				want.WriteString(strings.Join(all[from:to], ""))
			case "one by one":
				for row := from; row < to; row++ {
					dst.Append(src, row, row+1)
				}
				want.WriteString(strings.Join(all[from:to], ""))
			case "picked":
				picked := drawRows(t, from, to)
				dst.AppendRows(src, picked)
				for _, row := range picked {
					want.WriteString(all[row])
				}
			default:
				picked := drawRows(t, from, to)
				dst.Unpack(src.AppendPackedRows(nil, picked), len(picked))
				for _, row := range picked {
					want.WriteString(all[row])
				}
			}
			if got := show(dst.Record()); got != want.String() {
				t.Fatalf("round %d: rows\n%swant\n%s", round, got, want.String())
			}
		}
	})
}

// drawRows draws some of the rows [from, to).
func drawRows(t *rapid.T, from, to int) (rows []int32) {
	for row := from; row < to; row++ {
		if rapid.Bool().Draw(t, "row") {
			rows = append(rows, int32(row))
		}
	}
	return rows
}

// Decoding straight and by way of Append gives the same record, to the byte of
// every buffer that Arrow compares.
func TestAppendEqualsDecoding(t *testing.T) {
	def := definition(t, "options_data")
	dec := def.NewDecoder(Standard)
	rapid.Check(t, func(t *rapid.T) {
		direct, scratch, appended := NewColumns(def), NewColumns(def), NewColumns(def)
		for range rapid.IntRange(1, 8).Draw(t, "messages") {
			var lines []string
			for range rapid.IntRange(1, 6).Draw(t, "records") {
				lines = append(lines, record("options_data",
					fmt.Sprintf(`underlying_symbol="%s"`, rapid.SampledFrom([]string{"SPY", "QQQ", "IWM", "^VIX"}).Draw(t, "symbol")),
					fmt.Sprintf("bid=%s", rapid.SampledFrom([]string{"1.5", "null", "", "NaN", "x", "0.1"}).Draw(t, "bid")),
					fmt.Sprintf("delta=%s", rapid.SampledFrom([]string{"0.5", "null", "2"}).Draw(t, "delta")),
				))
			}
			m := message(strings.Join(lines, "\n"))
			m.ID = rapid.StringMatching("[a-c]").Draw(t, "id")
			dec.Decode(m, direct)
			scratch.Reset()
			dec.Decode(m, scratch)
			if rapid.Bool().Draw(t, "in two parts") {
				at := rapid.IntRange(0, scratch.Len()).Draw(t, "at")
				appended.Append(scratch, 0, at)
				appended.Append(scratch, at, scratch.Len())
			} else {
				appended.Append(scratch, 0, scratch.Len())
			}
		}
		a, b := direct.Record(), appended.Record()
		if !array.RecordEqual(a, b) || show(a) != show(b) {
			t.Fatalf("direct\n%sappended\n%s", show(a), show(b))
		}
		for row := range direct.Len() {
			if direct.Symbol(row) != appended.Symbol(row) || direct.Day(row) != appended.Day(row) || direct.EventMicros(row) != appended.EventMicros(row) {
				t.Fatalf("row %d differs in symbol or event time", row)
			}
		}
	})
}

// A row rolled back leaves nothing in the record, the dictionaries included.
func TestRollbackLeavesNothing(t *testing.T) {
	def := parse(t, everything)
	c := NewColumns(def)
	row := func(s string, commit bool) {
		c.Begin()
		c.SetString(0, []byte(s))
		c.SetString(2, []byte(s))
		c.SetTimestamp(1, 1)
		if commit {
			c.Commit()
		} else {
			c.Rollback()
		}
	}
	row("a", true)
	row("gone", false)
	row("b", true)
	row("a", true)
	for i := range 100 { // past several rehashes
		row(fmt.Sprintf("gone %d", i), false)
		row(fmt.Sprintf("kept %d", i), true)
	}
	rec := c.Record()
	dict := rec.Column(0).(*array.Dictionary).Dictionary().(*array.String)
	if got, want := dict.Len(), 102; got != want {
		t.Errorf("%d entries, want %d", got, want)
	}
	for i := range dict.Len() {
		if strings.HasPrefix(dict.Value(i), "gone") {
			t.Errorf("entry %d is %q", i, dict.Value(i))
		}
	}
	if got := c.Symbol(2); got != "a" {
		t.Errorf("symbol of row 2 = %q", got)
	}
}

func TestResetForgetsRows(t *testing.T) {
	def := definition(t, "market_data")
	dec, c, fresh := def.NewDecoder(Standard), NewColumns(def), NewColumns(def)
	var lines []string
	for i := range 300 {
		lines = append(lines, record("market_data", fmt.Sprintf(`symbol="S%d"`, i)))
	}
	dec.Decode(message(strings.Join(lines, "\n")), c)
	held := c.Bytes()
	c.Reset()
	if c.Len() != 0 || c.Bytes() != held {
		t.Errorf("after Reset: %d rows, %d bytes; want none and %d", c.Len(), c.Bytes(), held)
	}
	small := message(record("market_data", "volume=1"))
	dec.Decode(small, c)
	dec.Decode(small, fresh)
	if diff := cmp.Diff(show(fresh.Record()), show(c.Record())); diff != "" {
		t.Errorf("(-fresh +used):\n%s", diff)
	}
}

// Bytes is kept up as buffers grow; it must agree with counting them.
func TestBytesAgreesWithBuffers(t *testing.T) {
	def := parse(t, everything)
	rapid.Check(t, func(t *rapid.T) {
		c, other := NewColumns(def), NewColumns(def)
		empty := c.Bytes()
		for range rapid.IntRange(0, 100).Draw(t, "rows") {
			drawRow(t, c)
		}
		other.Append(c, 0, c.Len())
		for _, c := range []*Columns{c, other} {
			want := empty
			for i := range c.cols {
				want += int64(c.cols[i].width() + c.cols[i].dict.held() + cap(c.cols[i].data))
			}
			if c.Bytes() != want {
				t.Fatalf("Bytes = %d, want %d", c.Bytes(), want)
			}
		}
	})
}

func TestEmptyColumns(t *testing.T) {
	for _, dataType := range []string{"market_data", "options_data", "forecasts", "dead_letters"} {
		c := NewColumns(definition(t, dataType))
		if rec := c.Record(); rec.NumRows() != 0 || rec.NumCols() != int64(len(c.Definition().Fields)) {
			t.Errorf("%s: %d rows, %d columns", dataType, rec.NumRows(), rec.NumCols())
		}
		if c.Bytes() > 16<<10 {
			t.Errorf("%s: empty columns hold %d bytes", dataType, c.Bytes())
		}
	}
}

// More fields than bits in a word.
func TestWideDefinition(t *testing.T) {
	var fields []string
	values := []string{`"s":"A"`, `"t":"2024-01-15T00:00:00Z"`}
	for i := range 150 {
		fields = append(fields, fmt.Sprintf(`{"name": "g%d", "type": ["null", "long"], "default": null}`, i))
		if i%3 == 0 {
			values = append(values, fmt.Sprintf(`"g%d":%d`, i, i))
		}
	}
	fields = append(fields, `{"name": "last", "type": "long"}`)
	text := strings.Replace(everything, `{"name": "str",`, strings.Join(fields, ",\n")+`,{"name": "str",`, 1)
	def := parse(t, text)
	rows := NewColumns(def)
	dec := def.NewDecoder(Standard)
	if rejected := dec.Decode(message("{"+strings.Join(values, ",")+"}"), rows); len(rejected) != 1 || rejected[0].Field != "last" {
		t.Errorf("without the last field: %+v", verdicts(rejected))
	}
	values = append(values, `"last":7`)
	if rejected := dec.Decode(message("{"+strings.Join(values, ",")+"}"), rows); len(rejected) > 0 {
		t.Fatalf("%+v", verdicts(rejected))
	}
	rec := rows.Record()
	for i := range 150 {
		want := "null"
		if i%3 == 0 {
			want = fmt.Sprint(i)
		}
		if got := cell(rec, fmt.Sprintf("g%d", i), 0); got != want {
			t.Errorf("g%d = %s, want %s", i, got, want)
		}
	}
	if got := cell(rec, "last", 0); got != "7" {
		t.Errorf("last = %s", got)
	}
}
