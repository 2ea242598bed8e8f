package partition

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/schema"
)

const (
	maxBoundChars = 32      // of a string's bound, as other writers of Delta tables have it
	maxExact      = 1 << 53 // beyond, engines that read numbers as float64 see another one
)

// StatsOf are the statistics of the rows of a record of the definition.
func StatsOf(rec arrow.RecordBatch, def *schema.Definition) Stats {
	s := newStats(rec.NumRows())
	for i := range def.Fields {
		f, column := &def.Fields[i], rec.Column(i)
		s.NullCount[f.Name] = int64(column.NullN())
		if column.NullN() == column.Len() || skipsBounds(f.Kind) {
			continue
		}
		low, high := boundsOf(f, column)
		if low != nil {
			s.Min[f.Name] = low
		}
		if high != nil {
			s.Max[f.Name] = high
		}
	}
	return s
}

// boundsOf are the bounds of a column that has a value; nil where there is none
// that every engine would read as one.
func boundsOf(f *schema.Field, column arrow.Array) (low, high any) {
	switch a := column.(type) {
	case *array.Dictionary:
		lo, hi := stringRange(a)
		return stringMin(lo), stringMax(hi)
	case *array.Int32:
		lo, hi := valueRange(a, a.Int32Values())
		return integer(int64(lo)), integer(int64(hi))
	case *array.Int64:
		lo, hi := valueRange(a, a.Int64Values())
		return integer(lo), integer(hi)
	case *array.Float64:
		return floatBounds(a)
	case *array.Decimal128:
		lo, hi := decimalRange(a)
		return decimalBound(lo, f, false), decimalBound(hi, f, true)
	case *array.Timestamp:
		lo, hi := valueRange(a, a.TimestampValues())
		return instant(int64(lo), false), instant(int64(hi), true)
	case *array.Date32:
		lo, hi := valueRange(a, a.Date32Values())
		return date(int32(lo)), date(int32(hi))
	}
	return nil, nil
}

