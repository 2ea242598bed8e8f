package schema

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// fieldText is a field as it is written.
type fieldText struct {
	Name       string            `json:"name"`
	Type       json.RawMessage   `json:"type"`
	Doc        string            `json:"doc"`
	Aliases    []string          `json:"aliases"`
	Default    json.RawMessage   `json:"default"`
	Defaults   []string          `json:"bb.default"`
	Enum       []string          `json:"bb.enum"`
	Spellings  map[string]string `json:"bb.spellings"`
	MaxLength  int               `json:"bb.max_length"`
	Identifier bool              `json:"bb.identifier"`
	JSON       bool              `json:"bb.json"`
}

func (p *parser) field(text json.RawMessage) {
	var t fieldText
	if err := json.Unmarshal(text, &t); err != nil {
		p.problem("field: %w", err)
		return
	}
	p.knownProperties("field "+t.Name, text, "default", "enum", "spellings", "max_length", "identifier", "json")
	f := Field{
		Name: t.Name, Doc: t.Doc, Aliases: t.Aliases, Required: true,
		MaxLength: t.MaxLength, Identifier: t.Identifier, JSON: t.JSON,
	}
	if strings.HasPrefix(f.Name, "_") {
		p.problem("field %s: names that start with _ are the system's", f.Name)
	}
	inner := t.Type
	if other, ok := nullable(t.Type); ok {
		f.Required, inner = false, other
	}
	p.kind(&f, inner)
	if f.Kind != String && (t.Enum != nil || t.Spellings != nil || f.MaxLength != 0 || f.Identifier || f.JSON) {
		p.problem("field %s: enumerations, lengths and characters are for strings", f.Name)
	}
	p.defaults(&f, &t)
	p.enum(&f, &t)
	p.def.Fields = append(p.def.Fields, f)
}

// nullable takes the null out of a union of null and one other type.
func nullable(text json.RawMessage) (other json.RawMessage, ok bool) {
	var union []json.RawMessage
	if json.Unmarshal(text, &union) != nil || len(union) != 2 {
		return nil, false
	}
	for i := range union {
		if string(bytes.TrimSpace(union[i])) == `"null"` {
			return union[1-i], true
		}
	}
	return nil, false
}

var plainKinds = map[string]Kind{
	"string": String, "bytes": Binary, "boolean": Bool, "int": Int32, "long": Int64, "double": Float64,
}

// kind sets the storage type.
func (p *parser) kind(f *Field, text json.RawMessage) {
	var t struct {
		Type      string `json:"type"`
		Logical   string `json:"logicalType"`
		Precision int32  `json:"precision"`
		Scale     int32  `json:"scale"`
	}
	if json.Unmarshal(text, &t.Type) != nil && json.Unmarshal(text, &t) != nil {
		p.problem("field %s: type %s is not supported", f.Name, text)
		return
	}
	switch {
	case t.Logical == "":
		f.Kind = plainKinds[t.Type]
	case t.Type == "long" && t.Logical == "timestamp-micros":
		f.Kind = Timestamp
	case t.Type == "int" && t.Logical == "date":
		f.Kind = Date
	case t.Type == "bytes" && t.Logical == "decimal":
		f.Kind, f.Precision, f.Scale = Decimal, t.Precision, t.Scale
		if t.Precision < 1 || t.Precision > 18 || t.Scale < 0 || t.Scale > t.Precision {
			p.problem("field %s: decimal(%d,%d): want a precision of 1 to 18 and a scale within it", f.Name, t.Precision, t.Scale)
		}
	}
	if f.Kind == 0 {
		p.problem("field %s: type %s is not supported", f.Name, text)
	}
}

func (p *parser) defaults(f *Field, t *fieldText) {
	for _, source := range t.Defaults {
		attribute, ok := strings.CutPrefix(source, "attribute:")
		switch {
		case ok && f.Kind == String:
			f.Defaults = append(f.Defaults, Default{Source: FromAttribute, Attribute: attribute})
		case source == "publish_time" && f.Kind == Timestamp:
			f.Defaults = append(f.Defaults, Default{Source: FromPublishTime})
		case source == "schema_version" && f.Kind == String:
			f.Defaults = append(f.Defaults, Default{Source: FromSchemaVersion})
		default:
			p.problem("field %s: default %q is not for this type", f.Name, source)
		}
	}
	if len(t.Default) == 0 || string(t.Default) == "null" {
		return
	}
	literal := Default{Source: FromLiteral}
	switch f.Kind {
	case String:
		literal.Literal = into[string](t.Default)
	case Int32, Int64:
		literal.Literal = into[int64](t.Default)
	case Float64:
		literal.Literal = into[float64](t.Default)
	case Bool:
		literal.Literal = into[bool](t.Default)
	}
	if literal.Literal == nil {
		p.problem("field %s: default %s is not supported for this type", f.Name, t.Default)
		return
	}
	f.Defaults = append(f.Defaults, literal)
}

// into is the JSON value as a T, or nil.
func into[T any](text json.RawMessage) any {
	var v T
	if json.Unmarshal(text, &v) != nil {
		return nil
	}
	return v
}

func (p *parser) enum(f *Field, t *fieldText) {
	if t.Enum == nil {
		if t.Spellings != nil {
			p.problem("field %s: spellings without an enumeration", f.Name)
		}
		return
	}
	f.Enum = &Enum{Values: t.Enum, Spelling: t.Spellings}
	for spelling, value := range t.Spellings {
		if !slices.Contains(t.Enum, value) {
			p.problem("field %s: %q is read as %q, which is not in the enumeration", f.Name, spelling, value)
		}
	}
}
