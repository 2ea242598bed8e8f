package schema

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/avro"
)

const evolving = `{
  "type": "record", "name": "small", "bb.version": "1.0.0", "bb.topic": "small", "bb.category": "small",
  "bb.symbol": "s", "bb.event_time": "t",
  "bb.rules": [{"name": "r", "when": "n < 0", "severity": "reject"}, {"name": "f", "when": "n > 9", "severity": "flag", "bit": 3}],
  "fields": [
    {"name": "s", "type": "string"},
    {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "n", "type": ["null", "long"], "default": null, "aliases": ["number"]},
    {"name": "k", "type": ["null", "string"], "default": null, "bb.enum": ["a", "b"]},
    {"name": "d", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}], "default": null}
  ]
}`

func TestEvolve(t *testing.T) {
	const all = "BACKWARD FORWARD FULL"
	for _, tt := range []struct {
		name, from, to string
		version        string
		refused        string // in which modes
		want           string // of the message: the field and why
	}{
		{name: "a nullable field is added", from: `{"name": "k"`, to: `{"name": "x", "type": ["null", "double"], "default": null}, {"name": "k"`, version: "1.1.0"},
		{name: "the minor number must rise for it", from: `{"name": "k"`, to: `{"name": "x", "type": ["null", "double"], "default": null}, {"name": "k"`, version: "1.0.1", refused: all, want: "raise the minor number"},
		{name: "a required field with a default", from: `{"name": "k"`, to: `{"name": "x", "type": "string", "default": "-"}, {"name": "k"`, version: "1.1.0"},
		{name: "a required field", from: `{"name": "k"`, to: `{"name": "x", "type": "double"}, {"name": "k"`, version: "1.1.0", refused: "BACKWARD FULL", want: "field x: added, required: breaking: records of the old version lack it"},
		{name: "a field is removed", from: `{"name": "n", "type": ["null", "long"], "default": null, "aliases": ["number"]},`, to: ``, version: "1.1.0", refused: all, want: "rule"},
		{name: "a field without rules is removed", from: `{"name": "k", "type": ["null", "string"], "default": null, "bb.enum": ["a", "b"]},`, to: ``, version: "2.0.0", refused: all, want: "field k: removed: breaking: its column holds rows"},
		{name: "a long becomes an int", from: `["null", "long"]`, to: `["null", "int"]`, version: "1.1.0", refused: all, want: "field n: type long became integer"},
		{name: "a scale changes", from: `"precision": 10, "scale": 2`, to: `"precision": 10, "scale": 3`, version: "1.1.0", refused: all, want: "field d: type decimal(10,2) became decimal(10,3): breaking: the digits that are stored would mean other values"},
		{name: "a precision changes", from: `"precision": 10, "scale": 2`, to: `"precision": 12, "scale": 2`, version: "1.1.0", refused: all, want: "field d: type decimal(10,2) became decimal(12,2)"},
		{name: "a unit of time changes", from: `"timestamp-micros"`, to: `"timestamp-millis"`, version: "1.1.0", refused: all, want: "field t"},
		{name: "nullable becomes required", from: `"type": ["null", "long"], "default": null`, to: `"type": "long"`, version: "1.1.0", refused: "BACKWARD FULL", want: "field n: became required"},
		{name: "an alias is removed", from: `, "aliases": ["number"]`, to: ``, version: "1.1.0", refused: "BACKWARD FULL", want: "field n: alias number removed"},
		{name: "an alias is added", from: `["number"]`, to: `["number", "num"]`, version: "1.0.1"},
		{name: "a value is removed", from: `["a", "b"]`, to: `["a"]`, version: "1.1.0", refused: "BACKWARD FULL", want: `field k: value "b" removed`},
		{name: "a value is added", from: `["a", "b"]`, to: `["a", "b", "c"]`, version: "1.1.0", refused: "FORWARD FULL", want: `field k: value "c" added`},
		{name: "a bound on the length", from: `{"name": "s",`, to: `{"name": "s", "bb.max_length": 9,`, version: "1.1.0", refused: "BACKWARD FULL", want: "field s: length"},
		{name: "the topic changes", from: `"bb.topic": "small"`, to: `"bb.topic": "large"`, version: "1.1.0", refused: all, want: "bb.topic"},
		{name: "the event time changes", from: `"bb.event_time": "t"`, to: `"bb.event_time": "t2"`, version: "1.1.0", refused: all, want: "bb.event_time"},
		{name: "a bit changes its meaning", from: `{"name": "f", "when": "n > 9"`, to: `{"name": "g", "when": "n > 9"`, version: "1.1.0", refused: all, want: "bit 3 was rule f and became rule g"},
		{name: "a rule moves to another bit", from: `"bit": 3`, to: `"bit": 4`, version: "1.1.0", refused: all, want: "rule f moved from bit 3 to bit 4"},
		{name: "a rule begins to reject", from: `"severity": "flag", "bit": 3`, to: `"severity": "reject"`, version: "1.1.0", refused: "BACKWARD FULL", want: "rule f (n > 9) rejects"},
		{name: "a rule begins to flag", from: `"n < 0", "severity": "reject"`, to: `"n < 0", "severity": "flag", "bit": 5`, version: "1.0.1"},
		{name: "a window becomes narrower", from: `"bb.symbol"`, to: `"bb.window": {"from": "1950-01-01"}, "bb.symbol"`, version: "1.1.0", refused: "BACKWARD FULL", want: "bb.window"},
		{name: "a doc", from: `{"name": "s",`, to: `{"name": "s", "doc": "ticker",`, version: "1.0.1"},
		{name: "nothing", version: "1.1.0", refused: all, want: "changes nothing"},
		{name: "an older number", from: `["number"]`, to: `["number", "num"]`, version: "0.9.0", refused: all, want: "does not follow"},
		{name: "a major number for nothing", from: `["number"]`, to: `["number", "num"]`, version: "2.0.0", refused: all, want: "raise the minor number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, err := Parse([]byte(evolving))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(evolving, tt.from, tt.to, 1)
			if tt.to == `"bb.event_time": "t2"` {
				text = strings.Replace(text, `{"name": "n"`, `{"name": "t2", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0}, {"name": "n"`, 1)
				text = strings.Replace(text, `, "default": 0`, ``, 1)
			}
			to, err := Parse([]byte(strings.Replace(text, "1.0.0", tt.version, 1)))
			for _, mode := range []string{"BACKWARD", "FORWARD", "FULL"} {
				m, _ := ParseMode(mode)
				got := err
				if err == nil {
					_, got = Evolve(from, to, m)
				}
				if strings.Contains(tt.refused, mode) != (got != nil) {
					t.Errorf("%s: error %v, want one: %v", mode, got, tt.refused != "")
				}
				if got != nil && !strings.Contains(got.Error(), tt.want) {
					t.Errorf("%s: error %q does not say %q", mode, got, tt.want)
				}
			}
		})
	}
}

