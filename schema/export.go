package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// PubSubSchema is the definition as the Avro schema of a Pub/Sub schema
// resource: what this package alone understands is left out.
func (d *Definition) PubSubSchema() (string, error) {
	var record any
	decoder := json.NewDecoder(strings.NewReader(d.avsc))
	decoder.UseNumber()
	if err := decoder.Decode(&record); err != nil {
		return "", fmt.Errorf("definition %s %s: %w", d.Name, d.Version, err)
	}
	b, err := json.MarshalIndent(plainAvro(record), "", "  ")
	return string(b), err
}

// plainAvro takes the properties of ours out.
func plainAvro(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if strings.HasPrefix(name, "bb.") {
				delete(v, name)
			} else {
				v[name] = plainAvro(inner)
			}
		}
	case []any:
		for i := range v {
			v[i] = plainAvro(v[i])
		}
	}
	return v
}

type bigQueryField struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Mode        string `json:"mode"`
	Precision   int32  `json:"precision,omitempty"`
	Scale       int32  `json:"scale,omitempty"`
	Description string `json:"description,omitempty"`
}

// BigQuerySchema is the table's schema as BigQuery takes it (bq mk --schema),
// the partition columns last.
func (d *Definition) BigQuerySchema() (string, error) {
	var fields []bigQueryField
	for i := range d.Fields {
		f := &d.Fields[i]
		q := bigQueryField{Name: f.Name, Type: f.bigQuery(), Mode: "NULLABLE", Description: f.Doc}
		if f.Kind == Decimal {
			q.Precision, q.Scale = f.Precision, f.Scale
		}
		fields = append(fields, q)
	}
	for _, name := range PartitionColumns {
		fields = append(fields, bigQueryField{Name: name, Type: "INT64", Mode: "NULLABLE", Description: "of the event time's UTC day"})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(fields)
	return b.String(), err
}

// bigQuery is the field's type in BigQuery's words. NUMERIC has room for nine
// digits after the point and 29 before it.
func (f *Field) bigQuery() string {
	switch f.Kind {
	case String:
		return "STRING"
	case Binary:
		return "BYTES"
	case Bool:
		return "BOOL"
	case Int32, Int64:
		return "INT64"
	case Float64:
		return "FLOAT64"
	case Decimal:
		if f.Scale > 9 {
			return "BIGNUMERIC"
		}
		return "NUMERIC"
	case Timestamp:
		return "TIMESTAMP"
	default:
		return "DATE"
	}
}

// Markdown documents the definition for people: fields, where defaults come
// from, rules, flags and their bits.
func (d *Definition) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s %s\n\n%s\n\n", d.Name, d.Version, d.Doc)
	fmt.Fprintf(&b, "Topic `%s`. Sorted by `%s`; partitioned by the UTC day of `%s`.\n", d.Topic, d.Fields[d.SymbolField].Name, d.Fields[d.TimeField].Name)
	b.WriteString("\n| field | type | | meaning |\n|---|---|---|---|\n")
	for i := range d.Fields {
		f := &d.Fields[i]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.delta(), strings.Join(f.notes(), "; "), f.Doc)
	}
	for _, kind := range []struct {
		title  string
		reject bool
	}{{"Rejected are records with", true}, {"Flagged are rows with", false}} {
		fmt.Fprintf(&b, "\n%s\n\n| rule | when | bit of `_flags` | |\n|---|---|---|---|\n", kind.title)
		for _, r := range d.Rules {
			if r.Reject != kind.reject {
				continue
			}
			bit := ""
			if !r.Reject {
				bit = fmt.Sprintf("%d (%d)", r.Bit, int64(1)<<r.Bit)
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", r.Name, r.When, bit, r.Doc)
		}
	}
	return b.String()
}

// notes are what a publisher must know of a field beyond its type.
func (f *Field) notes() []string {
	var notes []string
	if f.Required && len(f.Defaults) == 0 {
		notes = append(notes, "required")
	}
	for _, d := range f.Defaults {
		switch d.Source {
		case FromPublishTime:
			notes = append(notes, "default: publish time")
		case FromSchemaVersion:
			notes = append(notes, "default: schema version")
		case FromAttribute:
			notes = append(notes, "default: attribute "+d.Attribute)
		case FromLiteral:
			notes = append(notes, fmt.Sprintf("default: %v", d.Literal))
		}
	}
	if len(f.Aliases) > 0 {
		notes = append(notes, "also "+strings.Join(f.Aliases, ", "))
	}
	if f.Enum != nil {
		notes = append(notes, "one of "+strings.Join(f.Enum.Values, ", "))
	}
	if f.MaxLength > 0 {
		notes = append(notes, fmt.Sprintf("at most %d bytes", f.MaxLength))
	}
	if f.Identifier {
		notes = append(notes, "no control, bidirectional or zero-width characters")
	}
	if f.JSON {
		notes = append(notes, "JSON text")
	}
	return notes
}
