// Package samples makes realistic messages in the shapes that real publishers
// send: source instead of data_source, no created_at, NaN tokens, numbers as
// strings, odd symbols, late days, records sent twice, and bad records.
//
// What always holds: the same seed and run give the same messages; every message
// says how many records it carries, how many of them are bad and why, and how
// many repeat a record sent before, so that a lake can be checked against it.
//
// It publishes nothing and is no test fixture of any one package: the
// demonstration, the publish command and the benchmarks use it.
package samples

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// A Sample is one message to publish and what is known about it.
type Sample struct {
	DataType string
	Topic    string
	Message  schema.Message
	Records  int    // records in the payload
	Bad      int    // of them, how many must become dead letters
	Repeated int    // of them, how many were sent before under the same event_id
	Why      string // what is odd about it, for people; empty for an ordinary one
}

// A Mix says how much of what to make.
type Mix struct {
	Seed       uint64
	Run        string    // makes event_ids of one run differ from another's
	Day        time.Time // the trading day; late records are for days before it
	Market     int       // single-record market messages
	Options    int       // single-record option messages
	Forecasts  int       // single-record forecast messages
	Batches    int       // batched messages of each data type
	BatchRows  int       // records in each
	WithFaults bool      // add the odd and bad messages
}

// Demo is the mix of the demonstration.
func Demo(run string) Mix {
	return Mix{
		Seed: 7, Run: run, Day: time.Date(2024, 1, 19, 0, 0, 0, 0, time.UTC),
		Market: 240, Options: 120, Forecasts: 80, Batches: 6, BatchRows: 500, WithFaults: true,
	}
}

// Messages makes the samples of a mix.
func Messages(m Mix) []Sample {
	g := &generator{Mix: m, rng: rand.New(rand.NewPCG(m.Seed, 0x62756666))}
	var all []Sample
	for range m.Market {
		all = append(all, g.single("market_data", g.marketRecord()))
	}
	for range m.Options {
		all = append(all, g.single("options_data", g.optionRecord()))
	}
	for range m.Forecasts {
		all = append(all, g.single("forecasts", g.forecastRecord()))
	}
	for i := range m.Batches {
		all = append(all,
			g.batch("market_data", i, g.marketRecord),
			g.batch("options_data", i, g.optionRecord),
			g.batch("forecasts", i, g.forecastRecord))
	}
	if m.WithFaults {
		all = append(all, g.odd()...)
		all = append(all, g.bad()...)
		all = append(all, g.repeats(all)...)
	}
	return all
}

// MarketJSON makes n market records as live publishers send them, one JSON
// object each: what benchmarks decode.
func MarketJSON(seed uint64, n int) [][]byte {
	g := &generator{Mix: Mix{Day: time.Date(2024, 1, 19, 0, 0, 0, 0, time.UTC)}, rng: rand.New(rand.NewPCG(seed, 1))}
	all := make([][]byte, n)
	for i := range all {
		all[i] = []byte(g.marketRecord())
	}
	return all
}

type generator struct {
	Mix
	rng *rand.Rand
	seq int
}

var topics = map[string]string{"market_data": "market-data", "options_data": "options-data", "forecasts": "forecasts"}

// quotes are symbols with a typical price; the odd ones are as common in real
// feeds as the plain ones.
var quotes = []struct {
	symbol string
	price  float64
}{
	{"AAPL", 191.56}, {"MSFT", 398.67}, {"GOOG", 147.97}, {"AMZN", 155.34}, {"NVDA", 594.91}, {"TSLA", 212.19}, {"SPY", 482.43},
	{"^VIX", 13.3}, {"EURUSD=X", 1.0894}, {"BRK.B", 363.14}, {"BTC-USD", 41665.58}, {"0700.HK", 282.4}, {"GC=F", 2029.3}, {"7203.T", 2887.5}, {"0P000071W8.TO", 18.73},
}

