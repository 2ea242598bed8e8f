package schema

import (
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
)

func Parse(avsc []byte) (*Definition, error) { panic("not yet") }

type Columns struct{}

func NewColumns(d *Definition) *Columns               { panic("not yet") }
func (c *Columns) Definition() *Definition            { panic("not yet") }
func (c *Columns) Len() int                           { panic("not yet") }
func (c *Columns) Bytes() int64                       { panic("not yet") }
func (c *Columns) Reset()                             { panic("not yet") }
func (c *Columns) Append(src *Columns, from, to int)  { panic("not yet") }
func (c *Columns) Record() arrow.RecordBatch          { panic("not yet") }
func (c *Columns) Day(row int) int32                  { panic("not yet") }
func (c *Columns) EventMicros(row int) int64          { panic("not yet") }
func (c *Columns) Symbol(row int) string              { panic("not yet") }
func (c *Columns) Begin()                             { panic("not yet") }
func (c *Columns) SetString(col int, v []byte)        { panic("not yet") }
func (c *Columns) SetBinary(col int, v []byte)        { panic("not yet") }
func (c *Columns) SetInt32(col int, v int32)          { panic("not yet") }
func (c *Columns) SetInt64(col int, v int64)          { panic("not yet") }
func (c *Columns) SetFloat64(col int, v float64)      { panic("not yet") }
func (c *Columns) SetBool(col int, v bool)            { panic("not yet") }
func (c *Columns) SetDecimal(col int, unscaled int64) { panic("not yet") }
func (c *Columns) SetTimestamp(col int, micros int64) { panic("not yet") }
func (c *Columns) SetDate(col int, days int32)        { panic("not yet") }
func (c *Columns) Commit()                            { panic("not yet") }
func (c *Columns) Rollback()                          { panic("not yet") }

type Decoder struct{}

func (d *Definition) NewDecoder(level Level) *Decoder                { panic("not yet") }
func (d *Decoder) Decode(m *Message, rows *Columns) []Rejection      { panic("not yet") }
func (d *Decoder) Coercions(yield func(field, kind string, n int64)) { panic("not yet") }

var _ iter.Seq[int]
