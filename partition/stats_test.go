package partition

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/schema"
)

// kinds has a column of each kind.
func kinds(t testing.TB) *schema.Definition {
	t.Helper()
	return definition(t, "market_data")
}

// A cellSetter puts a value into the open row.
type cellSetter func(c *schema.Columns)

func recordOf(def *schema.Definition, rows ...[]cellSetter) arrow.RecordBatch {
	c := schema.NewColumns(def)
	for _, row := range rows {
		c.Begin()
		for _, set := range row {
			set(c)
		}
		c.Commit()
	}
	return c.Record()
}

func rowsOf(sets ...cellSetter) [][]cellSetter {
	var rows [][]cellSetter
	for _, s := range sets {
		rows = append(rows, []cellSetter{s})
	}
	return rows
}

func TestStats(t *testing.T) {
	def := kinds(t)
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMicro()
	}
	text := func(v string) cellSetter {
		return func(c *schema.Columns) { c.SetString(def.Field("symbol"), []byte(v)) }
	}
	when := func(v int64) cellSetter {
		return func(c *schema.Columns) { c.SetTimestamp(def.Field("timestamp"), v) }
	}
	price := func(v int64) cellSetter {
		return func(c *schema.Columns) { c.SetDecimal(def.Field("price"), v) } // 8 digits
	}
	volume := func(v int64) cellSetter {
		return func(c *schema.Columns) { c.SetInt64(def.Field("volume"), v) }
	}
	beta := func(v float64) cellSetter {
		return func(c *schema.Columns) { c.SetFloat64(def.Field("beta"), v) }
	}
	none := func(*schema.Columns) {}
	for _, tt := range []struct {
		name, column string
		rows         [][]cellSetter
		min, max     any
		nulls        int64
	}{
		{"strings", "symbol", rowsOf(text("MSFT"), text("AAPL"), none), "AAPL", "MSFT", 1},
		{"empty string", "symbol", rowsOf(text("")), "", "", 0},
		{"32 characters stay", "symbol", rowsOf(text(strings.Repeat("é", 32))), strings.Repeat("é", 32), strings.Repeat("é", 32), 0},
		{"33 characters are cut and raised", "symbol", rowsOf(text(strings.Repeat("a", 33))), strings.Repeat("a", 32), strings.Repeat("a", 31) + "b", 0},
		{"raised over the surrogates", "symbol", rowsOf(text(strings.Repeat("a", 31) + "\uD7FFa")), strings.Repeat("a", 31) + "\uD7FF", strings.Repeat("a", 31) + "\uE000", 0},
		{"raised one character earlier", "symbol", rowsOf(text(strings.Repeat("a", 31) + "\U0010FFFFa")), strings.Repeat("a", 31) + "\U0010FFFF", strings.Repeat("a", 30) + "b", 0},
		{"no valid raise", "symbol", rowsOf(text(strings.Repeat("\U0010FFFF", 33))), strings.Repeat("\U0010FFFF", 32), nil, 0},
		{"not UTF-8", "symbol", rowsOf(text("\xff")), nil, nil, 0},
		{"all null", "symbol", rowsOf(none, none), nil, nil, 2},
		{"whole milliseconds", "timestamp", rowsOf(when(at("2024-01-15T14:30:52Z"))), "2024-01-15T14:30:52.000Z", "2024-01-15T14:30:52.000Z", 0},
		{"microseconds are floored and raised", "timestamp", rowsOf(when(at("2024-01-15T14:30:52.000001Z"))), "2024-01-15T14:30:52.000Z", "2024-01-15T14:30:52.001Z", 0},
		{"and before the epoch", "timestamp", rowsOf(when(-1)), "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z", 0},
		{"raised into the next year", "timestamp", rowsOf(when(at("2023-12-31T23:59:59.999999Z"))), "2023-12-31T23:59:59.999Z", "2024-01-01T00:00:00.000Z", 0},
		{"no such year", "timestamp", rowsOf(when(math.MaxInt64), when(math.MinInt64)), nil, nil, 0},
		{"decimals a float64 holds", "price", rowsOf(price(185_25000000), price(-1_50000000), none), json.Number("-1.5"), json.Number("185.25"), 1},
		{"decimals it does not hold are floored and raised", "price", rowsOf(price(185_30000000), price(185_20000000)), json.Number("185.19921875"), json.Number("185.30078125"), 0},
		{"and below zero", "price", rowsOf(price(-1), price(-185_30000000)), json.Number("-185.30078125"), json.Number("0"), 0},
		{"no decimal above", "price", rowsOf(price(999_999_999_999_999_999), price(-999_999_999_999_999_999)), nil, nil, 0},
		{"decimal zero", "price", rowsOf(price(0)), json.Number("0"), json.Number("0"), 0},
		{"small decimal", "price", rowsOf(price(390625)), json.Number("0.00390625"), json.Number("0.00390625"), 0},
		{"integers", "volume", rowsOf(volume(3), volume(-5), none, none), json.Number("-5"), json.Number("3"), 2},
		{"up to 2^53", "volume", rowsOf(volume(1<<53), volume(-(1 << 53))), json.Number("-9007199254740992"), json.Number("9007199254740992"), 0},
		{"beyond 2^53", "volume", rowsOf(volume(1<<53+1), volume(1)), json.Number("1"), nil, 0},
		{"the least integer", "volume", rowsOf(volume(math.MinInt64)), nil, nil, 0},
		{"floats", "beta", rowsOf(beta(0.1), beta(1e300)), json.Number("0.1"), json.Number("1e+300"), 0},
		{"both zeros", "beta", rowsOf(beta(0)), json.Number("-0.0"), json.Number("0.0"), 0},
		{"minus zero", "beta", rowsOf(beta(math.Copysign(0, -1))), json.Number("-0.0"), json.Number("0.0"), 0},
		{"whole float", "beta", rowsOf(beta(2)), json.Number("2.0"), json.Number("2.0"), 0},
		{"NaN", "beta", rowsOf(beta(1), beta(math.NaN())), nil, nil, 0},
		{"infinity", "beta", rowsOf(beta(1), beta(math.Inf(1))), json.Number("1.0"), nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := StatsOf(recordOf(def, tt.rows...), def)
			if s.Min[tt.column] != tt.min || s.Max[tt.column] != tt.max || s.NullCount[tt.column] != tt.nulls || s.NumRecords != int64(len(tt.rows)) {
				t.Errorf("bounds of %s = %#v, %#v with %d nulls of %d; want %#v, %#v, %d", tt.column,
					s.Min[tt.column], s.Max[tt.column], s.NullCount[tt.column], s.NumRecords, tt.min, tt.max, tt.nulls)
			}
			back, err := ParseStats(s.JSON())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(s, back); d != "" {
				t.Errorf("written and read:\n%s", d)
			}
		})
	}
}

