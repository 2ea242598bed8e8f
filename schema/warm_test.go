package schema

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/avro"
	"pgregory.net/rapid"
)

// guarded has a field for everything that a decoder remembers from one value to the
// next, and what a value that was remembered could get past.
const guarded = `{
  "type": "record", "name": "guarded", "doc": "",
  "bb.version": "1.2.3", "bb.topic": "guarded", "bb.category": "thing", "bb.symbol": "s", "bb.event_time": "t",
  "bb.rules": [
    {"name": "n_low", "when": "n <= -3", "severity": "flag", "bit": 0, "doc": ""},
    {"name": "n_high", "when": "n >= 3", "severity": "flag", "bit": 1, "doc": ""},
    {"name": "n_over_m", "when": "n > m", "severity": "flag", "bit": 2, "doc": ""},
    {"name": "n_from_m", "when": "n >= m", "severity": "flag", "bit": 3, "doc": ""},
    {"name": "k_most", "when": "k >= 9223372036854775807", "severity": "flag", "bit": 62, "doc": ""},
    {"name": "k_is", "when": "k <= 9223372036854775807", "severity": "flag", "bit": 60, "doc": ""},
    {"name": "n_least", "when": "-9223372036854775807 > n", "severity": "flag", "bit": 61, "doc": ""},
    {"name": "empty", "when": "empty(text)", "severity": "flag", "bit": 4, "doc": ""},
    {"name": "m_bad", "when": "n > 7", "severity": "reject", "doc": ""},
    {"name": "m_worse", "when": "m > 7", "severity": "reject", "doc": ""},
    {"name": "x_bad", "when": "x > 7", "severity": "reject", "doc": ""}
  ],
  "fields": [
    {"name": "s", "type": "string", "bb.identifier": true},
    {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "made", "type": {"type": "long", "logicalType": "timestamp-micros"}, "bb.default": ["publish_time"]},
    {"name": "on", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null},
    {"name": "short", "type": ["null", "string"], "default": null, "bb.max_length": 3, "bb.default": ["schema_version"]},
    {"name": "side", "type": ["null", "string"], "default": null, "bb.enum": ["call", "put"], "bb.spellings": {"C": "call"}},
    {"name": "text", "type": ["null", "string"], "default": null, "bb.json": true},
    {"name": "n", "type": ["null", "long"], "default": null},
    {"name": "m", "type": ["null", "long"], "default": null},
    {"name": "k", "type": ["null", "long"], "default": null},
    {"name": "x", "type": ["null", "double"], "default": null},
    {"name": "dec", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}], "default": null},
    {"name": "count", "type": ["null", "long"], "default": null, "aliases": ["total"]},
    {"name": "a_name_of_many_letters_one", "type": ["null", "long"], "default": null},
    {"name": "a_name_of_many_letters_two", "type": ["null", "long"], "default": null},
    {"name": "bin", "type": ["null", "bytes"], "default": null},
    {"name": "bool", "type": ["null", "boolean"], "default": null}
  ]
}`

// candidates are values of each field of guarded: few, so that they come again, and
// such as look like one another.
var candidates = map[string][]string{
	"s":                          {`"a"`, `"b"`, `"a\u0020"`, `"a "`, `"\u0000"`, `""`, `"a\"b"`},
	"t":                          {`"2024-01-15T14:30:52Z"`, `"2024-01-15T14:30:52.250000+00:00"`, `"2024-01-15T14:30:60Z"`, `"2024-01-14T14:30:52Z"`, `"2024-01-15T24:00:00Z"`, `"2024-01-15T14:30:52.25000x+00:00"`, `"2024-01-15T14:30:52.250000+01:00"`, `"2024-01-15T14:30:52.250000Z"`, `"2024-01-15T14:30:52+00:00"`, `"2024-01-15 14:30:52Z"`, `"2024-01-15T14:30:52Z "`},
	"made":                       {"", "null", `"2024-01-15T14:00:00.000000Z"`, `"2024-01-15"`},
	"on":                         {"", "null", `"2024-01-15"`, `"2024-01-14"`, `"2024-01-15T00:00:00Z"`, `"2024-01-15T00:00:00.000000+00:00"`, `"2024-01-15T14:30:52Z"`},
	"short":                      {"", `"v1.2.3"`, `"abc"`, `"abcd"`, "null"},
	"side":                       {"", `"call"`, `"C"`, `"c\u0061ll"`, `"cal"`, `"put"`},
	"text":                       {"", `"a"`, `"{\"a\":1}"`, `{"a":1}`, `"a\"b"`, `""`, "\"a\x01\""},
	"n":                          {"", "-3", "-2", "2", "3", "7", "8", "null", "9223372036854775807", "-9223372036854775807", "-9223372036854775808"},
	"m":                          {"", "-3", "2", "3", "7", "8"},
	"k":                          {"", "9223372036854775806", "9223372036854775807"},
	"x":                          {"", "1.5", "-1.5", "-0.0", "0", "0.0", "7.1"},
	"dec":                        {"", "1.25", "99999999.99", "100000000", "1.255", "0.00000001", "12.345000267028809", "-1.5"},
	"count":                      {"", "1", "12", "NaN"},
	"total":                      {"", "1", "12", "123", "NaN"},
	"a_name_of_many_letters_one": {"", "1", "2"},
	"a_name_of_many_letters_two": {"", "1", "2"},
	"bin":                        {"", `"AAE="`, "null"},
	"bool":                       {"", "true", "null"},
}

