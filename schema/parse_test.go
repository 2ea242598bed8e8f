package schema

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// small is a definition to break in one place at a time.
const small = `{
  "type": "record", "name": "small", "bb.version": "1.0.0", "bb.topic": "small", "bb.category": "small",
  "bb.symbol": "s", "bb.event_time": "t",
  "bb.rules": [{"name": "r", "when": "n < 0", "severity": "reject"}],
  "fields": [
    {"name": "s", "type": "string"},
    {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "n", "type": ["null", "long"], "default": null}
  ]
}`

func TestParseReportsProblems(t *testing.T) {
	for _, tt := range []struct{ name, from, to, want string }{
		{"nothing", "", "", ""},
		{"no JSON", `"type": "record",`, ``, "avro schema"},
		{"a version that is none", `"1.0.0"`, `"1.0"`, `version "1.0"`},
		{"no topic", `"bb.topic": "small",`, ``, "bb.topic"},
		{"a category with an underscore", `"bb.category": "small"`, `"bb.category": "a_b"`, "bb.category"},
		{"a symbol that is no field", `"bb.symbol": "s"`, `"bb.symbol": "x"`, `bb.symbol: no field "x"`},
		{"a symbol that is no string", `"bb.symbol": "s"`, `"bb.symbol": "t"`, "bb.symbol: field t is of the wrong type"},
		{"an event time that may be null", `"bb.event_time": "t"`, `"bb.event_time": "n"`, "bb.event_time"},
		{"a natural key", `"bb.symbol"`, `"bb.natural_key": ["s", "t"], "bb.symbol"`, ""},
		{"a natural key of nothing", `"bb.symbol"`, `"bb.natural_key": [], "bb.symbol"`, "bb.natural_key: the event time, t, must be part of it"},
		{"a natural key without the event time", `"bb.symbol"`, `"bb.natural_key": ["s"], "bb.symbol"`, "the event time, t, must be part of it: rows of one key lie in one partition"},
		{"a natural key without the symbol", `"bb.symbol"`, `"bb.natural_key": ["t"], "bb.symbol"`, "the symbol, s, must be part of it"},
		{"a natural key of what may be null", `"bb.symbol"`, `"bb.natural_key": ["s", "t", "n"], "bb.symbol"`, "field n must not be nullable"},
		{"a natural key of no field", `"bb.symbol"`, `"bb.natural_key": ["s", "t", "x"], "bb.symbol"`, `no field "x"`},
		{"a natural key of a system column", `"bb.symbol"`, `"bb.natural_key": ["s", "t", "_id"], "bb.symbol"`, `no field "_id"`},
		{"a natural key of one field twice", `"bb.symbol"`, `"bb.natural_key": ["s", "t", "s"], "bb.symbol"`, "field s is named twice"},
		{"a natural key of a float", `"bb.rules": [{"name": "r", "when": "n < 0", "severity": "reject"}],
  "fields": [`, `"bb.natural_key": ["s", "t", "f"], "fields": [{"name": "n", "type": "double"}, {"name": "f", "type": "double"}],
  "bb.none": [`, "field f is of the wrong type"},
		{"a misspelt property", `"bb.symbol"`, `"bb.ticker": "s", "bb.symbol"`, "no property bb.ticker"},
		{"a misspelt property of a field", `{"name": "s",`, `{"name": "s", "bb.maxlength": 3,`, "field s: no property bb.maxlength"},
		{"an unsupported type", `["null", "long"]`, `["null", "float"]`, "not supported"},
		{"a union of two", `["null", "long"], "default": null`, `["long", "string"]`, "not supported"},
		{"a decimal too wide", `["null", "long"]`, `["null", {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 2}]`, "precision of 1 to 18"},
		{"a name of the system", `"name": "n"`, `"name": "_n"`, "the system's"},
		{"a partition column", `"name": "n"`, `"name": "day"`, "partition column"},
		{"an alias of two", `{"name": "n",`, `{"name": "n", "aliases": ["s"],`, `alias "s"`},
		{"an enumeration of numbers", `{"name": "n",`, `{"name": "n", "bb.enum": ["1"],`, "are for strings"},
		{"a spelling of nothing", `{"name": "s",`, `{"name": "s", "bb.enum": ["a"], "bb.spellings": {"A": "b"},`, "not in the enumeration"},
		{"a default for another type", `{"name": "n",`, `{"name": "n", "bb.default": ["publish_time"],`, "not for this type"},
		{"a window that is none", `"bb.symbol"`, `"bb.window": {"from": "then"}, "bb.symbol"`, "bb.window"},
		{"a severity that is none", `"reject"`, `"warn"`, "neither reject nor flag"},
		{"a flag without a bit", `"reject"`, `"flag"`, "needs a bit"},
		{"a bit out of range", `"reject"`, `"flag", "bit": 63`, "needs a bit"},
		{"a bit twice", `[{"name": "r"`, `[{"name": "a", "when": "n < 1", "severity": "flag", "bit": 3}, {"name": "b", "when": "n < 2", "severity": "flag", "bit": 3}, {"name": "r"`, "bit 3 is rule a's"},
		{"a rule twice", `[{"name": "r"`, `[{"name": "r", "when": "n < 1", "severity": "reject"}, {"name": "r"`, `rule "r"`},
		{"a rule about nothing", `n < 0`, `x < 0`, `no field "x"`},
		{"a rule that is none", `n < 0`, `n = 0`, `"n = 0" is not a test`},
		{"a rule with an inexact number", `n < 0`, `n < 0.5`, "not exact"},
		{"a rule that compares a string", `n < 0`, `s < 0`, "no order"},
		{"a rule that mixes types", `n < 0`, `n < t`, "cannot be compared"},
		{"a rule about two numbers", `n < 0`, `1 < 0`, "both numbers"},
		{"a rule about a time as a number", `n < 0`, `t < 0`, "compared with a number"},
		{"a rule with an absolute integer", `n < 0`, `abs(n) < 0`, "wrong type"},
		{"a rule with odd days", `n < 0`, `t > published + 1h`, "want published + 1d"},
		{"an event that rejects", `n < 0`, `leap_second`, "can only flag"},
		{"a predicate of a number", `n < 0`, `empty(n)`, "wrong type"},
		{"a predicate of too many", `n < 0`, `empty(s, s)`, "want 1 fields"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(strings.Replace(small, tt.from, tt.to, 1)))
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestParseReportsAllProblemsAtOnce(t *testing.T) {
	text := strings.NewReplacer(`"1.0.0"`, `"x"`, `"bb.symbol": "s"`, `"bb.symbol": "y"`, "n < 0", "z < 0").Replace(small)
	_, err := Parse([]byte(text))
	for _, want := range []string{`"x"`, `"y"`, `"z"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestLiteralDefaults(t *testing.T) {
	def := parse(t, strings.Replace(small, `{"name": "n",`, `{"name": "word", "type": "string", "default": "w"}, {"name": "f", "type": ["double", "null"], "default": 1.5}, {"name": "b", "type": "boolean", "default": true}, {"name": "i", "type": "int", "default": -3}, {"name": "n",`, 1))
	rows := NewColumns(def)
	dec := def.NewDecoder(Standard)
	for _, data := range []string{
		`{"s":"A","t":"2024-01-15T00:00:00Z"}`,
		`{"s":"A","t":"2024-01-15T00:00:00Z","f":null,"b":null}`,
		`{"s":"A","t":"2024-01-15T00:00:00Z","word":"x","f":2,"b":false,"i":4}`,
	} {
		if rejected := dec.Decode(message(data), rows); len(rejected) > 0 {
			t.Fatal(rejected[0].Explanation)
		}
	}
	rec := rows.Record()
	for row, want := range []map[string]string{
		{"word": "w", "f": "1.5", "b": "true", "i": "-3"},
		{"word": "w", "f": "null", "b": "true", "i": "-3"},
		{"word": "x", "f": "2", "b": "false", "i": "4"},
	} {
		for field, v := range want {
			if got := cell(rec, field, row); got != v {
				t.Errorf("row %d: %s = %s, want %s", row, field, got, v)
			}
		}
	}
}

func TestBuiltin(t *testing.T) {
	r, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][3]string{ // version, topic, category
		"market_data":  {"v1.2.0", "market-data", "market"},
		"options_data": {"v1.1.0", "options-data", "options"},
		"forecasts":    {"v2.1.0", "forecasts", "forecast"},
		"dead_letters": {"v1.1.0", "dead-letters", "dead-letter"},
	}
	got := map[string][3]string{}
	for _, name := range r.Types() {
		d, ok := r.Latest(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		got[name] = [3]string{d.Version.String(), d.Topic, d.Category}
		if other, ok := r.ForTopic("projects/p/topics/" + d.Topic); !ok || other != d {
			t.Errorf("topic %s does not lead to %s", d.Topic, name)
		}
		if other, ok := r.Lookup(name, d.Version); !ok || other != d {
			t.Errorf("%s %s is not found", name, d.Version)
		}
		if d.Fields[d.SymbolField].Kind != String || d.Own+len(systemFields) != len(d.Fields) || d.Field(ColFlags) != d.Own+sysFlags {
			t.Errorf("%s: symbol %d, own %d of %d", name, d.SymbolField, d.Own, len(d.Fields))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d, _ := r.Latest("market_data")
	if d.Field("source") != d.Field("data_source") || d.Field("nothing") != -1 {
		t.Error("aliases do not lead to their fields")
	}
	for _, missing := range []string{"", "nothing"} {
		if _, ok := r.Latest(missing); ok {
			t.Errorf("there is a %q", missing)
		}
		if _, ok := r.ForTopic(missing); ok {
			t.Errorf("there is a topic %q", missing)
		}
	}
}

// The newest version is the newest number, not the greatest string.
func TestLatestComparesNumbers(t *testing.T) {
	version := func(v string) *Definition { return parse(t, strings.Replace(small, "1.0.0", v, 1)) }
	r, err := NewRegistry(version("1.2.0"), version("1.10.0"), version("1.9.0"))
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := r.Latest("small"); d.Version.String() != "v1.10.0" {
		t.Errorf("latest = %s", d.Version)
	}
	if _, err := NewRegistry(version("1.2.0"), version("1.2.0")); err == nil {
		t.Error("one version twice is no error")
	}
	other := parse(t, strings.Replace(small, `"name": "small"`, `"name": "other"`, 1))
	if _, err := NewRegistry(version("1.2.0"), other); err == nil {
		t.Error("one topic for two data types is no error")
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	_, err := Load(fstest.MapFS{
		"small/v2.0.0.avsc": {Data: []byte(small)},
		"bad/v1.0.0.avsc":   {Data: []byte("{")},
	})
	for _, want := range []string{"bad/v1.0.0.avsc", "small/v2.0.0.avsc: it says it is small/v1.0.0.avsc"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"v1.2.0", "v1.2.0"}, {"1.2.0", "v1.2.0"}, {"v10.0.11", "v10.0.11"},
		{"", ""}, {"v1", ""}, {"1.2", ""}, {"1.2.3.4", ""}, {"1.2.x", ""}, {"1.-2.0", ""}, {"1.02.0", ""}, {"1..0", ""}, {"vv1.2.0", ""}, {"1.2.99999999999", ""},
	} {
		v, err := ParseVersion(tt.in)
		got := ""
		if err == nil {
			got = v.String()
		}
		if got != tt.want {
			t.Errorf("ParseVersion(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	if (Version{1, 10, 0}).Compare(Version{1, 2, 0}) != 1 || (Version{1, 2, 0}).Compare(Version{2, 0, 0}) != -1 || (Version{1, 2, 3}).Compare(Version{1, 2, 3}) != 0 {
		t.Error("versions are not compared as numbers")
	}
}

func TestDeltaSchemaString(t *testing.T) {
	want := `{"type":"struct","fields":[` +
		`{"name":"s","type":"string","nullable":true,"metadata":{}},{"name":"t","type":"timestamp","nullable":true,"metadata":{}},` +
		`{"name":"str","type":"string","nullable":true,"metadata":{}},{"name":"bin","type":"binary","nullable":true,"metadata":{}},` +
		`{"name":"bool","type":"boolean","nullable":true,"metadata":{}},{"name":"i32","type":"integer","nullable":true,"metadata":{}},` +
		`{"name":"i64","type":"long","nullable":true,"metadata":{}},{"name":"f64","type":"double","nullable":true,"metadata":{}},` +
		`{"name":"dec","type":"decimal(10,2)","nullable":true,"metadata":{}},{"name":"date","type":"date","nullable":true,"metadata":{}},` +
		`{"name":"_id","type":"string","nullable":true,"metadata":{}},{"name":"_index","type":"integer","nullable":true,"metadata":{}},` +
		`{"name":"_published_at","type":"timestamp","nullable":true,"metadata":{}},{"name":"_schema_version","type":"string","nullable":true,"metadata":{}},` +
		`{"name":"_flags","type":"long","nullable":true,"metadata":{}},{"name":"year","type":"integer","nullable":true,"metadata":{}},` +
		`{"name":"month","type":"integer","nullable":true,"metadata":{}},{"name":"day","type":"integer","nullable":true,"metadata":{}}]}`
	if diff := cmp.Diff(want, parse(t, everything).DeltaSchemaString()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
