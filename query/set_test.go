package query

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/schema"
)

// Whether a comparison holds must agree with arithmetic on rationals, for every
// literal, however many digits it has.
func TestComparingIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scale := rapid.Int32Range(0, 18).Draw(t, "scale")
		text := rapid.StringMatching(`-?[0-9]{1,21}(\.[0-9]{0,22})?(e-?[0-9]{1,2})?`).Draw(t, "literal")
		literal, _ := new(big.Rat).SetString(text)
		b, err := parseDecimal(text, scale)
		if err != nil {
			t.Fatal(err)
		}
		v := rapid.OneOf(rapid.Int64(), rapid.Int64Range(b.floor-2, max(b.floor-2, b.floor+2)), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64})).Draw(t, "value")
		c := new(big.Rat).SetFrac(big.NewInt(v), pow10(scale)).Cmp(literal)
		for o, want := range map[op]bool{opEq: c == 0, opNe: c != 0, opLt: c < 0, opLe: c <= 0, opGt: c > 0, opGe: c >= 0} {
			s := b.comparing(o)
			if got := s.contains(v); got != want {
				t.Errorf("%d at scale %d %s %s = %v, want %v", v, scale, o, text, got, want)
			}
			if got := s.overlaps(v, v); got != want {
				t.Errorf("[%d] at scale %d overlaps %s %s = %v, want %v", v, scale, o, text, got, want)
			}
		}
	})
}

// A range of values may be excluded only if none of its values is in the set.
func TestOverlapsIsTheAnyOfContains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Int64Range(-6, 6)
		var s set[int64]
		if rapid.Bool().Draw(t, "list") {
			s = oneOf(rapid.SliceOfN(small, 0, 6).Draw(t, "values"), rapid.Bool().Draw(t, "negated"))
		} else {
			s = comparing(rapid.SampledFrom([]op{opEq, opNe, opLt, opLe, opGt, opGe}).Draw(t, "op"), small.Draw(t, "literal"), rapid.Bool().Draw(t, "exact"))
		}
		lo := small.Draw(t, "lo")
		hi := rapid.Int64Range(lo, 7).Draw(t, "hi")
		some := false
		for v := lo; v <= hi; v++ {
			some = some || s.contains(v)
		}
		// Between integers there may be a gap that only reals fill.
		if got := s.overlaps(lo, hi); some && !got {
			t.Errorf("%v overlaps [%d, %d] = false, but it contains one of them", s, lo, hi)
		}
	})
}

func TestFloatsWithoutOrderAreInNoSet(t *testing.T) {
	for _, s := range []set[float64]{everything[float64](), comparing(opNe, 1.0, true), oneOf([]float64{math.NaN()}, false)} {
		if s.contains(math.NaN()) {
			t.Errorf("%v contains NaN", s)
		}
	}
}

func TestLiteralsThatCostTooMuch(t *testing.T) {
	for _, text := range []string{"1e999999999", "1e-999999999", "1e99999999999999999999", "1/3", "0x10", "1_000", "Inf", "NaN", "", ".", "-", "e5", "1e", "1.2.3", "--1"} {
		if b, err := parseDecimal(text, 8); err == nil {
			t.Errorf("parseDecimal(%q) = %+v, want an error", text, b)
		}
	}
}

func stat(t *testing.T, def *schema.Definition, stats, col string) bounds {
	t.Helper()
	s := parseStats(stats)
	return s.bounds(def.Fields[def.Field(col)])
}