func drawRecord(t *rapid.T) string {
	var parts []string
	colon := rapid.SampledFrom([]string{":", ": ", ": ", " : "}).Draw(t, "colon")
	for _, name := range slices.Sorted(maps.Keys(candidates)) {
		all := candidates[name]
		v := all[0]
		if rapid.IntRange(0, 3).Draw(t, "other "+name) == 0 {
			v = rapid.SampledFrom(all).Draw(t, name)
		}
		if v != "" {
			parts = append(parts, fmt.Sprintf(`%q%s%s`, name, colon, v))
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "shuffled") == 0 {
		parts = rapid.Permutation(parts).Draw(t, "order")
	}
	return "{" + strings.Join(parts, rapid.SampledFrom([]string{",", ", ", ", ", ",  ", " , "}).Draw(t, "comma")) + "}"
}

// What a decoder met before, and what its columns hold, changes no verdict and no
// value: messages decoded one after the other give what each gives by itself.
func TestWhatCameBeforeChangesNothing(t *testing.T) {
	def := parse(t, guarded)
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.SampledFrom([]Level{Strict, Standard, Lenient}).Draw(t, "level")
		dec, rows := def.NewDecoder(level), NewColumns(def)
		var packed []byte
		for range rapid.IntRange(1, 12).Draw(t, "messages") {
			m := message(drawRecord(t))
			m.Attributes = rapid.SampledFrom([]map[string]string{nil, nil, {"content_type": "application/json"}, {"event_id": "e"}, {"content_type": "text/x"}}).Draw(t, "attributes")
			before := rows.Len()
			got := told(dec.Decode(m, rows))
			alone := NewColumns(def)
			if want := told(def.NewDecoder(level).Decode(m, alone)); got != want {
				t.Fatalf("%s\n%s\nby itself: %s", m.Data, got, want)
			}
			if rows.Len()-before != alone.Len() {
				t.Fatalf("%s: %d rows, by itself %d", m.Data, rows.Len()-before, alone.Len())
			}
			if one := alone.AppendPacked(nil, 0, alone.Len()); rapid.Bool().Draw(t, "look") {
				if diff := cmp.Diff(one, rows.AppendPacked(nil, before, rows.Len())); diff != "" {
					t.Fatalf("%s: %s", m.Data, diff)
				}
				packed = append(packed, one...)
			} else {
				packed = append(packed, one...)
			}
		}
		if diff := cmp.Diff(packed, rows.AppendPacked(nil, 0, rows.Len())); diff != "" {
			t.Fatal(diff)
		}
		zeroUnderNulls(t, rows)
	})
}

// told is what a message was told, in words.
func told(rejected []Rejection) string {
	var b strings.Builder
	for _, r := range rejected {
		fmt.Fprintf(&b, "%s %s at %d: %s\n", r.Reason, r.Field, r.Offset, r.Explanation)
	}
	return b.String()
}

