package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"
)

// marketRecord is what the live publisher sends: json.dumps with its spaces, the
// alias source, no created_at, float noise in some prices.
func marketRecord(r *rand.Rand, i int) string {
	at := published.Add(time.Duration(r.IntN(3600_000_000)) * time.Microsecond)
	price := func() string {
		p := 20 + 400*r.Float64()
		if r.IntN(4) == 0 {
			return fmt.Sprint(float64(float32(p)))
		}
		return fmt.Sprintf("%.2f", p)
	}
	return fmt.Sprintf(`{"symbol": "%s", "timestamp": "%s", "price": %s, "volume": %d, "bid": %s, "ask": %s, "high": %s, "low": %s, "open": %s, "close": %s, "change": %.4f, "change_percent": %.4f, "market_cap": %d, "source": "yahoo_finance"}`,
		benchSymbols[i%len(benchSymbols)], at.Format("2006-01-02T15:04:05.000000+00:00"), price(), r.IntN(10_000_000), price(), price(), price(), price(), price(), price(),
		r.NormFloat64(), r.NormFloat64(), 1_000_000_000+r.Int64N(2_000_000_000_000))
}

// optionRecord has every field of options_data.
func optionRecord(r *rand.Rand, i int) string {
	symbol := benchSymbols[i%len(benchSymbols)]
	strike := 50 + r.IntN(500)
	price := func() string { return fmt.Sprintf("%.2f", 10*r.Float64()) }
	return fmt.Sprintf(`{"underlying_symbol": "%s", "contract_symbol": "%s240621C%08d", "expiration_date": "2024-06-21", "strike_price": %d.0, "option_type": "call", "bid": %s, "ask": %s, "last_price": %s, "mark_price": %s, "bid_ask_spread": %s, "intrinsic_value": %s, "time_value": %s, "volume": %d, "open_interest": %d, "bid_size": %d, "ask_size": %d, "delta": %.6f, "gamma": %.6f, "theta": %.6f, "vega": %.6f, "rho": %.6f, "implied_volatility": %.6f, "timestamp": "%s", "data_source": "yahoo_finance", "created_at": "2024-01-15T14:59:00Z"}`,
		symbol, symbol, strike*1000, strike, price(), price(), price(), price(), price(), price(), price(), r.IntN(10000), r.IntN(100000), r.IntN(500), r.IntN(500),
		r.Float64(), r.Float64(), -r.Float64(), r.Float64(), r.Float64(), r.Float64(), published.Add(-time.Duration(r.IntN(3600))*time.Second).Format(time.RFC3339))
}

var benchSymbols = func() (s []string) {
	for i := range 200 {
		s = append(s, fmt.Sprintf("%c%c%c", 'A'+i/26, 'A'+i%26, 'A'+i*7%26))
	}
	return s
}()

// payloads are messages of perMessage records.
func payloads(make func(*rand.Rand, int) string, messages, perMessage int, array bool) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	var all [][]byte
	for m := range messages {
		var records []string
		for i := range perMessage {
			records = append(records, make(r, m*perMessage+i))
		}
		text := strings.Join(records, "\n")
		if array {
			text = "[" + strings.Join(records, ",") + "]"
		}
		all = append(all, []byte(text))
	}
	return all
}

