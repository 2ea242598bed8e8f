package schema

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/buger/jsonparser"
)

// yardsticks decode the same records by other means.
type yardsticks struct {
	def      *Definition
	payloads [][]byte
	builder  *array.RecordBuilder
	set      []bool // columns the open row has
	text     []byte
	at       time.Time
	float    float64
	integer  int64
}

func newYardsticks(def *Definition, payloads [][]byte) *yardsticks {
	fields := def.Arrow().Fields()[:def.Own]
	return &yardsticks{
		def: def, payloads: payloads,
		builder: array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil)),
		set:     make([]bool, def.Own),
	}
}

type marketStruct struct {
	Symbol        string      `json:"symbol"`
	Source        string      `json:"source"`
	Timestamp     time.Time   `json:"timestamp"`
	Price         json.Number `json:"price"`
	Bid           json.Number `json:"bid"`
	Ask           json.Number `json:"ask"`
	High          json.Number `json:"high"`
	Low           json.Number `json:"low"`
	Open          json.Number `json:"open"`
	Close         json.Number `json:"close"`
	MarketCap     json.Number `json:"market_cap"`
	Change        *float64    `json:"change"`
	ChangePercent *float64    `json:"change_percent"`
	Volume        *int64      `json:"volume"`
}

type optionStruct struct {
	Underlying     string      `json:"underlying_symbol"`
	Contract       string      `json:"contract_symbol"`
	Expiration     string      `json:"expiration_date"`
	Strike         json.Number `json:"strike_price"`
	Type           string      `json:"option_type"`
	Bid            json.Number `json:"bid"`
	Ask            json.Number `json:"ask"`
	LastPrice      json.Number `json:"last_price"`
	MarkPrice      json.Number `json:"mark_price"`
	BidAskSpread   json.Number `json:"bid_ask_spread"`
	IntrinsicValue json.Number `json:"intrinsic_value"`
	TimeValue      json.Number `json:"time_value"`
	Volume         *int64      `json:"volume"`
	OpenInterest   *int64      `json:"open_interest"`
	BidSize        *int64      `json:"bid_size"`
	AskSize        *int64      `json:"ask_size"`
	Delta          *float64    `json:"delta"`
	Gamma          *float64    `json:"gamma"`
	Theta          *float64    `json:"theta"`
	Vega           *float64    `json:"vega"`
	Rho            *float64    `json:"rho"`
	Volatility     *float64    `json:"implied_volatility"`
	Timestamp      time.Time   `json:"timestamp"`
	DataSource     string      `json:"data_source"`
	CreatedAt      time.Time   `json:"created_at"`
}

