package query

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// A bound is a literal as a column's kind can hold it: the greatest value not
// above it, whether that is the literal itself, and whether the literal lies
// below (-1) or above (1) every value of the kind.
type bound struct {
	floor   int64
	exact   bool
	outside int
}

var errNoNumber = errors.New("not a number")

// maxExponent bounds what a literal may cost: no column holds more digits.
const maxExponent = 400

// parseRat reads a decimal literal exactly.
func parseRat(s string) (*big.Rat, error) {
	digits := 0
	mantissa, exponent, hasExponent := s, "", false
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent, hasExponent = s[:i], s[i+1:], true
	}
	for i, c := range mantissa {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case (c == '-' || c == '+') && i == 0, c == '.':
		default:
			return nil, errNoNumber
		}
	}
	if digits == 0 || strings.Count(mantissa, ".") > 1 {
		return nil, errNoNumber
	}
	if hasExponent {
		e, err := strconv.Atoi(exponent)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, errNoNumber
		}
		if err != nil || e > maxExponent || e < -maxExponent || digits > maxExponent {
			return nil, fmt.Errorf("exponent beyond %d", maxExponent)
		}
	}
	if digits > maxExponent {
		return nil, fmt.Errorf("more than %d digits", maxExponent)
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, errNoNumber
	}
	return r, nil
}

// scaled is the literal r in units of 10^-scale.
func scaled(r *big.Rat, scale int32) bound {
	num := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	num.Mul(num, r.Num())
	quotient, rest := new(big.Int).DivMod(num, r.Denom(), new(big.Int)) // Euclidean: floor, as Denom > 0
	if !quotient.IsInt64() {
		return bound{outside: quotient.Sign()}
	}
	return bound{floor: quotient.Int64(), exact: rest.Sign() == 0}
}

func parseDecimal(s string, scale int32) (bound, error) {
	r, err := parseRat(s)
	if err != nil {
		return bound{}, err
	}
	return scaled(r, scale), nil
}

func parseBool(s string) (bound, error) {
	switch strings.ToLower(s) {
	case "true":
		return bound{floor: 1, exact: true}, nil
	case "false":
		return bound{exact: true}, nil
	}
	return bound{}, errors.New("want true or false")
}

// parseInstant reads an instant for a timestamp column; what is finer than a
// microsecond lies between two of its values.
func parseInstant(s string) (bound, error) {
	t, _, err := parseTime(s)
	if err != nil {
		return bound{}, err
	}
	return bound{floor: t.UnixMicro(), exact: t.Nanosecond()%1000 == 0}, nil
}

func parseDate(s string) (bound, error) {
	t, day, err := parseTime(s)
	if err != nil {
		return bound{}, err
	}
	if !day {
		return bound{}, errors.New("want a day such as 2024-01-15")
	}
	return bound{floor: t.Unix() / 86400, exact: true}, nil // midnight: divides even before 1970
}

var timeLayouts = []string{
	time.RFC3339Nano,
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02T15:04",
	"2006-01-02 15:04",
}

// parseTime reads a day or an instant; without an offset it is UTC.
func parseTime(s string) (t time.Time, day bool, err error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, true, nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), false, nil
		}
	}
	return time.Time{}, false, errors.New("want a day (2024-01-15) or an instant (2024-01-15T14:30:00Z)")
}

func parseFloat(s string) (float64, error) {
	if _, err := parseRat(s); err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, errors.New("beyond the range of a 64-bit float")
	}
	return f, nil
}

// parseBytes reads a literal for a binary column: hexadecimal after 0x, else the
// text's own bytes.
func parseBytes(s string, quoted bool) (string, error) {
	if quoted || !strings.HasPrefix(s, "0x") {
		return s, nil
	}
	b, err := hex.DecodeString(s[2:])
	if err != nil {
		return "", errors.New("want 0x and an even number of hexadecimal digits")
	}
	return string(b), nil
}

// integral tells whether values of the kind are kept as whole numbers of a unit.
func integral(k schema.Kind) bool {
	switch k {
	case schema.Bool, schema.Int32, schema.Int64, schema.Decimal, schema.Timestamp, schema.Date:
		return true
	}
	return false
}

func parseIntegral(f schema.Field, s string) (bound, error) {
	switch f.Kind {
	case schema.Bool:
		return parseBool(s)
	case schema.Decimal:
		return parseDecimal(s, f.Scale)
	case schema.Timestamp:
		return parseInstant(s)
	case schema.Date:
		return parseDate(s)
	default:
		return parseDecimal(s, 0)
	}
}
