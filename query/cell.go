package query

import (
	"encoding/base64"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// A cell appends a value, which is not null, as text. Every format writes values
// alike: numbers with all their digits, decimals with all their decimals,
// timestamps in RFC 3339 UTC with microseconds, binary in base64.
type cell func(dst []byte, row int) []byte

const (
	timestampLayout = "2006-01-02T15:04:05.000000Z"
	dateLayout      = time.DateOnly
)

// cellsOf gives the values of a column as text.
func cellsOf(arr arrow.Array) cell {
	switch a := arr.(type) {
	case *array.Dictionary:
		values := a.Dictionary().(*array.String)
		return func(dst []byte, row int) []byte { return append(dst, values.Value(a.GetValueIndex(row))...) }
	case *array.String:
		return func(dst []byte, row int) []byte { return append(dst, a.Value(row)...) }
	case *array.Binary:
		return func(dst []byte, row int) []byte { return base64.StdEncoding.AppendEncode(dst, a.Value(row)) }
	case *array.Boolean:
		return func(dst []byte, row int) []byte { return strconv.AppendBool(dst, a.Value(row)) }
	case *array.Int32:
		return func(dst []byte, row int) []byte { return strconv.AppendInt(dst, int64(a.Value(row)), 10) }
	case *array.Int64:
		return func(dst []byte, row int) []byte { return strconv.AppendInt(dst, a.Value(row), 10) }
	case *array.Float64:
		return func(dst []byte, row int) []byte { return appendFloat(dst, a.Value(row)) }
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		return func(dst []byte, row int) []byte { return appendDecimal(dst, int64(a.Value(row).LowBits()), scale) }
	case *array.Timestamp:
		return func(dst []byte, row int) []byte {
			return time.UnixMicro(int64(a.Value(row))).UTC().AppendFormat(dst, timestampLayout)
		}
	case *array.Date32:
		return func(dst []byte, row int) []byte {
			return time.Unix(int64(a.Value(row))*86400, 0).UTC().AppendFormat(dst, dateLayout)
		}
	}
	return func(dst []byte, row int) []byte { return append(dst, arr.ValueStr(row)...) }
}

// appendFloat writes the shortest text that reads back as v, valid in JSON but
// for the values that JSON has no number for.
func appendFloat(dst []byte, v float64) []byte {
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// appendDecimal writes unscaled / 10^scale with all its decimals.
func appendDecimal(dst []byte, unscaled int64, scale int32) []byte {
	if unscaled == math.MinInt64 || scale < 0 || scale > 18 { // no column of ours
		return append(dst, decimalText(big.NewInt(unscaled), scale)...)
	}
	if unscaled < 0 {
		dst, unscaled = append(dst, '-'), -unscaled
	}
	var digits [20]byte
	at := len(digits)
	for n := int32(0); unscaled > 0 || n <= scale; n++ {
		if n == scale && scale > 0 {
			at--
			digits[at] = '.'
		}
		at--
		digits[at] = byte('0' + unscaled%10)
		unscaled /= 10
	}
	return append(dst, digits[at:]...)
}

// isText tells whether a column holds strings, in a dictionary or not.
func isText(dt arrow.DataType) bool {
	return dt.ID() == arrow.DICTIONARY || dt.ID() == arrow.STRING
}