func TestEveryBreakingChangeIsNamedAtOnce(t *testing.T) {
	from, _ := Parse([]byte(evolving))
	text := strings.NewReplacer(`"1.0.0"`, `"1.1.0"`, `"scale": 2`, `"scale": 4`, `["a", "b"]`, `["a"]`).Replace(evolving)
	to, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Evolve(from, to, Full)
	var bad *IncompatibleError
	if !errors.As(err, &bad) || len(bad.Breaking) != 2 {
		t.Fatalf("error %v", err)
	}
}

// What Avro itself calls incompatible must be refused too.
func TestEvolveIsNoLaxerThanAvro(t *testing.T) {
	from, _ := Parse([]byte(evolving))
	for _, change := range [][2]string{
		{`{"name": "k"`, `{"name": "x", "type": "double"}, {"name": "k"`},
		{`["null", "long"]`, `["null", "string"]`},
		{`"scale": 2`, `"scale": 3`},
		{`"type": ["null", "long"], "default": null`, `"type": "long"`},
	} {
		text := strings.Replace(strings.Replace(evolving, change[0], change[1], 1), "1.0.0", "1.1.0", 1)
		text = strings.Replace(text, `"bb.rules": [{"name": "r", "when": "n < 0", "severity": "reject"}, {"name": "f", "when": "n > 9", "severity": "flag", "bit": 3}],`, "", 1)
		if _, err := avro.Resolve(avro.MustParse(evolving), avro.MustParse(text)); err == nil {
			t.Fatalf("%s: Avro lets it pass", change[1])
		}
		to, err := Parse([]byte(text))
		if err == nil {
			_, err = Evolve(from, to, Backward)
		}
		if err == nil {
			t.Errorf("%s: accepted", change[1])
		}
	}
}

func TestExports(t *testing.T) {
	for _, name := range []string{"market_data", "options_data", "forecasts", "dead_letters"} {
		def := definition(t, name)
		pubsub, err := def.PubSubSchema()
		if err != nil || strings.Contains(pubsub, "bb.") {
			t.Fatalf("%s: %v\n%s", name, err, pubsub)
		}
		if _, err := avro.Resolve(avro.MustParse(pubsub), avro.MustParse(def.Avro())); err != nil {
			t.Errorf("%s: the Pub/Sub schema is not the definition's: %v", name, err)
		}
		query, err := def.BigQuerySchema()
		if err != nil {
			t.Fatal(err)
		}
		doc := def.Markdown()
		for _, f := range def.Fields {
			if !strings.Contains(query, `"name": "`+f.Name+`"`) || !strings.Contains(doc, "`"+f.Name+"`") {
				t.Errorf("%s: field %s is missing", name, f.Name)
			}
		}
		for _, r := range def.Rules {
			if !strings.Contains(doc, r.Name) {
				t.Errorf("%s: rule %s is missing", name, r.Name)
			}
		}
	}
	query, _ := definition(t, "market_data").BigQuerySchema()
	for _, want := range []string{`"type": "NUMERIC",`, `"precision": 18`, `"scale": 8`, `"TIMESTAMP"`, `"FLOAT64"`, `"name": "year"`} {
		if !strings.Contains(query, want) {
			t.Errorf("BigQuery schema lacks %s", want)
		}
	}
}