// BenchmarkDecode measures the decoder beside its yardsticks: encoding/json into
// a struct and jsonparser into typed variables, each alone and with its values
// appended to Arrow builders, which is where the decoder's end up. Neither
// validates, judges or flags, and jsonparser does not look at all of the text.
//
// Turns alternate, each four passes over the same bytes, which stay in the cache as those
// of a message that has just come do, and the best pass counts, so that the ratios hold
// whatever else the machine does. That spares encoding/json most of its garbage collection.
func BenchmarkDecode(b *testing.B) {
	for _, bm := range []struct {
		name     string
		dataType string
		make     func(*rand.Rand, int) string
		each     int
		array    bool
	}{
		{"market_data/single", "market_data", marketRecord, 1, false},
		{"market_data/lines500", "market_data", marketRecord, 500, false},
		{"market_data/array500", "market_data", marketRecord, 500, true},
		{"options_data/single", "options_data", optionRecord, 1, false},
		{"options_data/lines500", "options_data", optionRecord, 500, false},
		{"options_data/array500", "options_data", optionRecord, 500, true},
	} {
		b.Run(bm.name, func(b *testing.B) {
			const turn, passes = 500, 4 // rows, and how often over
			def := definition(b, bm.dataType)
			singles := payloads(bm.make, turn, 1, false)
			y := newYardsticks(def, singles)
			all := singles
			if bm.each > 1 {
				all = payloads(bm.make, turn/bm.each, bm.each, bm.array)
			}
			dec, rows, m := def.NewDecoder(Standard), NewColumns(def), message("")
			ours := time.Hour
			turns := [...]struct {
				unit string
				run  func() error
				best time.Duration
			}{
				{"x-encoding/json", y.std, time.Hour},
				{"x-encoding/json-to-columns", y.stdColumns, time.Hour},
				{"x-jsonparser", y.parser, time.Hour},
				{"x-jsonparser-to-columns", y.parserColumns, time.Hour},
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range turns {
					for range passes {
						start := time.Now()
						if err := turns[i].run(); err != nil {
							b.Fatal(err)
						}
						turns[i].best = min(turns[i].best, time.Since(start))
					}
				}
				if rows.Len() >= 8192 {
					rows.Reset()
				}
				b.StartTimer()
				for range passes {
					start := time.Now()
					for _, p := range all {
						m.Data = p
						if rejected := dec.Decode(m, rows); len(rejected) > 0 {
							b.Fatal(rejected[0].Explanation)
						}
					}
					ours = min(ours, time.Since(start))
				}
			}
			bytes := 0
			for _, p := range all {
				bytes += len(p)
			}
			b.ReportMetric(float64(ours)/turn, "ns/row")
			b.ReportMetric(turn/ours.Seconds(), "rows/s")
			b.ReportMetric(float64(bytes)/ours.Seconds()/1e6, "MB/s")
			for _, t := range turns {
				b.ReportMetric(float64(t.best)/float64(ours), t.unit)
			}
		})
	}
}

// BenchmarkDecodeAvro measures single Avro records beside twmb/avro, which decodes
// into a struct: of the Go types it has for the logical ones, and, with a schema that
// has none, of bytes and integers. It does not judge what it decodes. The records are
// those that a live publisher sends, and arbitrary ones: any field null, any digits.
func BenchmarkDecodeAvro(b *testing.B) {
	for _, bm := range []struct {
		name   string
		sample func(*rand.Rand, *Definition, int) map[string]any
	}{
		{"live", liveSample},
		{"arbitrary", func(r *rand.Rand, def *Definition, _ int) map[string]any { return randomSample(r, def).values }},
	} {
		b.Run(bm.name, func(b *testing.B) { benchmarkAvro(b, bm.sample) })
	}
}

func benchmarkAvro(b *testing.B, sample func(*rand.Rand, *Definition, int) map[string]any) {
	def := definition(b, "market_data")
	logical, plain := avro.MustParse(def.Avro()), avro.MustParse(withoutLogical(b, def.Avro()))
	r := rand.New(rand.NewPCG(1, 2))
	const turn, passes = 500, 4 // rows, and how often over
	var all [][]byte
	for len(all) < turn {
		values := sample(r, def, len(all))
		values["symbol"], values["price"] = benchSymbols[len(all)%len(benchSymbols)], big.NewRat(15025, 100)
		values["timestamp"] = published.Add(-time.Duration(r.IntN(3600)) * time.Second)
		binary, err := logical.Encode(values)
		if err != nil {
			b.Fatal(err)
		}
		if rejected := def.NewDecoder(Standard).Decode(attributed(binary, "content_type", "avro/binary"), NewColumns(def)); len(rejected) == 0 {
			all = append(all, binary)
		}
	}
	dec, rows := def.NewDecoder(Standard), NewColumns(def)
	m := attributed(nil, "content_type", "avro/binary")
	var typed marketAvro
	var bare marketBare
	turns := [...]struct {
		unit   string
		decode func([]byte) error
		best   time.Duration
	}{
		{"x-twmb/avro", func(p []byte) error { _, err := logical.Decode(p, &typed); return err }, time.Hour},
		{"x-twmb/avro-without-logical-types", func(p []byte) error { _, err := plain.Decode(p, &bare); return err }, time.Hour},
	}
	ours := time.Hour
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range turns {
			for range passes {
				start := time.Now()
				for _, p := range all {
					if err := turns[i].decode(p); err != nil {
						b.Fatal(err)
					}
				}
				turns[i].best = min(turns[i].best, time.Since(start))
			}
		}
		if rows.Len() >= 8192 {
			rows.Reset()
		}
		b.StartTimer()
		for range passes {
			start := time.Now()
			for _, p := range all {
				m.Data = p
				if rejected := dec.Decode(m, rows); len(rejected) > 0 {
					b.Fatal(rejected[0].Explanation)
				}
			}
			ours = min(ours, time.Since(start))
		}
	}
	b.ReportMetric(float64(ours)/turn, "ns/row")
	b.ReportMetric(turn/ours.Seconds(), "rows/s")
	for _, t := range turns {
		b.ReportMetric(float64(t.best)/float64(ours), t.unit)
	}
}