// std is encoding/json into a struct.
func (y *yardsticks) std() error {
	for _, p := range y.payloads {
		var err error
		if y.def.Name == "market_data" {
			var v marketStruct
			err = json.Unmarshal(p, &v)
		} else {
			var v optionStruct
			err = json.Unmarshal(p, &v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stdColumns is std with the values appended to builders.
func (y *yardsticks) stdColumns() error {
	for _, p := range y.payloads {
		if y.def.Name == "market_data" {
			var v marketStruct
			if err := json.Unmarshal(p, &v); err != nil {
				return err
			}
			y.string("symbol", v.Symbol)
			y.string("data_source", v.Source)
			y.time("timestamp", v.Timestamp)
			for i, n := range [...]json.Number{v.Price, v.Bid, v.Ask, v.High, v.Low, v.Open, v.Close, v.MarketCap} {
				y.decimal(marketDecimals[i], string(n))
			}
			y.floatValue("change", v.Change)
			y.floatValue("change_percent", v.ChangePercent)
			y.intValue("volume", v.Volume)
		} else {
			var v optionStruct
			if err := json.Unmarshal(p, &v); err != nil {
				return err
			}
			y.option(&v)
		}
		y.endRow()
	}
	y.builder.NewRecordBatch().Release()
	return nil
}

func (y *yardsticks) option(v *optionStruct) {
	y.string("underlying_symbol", v.Underlying)
	y.string("contract_symbol", v.Contract)
	y.string("option_type", v.Type)
	y.string("data_source", v.DataSource)
	y.date("expiration_date", v.Expiration)
	y.time("timestamp", v.Timestamp)
	y.time("created_at", v.CreatedAt)
	y.decimal("strike_price", string(v.Strike))
	y.decimal("bid", string(v.Bid))
	y.decimal("ask", string(v.Ask))
	y.decimal("last_price", string(v.LastPrice))
	y.decimal("mark_price", string(v.MarkPrice))
	y.decimal("bid_ask_spread", string(v.BidAskSpread))
	y.decimal("intrinsic_value", string(v.IntrinsicValue))
	y.decimal("time_value", string(v.TimeValue))
	y.intValue("volume", v.Volume)
	y.intValue("open_interest", v.OpenInterest)
	y.intValue("bid_size", v.BidSize)
	y.intValue("ask_size", v.AskSize)
	y.floatValue("delta", v.Delta)
	y.floatValue("gamma", v.Gamma)
	y.floatValue("theta", v.Theta)
	y.floatValue("vega", v.Vega)
	y.floatValue("rho", v.Rho)
	y.floatValue("implied_volatility", v.Volatility)
}

// parser is jsonparser over each object once, its values parsed by kind.
func (y *yardsticks) parser() error {
	return y.walk(func(f *Field, _ int, value []byte) (err error) {
		switch f.Kind {
		case String, Date:
			y.text = append(y.text[:0], value...)
		case Timestamp:
			y.at, err = time.Parse(time.RFC3339, string(value))
		case Int64:
			y.integer, err = jsonparser.ParseInt(value)
		default:
			y.float, err = jsonparser.ParseFloat(value)
		}
		return err
	})
}

// parserColumns is parser with the values appended to builders.
func (y *yardsticks) parserColumns() error {
	err := y.walk(func(f *Field, _ int, value []byte) (err error) {
		switch f.Kind {
		case String:
			y.string(f.Name, string(value))
		case Date:
			y.date(f.Name, string(value))
		case Timestamp:
			y.at, err = time.Parse(time.RFC3339, string(value))
			y.time(f.Name, y.at)
		case Int64:
			y.integer, err = jsonparser.ParseInt(value)
			y.intValue(f.Name, &y.integer)
		case Float64:
			y.float, err = jsonparser.ParseFloat(value)
			y.floatValue(f.Name, &y.float)
		default:
			y.decimal(f.Name, string(value))
		}
		return err
	}, y.endRow)
	y.builder.NewRecordBatch().Release()
	return err
}

func (y *yardsticks) walk(each func(f *Field, col int, value []byte) error, after ...func()) error {
	for _, p := range y.payloads {
		err := jsonparser.ObjectEach(p, func(key, value []byte, _ jsonparser.ValueType, _ int) error {
			col, ok := y.def.byName[string(key)]
			if !ok {
				return nil
			}
			return each(&y.def.Fields[col], col, value)
		})
		if err != nil {
			return err
		}
		for _, f := range after {
			f()
		}
	}
	return nil
}

func (y *yardsticks) column(name string) array.Builder {
	col := y.def.byName[name]
	y.set[col] = true
	return y.builder.Field(col)
}

func (y *yardsticks) endRow() {
	for i, set := range y.set {
		if !set {
			y.builder.Field(i).AppendNull()
		}
		y.set[i] = false
	}
}

func (y *yardsticks) string(name, v string) {
	if err := y.column(name).(*array.BinaryDictionaryBuilder).AppendString(v); err != nil {
		panic(err)
	}
}

func (y *yardsticks) time(name string, v time.Time) {
	y.column(name).(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
}

func (y *yardsticks) date(name, v string) {
	t, err := time.Parse(time.DateOnly, v)
	if err != nil {
		panic(err)
	}
	y.column(name).(*array.Date32Builder).Append(arrow.Date32FromTime(t))
}

// decimal goes by way of a float where that is exact and cheaper, as one would.
func (y *yardsticks) decimal(name, v string) {
	f := &y.def.Fields[y.def.byName[name]]
	x, err := strconv.ParseFloat(v, 64)
	if err != nil {
		panic(err)
	}
	n, err := decimal128.FromFloat64(x, f.Precision, f.Scale)
	if err != nil {
		panic(err)
	}
	y.column(name).(*array.Decimal128Builder).Append(n)
}

func (y *yardsticks) floatValue(name string, v *float64) {
	y.column(name).(*array.Float64Builder).Append(*v)
}

func (y *yardsticks) intValue(name string, v *int64) {
	y.column(name).(*array.Int64Builder).Append(*v)
}

var marketDecimals = [...]string{"price", "bid", "ask", "high", "low", "open", "close", "market_cap"}