func TestStatsOfDatesAndBinary(t *testing.T) {
	def := definition(t, "forecasts")
	day := def.TimeField
	if def.Fields[day].Kind != schema.Date {
		t.Fatalf("the event time of %s is no date", def.Name)
	}
	s := StatsOf(recordOf(def, rowsOf(
		func(c *schema.Columns) { c.SetDate(day, int32(jan15)) },
		func(c *schema.Columns) { c.SetDate(day, -1) })...), def)
	name := def.Fields[day].Name
	if s.Min[name] != "1969-12-31" || s.Max[name] != "2024-01-15" {
		t.Errorf("dates from %v to %v", s.Min[name], s.Max[name])
	}

	letters := definition(t, "dead_letters")
	for i, f := range letters.Fields {
		if f.Kind != schema.Binary {
			continue
		}
		s := StatsOf(recordOf(letters, rowsOf(func(c *schema.Columns) { c.SetBinary(i, []byte("x")) })...), letters)
		if s.Min[f.Name] != nil || s.Max[f.Name] != nil || s.NullCount[f.Name] != 0 {
			t.Errorf("bounds of binary %s: %v, %v", f.Name, s.Min[f.Name], s.Max[f.Name])
		}
	}
}

// No row lies outside the bounds, however they are compared; and the statistics
// of two files together are those of all their rows.
func TestStatsNeverNarrow(t *testing.T) {
	def := kinds(t)
	symbol, when, price, volume, beta := def.Field("symbol"), def.Field("timestamp"), def.Field("price"), def.Field("volume"), def.Field("beta")
	type row struct {
		symbol *string
		when   int64
		price  int64
		volume int64
		beta   float64
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) []row {
			return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
				return row{
					symbol: rapid.Ptr(rapid.OneOf(rapid.StringN(0, 40, -1), rapid.StringMatching("[a\uD7FF\U0010FFFF\uFFFF]{30,40}")), true).Draw(t, "symbol"),
					when:   rapid.Int64().Draw(t, "when"),
					price:  rapid.OneOf(rapid.Int64Range(-1e18+1, 1e18-1), rapid.Map(rapid.Int64Range(-1000, 1000), func(n int64) int64 { return n * 390625 })).Draw(t, "price"),
					volume: rapid.Int64().Draw(t, "volume"),
					beta:   rapid.Float64().Draw(t, "beta"),
				}
			}), 1, 8).Draw(t, label)
		}
		record := func(rows []row) arrow.RecordBatch {
			var cells [][]cellSetter
			for _, r := range rows {
				cells = append(cells, []cellSetter{func(c *schema.Columns) {
					if r.symbol != nil {
						c.SetString(symbol, []byte(*r.symbol))
					}
					c.SetTimestamp(when, r.when)
					c.SetDecimal(price, r.price)
					c.SetInt64(volume, r.volume)
					c.SetFloat64(beta, r.beta)
				}})
			}
			return recordOf(def, cells...)
		}
		a, b := draw("a"), draw("b")
		all := append(append([]row{}, a...), b...)
		s := StatsOf(record(all), def)
		for _, r := range all {
			if r.symbol != nil {
				within(t, "symbol", s, func(bound any) (int, int) {
					c := strings.Compare(*r.symbol, bound.(string))
					return c, c
				})
			}
			within(t, "timestamp", s, func(bound any) (int, int) {
				at, err := time.Parse(time.RFC3339Nano, bound.(string))
				if err != nil {
					t.Fatal(err)
				}
				c := time.UnixMicro(r.when).Compare(at)
				return c, c
			})
			within(t, "price", s, func(bound any) (int, int) {
				exact, _ := new(big.Rat).SetString(bound.(json.Number).String())
				f, err := bound.(json.Number).Float64()
				if err != nil || new(big.Rat).SetFloat64(f).Cmp(exact) != 0 {
					t.Fatalf("price bound %v is %v as a float64", bound, f)
				}
				c := big.NewRat(r.price, 1e8).Cmp(exact)
				return c, c
			})
			within(t, "volume", s, func(bound any) (int, int) {
				f, _ := bound.(json.Number).Float64()
				n, err := bound.(json.Number).Int64()
				if err != nil {
					t.Fatal(err)
				}
				c := big.NewInt(r.volume).Cmp(big.NewInt(int64(f)))
				return big.NewInt(r.volume).Cmp(big.NewInt(n)), c
			})
			within(t, "beta", s, func(bound any) (int, int) {
				f, err := bound.(json.Number).Float64()
				if err != nil {
					t.Fatal(err)
				}
				return int(math.Copysign(1, r.beta-f)) * btoi(r.beta != f), totalOrder(r.beta, f)
			})
		}
		if d := cmp.Diff(s, StatsOf(record(a), def).Merge(StatsOf(record(b), def))); d != "" {
			mergedNeverNarrows(t, s, StatsOf(record(a), def).Merge(StatsOf(record(b), def)))
		}
	})
}

