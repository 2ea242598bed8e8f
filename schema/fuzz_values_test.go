package schema

import (
	"math/big"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
)

// A decimal as a number, as a string and at LENIENT: within its scale the value
// that math/big reads, or rejected.
func FuzzDecimals(f *testing.F) {
	for _, s := range []string{"150.25", "-0", "1e999999999", "1e-50", "100.000000005", "9999999999.999999999", "4.420000076293945", "0e999999999", "NaN"} {
		f.Add(s)
	}
	def := definition(f, "market_data")
	dec, lenient := def.NewDecoder(Standard), def.NewDecoder(Lenient)
	field := def.Field("close")
	f.Fuzz(func(t *testing.T, text string) {
		for _, value := range []string{text, string(appendString(nil, []byte(text)))} {
			rows := NewColumns(def)
			rejected := dec.Decode(message(record("market_data", "close="+value)), rows)
			lenient.Decode(message(record("market_data", "close="+value)), NewColumns(def))
			if len(rejected) == 0 && rows.Len() == 1 {
				col := rows.Record().Column(field)
				if _, isNumber := new(big.Rat).SetString(text); isNumber && len(text) < 100 && !col.IsNull(0) && scanned(text) {
					compareDecimal(t, &def.Fields[field], col.(*array.Decimal128).Value(0), text)
				}
			}
		}
	})
}

// scanned reports whether all of the text is a JSON number.
func scanned(text string) bool {
	_, next := scanNumber([]byte(text), 0)
	return next == len(text)
}

// A time as a string and as a number: what the standard library reads as RFC 3339
// is the same instant here, and whatever is stored can be shown.
func FuzzTimestamps(f *testing.F) {
	for _, s := range []string{"2024-01-15T14:30:52Z", "2024-01-15 14:30:52.123456789+05:30", "2016-12-31T23:59:60Z", "2024-02-30", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1705329052", "1705329052.5", "1e19", "20240115"} {
		f.Add(s)
	}
	def := definition(f, "market_data")
	dec := def.NewDecoder(Standard)
	field := def.Field("created_at")
	f.Fuzz(func(t *testing.T, text string) {
		for _, value := range []string{text, string(appendString(nil, []byte(text)))} {
			rows := NewColumns(def)
			if rejected := dec.Decode(message(record("market_data", "created_at="+value)), rows); len(rejected) > 0 || rows.Len() != 1 {
				continue
			}
			got := rows.Record().Column(field).(*array.Timestamp)
			if want, err := time.Parse(time.RFC3339Nano, text); err == nil && value != text && int64(got.Value(0)) != want.UnixMicro() {
				t.Fatalf("%q became %s, want %s", text, got.ValueStr(0), want)
			}
			show(rows.Record())
		}
	})
}
