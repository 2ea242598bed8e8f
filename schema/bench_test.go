package schema

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/buger/jsonparser"
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

func nanosPerRow(d time.Duration, rows int) float64 { return float64(d) / float64(rows) }

// BenchmarkDecode measures the decoder and its yardsticks in one run, so that
// the ratios hold whatever else the machine does: encoding/json into a struct of
// the same fields, and jsonparser into typed variables, neither of which
// validates, interns or builds columns as the decoder does.
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
			all := payloads(bm.make, 2000/bm.each, bm.each, bm.array)
			single := payloads(bm.make, 2000, 1, false)
			def := definition(b, bm.dataType)
			dec, rows := def.NewDecoder(Standard), NewColumns(def)
			m := message("")
			bytes, n := 0, 0
			b.ReportAllocs()
			// Turns of ours and of the yardsticks alternate, each a pass over all.
			var ours, std, parser time.Duration
			for b.Loop() {
				start := cpuTime()
				for _, p := range all {
					m.Data = p
					if rows.Len() >= 8192 {
						rows.Reset()
					}
					if rejected := dec.Decode(m, rows); len(rejected) > 0 {
						b.Fatal(rejected[0].Explanation)
					}
					bytes += len(p)
				}
				ours += cpuTime() - start
				n += 2000
				b.StopTimer()
				start = cpuTime()
				for _, p := range single {
					yardstickStd(b, bm.dataType, p)
				}
				std += cpuTime() - start
				start = cpuTime()
				for _, p := range single {
					yardstickParser(b, bm.dataType, p)
				}
				parser += cpuTime() - start
				b.StartTimer()
			}
			b.ReportMetric(nanosPerRow(ours, n), "ns/row")
			b.ReportMetric(float64(n)/ours.Seconds(), "rows/s")
			b.ReportMetric(float64(bytes)/ours.Seconds()/1e6, "MB/s")
			b.ReportMetric(float64(std)/float64(ours), "x-encoding/json")
			b.ReportMetric(float64(parser)/float64(ours), "x-jsonparser")
		})
	}
}

type marketStruct struct {
	Symbol, Source                   string
	Timestamp                        time.Time
	Price, Bid, Ask, High, Low, Open *stdjson.Number
	Close, Change, Market_Cap        *stdjson.Number
	Change_Percent                   *float64
	Volume                           *int64
}

type optionStruct struct {
	Underlying_Symbol, Contract_Symbol, Option_Type, Data_Source   string
	Expiration_Date                                                string
	Strike_Price, Bid, Ask, Last_Price, Mark_Price, Bid_Ask_Spread *stdjson.Number
	Intrinsic_Value, Time_Value                                    *stdjson.Number
	Volume, Open_Interest, Bid_Size, Ask_Size                      *int64
	Delta, Gamma, Theta, Vega, Rho, Implied_Volatility             *float64
	Timestamp, Created_At                                          time.Time
}

func yardstickStd(b *testing.B, dataType string, p []byte) {
	var err error
	if dataType == "market_data" {
		var v marketStruct
		err = stdjson.Unmarshal(p, &v)
	} else {
		var v optionStruct
		err = stdjson.Unmarshal(p, &v)
	}
	if err != nil {
		b.Fatal(err)
	}
}

var (
	marketText  = []string{"symbol", "source"}
	marketTimes = []string{"timestamp"}
	optionText  = []string{"underlying_symbol", "contract_symbol", "option_type", "data_source", "expiration_date"}
	optionTimes = []string{"timestamp", "created_at"}
)

var sinkTime time.Time

// yardstickParser walks the object once, as jsonparser is used at its best.
func yardstickParser(b *testing.B, dataType string, p []byte) {
	text, times := marketText, marketTimes
	if dataType != "market_data" {
		text, times = optionText, optionTimes
	}
	err := jsonparser.ObjectEach(p, func(key, value []byte, kind jsonparser.ValueType, _ int) error {
		for _, t := range times {
			if string(key) == t {
				at, err := time.Parse(time.RFC3339, string(value))
				sinkTime = at
				return err
			}
		}
		for _, t := range text {
			if string(key) == t {
				sinkText = append(sinkText[:0], value...)
				return nil
			}
		}
		if bytes.IndexByte(value, '.') >= 0 {
			f, err := jsonparser.ParseFloat(value)
			sinkFloat = f
			return err
		}
		i, err := jsonparser.ParseInt(value)
		sinkInt = i
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

var (
	sinkText  []byte
	sinkFloat float64
	sinkInt   int64
)

// No row allocates, once buffers and dictionaries have grown.
func TestDecodeAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		name     string
		dataType string
		messages [][]byte
	}{
		{"market records", "market_data", payloads(marketRecord, 100, 1, false)},
		{"market lines", "market_data", payloads(marketRecord, 2, 100, false)},
		{"market array", "market_data", payloads(marketRecord, 2, 100, true)},
		{"option records", "options_data", payloads(optionRecord, 100, 1, false)},
		{"coercions", "market_data", [][]byte{
			[]byte(record("market_data", `price="4.420000076293945"`, `volume="10.0"`, `timestamp="2024-01-15 14:30:52"`, `change=NaN`, `bid="inf"`)),
			[]byte(record("market_data", `timestamp=1705329052.5`, `beta=1.2345678901234567890123`, `x={"a":[1,{"b":"\u00e9"}]}`, `symbol="\u00e9"`)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, tt.dataType)
			dec, rows := def.NewDecoder(Standard), NewColumns(def)
			m := message("")
			m.Attributes = map[string]string{"source": "x", "event_id": "e", "schema_version": "v1.1.0", "content_type": "application/json", "message_type": "x"}
			all := func() {
				rows.Reset()
				for _, p := range tt.messages {
					m.Data = p
					if rejected := dec.Decode(m, rows); len(rejected) > 0 {
						t.Fatal(rejected[0].Explanation)
					}
				}
			}
			all()
			if got := testing.AllocsPerRun(20, all); got != 0 {
				t.Errorf("%v allocations for %d rows", got, rows.Len())
			}
		})
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	def := definition(t, "market_data")
	dec, src, dst := def.NewDecoder(Standard), NewColumns(def), NewColumns(def)
	m := message("")
	for _, p := range payloads(marketRecord, 100, 1, false) {
		m.Data = p
		dec.Decode(m, src)
	}
	all := func() {
		dst.Reset()
		dst.Append(src, 0, 50)
		for row := 50; row < src.Len(); row++ {
			dst.Append(src, row, row+1)
		}
	}
	all()
	if got := testing.AllocsPerRun(20, all); got != 0 {
		t.Errorf("%v allocations for %d rows", got, dst.Len())
	}
}
