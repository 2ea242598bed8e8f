package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A shape is how the rows of one day lie in raw files.
type shape struct {
	Name  string
	Files int
	Rows  int // in each file
}

func (s shape) total() int { return s.Files * s.Rows }

// The shapes that are compared: what an ingestor's flushes leave of a day, and
// what a backfill leaves.
var shapes = map[string]shape{
	"small": {"small", 500, 2_000},
	"large": {"large", 40, 500_000},
	"many":  {"many", 20_000, 50}, // a day of flushes that nobody has compacted
	"tiny":  {"tiny", 20, 2_000},  // for trying the programs out
}

const (
	dataType    = "market_data"
	symbolCount = 100
	repeated    = 100 // one row in so many is also in the file before
)

var day = time.Date(2024, 1, 15, 0, 0, 0, 0, time.UTC)

// make writes a lake of raw files of the shape into a new folder below dir, and
// gives its root. A folder that is complete is used again: the rows are a function
// of the shape.
func (s shape) make(dir string) (root string, err error) {
	root = filepath.Join(dir, fmt.Sprintf("%s-%dx%d", s.Name, s.Files, s.Rows))
	done := filepath.Join(root, "complete")
	if _, err := os.Stat(done); err == nil {
		return root, nil
	}
	if err := os.RemoveAll(root); err != nil {
		return "", err
	}
	lake, err := objstore.OpenDir(filepath.Join(root, "lake"))
	if err != nil {
		return "", err
	}
	registry, err := schema.Builtin()
	if err != nil {
		return "", err
	}
	def, _ := registry.Latest(dataType)
	g := newGenerator(def, s)
	for i := range s.Files {
		if err := g.file(lake, i); err != nil {
			return "", err
		}
	}
	return root, os.WriteFile(done, nil, 0o600)
}

// A generator makes quotes of symbols whose prices walk through a day.
type generator struct {
	shape
	def    *schema.Definition
	column map[string]int
	rng    *rand.Rand
	price  [symbolCount]float64
	before []quote // the file before, of which some rows come again
}

type quote struct {
	symbol    int
	at        int64 // µs
	price     float64
	volume    int64
	change    float64
	id        int64
	published int64
}

func newGenerator(def *schema.Definition, s shape) *generator {
	g := &generator{shape: s, def: def, column: map[string]int{}, rng: rand.New(rand.NewPCG(20240115, uint64(s.total())))}
	for i, f := range def.Fields {
		g.column[f.Name] = i
	}
	for i := range g.price {
		g.price[i] = math.Round(100*(5+400*g.rng.Float64())) / 100
	}
	return g
}

// file writes the file of a number: a window of the day, each window a little
// over the next, and one row in a hundred from the file before.
func (g *generator) file(lake objstore.Writer, number int) error {
	quotes := make([]quote, 0, g.Rows)
	for i := range g.Rows / repeated {
		if g.before != nil {
			quotes = append(quotes, g.before[i*repeated])
		}
	}
	window := 24 * time.Hour.Microseconds() / int64(g.Files+1)
	from := day.UnixMicro() + int64(number)*window
	for len(quotes) < g.Rows {
		quotes = append(quotes, g.quote(from, 2*window))
	}
	g.before = quotes
	rows := schema.NewColumns(g.def)
	for i := range quotes {
		g.add(rows, &quotes[i])
	}
	rec, err := columnar.Sort(rows.Record(), g.def)
	if err != nil {
		return err
	}
	data, summary, err := columnar.Encode(rec, g.def)
	if err != nil {
		return err
	}
	name := partition.RawName{
		Key: partition.Key{Type: dataType, Day: partition.DayOf(day.UnixMicro())}, Category: g.def.Category, Multi: true,
		Time: summary.First, Major: g.def.Version.Major, Writer: "bench", Seq: number + 1,
	}
	_, err = lake.Create(context.Background(), name.String(), data, summary.Metadata())
	return err
}

func (g *generator) quote(from, length int64) quote {
	s := g.rng.IntN(symbolCount)
	step := g.price[s] * 0.0005 * g.rng.NormFloat64()
	g.price[s] = math.Round(100*max(g.price[s]+step, 1)) / 100
	at := from + g.rng.Int64N(length/1000)*1000 // publishers send milliseconds
	return quote{
		symbol: s, at: at, price: g.price[s], volume: 100 * (1 + g.rng.Int64N(5_000)), change: step,
		id: 9_000_000_000_000_000 + g.rng.Int64N(1e15), published: at + 20_000 + g.rng.Int64N(2_000_000),
	}
}

func (g *generator) add(rows *schema.Columns, q *quote) {
	rows.Begin()
	text := func(name, v string) { rows.SetString(g.column[name], []byte(v)) }
	decimal := func(name string, v float64) { // of eight digits, two of them used, as prices are
		rows.SetDecimal(g.column[name], int64(math.Round(100*v))*1_000_000)
	}
	float := func(name string, v float64) { rows.SetFloat64(g.column[name], v) }
	text("symbol", fmt.Sprintf("SYM%02d", q.symbol))
	rows.SetTimestamp(g.column["timestamp"], q.at)
	decimal("price", q.price)
	decimal("open", q.price*0.998)
	decimal("high", q.price*1.012)
	decimal("low", q.price*0.991)
	decimal("close", q.price)
	rows.SetInt64(g.column["volume"], q.volume)
	if q.volume%300 == 0 {
		rows.SetDecimal(g.column["market_cap"], int64(q.price*1.5e10)*100)
	}
	float("volatility_30d", math.Round(1e4*(0.1+0.004*float64(q.symbol)))/1e4)
	float("beta", float64(q.symbol%40)/20)
	decimal("bid", q.price-0.01)
	decimal("ask", q.price+0.01)
	float("change", q.change)
	float("change_percent", 100*q.change/q.price)
	text("data_source", []string{"yahoo_finance", "polygon", "alpaca"}[q.symbol%3])
	rows.SetTimestamp(g.column["created_at"], q.published)
	text("version", "v1.2.0")
	text(schema.ColID, "m:"+strconv.FormatInt(q.id, 10))
	rows.SetInt32(g.column[schema.ColIndex], 0)
	rows.SetTimestamp(g.column[schema.ColPublishedAt], q.published)
	text(schema.ColSchemaVersion, "v1.2.0")
	rows.SetInt64(g.column["_flags"], 0)
	rows.Commit()
}
