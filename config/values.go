package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size, written as a number with an optional unit: 512, 64KiB,
// 256MiB, 1GiB, or 1MB for powers of ten.
type Bytes int64

var units = []struct {
	suffix string
	factor float64
}{ // longest first, so that "MiB" is not read as "B"
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, factor := strings.TrimSpace(string(text)), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || math.IsNaN(v) || v*factor > math.MaxInt64/2 {
		return fmt.Errorf("size %q: want a number with an optional unit, such as 64MiB", text)
	}
	*b = Bytes(v * factor)
	return nil
}

// String writes the size in the largest binary unit that divides it.
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if f := int64(units[i].factor); int64(b) >= f && int64(b)%f == 0 {
			return strconv.FormatInt(int64(b)/f, 10) + units[i].suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Human writes a size for people: 1.4 MiB.
func (b Bytes) Human() string {
	for i := 3; i >= 0; i-- {
		if f := units[i].factor; float64(b) >= f {
			return strconv.FormatFloat(float64(b)/f, 'f', 1, 64) + " " + units[i].suffix
		}
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}