func (g *generator) pick(symbols ...string) (string, float64) {
	q := quotes[g.rng.IntN(len(quotes))]
	if len(symbols) > 0 {
		q = quotes[g.rng.IntN(7)]
	}
	return q.symbol, q.price * (1 + 0.02*g.rng.NormFloat64())
}

// moment is an instant of the trading day, a seventh of them on a day before it.
func (g *generator) moment() time.Time {
	t := g.Day.Add(14*time.Hour + 30*time.Minute + time.Duration(g.rng.Int64N(int64(6*time.Hour+30*time.Minute)))).Truncate(time.Microsecond)
	if g.rng.IntN(7) == 0 {
		t = t.AddDate(0, 0, -1-g.rng.IntN(3))
	}
	return t
}

// stamp writes an instant in one of the forms that occur.
func (g *generator) stamp(t time.Time) string {
	switch g.rng.IntN(5) {
	case 0:
		return quote(t.Truncate(time.Second).Format("2006-01-02T15:04:05-07:00"))
	case 1:
		return quote(t.Format("2006-01-02T15:04:05.000000"))
	case 2:
		return quote(t.Truncate(time.Second).Format("2006-01-02 15:04:05"))
	case 3:
		return fmt.Sprint(t.UnixMilli())
	default:
		return quote(t.Format("2006-01-02T15:04:05.000000Z07:00"))
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// number writes a price as publishers do: float noise, plain, or as a string.
func (g *generator) number(v float64) string {
	switch g.rng.IntN(6) {
	case 0:
		return quote(fmt.Sprintf("%.2f", v))
	case 1, 2:
		return fmt.Sprint(float64(float32(v))) // 4.420000076293945
	default:
		return fmt.Sprint(math.Round(v*10000) / 10000)
	}
}

func (g *generator) marketRecord() string {
	symbol, price := g.pick()
	spread := price * 0.0004
	volume := fmt.Sprint(100 + g.rng.IntN(5_000_000))
	if g.rng.IntN(4) == 0 {
		volume += ".0"
	}
	change := price * 0.01 * g.rng.NormFloat64()
	cap, percent := "null", fmt.Sprint(100*change/price)
	if g.rng.IntN(9) == 0 {
		percent = "NaN" // json.dumps writes it so
	}
	if g.rng.IntN(3) == 0 {
		cap = fmt.Sprintf("%.0f", price*1.5e10)
	}
	return fmt.Sprintf(`{"symbol": %s, "timestamp": %s, "price": %s, "volume": %s, "bid": %s, "ask": %s, "high": %s, "low": %s, "open": %s, "close": %s, "change": %v, "change_percent": %s, "market_cap": %s, "source": "yahoo_finance"}`,
		quote(symbol), g.stamp(g.moment()), g.number(price), volume,
		g.number(price-spread), g.number(price+spread), g.number(price*1.012), g.number(price*0.991), g.number(price*0.998), g.number(price),
		change, percent, cap)
}

func (g *generator) optionRecord() string {
	symbol, price := g.pick("stocks only")
	strike := math.Round(price/5)*5 + float64(5*g.rng.IntN(5))
	expiry := g.Day.AddDate(0, 0, 7*(1+g.rng.IntN(12)))
	kind, letter := "call", "C"
	if g.rng.IntN(2) == 0 {
		kind, letter = "put", "P"
	}
	sent := []string{kind, letter, strings.ToUpper(kind)}[g.rng.IntN(3)]
	contract := fmt.Sprintf("%s%s%s%08.0f", symbol, expiry.Format("060102"), letter, strike*1000)
	last := math.Round(100*(0.5+20*g.rng.Float64())) / 100
	greeks := ""
	if g.rng.IntN(3) > 0 {
		greeks = fmt.Sprintf(`, "delta": %.4f, "gamma": %.4f, "theta": %.4f, "vega": %.4f, "rho": %.4f`,
			g.rng.Float64(), 0.05*g.rng.Float64(), -0.2*g.rng.Float64(), 0.3*g.rng.Float64(), 0.1*g.rng.Float64())
	}
	return fmt.Sprintf(`{"underlying_symbol": %s, "contract_symbol": %s, "expiration_date": %q, "strike_price": %v, "option_type": %q, "bid": %.2f, "ask": %.2f, "last_price": %.2f, "volume": %d.0, "open_interest": %d, "implied_volatility": %v%s, "timestamp": %s, "source": "yahoo_finance"}`,
		quote(symbol), quote(contract), expiry.Format("2006-01-02"), strike, sent, last*0.98, last*1.02, last,
		g.rng.IntN(2000), g.rng.IntN(40000), 0.1+g.rng.Float64(), greeks, g.stamp(g.moment()))
}

func (g *generator) forecastRecord() string {
	symbol, price := g.pick()
	model := []string{"lstm", "prophet", "XGBoost v2", "arima+garch"}[g.rng.IntN(4)]
	predicted := price * (1 + 0.05*g.rng.NormFloat64())
	return fmt.Sprintf(`{"symbol": %s, "model_name": %s, "model_version": "2.%d", "forecast_horizon_days": %d, "predicted_price": %.4f, "confidence_interval_lower": %.4f, "confidence_interval_upper": %.4f, "confidence_score": %.3f, "ensemble_weights": "{\"lstm\": 0.6, \"arima\": 0.4}", "prediction_date": %q, "created_at": %s}`,
		quote(symbol), quote(model), g.rng.IntN(4), []int{1, 5, 30}[g.rng.IntN(3)], predicted, predicted*0.95, predicted*1.05,
		g.rng.Float64(), g.moment().Format("2006-01-02"), quote(g.Day.Add(22*time.Hour).Format(time.RFC3339)))
}

func (g *generator) message(dataType, payload string, attributes map[string]string) Sample {
	all := map[string]string{"source": "yahoo_finance", "message_type": dataType}
	if dataType == "market_data" && g.rng.IntN(3) == 0 {
		all["message_type"] = "json_data"
	}
	for k, v := range attributes {
		all[k] = v
	}
	return Sample{DataType: dataType, Topic: topics[dataType], Records: 1, Message: schema.Message{Data: []byte(payload), Attributes: all}}
}

func (g *generator) single(dataType, record string) Sample { return g.message(dataType, record, nil) }

// batch is one message with many records, as an array or newline-delimited.
func (g *generator) batch(dataType string, i int, record func() string) Sample {
	records := make([]string, g.BatchRows)
	for j := range records {
		records[j] = record()
	}
	payload, contentType := "["+strings.Join(records, ", ")+"]", "application/json"
	if i%2 == 1 {
		payload, contentType = strings.Join(records, "\n")+"\n", "application/x-ndjson"
	}
	s := g.message(dataType, payload, map[string]string{"content_type": contentType, "event_id": g.eventID()})
	s.Records, s.Why = len(records), "batched"
	return s
}

func (g *generator) eventID() string {
	g.seq++
	return fmt.Sprintf("sample-%s-%d", g.Run, g.seq)
}

// odd messages look wrong and are right.
func (g *generator) odd() []Sample {
	var all []Sample
	add := func(dataType, why, payload string) {
		s := g.message(dataType, payload, nil)
		s.Why = why
		all = append(all, s)
	}
	add("market_data", "the record of the first page of the documentation",
		`{"symbol":"AAPL","timestamp":"2024-01-15T14:30:52Z","price":150.25,"volume":1000000,"data_source":"yahoo_finance","created_at":"2024-01-15T14:30:53Z","version":"v1.2.0"}`)
	add("market_data", "a symbol that is no safe file name", `{"symbol":"../../x","timestamp":"2024-01-19","price":1.5,"source":"test"}`)
	add("market_data", "every number a string", `{"symbol":"ETH-USD","timestamp":"1705672800000","price":"2490.11","volume":"1200","bid":"2490.10","ask":"2490.12","source":"exchange"}`)
	add("market_data", "a market cap over a trillion", `{"symbol":"HDFCBANK.NS","timestamp":"2024-01-19T10:00:00+05:30","price":1478.85,"market_cap":15171731849216,"source":"yahoo_finance"}`)
	add("market_data", "bid above ask: flagged", `{"symbol":"PINK","timestamp":"2024-01-19T15:00:00","price":3.1,"bid":3.2,"ask":3.0,"source":"yahoo_finance"}`)
	add("options_data", "a padded contract symbol", `{"underlying_symbol":"GOOG","contract_symbol":"GOOG  240216C00150000","expiration_date":"2024-02-16","strike_price":150,"option_type":"c","bid":0,"ask":50,"implied_volatility":1e-05,"timestamp":"2024-01-19T20:59:00Z","source":"opra"}`)
	add("forecasts", "a model name with spaces", `{"symbol":"BRK.B","model_name":"Mean of 3 models","model_version":"1","forecast_horizon_days":30.0,"predicted_price":"371.2","prediction_date":"2024-01-19"}`)
	return all
}

// bad messages must become dead letters, each for its own reason.
func (g *generator) bad() []Sample {
	var all []Sample
	add := func(dataType, why, payload string, records, bad int, attributes map[string]string) {
		s := g.message(dataType, payload, attributes)
		s.Why, s.Records, s.Bad = why, records, bad
		all = append(all, s)
	}
	add("market_data", "a CSV header read as data", `{"symbol":"CANBK.NS","timestamp":"Ticker","price":null}`, 1, 1, nil)
	add("market_data", "cut off in the middle", `{"symbol":"AAPL","timestamp":"2024-01-19T14:3`, 1, 1, nil)
	add("market_data", "no price", `{"symbol":"AAPL","timestamp":"2024-01-19T14:30:00Z","source":"yahoo_finance"}`, 1, 1, nil)
	add("market_data", "fractional volume", `{"symbol":"BTC-USD","timestamp":"2024-01-19T14:30:00Z","price":41665.58,"volume":12.75,"source":"exchange"}`, 1, 1, nil)
	add("market_data", "a price finer than the schema's scale", `{"symbol":"SHIB-USD","timestamp":"2024-01-19T14:30:00Z","price":8.9421337e-06,"source":"exchange"}`, 1, 1, nil)
	add("market_data", "empty", ``, 1, 1, nil)
	add("options_data", "30 February", `{"underlying_symbol":"SPY","contract_symbol":"SPY240230C00480000","expiration_date":"2024-02-30","strike_price":480,"option_type":"call","timestamp":"2024-01-19T20:59:00Z","source":"opra"}`, 1, 1, nil)
	add("options_data", "an option type that is none", `{"underlying_symbol":"SPY","contract_symbol":"SPY240216X00480000","expiration_date":"2024-02-16","strike_price":480,"option_type":"x","timestamp":"2024-01-19T20:59:00Z","source":"opra"}`, 1, 1, nil)
	add("forecasts", "confidence as a percent", `{"symbol":"AAPL","model_name":"lstm","model_version":"1","forecast_horizon_days":5,"predicted_price":195,"confidence_score":90.64,"prediction_date":"2024-01-19"}`, 1, 1, nil)
	add("forecasts", "one bad record among three", "["+g.forecastRecord()+`,{"symbol":"AAPL","model_name":null},`+g.forecastRecord()+"]", 3, 1, nil)
	return all
}

// repeats are messages that a publisher sends again because it never saw the
// first answer: the same event_id and the same bytes.
func (g *generator) repeats(sent []Sample) []Sample {
	var all []Sample
	for _, s := range sent {
		if s.Message.Attributes["event_id"] == "" || len(all) == 2 {
			continue
		}
		s.Repeated, s.Why = s.Records, "sent again after a lost answer"
		all = append(all, s)
	}
	return all
}
