package partition

import (
	"bytes"
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

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/schema"
)

const (
	maxBoundChars = 32      // of a string's bound, as other writers of Delta tables have it
	maxExact      = 1 << 53 // beyond, engines that read numbers as float64 see another one
)

// StatsOf are the statistics of the rows of a record of the definition.
func StatsOf(rec arrow.RecordBatch, def *schema.Definition) Stats {
	ranges, err := columnar.Ranges(rec, def)
	if err != nil {
		return newStats(rec.NumRows()) // no bounds are true bounds
	}
	return RangeStats(ranges, rec.NumRows(), def)
}

// RangeStats are the statistics of rows whose columns have the ranges.
func RangeStats(ranges []columnar.Range, rows int64, def *schema.Definition) Stats {
	s := newStats(rows)
	for i := range def.Fields {
		f, r := &def.Fields[i], &ranges[i]
		s.NullCount[f.Name] = r.Nulls
		if r.Min == nil || r.Max == nil || skipsBounds(f.Kind) {
			continue
		}
		low, high := boundsOf(f, r)
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
func boundsOf(f *schema.Field, r *columnar.Range) (low, high any) {
	switch lo := r.Min.(type) {
	case string:
		return stringMin(lo), stringMax(r.Max.(string))
	case int32:
		return integer(int64(lo)), integer(int64(r.Max.(int32)))
	case int64:
		return integer(lo), integer(r.Max.(int64))
	case float64:
		return float(lo), float(r.Max.(float64))
	case columnar.Decimal:
		return decimalBound(lo.Unscaled, f, false), decimalBound(r.Max.(columnar.Decimal).Unscaled, f, true)
	case arrow.Timestamp:
		return instant(int64(lo), false), instant(int64(r.Max.(arrow.Timestamp)), true)
	case arrow.Date32:
		return date(int32(lo)), date(int32(r.Max.(arrow.Date32)))
	}
	return nil, nil
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
func stringMin(s string) any {
	if !utf8.ValidString(s) {
		return nil
	}
	return cutString(s)
}

// stringMax cuts, and raises what it cut: the last character that has a next one
// becomes that one.
func stringMax(s string) any {
	if !utf8.ValidString(s) {
		return nil
	}
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

// float writes a bound. Infinities are no JSON.
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