// liveSample has the fields of marketRecord.
func liveSample(r *rand.Rand, def *Definition, _ int) map[string]any {
	var sent map[string]any
	if err := json.Unmarshal([]byte(marketRecord(r, 0)), &sent); err != nil {
		panic(err)
	}
	values := randomSample(r, def).values
	for i := range def.Fields[:def.Own] {
		f := &def.Fields[i]
		v, isNumber := sent[f.Name].(float64)
		switch {
		case f.Required || len(f.Defaults) > 0:
		case !isNumber:
			values[f.Name] = nil
		case f.Kind == Int64:
			values[f.Name] = int64(v)
		case f.Kind == Decimal:
			values[f.Name] = big.NewRat(int64(v*100), 100)
		default:
			values[f.Name] = v
		}
	}
	values["data_source"], values["created_at"] = "yahoo_finance", published.Add(-time.Minute)
	return values
}

// withoutLogical is the schema with its logical types left out.
func withoutLogical(b *testing.B, schema string) string {
	var v any
	if err := json.Unmarshal([]byte(schema), &v); err != nil {
		b.Fatal(err)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "logicalType")
			for _, inner := range v {
				strip(inner)
			}
		case []any:
			for _, inner := range v {
				strip(inner)
			}
		}
	}
	strip(v)
	text, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// marketAvro is a record of market_data as twmb/avro decodes it.
type marketAvro struct {
	Symbol        string    `avro:"symbol"`
	Timestamp     time.Time `avro:"timestamp"`
	Price         *big.Rat  `avro:"price"`
	Open          *big.Rat  `avro:"open"`
	High          *big.Rat  `avro:"high"`
	Low           *big.Rat  `avro:"low"`
	Close         *big.Rat  `avro:"close"`
	Volume        *int64    `avro:"volume"`
	MarketCap     *big.Rat  `avro:"market_cap"`
	PERatio       *float64  `avro:"pe_ratio"`
	EPS           *big.Rat  `avro:"eps"`
	DividendYield *float64  `avro:"dividend_yield"`
	RSI           *float64  `avro:"rsi_14d"`
	SMA           *big.Rat  `avro:"sma_20d"`
	Volatility    *float64  `avro:"volatility_30d"`
	Beta          *float64  `avro:"beta"`
	Bid           *big.Rat  `avro:"bid"`
	Ask           *big.Rat  `avro:"ask"`
	Change        *float64  `avro:"change"`
	ChangePercent *float64  `avro:"change_percent"`
	DataSource    string    `avro:"data_source"`
	CreatedAt     time.Time `avro:"created_at"`
	Version       string    `avro:"version"`
}

// marketBare is marketAvro without logical types.
type marketBare struct {
	Symbol        string   `avro:"symbol"`
	Timestamp     int64    `avro:"timestamp"`
	Price         []byte   `avro:"price"`
	Open          *[]byte  `avro:"open"`
	High          *[]byte  `avro:"high"`
	Low           *[]byte  `avro:"low"`
	Close         *[]byte  `avro:"close"`
	Volume        *int64   `avro:"volume"`
	MarketCap     *[]byte  `avro:"market_cap"`
	PERatio       *float64 `avro:"pe_ratio"`
	EPS           *[]byte  `avro:"eps"`
	DividendYield *float64 `avro:"dividend_yield"`
	RSI           *float64 `avro:"rsi_14d"`
	SMA           *[]byte  `avro:"sma_20d"`
	Volatility    *float64 `avro:"volatility_30d"`
	Beta          *float64 `avro:"beta"`
	Bid           *[]byte  `avro:"bid"`
	Ask           *[]byte  `avro:"ask"`
	Change        *float64 `avro:"change"`
	ChangePercent *float64 `avro:"change_percent"`
	DataSource    string   `avro:"data_source"`
	CreatedAt     int64    `avro:"created_at"`
	Version       string   `avro:"version"`
}