// zeroUnderNulls sees that no null hides a value.
func zeroUnderNulls(t *rapid.T, c *Columns) {
	for i := range c.cols {
		col, nulls := &c.cols[i], 0
		for row := range c.n {
			if !col.isNull(row) {
				continue
			}
			nulls++
			if len(col.i32) > 0 && col.i32[row] != 0 || len(col.i64) > 0 && col.i64[row] != 0 || len(col.f64) > 0 && col.f64[row] != 0 ||
				len(col.dec) > 0 && col.dec[row].LowBits() != 0 || len(col.bits) > 0 && col.bits[row/8]>>(row%8)&1 != 0 || len(col.ends) > 0 && col.ends[row] != col.ends[row+1] {
				t.Fatalf("column %d row %d is null, with a value under it", i, row)
			}
		}
		if nulls != col.nulls {
			t.Fatalf("column %d has %d nulls, and says %d", i, nulls, col.nulls)
		}
		for bit := c.n; bit < 8*len(col.valid); bit++ {
			if col.valid[bit/8]>>(bit%8)&1 == 0 {
				t.Fatalf("column %d: bit %d, past the last row, is no one", i, bit)
			}
		}
	}
}

// Ten escaped zero bytes are no date, to a decoder that has met none either.
func TestFirstDateIsNone(t *testing.T) {
	def := definition(t, "market_data")
	at := `timestamp="` + strings.Repeat(`\u0000`, 10) + `T14:30:52Z"`
	rejected := def.NewDecoder(Standard).Decode(message(record("market_data", at)), NewColumns(def))
	if len(rejected) != 1 || rejected[0].Reason != BadTimestamp {
		t.Fatalf("rejected %+v", rejected)
	}
}

// What a value could be mistaken for, of which the decoder remembers it.
func TestRememberedValuesAreNoExcuse(t *testing.T) {
	def := parse(t, guarded)
	for _, tt := range []struct{ name, first, then string }{
		{"a default that is too long", `"x":1`, `"short":"v1.2.3"`},
		{"a quote that was escaped", `"text":"a\"b"`, `"text":"a"b"`},
		{"a control character that was escaped", `"text":"a\u0001"`, "\"text\":\"a\x01\""},
		{"the beginning of a string", `"short":"ab"`, `"short":"abcd"`},
		{"another separator", `"made":"2024-01-15T14:30:52Z"`, `"made":"2024-01-15X14:30:52Z"`},
		{"another zone", `"made":"2024-01-15T14:30:52+00:00"`, `"made":"2024-01-15T14:30:52+00:99"`},
		{"no digits", `"made":"2024-01-15T14:30:52.250000Z"`, `"made":"2024-01-15T14:30:52.2500:0Z"`},
		{"a number that overflows into a small one", `"dec":1`, `"dec":184467440737095517`},
		{"more after the zone", `"made":"2024-01-15T14:30:52Z"`, `"made":"2024-01-15T14:30:52ZZZZZZ"`},
		{"the same under another name", `"count":1`, `"count":12,"total":1`},
		{"a name that begins the same", `"a_name_of_many_letters_one":1`, `"a_name_of_many_letters_one":1,"a_name_of_many_letters_one":1`},
	} {
		dec, rows := def.NewDecoder(Standard), NewColumns(def)
		for range 3 {
			if rejected := dec.Decode(message(`{"s":"a","t":"2024-01-15T14:30:52Z",`+tt.first+`,"bool":true,"n":1,"side":"call"}`), rows); len(rejected) > 0 {
				t.Fatalf("%s: %s", tt.name, rejected[0].Explanation)
			}
		}
		if rejected := dec.Decode(message(`{"s":"a","t":"2024-01-15T14:30:52Z",`+tt.then+`,"bool":true,"n":1,"side":"call"}`), rows); len(rejected) != 1 {
			t.Errorf("%s: %s was accepted after %s", tt.name, tt.then, tt.first)
		}
	}
}

