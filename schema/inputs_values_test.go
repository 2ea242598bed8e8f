package schema

import "strings"

// oddValues are the numbered inputs whose trouble is in one value, or in two
// that contradict each other.
func oddValues() []oddInput {
	ok := func(change, want, counted, flags string) oddCase {
		field, sent, _ := strings.Cut(change, "=")
		return oddCase{name: sent, change: []string{change}, field: field, want: want, counted: counted, flags: flags}
	}
	bad := func(change string, r Reason) oddCase {
		_, sent, _ := strings.Cut(change, "=")
		return oddCase{name: sent[:min(len(sent), 40)], change: []string{change}, rejected: one(r)}
	}
	options := func(flags string, changes ...string) oddCase {
		return oddCase{name: strings.Join(changes, " "), dataType: "options_data", change: changes, flags: flags}
	}
	of := func(dataType string, c oddCase) oddCase { c.dataType = dataType; return c }
	lenient := func(c oddCase) oddCase { c.level = Lenient; c.name += " at LENIENT"; return c }
	symbols := func(all ...string) (cases []oddCase) {
		for _, s := range all {
			cases = append(cases, ok(`symbol="`+s+`"`, s, "", ""))
		}
		return cases
	}
	const ts, day = "2024-01-15T14:30:52Z", "options_data"
	return []oddInput{
		{n: 14, what: "control characters in a symbol", cases: []oddCase{
			bad(`symbol="A\u0000"`, BadCharacters), bad(`symbol="A\u0007"`, BadCharacters), bad(`symbol="A\nB"`, BadCharacters), bad("symbol=\"A\nB\"", JSONSyntax), bad("symbol=\"A\x00\"", JSONSyntax),
		}},
		{n: 15, what: "bidi and zero-width in a symbol", cases: []oddCase{bad(`symbol="A\u202eB"`, BadCharacters), bad(`symbol="A\u2066B"`, BadCharacters), bad("symbol=\"A\u200bB\"", BadCharacters), bad("symbol=\"A\ufeff\"", BadCharacters)}},
		{n: 16, what: "NaN and Infinity tokens", cases: []oddCase{
			ok(`change=NaN`, "null", "nan_to_null", ""), ok(`volume=NaN`, "null", "nan_to_null", ""), ok(`bid=-Infinity`, "null", "infinity_to_null", "infinity"), ok(`change=Infinity`, "null", "infinity_to_null", "infinity"),
			bad(`price=NaN`, NotFinite), bad(`price=Infinity`, NotFinite),
		}},
		// A number may come as a string, and then this is the number above.
		{n: 17, what: "NaN as a string", differs: true, cases: []oddCase{
			ok(`change="NaN"`, "null", "nan_to_null", ""), bad(`price="NaN"`, NotFinite), {name: "at STRICT", level: Strict, change: []string{`change="NaN"`}, rejected: one(NotCanonical)},
		}},
		{n: 18, what: "1e400", cases: []oddCase{bad(`change=1e400`, NumberOverflow), bad(`price=1e400`, NumberOverflow), bad(`volume=1e400`, NumberOverflow)}},
		{n: 19, what: "1e999999999", cases: []oddCase{bad(`price=1e999999999`, NumberOverflow), bad(`price="1e999999999"`, NumberOverflow), bad(`price=1e-999999999`, DecimalPrecision), bad(`price=1e99999999999999999999`, NumberOverflow), bad(`price="Inf"`, NotFinite)}},
		{n: 20, what: "1e-50", cases: []oddCase{bad(`price=1e-50`, DecimalPrecision)}},
		{n: 21, what: "more fraction digits than the scale", cases: []oddCase{
			ok(`price=100.000000005`, "100", "rounded", ""), ok(`price=100.000000015`, "100.00000002", "rounded", ""), ok(`price=100.0000000050000001`, "100.00000001", "rounded", ""), ok(`price=150.2500000000000`, "150.25", "", ""),
		}},
		{n: 22, what: "decimal overflow", cases: []oddCase{bad(`price=10000000000`, NumberOverflow), bad(`price=9999999999.999999999`, NumberOverflow), ok(`price=9999999999.99999999`, "9999999999.99999999", "", "")}},
		{n: 23, what: "-0", cases: []oddCase{ok(`bid=-0`, "0", "negative_zero", ""), ok(`change=-0.0`, "0", "negative_zero", ""), ok(`volume=-0`, "0", "negative_zero", "")}},
		{n: 24, what: "negative price", cases: []oddCase{bad(`price=-36.98`, RuleBroken), ok(`close=-36.98`, "-36.98", "", "bar_not_positive")}},
		{n: 25, what: "zero price", cases: []oddCase{bad(`price=0`, RuleBroken), bad(`price=-0.00`, RuleBroken), ok(`close=0`, "0", "", "bar_not_positive")}},
		{n: 26, what: "int64 overflow", cases: []oddCase{bad(`volume=9223372036854775808`, NumberOverflow), bad(`volume=1e19`, NumberOverflow), ok(`volume=9223372036854775807`, "9223372036854775807", "", "")}},
		{n: 27, what: "exact forms of a volume", cases: []oddCase{ok(`volume=1e3`, "1000", "integer_form", ""), ok(`volume=1.0`, "1", "integer_form", "")}},
		{n: 28, what: "negative volume", cases: []oddCase{bad(`volume=-1`, RuleBroken)}},
		{n: 29, what: "a boolean or array for a number", cases: []oddCase{bad(`price=true`, TypeMismatch), bad(`price=[1]`, TypeMismatch), bad(`volume=false`, TypeMismatch), bad(`change=[]`, TypeMismatch)}},
		{n: 30, what: "years far away", cases: []oddCase{
			bad(`timestamp="0001-01-01T00:00:00Z"`, EventTimeWindow), bad(`timestamp="1677-09-21T00:12:43Z"`, EventTimeWindow), bad(`timestamp="2263-01-01T00:00:00Z"`, EventTimeWindow), bad(`timestamp="9999-12-31T23:59:59Z"`, EventTimeWindow),
			ok(`created_at="9999-12-31T23:59:59.999999Z"`, "9999-12-31T23:59:59.999999Z", "", ""), ok(`created_at="1677-09-21T00:12:43Z"`, "1677-09-21T00:12:43Z", "", ""), ok(`created_at="2263-01-01T00:00:00Z"`, "2263-01-01T00:00:00Z", "", ""), ok(`created_at="0001-01-01T00:00:00Z"`, "0001-01-01T00:00:00Z", "", ""),
			ok(`timestamp="1900-01-01T00:00:00Z"`, "1900-01-01T00:00:00Z", "", ""), bad(`timestamp="1899-12-31T23:59:59.999999Z"`, EventTimeWindow),
			ok(`timestamp="2025-01-15T15:00:00Z"`, "2025-01-15T15:00:00Z", "", "future_event_time"), bad(`timestamp="2025-01-15T15:00:00.000001Z"`, EventTimeWindow),
		}},
		{n: 31, what: "epoch times", cases: []oddCase{
			ok(`timestamp=1705329052`, ts, "epoch_seconds", ""), ok(`timestamp=1705329052000`, ts, "epoch_millis", ""), ok(`timestamp=1705329052000000`, ts, "epoch_micros", ""), ok(`timestamp=1705329052000000000`, ts, "epoch_nanos", ""),
			bad(`timestamp=20240115`, AmbiguousTimestamp), bad(`timestamp=0`, AmbiguousTimestamp),
		}},
		{n: 32, what: "leap second", cases: []oddCase{ok(`timestamp="2016-12-31T23:59:60Z"`, "2017-01-01T00:00:00Z", "leap_second", "leap_second"), bad(`timestamp="2016-12-31T23:59:61Z"`, BadTimestamp)}},
		{n: 33, what: "naive timestamp", cases: []oddCase{ok(`timestamp="2024-01-15T14:30:52"`, ts, "naive_timestamp", "")}},
		{n: 34, what: "more than a day in the future", cases: []oddCase{ok(`timestamp="2024-01-16T15:00:00Z"`, "2024-01-16T15:00:00Z", "", ""), ok(`timestamp="2024-01-16T15:00:00.000001Z"`, "2024-01-16T15:00:00.000001Z", "", "future_event_time")}},
		// The names are made safe, the values stay what they are.
		{n: 35, what: "symbols like paths", also: []string{"partition TestEscapedSymbolIsSafeAndReversible", ". TestSymbolsComeBack"}, cases: append(symbols("../../x", "..", "a/b", "A%2FB"), ok(`symbol=""`, "", "", "empty_symbol"))},
		{n: 36, what: "symbols with marks", also: []string{"partition TestEscapedSymbolIsSafeAndReversible", ". TestSymbolsComeBack"}, cases: symbols("BRK.B", "^GSPC", "BTC-USD", "0700.HK", "ES=F")},
		{n: 37, what: "a 500-character symbol", also: []string{"partition TestEscapeSymbol"}, cases: []oddCase{bad(`symbol="`+strings.Repeat("x", 500)+`"`, TooLong), ok(`symbol="`+strings.Repeat("x", 128)+`"`, strings.Repeat("x", 128), "", "")}},
		{n: 38, what: "formula", also: []string{"query TestGoldenFormats"}, cases: []oddCase{ok(`data_source="=cmd()"`, "=cmd()", "", ""), ok(`symbol="=cmd()"`, "=cmd()", "", "")}},
		{n: 39, what: "bid above ask", cases: []oddCase{{change: []string{"bid=2.01", "ask=2"}, flags: "bid_above_ask"}, options("bid_above_ask", "bid=2.01", "ask=2")}},
		{n: 40, what: "bid below zero", cases: []oddCase{bad(`bid=-1`, RuleBroken), of(day, bad(`bid=-1`, RuleBroken))}},
		{n: 41, what: "expiration", cases: []oddCase{of(day, bad(`expiration_date="2024-02-30"`, BadTimestamp)), options("expired_at_quote", `expiration_date="2024-01-14"`, `contract_symbol="x"`)}},
		{n: 42, what: "option_type", differs: true, cases: []oddCase{
			of(day, ok(`option_type="call"`, "call", "", "")), of(day, ok(`option_type="C"`, "call", "normalised", "")), of(day, ok(`option_type="CALL"`, "call", "normalised", "")),
			of(day, bad(`option_type="x"`, NotInEnum)), {name: "C at STRICT", dataType: day, level: Strict, change: []string{`option_type="C"`}, rejected: one(NotCanonical)},
		}},
		{n: 43, what: "contract that contradicts", cases: []oddCase{
			options("contract_contradicts", `contract_symbol="QQQ240119C00580000"`), options("contract_contradicts", `contract_symbol="SPY240120C00580000"`),
			options("contract_contradicts", `contract_symbol="SPY240119P00580000"`), options("contract_contradicts", `contract_symbol="SPY240119C00580001"`), options(""),
		}},
		{n: 44, what: "strike zero", cases: []oddCase{of(day, bad(`strike_price=0`, RuleBroken))}},
		{n: 45, what: "greeks", cases: []oddCase{options("delta_out_of_range", "delta=1.01"), options("delta_out_of_range", "delta=-1.01"), options("gamma_or_vega_negative", "vega=-0.1"), options("implied_volatility_out_of_range", "implied_volatility=50.1"), options("", "delta=-1", "vega=0", "implied_volatility=50")}},
		{n: 46, what: "horizon", cases: []oddCase{of("forecasts", bad(`forecast_horizon_days=0`, RuleBroken)), of("forecasts", bad(`forecast_horizon_days=-1`, RuleBroken)), of("forecasts", bad(`forecast_horizon_days=2147483648`, NumberOverflow))}},
		{n: 47, what: "lower above upper", differs: true, cases: []oddCase{{dataType: "forecasts", change: []string{"confidence_interval_lower=160", "confidence_interval_upper=150"}, flags: "interval_reversed outside_interval"}}},
		{n: 48, what: "score outside 0 to 1", cases: []oddCase{of("forecasts", bad(`confidence_score=1.01`, RuleBroken)), of("forecasts", bad(`confidence_score=-0.01`, RuleBroken)), of("forecasts", lenient(bad(`confidence_score=90.64`, RuleBroken))), of("forecasts", ok(`confidence_score=1`, "1", "", ""))}},
	}
}