// Statistics of other writers may be cut, missing or damaged; none may narrow.
func TestStatisticsNeverNarrow(t *testing.T) {
	reg, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := reg.Latest("market_data")
	for _, tt := range []struct {
		name, stats, col string
		want             bounds
	}{
		{"both bounds", `{"numRecords":3,"minValues":{"volume":1},"maxValues":{"volume":5},"nullCount":{"volume":1}}`, "volume", bounds{true, value{int: 1}, value{int: 5}, 1}},
		{"a maximum cut to the millisecond", `{"minValues":{"timestamp":"2024-01-15T00:00:00.001Z"},"maxValues":{"timestamp":"2024-01-15T00:00:00.001Z"}}`, "timestamp",
			bounds{true, value{int: 1705276800001000}, value{int: 1705276800001999}, -1}},
		{"decimals between two values are widened", `{"minValues":{"price":0.000000015},"maxValues":{"price":0.000000025}}`, "price", bounds{true, value{int: 1}, value{int: 3}, -1}},
		{"a maximum beyond the kind", `{"minValues":{"volume":-1e30},"maxValues":{"volume":1e30}}`, "volume", bounds{true, value{int: math.MinInt64}, value{int: math.MaxInt64}, -1}},
		{"only a minimum", `{"minValues":{"volume":1},"nullCount":{"volume":0}}`, "volume", bounds{nulls: 0}},
		{"null bounds", `{"minValues":{"volume":null},"maxValues":{"volume":null}}`, "volume", unknown},
		{"bounds the wrong way round", `{"minValues":{"volume":5},"maxValues":{"volume":1}}`, "volume", unknown},
		{"a bound of another kind", `{"minValues":{"symbol":1},"maxValues":{"symbol":2}}`, "symbol", unknown},
		{"a nested null count", `{"nullCount":{"volume":{"x":1}}}`, "volume", unknown},
		{"no statistics", ``, "volume", unknown},
		{"damaged statistics", `{"minValues":{"volume":1`, "volume", unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := stat(t, def, tt.stats, tt.col); got != tt.want {
				t.Errorf("bounds = %+v, want %+v", got, tt.want)
			}
		})
	}
}

type known struct {
	b    bounds
	rows int64
}

func (k known) bounds(int) bounds { return k.b }
func (k known) rowCount() int64   { return k.rows }

func TestNullsAndMissingStatisticsExcludeNothingWrongly(t *testing.T) {
	reg, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := reg.Latest("market_data")
	oneToFive := bounds{known: true, min: value{int: 1}, max: value{int: 5}}
	for _, tt := range []struct {
		name, where string
		d           known
		want        bool
	}{
		{"nothing known", "volume > 9", known{unknown, -1}, true},
		{"outside the bounds", "volume > 9", known{oneToFive, 3}, false},
		{"inside the bounds", "volume = 3", known{oneToFive, 3}, true},
		{"between the values, exactly", "volume = 3.5", known{oneToFive, 3}, false},
		{"nothing but nulls", "volume != 9", known{bounds{nulls: 3}, 3}, false},
		{"nulls in an unknown number of rows", "volume != 9", known{bounds{nulls: 3}, -1}, true},
		{"is null where there is none", "volume is null", known{bounds{nulls: 0}, 3}, false},
		{"is null where it is not known", "volume is null", known{unknown, 3}, true},
		{"is null where there are some", "volume is null", known{bounds{nulls: 1}, 3}, true},
		{"is not null where all are", "volume is not null", known{bounds{nulls: 3}, 3}, false},
		{"is not null where some are", "volume is not null", known{bounds{nulls: 2}, 3}, true},
		{"no rows", "volume is null", known{unknown, 0}, false},
		{"not in all values there may be", "volume not in (1, 2)", known{bounds{known: true, min: value{int: 1}, max: value{int: 1}}, 3}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseWhere(def, tt.where)
			if err != nil {
				t.Fatal(err)
			}
			if got := c[0].mayHold(tt.d); got != tt.want {
				t.Errorf("mayHold = %v, want %v", got, tt.want)
			}
		})
	}
}

// Rows without a symbol come first in the order, whatever the least symbol is.
func TestPlacesOfRowsWithoutASymbol(t *testing.T) {
	reg, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := reg.Latest("market_data")
	for _, tt := range []struct {
		name, nulls string
		open        bool
	}{{"none", `{"symbol":0}`, false}, {"some", `{"symbol":2}`, true}, {"not known", `{}`, true}} {
		t.Run(tt.name, func(t *testing.T) {
			in := input{def: def, stats: parseStats(`{"minValues":{"symbol":"A"},"maxValues":{"symbol":"B"},"nullCount":` + tt.nulls + `}`)}
			in.setPlaces()
			if in.lo.open != tt.open || in.hi.open || in.hi.symbol != "B" {
				t.Errorf("places = %+v to %+v, want an open start: %v", in.lo, in.hi, tt.open)
			}
		})
	}
}