// The same of Avro, whose strings have no checks of their own.
func TestRememberedAvroStringsAreNoExcuse(t *testing.T) {
	def := parse(t, guarded)
	writer, dec, rows := avro.MustParse(def.Avro()), def.NewDecoder(Standard), NewColumns(def)
	for _, short := range []any{nil, "v1.2.3"} {
		values := map[string]any{"s": "a", "t": published, "made": published}
		for _, name := range []string{"on", "side", "text", "n", "m", "k", "x", "dec", "bin", "bool", "count", "a_name_of_many_letters_one", "a_name_of_many_letters_two"} {
			values[name] = nil
		}
		values["short"] = short
		binary, err := writer.Encode(values)
		if err != nil {
			t.Fatal(err)
		}
		m := attributed(binary, "content_type", "avro/binary")
		if short == nil { // what is absent has its default, and null is not absent
			m = message(`{"s":"a","t":"2024-01-15T14:30:52Z"}`)
		}
		rejected := dec.Decode(m, rows)
		if short == nil && len(rejected) > 0 || short != nil && (len(rejected) != 1 || rejected[0].Reason != TooLong) {
			t.Fatalf("short=%v: %+v", short, rejected)
		}
	}
}

// Nulls that Commit has left for later are there for whoever looks.
func TestNullsAreThereForWhoeverLooks(t *testing.T) {
	def := parse(t, everything)
	row := func(c *Columns, whole bool) {
		c.Begin()
		c.SetString(0, []byte("s"))
		c.SetTimestamp(1, 1)
		if whole {
			c.SetBool(4, true)
			c.SetInt64(6, 6)
			c.SetBinary(3, []byte("b"))
		}
		c.Commit()
	}
	fill := func(rows string) *Columns {
		c := NewColumns(def)
		for range 2 { // into buffers that held other rows
			c.Reset()
			for i := range 40 {
				row(c, i%2 == 0)
			}
		}
		c.Reset()
		for _, r := range rows {
			row(c, r == '1')
		}
		return c
	}
	const rows = "1110000000000000000000011010000000000"
	for from := 0; from < len(rows); from++ {
		dst, src := fill(rows[:from]), fill(rows[from:])
		dst.Append(src, 0, src.Len())
		for name, c := range map[string]*Columns{"appended": dst, "whole": fill(rows)} {
			rec := c.Record()
			for i, r := range rows {
				if got := rec.Column(6).IsNull(i); got != (r == '0') {
					t.Fatalf("%s from %d: row %d null: %v", name, from, i, got)
				}
			}
			if got := rec.Column(6).NullN(); got != strings.Count(rows, "0") {
				t.Fatalf("%s from %d: %d nulls", name, from, got)
			}
			rapid.Check(t, func(t *rapid.T) { zeroUnderNulls(t, c) })
		}
	}
}

func TestSymbolOfARowWithoutOne(t *testing.T) {
	c := NewColumns(parse(t, everything))
	c.Begin()
	c.SetString(0, []byte("AAPL"))
	c.Commit()
	c.Begin()
	c.Commit()
	if got := []string{c.Symbol(0), c.Symbol(1)}; got[0] != "AAPL" || got[1] != "" {
		t.Errorf("symbols %q", got)
	}
}

func TestClearBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, 40).Draw(t, "from")
		to := rapid.IntRange(from, 48).Draw(t, "to")
		b := []byte{255, 255, 255, 255, 255, 255}
		clearBits(b, from, to)
		for i := range 48 {
			if got := b[i/8]>>(i%8)&1 == 0; got != (i >= from && i < to) {
				t.Fatalf("[%d, %d): bit %d cleared: %v", from, to, i, got)
			}
		}
	})
}

// Rules on fields past the sixty-fourth are no different.
func TestRulesOnLateFields(t *testing.T) {
	var fields strings.Builder
	for i := range 70 {
		fmt.Fprintf(&fields, `, {"name": "f%d", "type": ["null", "long"], "default": null}`, i)
	}
	def := parse(t, `{"type": "record", "name": "late", "doc": "", "bb.version": "1.0.0", "bb.topic": "late", "bb.category": "thing", "bb.symbol": "s", "bb.event_time": "t",
	  "bb.rules": [{"name": "late", "when": "f69 < 1", "severity": "reject", "doc": ""}, {"name": "low", "when": "f69 < 2", "severity": "flag", "bit": 0, "doc": ""}],
	  "fields": [{"name": "s", "type": "string"}, {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}}`+fields.String()+`]}`)
	dec, rows := def.NewDecoder(Standard), NewColumns(def)
	for _, tt := range []struct {
		value, flags string
		want         int
	}{{"0", "", 1}, {"null", "", 0}, {"1", "low", 0}, {"null", "", 0}, {"2", "", 0}} {
		rows.Reset()
		if rejected := dec.Decode(message(`{"s":"a","t":"2024-01-15T14:30:52Z","f69":`+tt.value+`}`), rows); len(rejected) != tt.want {
			t.Errorf("f69 = %s: %+v", tt.value, rejected)
		} else if got := def.FlagNames(rows.cols[def.Own+sysFlags].i64[0]); tt.want == 0 && strings.Join(got, " ") != tt.flags {
			t.Errorf("f69 = %s: flags %q", tt.value, got)
		}
	}
}

