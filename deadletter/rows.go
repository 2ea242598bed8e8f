package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

// columns are the places of a letter's parts in a row of dead_letters.
type columns struct {
	id, dataType, reason, field, value, explanation, version, messageID, index int
	publishedAt, source, attributes, payloadRef, data                          int
	form, topic, orderingKey, attempt                                          int
}

func columnsOf(lookup func(name string) int) (columns, error) {
	var missing []error
	at := func(name string) int {
		i := lookup(name)
		if i < 0 {
			missing = append(missing, fmt.Errorf("dead_letters: no column %s", name))
		}
		return i
	}
	c := columns{
		id: at("dl_id"), dataType: at("data_type"), reason: at("reason"), field: at("field"), value: at("value"),
		explanation: at("explanation"), version: at("schema_version"), messageID: at("message_id"),
		index: at("record_index"), publishedAt: at("published_at"), source: at("source"),
		attributes: at("attributes"), payloadRef: at("payload_ref"), data: at("data"),
		form: at("data_form"), topic: at("topic"), orderingKey: at("ordering_key"), attempt: at("delivery_attempt"),
	}
	return c, errors.Join(missing...)
}

// A Decoder turns the messages of the dead-letter topic into rows. It is for one
// goroutine.
type Decoder struct {
	def  *schema.Definition
	cols columns
}

// NewDecoder makes a decoder into rows of def, the definition of dead_letters.
func NewDecoder(def *schema.Definition) (*Decoder, error) {
	cols, err := columnsOf(def.Field)
	if err != nil {
		return nil, err
	}
	return &Decoder{def: def, cols: cols}, nil
}

// Decode appends one row for the message, whatever it is. It rejects nothing.
func (d *Decoder) Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	l := Parse(m)
	id, at := schema.Identity(m)
	text := func(col int, v string) {
		if v != "" {
			rows.SetString(col, []byte(strings.ToValidUTF8(v, "\uFFFD")))
		}
	}
	rows.Begin()
	text(d.cols.id, l.ID)
	text(d.cols.dataType, l.DataType)
	text(d.cols.reason, string(l.Reason))
	text(d.cols.field, l.Field)
	text(d.cols.value, l.Value)
	text(d.cols.explanation, l.Explanation)
	text(d.cols.version, l.SchemaVersion)
	text(d.cols.messageID, l.MessageID)
	text(d.cols.source, l.Attributes["source"])
	text(d.cols.attributes, attributesText(l.Attributes))
	text(d.cols.payloadRef, l.PayloadRef)
	text(d.cols.form, string(l.Form))
	text(d.cols.topic, l.Topic)
	text(d.cols.orderingKey, l.OrderingKey)
	if l.Attempt > 0 {
		rows.SetInt32(d.cols.attempt, l.Attempt)
	}
	rows.SetInt32(d.cols.index, l.RecordIndex)
	rows.SetTimestamp(d.cols.publishedAt, l.PublishedAt.UnixMicro())
	if l.Record != nil {
		rows.SetBinary(d.cols.data, l.Record)
	}
	text(d.def.Field(schema.ColID), id)
	rows.SetInt32(d.def.Field(schema.ColIndex), 0)
	rows.SetTimestamp(d.def.Field(schema.ColPublishedAt), at)
	text(d.def.Field(schema.ColSchemaVersion), d.def.Version.String())
	rows.SetInt64(d.def.Field(schema.ColFlags), 0)
	rows.Commit()
	return nil
}

// attributesText is JSON with sorted keys: the same attributes, the same row.
func attributesText(a map[string]string) string {
	if len(a) == 0 {
		return ""
	}
	text, _ := json.Marshal(a) // a map of strings always can
	return string(text)
}

// FromRecord reads letters back from rows of dead_letters. A column that the
// record lacks, as after a projection, leaves its part empty.
func FromRecord(rec arrow.RecordBatch) ([]Letter, error) {
	cols, _ := columnsOf(func(name string) int {
		if at := rec.Schema().FieldIndices(name); len(at) == 1 {
			return at[0]
		}
		return -1
	})
	letters := make([]Letter, rec.NumRows())
	for row := range letters {
		l := &letters[row]
		text := func(col int) string { return stringAt(rec, col, row) }
		l.ID, l.DataType, l.Reason = text(cols.id), text(cols.dataType), schema.Reason(text(cols.reason))
		l.Field, l.Value, l.Explanation = text(cols.field), text(cols.value), text(cols.explanation)
		l.SchemaVersion, l.MessageID, l.PayloadRef = text(cols.version), text(cols.messageID), text(cols.payloadRef)
		l.Form, l.Topic, l.OrderingKey = Form(text(cols.form)), text(cols.topic), text(cols.orderingKey)
		l.RecordIndex, l.Attempt = int32At(rec, cols.index, row), int32At(rec, cols.attempt, row)
		if a := text(cols.attributes); a != "" {
			if err := json.Unmarshal([]byte(a), &l.Attributes); err != nil {
				return nil, fmt.Errorf("dead letter %s: attributes: %w", l.ID, err)
			}
		} else if source := text(cols.source); source != "" {
			l.Attributes = map[string]string{"source": source} // all there is after a projection
		}
		if c, ok := columnAt(rec, cols.publishedAt).(*array.Timestamp); ok && c.IsValid(row) {
			l.PublishedAt = time.UnixMicro(int64(c.Value(row))).UTC()
		}
		if c, ok := columnAt(rec, cols.data).(*array.Binary); ok && c.IsValid(row) {
			l.Record = append([]byte{}, c.Value(row)...)
		}
	}
	return letters, nil
}

// int32At is an integer of a row; 0 for null.
func int32At(rec arrow.RecordBatch, col, row int) int32 {
	if c, ok := columnAt(rec, col).(*array.Int32); ok && c.IsValid(row) {
		return c.Value(row)
	}
	return 0
}

func columnAt(rec arrow.RecordBatch, col int) arrow.Array {
	if col < 0 {
		return nil
	}
	return rec.Column(col)
}

// stringAt is a string of a row, as a copy; "" for null.
func stringAt(rec arrow.RecordBatch, col, row int) string {
	switch c := columnAt(rec, col).(type) {
	case *array.Dictionary:
		if values, ok := c.Dictionary().(*array.String); ok && c.IsValid(row) {
			return strings.Clone(values.Value(c.GetValueIndex(row)))
		}
	case *array.String:
		if c.IsValid(row) {
			return strings.Clone(c.Value(row))
		}
	}
	return ""
}