func valueRange[T cmp.Ordered](a arrow.Array, values []T) (lo, hi T) {
	first := true
	for i, v := range values {
		switch {
		case a.IsNull(i):
		case first:
			lo, hi, first = v, v, false
		default:
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return lo, hi
}

// stringRange looks at the values in use: a dictionary may hold others.
func stringRange(a *array.Dictionary) (lo, hi []byte) {
	words := a.Dictionary().(*array.String)
	used := make([]bool, words.Len())
	for i := range a.Len() {
		if a.IsValid(i) {
			used[a.GetValueIndex(i)] = true
		}
	}
	for i, u := range used {
		if !u {
			continue
		}
		w := []byte(words.Value(i))
		if lo == nil || bytes.Compare(w, lo) < 0 {
			lo = w
		}
		if hi == nil || bytes.Compare(w, hi) > 0 {
			hi = w
		}
	}
	return lo, hi
}

// symbolsOf is the exact range of the symbols of a record, "" for none.
func symbolsOf(rec arrow.RecordBatch, def *schema.Definition) (first, last string) {
	if a, ok := rec.Column(def.SymbolField).(*array.Dictionary); ok {
		lo, hi := stringRange(a)
		if a.NullN() > 0 {
			lo = nil // rows without a symbol come first
		}
		return string(lo), string(hi)
	}
	return "", ""
}

// cutString is the first characters of s, at most as many as a bound has.
func cutString(s string) string {
	n := 0
	for at := range s {
		if n == maxBoundChars {
			return s[:at]
		}
		n++
	}
	return s
}

// stringMin cuts: what is cut comes before what was.
func stringMin(b []byte) any {
	if !utf8.Valid(b) {
		return nil
	}
	return cutString(string(b))
}

// stringMax cuts, and raises what it cut: the last character that has a next one
// becomes that one.
func stringMax(b []byte) any {
	if !utf8.Valid(b) {
		return nil
	}
	s := string(b)
	short := cutString(s)
	if short == s {
		return s
	}
	runes := []rune(short)
	for i := len(runes) - 1; i >= 0; i-- {
		if next, ok := nextRune(runes[i]); ok {
			return string(append(runes[:i], next))
		}
	}
	return nil
}

// nextRune is the next character, by code point, as which UTF-8 compares.
func nextRune(r rune) (rune, bool) {
	switch r {
	case utf8.MaxRune:
		return 0, false
	case 0xD7FF: // surrogates follow
		return 0xE000, true
	}
	return r + 1, true
}

func integer(v int64) any {
	if v > maxExact || v < -maxExact {
		return nil
	}
	return json.Number(strconv.FormatInt(v, 10))
}

// floatBounds: a NaN is beyond any bound in some engines and nowhere in others;
// infinities are no JSON. A zero is written as the zero farther out, because in
// the rows it may be either.
func floatBounds(a *array.Float64) (low, high any) {
	for i, v := range a.Float64Values() {
		if math.IsNaN(v) && a.IsValid(i) {
			return nil, nil
		}
	}
	lo, hi := valueRange(a, a.Float64Values())
	if lo == 0 {
		lo = math.Copysign(0, -1)
	}
	if hi == 0 {
		hi = 0
	}
	return float(lo), float(hi)
}

func float(v float64) any {
	if math.IsInf(v, 0) {
		return nil
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}

func decimalRange(a *array.Decimal128) (lo, hi int64) {
	first := true
	for i := range a.Len() {
		if a.IsNull(i) {
			continue
		}
		v := int64(a.Value(i).LowBits()) // precision is at most 18
		if first {
			lo, hi, first = v, v, false
		}
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// decimalBound is the value itself where every engine reads it as it is. Otherwise
// it is the multiple of 2^-scale below, or above for a maximum: a reader that takes
// a file without a bound for one that holds no such value (deltalake's
// to_pyarrow_dataset compares with null) must find one in every file.
func decimalBound(unscaled int64, f *schema.Field, up bool) any {
	if exact := decimal(unscaled, f.Scale); exact != nil {
		return exact
	}
	step := int64(1) // in units of 10^-scale: 2^-scale is 5^scale of them
	for range f.Scale {
		step *= 5
	}
	n := unscaled / step
	switch rest := unscaled % step; {
	case rest < 0 && !up:
		n--
	case rest > 0 && up:
		n++
	}
	limit := int64(1)
	for range f.Precision {
		limit *= 10
	}
	if n > (limit-1)/step || n < -(limit-1)/step {
		return nil // over the column's digits
	}
	return decimal(n*step, f.Scale)
}

// decimal is unscaled / 10^scale, if a float64 holds it exactly: a fraction of a
// power of two with at most 53 bits.
func decimal(unscaled int64, scale int32) any {
	n, digits := unscaled, scale
	for digits > 0 && n%10 == 0 {
		n, digits = n/10, digits-1
	}
	odd := n // n / 10^digits = (n / 5^digits) / 2^digits
	for range digits {
		if odd%5 != 0 {
			return nil
		}
		odd /= 5
	}
	size := uint64(odd)
	if odd < 0 {
		size = -size
	}
	if size != 0 && bits.Len64(size>>bits.TrailingZeros64(size)) > 53 {
		return nil
	}
	return json.Number(plainDecimal(n, int(digits)))
}

// plainDecimal writes n / 10^digits without an exponent.
func plainDecimal(n int64, digits int) string {
	if digits == 0 {
		return strconv.FormatInt(n, 10)
	}
	sign := ""
	size := uint64(n)
	if n < 0 {
		sign, size = "-", -size
	}
	s := fmt.Sprintf("%0*d", digits+1, size)
	return sign + s[:len(s)-digits] + "." + s[len(s)-digits:]
}

// instant is a time at the millisecond below, or above for a maximum.
func instant(micros int64, up bool) any {
	ms := micros / 1000
	switch rest := micros % 1000; {
	case rest < 0 && !up:
		ms--
	case rest > 0 && up:
		ms++
	}
	t := time.UnixMilli(ms).UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

func date(days int32) any {
	t := Day(days).Start()
	if t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return t.Format(time.DateOnly)
}
