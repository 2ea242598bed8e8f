package schema

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// setter is how the values of a column that need no thought are stored in a
// field; nil where all of them need it.
func (d *Decoder) setter(f int, data arrow.Array) func(row int) bool {
	plan := &d.plans[f]
	switch a := data.(type) {
	case *array.String:
		if plan.kind == String {
			return func(row int) bool { return d.plainText(f, bytesOf(a.Value(row))) }
		}
	case *array.LargeString:
		if plan.kind == String {
			return func(row int) bool { return d.plainText(f, bytesOf(a.Value(row))) }
		}
	case *array.Dictionary:
		if set := d.setter(f, a.Dictionary()); set != nil {
			return func(row int) bool {
				at := a.GetValueIndex(row)
				return !a.Dictionary().IsNull(at) && set(at)
			}
		}
	case *array.Int64:
		return d.integerSetter(f, func(row int) int64 { return a.Value(row) })
	case *array.Int32:
		return d.integerSetter(f, func(row int) int64 { return int64(a.Value(row)) })
	case *array.Int16:
		return d.integerSetter(f, func(row int) int64 { return int64(a.Value(row)) })
	case *array.Int8:
		return d.integerSetter(f, func(row int) int64 { return int64(a.Value(row)) })
	case *array.Float64:
		return d.floatSetter(f, func(row int) float64 { return a.Value(row) })
	case *array.Float32:
		if plan.kind == Float64 { // its digits are its own affair
			return d.floatSetter(f, func(row int) float64 { return float64(a.Value(row)) })
		}
	case *array.Decimal128:
		shift := plan.scale - a.DataType().(*arrow.Decimal128Type).Scale
		if plan.kind == Decimal && shift >= 0 && int(shift) < len(pow10) {
			return func(row int) bool {
				v := a.Value(row)
				return v.HighBits() == int64(v.LowBits())>>63 && d.plainDecimal(f, int64(v.LowBits()), int64(pow10[shift]))
			}
		}
	case *array.Timestamp:
		if t := a.DataType().(*arrow.TimestampType); plan.kind == Timestamp && t.TimeZone != "" {
			switch s := (avroStep{do: actTime}); t.Unit {
			case arrow.Microsecond, arrow.Millisecond:
				s.factor = int64(t.Unit.Multiplier() / time.Microsecond)
				return func(row int) bool { return d.plainInteger(&s, f, int64(a.Value(row))) }
			}
		}
	case *array.Date32:
		if plan.kind == Date {
			s := avroStep{do: actDate}
			return func(row int) bool { return d.plainInteger(&s, f, int64(a.Value(row))) }
		}
	case *array.Boolean:
		if plan.kind == Bool {
			return func(row int) bool { d.rows.SetBool(f, a.Value(row)); return true }
		}
	case *array.Binary:
		if plan.kind == Binary {
			return func(row int) bool { d.rows.SetBinary(f, a.Value(row)); return true }
		}
	}
	return nil
}

func (d *Decoder) integerSetter(f int, value func(row int) int64) func(row int) bool {
	s := avroStep{do: actJudge}
	s.chooseInteger(&d.plans[f])
	if s.do == actJudge {
		return nil
	}
	return func(row int) bool { return d.plainInteger(&s, f, value(row)) }
}

func (d *Decoder) floatSetter(f int, value func(row int) float64) func(row int) bool {
	switch d.plans[f].kind {
	case Float64:
		return func(row int) bool { return d.plainFloat(f, value(row)) }
	case Decimal:
		return func(row int) bool { return d.floatDigits(f, value(row)) }
	}
	return nil
}

// appendArrow renders the value of a row as JSON, meant for a field of a kind.
func appendArrow(dst []byte, data arrow.Array, row int, kind Kind) []byte {
	if data.IsNull(row) {
		return append(dst, "null"...)
	}
	switch a := data.(type) {
	case *array.String:
		return appendString(dst, bytesOf(a.Value(row)))
	case *array.LargeString:
		return appendString(dst, bytesOf(a.Value(row)))
	case *array.Dictionary:
		return appendArrow(dst, a.Dictionary(), a.GetValueIndex(row), kind)
	case *array.Float64:
		return appendFloat(dst, a.Value(row), 64)
	case *array.Float32:
		return appendFloat(dst, float64(a.Value(row)), 32)
	case *array.Boolean:
		return strconv.AppendBool(dst, a.Value(row))
	case *array.Timestamp:
		return appendArrowTime(dst, int64(a.Value(row)), a.DataType().(*arrow.TimestampType))
	case *array.Date32:
		return appendTime(dst, int64(a.Value(row)), 86400, 0, time.DateOnly)
	case *array.Date64:
		return appendTime(dst, floorDiv(int64(a.Value(row)), 86_400_000), 86400, 0, time.DateOnly)
	case *array.Binary:
		if kind == String {
			return appendString(dst, a.Value(row))
		}
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), a.Value(row)), '"')
	case *array.Decimal128:
		return append(dst, a.Value(row).ToString(a.DataType().(*arrow.Decimal128Type).Scale)...)
	case *array.Decimal256:
		return append(dst, a.Value(row).ToString(a.DataType().(*arrow.Decimal256Type).Scale)...)
	case *array.Int64, *array.Int32, *array.Int16, *array.Int8, *array.Uint64, *array.Uint32, *array.Uint16, *array.Uint8:
		return append(dst, a.ValueStr(row)...)
	}
	text, err := json.Marshal(data.GetOneForMarshal(row)) // lists, structs and what is rarer
	if err != nil {
		return appendString(dst, []byte(data.ValueStr(row)))
	}
	return append(dst, text...)
}

func appendArrowTime(dst []byte, v int64, t *arrow.TimestampType) []byte {
	perSecond, layout := int64(time.Second/t.Unit.Multiplier()), "2006-01-02T15:04:05"
	switch t.Unit {
	case arrow.Millisecond:
		layout += ".000"
	case arrow.Microsecond:
		layout += ".000000"
	case arrow.Nanosecond:
		layout += ".000000000"
	}
	if t.TimeZone != "" {
		layout += "Z"
	}
	return appendTime(dst, v, 0, perSecond, layout)
}