// within checks a row against both bounds in two orders.
func within(t *rapid.T, column string, s Stats, compare func(bound any) (int, int)) {
	if low, ok := s.Min[column]; ok {
		if a, b := compare(low); a < 0 || b < 0 {
			t.Fatalf("a row of %s lies below %v", column, low)
		}
	}
	if high, ok := s.Max[column]; ok {
		if a, b := compare(high); a > 0 || b > 0 {
			t.Fatalf("a row of %s lies above %v", column, high)
		}
	}
}

// mergedNeverNarrows: merged statistics may lack bounds that all rows at once
// have (one side's bound could not be written), and have wider strings; where
// they have one it does not cut into the whole's.
func mergedNeverNarrows(t *rapid.T, all, merged Stats) {
	if d := cmp.Diff(all.NullCount, merged.NullCount); d != "" || all.NumRecords != merged.NumRecords {
		t.Fatalf("merged counts:\n%s", d)
	}
	for column, low := range merged.Min {
		if c, ok := compareBounds(low, all.Min[column]); !ok || c > 0 {
			t.Fatalf("merged minimum of %s is %v, of all rows %v", column, low, all.Min[column])
		}
	}
	for column, high := range merged.Max {
		if c, ok := compareBounds(high, all.Max[column]); !ok || c < 0 {
			t.Fatalf("merged maximum of %s is %v, of all rows %v", column, high, all.Max[column])
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// totalOrder is IEEE 754's, in which -0 comes before 0.
func totalOrder(a, b float64) int {
	key := func(f float64) int64 {
		n := int64(math.Float64bits(f))
		if n < 0 {
			n ^= math.MaxInt64
		}
		return n
	}
	return btoi(key(a) > key(b)) - btoi(key(a) < key(b))
}

// A slice shares its whole's dictionary; the words it does not use are not its.
func TestStatsOfASlice(t *testing.T) {
	def := kinds(t)
	text := func(v string) cellSetter {
		return func(c *schema.Columns) { c.SetString(def.Field("symbol"), []byte(v)) }
	}
	whole := recordOf(def, rowsOf(text("A"), text("B"), text("C"), text("D"))...)
	slice := whole.NewSlice(1, 3)
	s := StatsOf(slice, def)
	first, last := symbolsOf(slice, def)
	if s.Min["symbol"] != "B" || s.Max["symbol"] != "C" || first != "B" || last != "C" || s.NumRecords != 2 {
		t.Errorf("from %v (%q) to %v (%q)", s.Min["symbol"], first, s.Max["symbol"], last)
	}
}
