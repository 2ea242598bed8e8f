package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// Captured files of real publishers go through the broker into both kinds of
// store: one day of an exchange's bars (about 6,000 symbols, each file repeats
// the day before), quotes and option chains. The rows in the lake are the
// records in the files less the dead letters, and the sum of close is exact.
func TestCaptured(t *testing.T) {
	if *dataDir == "" {
		t.Skip("the captured files are not part of the repository: give their folder with -data")
	}
	for _, bucket := range []string{"directory", "gcs"} {
		t.Run(bucket, func(t *testing.T) {
			w := newWorld(t, bucket)
			bars, sum := exchangeDay(t, filepath.Join(*dataDir, "market/pystock/20160801_prices.csv.gz"))
			quotes, contracts := quotes(t), contracts(t)
			start := time.Now()
			w.publish(func(publish func(string, *schema.Message)) {
				for _, data := range append(bars, quotes...) {
					publish("market-data", &schema.Message{Data: data})
				}
				for _, data := range contracts {
					publish("options-data", &schema.Message{Data: data})
				}
			})
			published := time.Since(start)
			w.ingestor("--idle-exit", "15s")
			w.compact()
			reasons := w.reasons()
			letters := int64(0)
			for _, n := range reasons {
				letters += n
			}
			market, options := w.totals("market_data", "close"), w.rows("options_data")
			t.Logf("%d bars + %d quotes + %d contracts published in %v; market rows %d, option rows %d, dead letters %d %v; sum of close %s",
				len(bars), len(quotes), len(contracts), published.Round(time.Millisecond), market.Rows, options, letters, reasons, market.Sum)
			if got, want := market.Rows+options+letters, int64(len(bars)+len(quotes)+len(contracts)); got != want {
				t.Errorf("rows + dead letters = %d, want %d records", got, want)
			}
			if market.Sum != sum {
				t.Errorf("sum of close = %s, want %s", market.Sum, sum)
			}
			w.compact()
			if again := w.totals("market_data", "close"); again != market {
				t.Errorf("a second compaction changed %+v to %+v", market, again)
			}
			t.Logf("lake: %s", w.bucket)
			if keep := os.Getenv("E2E_KEEP"); keep != "" && bucket == "directory" {
				if err := os.CopyFS(keep, os.DirFS(strings.TrimPrefix(w.bucket, "file://"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// exchangeDay reads a day's bars as messages, with the exact sum of close.
func exchangeDay(t *testing.T, name string) (records [][]byte, sumOfClose string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	sum := new(big.Int)
	for _, r := range rows[1:] { // symbol,date,open,high,low,close,volume,adj_close
		records = append(records, fmt.Appendf(nil, `{"symbol":%q,"timestamp":%q,"open":%s,"high":%s,"low":%s,"close":%s,"price":%s,"volume":%s,"source":"pystock"}`,
			r[0], r[1], number(r[2]), number(r[3]), number(r[4]), number(r[5]), number(r[5]), number(r[6])))
		sum.Add(sum, eighths(t, r[5]))
	}
	text := fmt.Sprintf("%09d", sum)
	return records, text[:len(text)-8] + "." + text[len(text)-8:]
}

// number writes a number of the file as JSON does: .89 is 0.89, 000 is 0.
func number(s string) string {
	s = strings.TrimLeft(s, "0")
	if s == "" || s[0] == '.' {
		return "0" + s
	}
	return s
}

// eighths is a decimal in units of 1e-8, rounded half to even.
func eighths(t *testing.T, s string) *big.Int {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("close %q is no number", s)
	}
	r.Mul(r, big.NewRat(1e8, 1))
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	switch twice := rest.Lsh(rest, 1); {
	case twice.Cmp(r.Denom()) > 0, twice.Cmp(r.Denom()) == 0 && q.Bit(0) == 1:
		q.Add(q, big.NewInt(1))
	}
	return q
}

type object map[string]json.RawMessage

// record renames fields of a captured object; numbers keep their very text.
func record(from object, names map[string]string, more map[string]string) []byte {
	to := object{}
	for ours, theirs := range names {
		if v, ok := from[theirs]; ok {
			to[ours] = v
		}
	}
	for k, v := range more {
		to[k], _ = json.Marshal(v)
	}
	data, _ := json.Marshal(to)
	return data
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func captured(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(*dataDir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s in %s (%v)", pattern, *dataDir, err)
	}
	return names
}

func quotes(t *testing.T) (records [][]byte) {
	t.Helper()
	for _, name := range captured(t, "market/yahoo/quote-*.json") {
		var file struct {
			QuoteResponse struct{ Result []object }
		}
		decode(t, name, &file)
		for _, q := range file.QuoteResponse.Result {
			records = append(records, record(q, map[string]string{
				"symbol": "symbol", "timestamp": "regularMarketTime", "price": "regularMarketPrice", "volume": "regularMarketVolume",
				"bid": "bid", "ask": "ask", "high": "regularMarketDayHigh", "low": "regularMarketDayLow", "open": "regularMarketOpen",
				"change": "regularMarketChange", "change_percent": "regularMarketChangePercent", "market_cap": "marketCap",
				"pe_ratio": "trailingPE", "eps": "epsTrailingTwelveMonths",
			}, map[string]string{"source": "yahoo_finance"}))
		}
	}
	return records
}

func contracts(t *testing.T) (records [][]byte) {
	t.Helper()
	for _, name := range captured(t, "options/yahoo/options-*.json") {
		var file struct {
			OptionChain struct {
				Result []struct {
					UnderlyingSymbol string
					Options          []struct {
						ExpirationDate int64
						Calls, Puts    []object
					}
				}
			}
		}
		decode(t, name, &file)
		for _, chain := range file.OptionChain.Result {
			for _, o := range chain.Options {
				expiry := time.Unix(o.ExpirationDate, 0).UTC().Format(time.DateOnly)
				for kind, list := range map[string][]object{"call": o.Calls, "put": o.Puts} {
					for _, c := range list {
						records = append(records, record(c, map[string]string{
							"contract_symbol": "contractSymbol", "strike_price": "strike", "last_price": "lastPrice", "bid": "bid", "ask": "ask",
							"volume": "volume", "open_interest": "openInterest", "implied_volatility": "impliedVolatility", "timestamp": "lastTradeDate",
						}, map[string]string{"underlying_symbol": chain.UnderlyingSymbol, "expiration_date": expiry, "option_type": kind, "source": "yahoo_finance"}))
					}
				}
			}
		}
	}
	return records
}
