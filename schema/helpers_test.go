package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// published is when the messages of these tests were published.
var published = time.Date(2024, 1, 15, 15, 0, 0, 0, time.UTC)

func definition(t testing.TB, dataType string) *Definition {
	t.Helper()
	r, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	d, ok := r.Latest(dataType)
	if !ok {
		t.Fatalf("no data type %s", dataType)
	}
	return d
}

func message(data string) *Message {
	return &Message{ID: "1", Data: []byte(data), PublishTime: published}
}

// cell is one value of a record as text; "null" is a null.
func cell(rec arrow.RecordBatch, field string, row int) string {
	for i, f := range rec.Schema().Fields() {
		if f.Name != field {
			continue
		}
		if rec.Column(i).IsNull(row) {
			return "null"
		}
		return rec.Column(i).ValueStr(row)
	}
	return "no such field"
}

// show is every row of a record, one a line, nulls left out.
func show(rec arrow.RecordBatch) string {
	var b strings.Builder
	for row := range int(rec.NumRows()) {
		for i, f := range rec.Schema().Fields() {
			if !rec.Column(i).IsNull(row) {
				fmt.Fprintf(&b, "%s=%s ", f.Name, rec.Column(i).ValueStr(row))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// bases are good records, to which tests add and from which they take.
var bases = map[string]map[string]string{
	"market_data": {
		"symbol": `"AAPL"`, "timestamp": `"2024-01-15T14:30:52Z"`, "price": `150.25`, "data_source": `"yahoo"`,
	},
	"options_data": {
		"underlying_symbol": `"SPY"`, "contract_symbol": `"SPY240119C00580000"`, "expiration_date": `"2024-01-19"`, "strike_price": `580`,
		"option_type": `"call"`, "timestamp": `"2024-01-15T14:30:52Z"`, "data_source": `"yahoo"`,
	},
	"forecasts": {
		"symbol": `"AAPL"`, "model_name": `"lstm"`, "model_version": `"3"`, "forecast_horizon_days": `5`,
		"predicted_price": `151.5`, "prediction_date": `"2024-01-15"`,
	},
}

// record is the base record with some values replaced, added ("x=1") or taken
// away ("x=").
func record(dataType string, changes ...string) string {
	values := map[string]string{}
	var order []string
	for k, v := range bases[dataType] {
		values[k] = v
		order = append(order, k)
	}
	slices.Sort(order)
	for _, c := range changes {
		k, v, _ := strings.Cut(c, "=")
		if _, ok := values[k]; !ok {
			order = append(order, k)
		}
		values[k] = v
	}
	var parts []string
	for _, k := range order {
		if values[k] != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", k, values[k]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func without(list []string, word string) []string {
	var rest []string
	for _, w := range list {
		if w != word {
			rest = append(rest, w)
		}
	}
	return rest
}
