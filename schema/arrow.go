package schema

import (
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

var (
	dictionaryType = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	timestampType  = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
)

// Arrow is the field's Arrow type.
func (f *Field) Arrow() arrow.DataType {
	switch f.Kind {
	case String:
		return dictionaryType
	case Binary:
		return arrow.BinaryTypes.Binary
	case Bool:
		return arrow.FixedWidthTypes.Boolean
	case Int32:
		return arrow.PrimitiveTypes.Int32
	case Int64:
		return arrow.PrimitiveTypes.Int64
	case Float64:
		return arrow.PrimitiveTypes.Float64
	case Decimal:
		return &arrow.Decimal128Type{Precision: f.Precision, Scale: f.Scale}
	case Timestamp:
		return timestampType
	case Date:
		return arrow.FixedWidthTypes.Date32
	}
	panic(fmt.Sprintf("field %s: kind %d", f.Name, f.Kind)) // Parse makes no other
}

// Arrow is the schema of the definition's records. Every field is nullable:
// what a row must have is a matter of validation, so that a field can become
// required, or cease to be, without touching a file.
func (d *Definition) Arrow() *arrow.Schema {
	fields := make([]arrow.Field, len(d.Fields))
	for i := range d.Fields {
		f := &d.Fields[i]
		fields[i] = arrow.Field{Name: f.Name, Type: f.Arrow(), Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// PartitionColumns are the columns that a table's paths carry instead of its
// files: the UTC day of the event time.
var PartitionColumns = []string{"year", "month", "day"}

type deltaField struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Nullable bool     `json:"nullable"`
	Metadata struct{} `json:"metadata"`
}

// DeltaSchemaString is the schemaString of a Delta table's metaData action: the
// fields, then the partition columns.
func (d *Definition) DeltaSchemaString() string {
	s := struct {
		Type   string       `json:"type"`
		Fields []deltaField `json:"fields"`
	}{Type: "struct"}
	for i := range d.Fields {
		s.Fields = append(s.Fields, deltaField{Name: d.Fields[i].Name, Type: d.Fields[i].delta(), Nullable: true})
	}
	for _, name := range PartitionColumns {
		s.Fields = append(s.Fields, deltaField{Name: name, Type: "integer", Nullable: true})
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and booleans always marshal
	}
	return string(b)
}

// delta is the field's type in Delta's words.
func (f *Field) delta() string {
	switch f.Kind {
	case String:
		return "string"
	case Binary:
		return "binary"
	case Bool:
		return "boolean"
	case Int32:
		return "integer"
	case Int64:
		return "long"
	case Float64:
		return "double"
	case Decimal:
		return fmt.Sprintf("decimal(%d,%d)", f.Precision, f.Scale)
	case Timestamp:
		return "timestamp"
	default:
		return "date"
	}
}