// A rule holds up to its number and no further, on either side of the sign, and for a null
// never; the first that rejects is the one to blame.
func TestRulesAtTheirLimits(t *testing.T) {
	def := parse(t, guarded)
	dec := def.NewDecoder(Standard)
	for _, tt := range []struct{ n, m, x, k, want string }{
		{"-3", "null", "null", "null", "n_low"},
		{"-2", "null", "null", "null", ""},
		{"2", "null", "null", "null", ""},
		{"3", "null", "null", "null", "n_high"},
		{"3", "2", "null", "null", "n_high n_over_m n_from_m"},
		{"3", "3", "null", "null", "n_high n_from_m"},
		{"2", "3", "null", "null", ""},
		{"null", "-3", "null", "null", ""},
		{"7", "7", "7", "null", "n_high n_from_m"},
		{"8", "8", "8", "null", "m_bad"},
		{"null", "8", "8", "null", "m_worse"},
		{"null", "null", "7.1", "null", "x_bad"},
		{"-9223372036854775808", "null", "null", "null", "n_low n_least"},
		{"-9223372036854775807", "null", "null", "null", "n_low"},
		{"9223372036854775807", "null", "null", "null", "m_bad"},
		{"null", "null", "null", "9223372036854775806", "k_is"},
		{"null", "null", "null", "9223372036854775807", "k_is k_most"},
	} {
		rows := NewColumns(def) // the decoder is the one before: it has its values still
		text := fmt.Sprintf(`{"s":"a","t":"2024-01-15T14:30:52Z","text":"x","short":"x","n":%s,"m":%s,"x":%s,"k":%s}`, tt.n, tt.m, tt.x, tt.k)
		rejected := dec.Decode(message(text), rows)
		got := ""
		if len(rejected) > 0 {
			for _, r := range def.Rules {
				if strings.Contains(rejected[0].Explanation, r.Name+" (") {
					got = r.Name
				}
			}
		} else {
			got = strings.Join(def.FlagNames(rows.cols[def.Own+sysFlags].i64[0]), " ")
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q (%+v)", text, got, tt.want, rejected)
		}
	}
}

// Any bit of a record that is wrong is met as by a decoder that never saw one like it:
// what has been learned is a guess, which a name or a comma that is nearly right must
// not pass.
func TestEveryWrongBitIsMet(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	for _, tt := range []struct {
		dataType string
		text     string
	}{
		{"market_data", marketRecord(dice, 1)},
		{"market_data", strings.ReplaceAll(strings.ReplaceAll(marketRecord(dice, 2), ", ", ","), ": ", ":")},
		{"options_data", optionRecord(dice, 3)},
	} {
		def := definition(t, tt.dataType)
		for _, level := range []Level{Strict, Standard, Lenient} {
			warm, rows := def.NewDecoder(level), NewColumns(def)
			for bit := range 8 * len(tt.text) {
				if rejected := warm.Decode(message(tt.text), rows); len(rejected) > 0 && level != Strict {
					t.Fatal(rejected[0].Explanation)
				}
				rows.Reset()
				wrong := []byte(tt.text)
				wrong[bit/8] ^= 1 << (bit % 8)
				m := message(string(wrong))
				got := told(warm.Decode(m, rows))
				alone := NewColumns(def)
				if want := told(def.NewDecoder(level).Decode(m, alone)); got != want {
					t.Fatalf("%s\n%s\nby itself: %s", m.Data, got, want)
				}
				if diff := cmp.Diff(alone.AppendPacked(nil, 0, alone.Len()), rows.AppendPacked(nil, 0, rows.Len())); diff != "" {
					t.Fatalf("%s: %s", m.Data, diff)
				}
				rows.Reset()
			}
		}
	}
}
