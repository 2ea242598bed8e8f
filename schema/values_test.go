package schema

import (
	"slices"
	"strings"
	"testing"
)

// Every shape of a value that arrives, what is stored, and what is counted.
func TestValues(t *testing.T) {
	long := strings.Repeat("x", 500)
	for _, tt := range []struct {
		name, dataType, change string
		field                  string // what is looked at; the changed field if ""
		want                   string
		counted                string // "field kind", or "" for none
		flags                  string
		reason                 Reason
	}{
		{name: "plain price", change: `price=150.25`, want: "150.25"},
		{name: "integer price", change: `price=150`, want: "150"},
		{name: "price with exponent", change: `price=1.5025e2`, want: "150.25"},
		{name: "price with float noise", change: `price=4.420000076293945`, want: "4.42000008", counted: "price rounded"},
		{name: "half to even, down", change: `price=100.000000005`, want: "100", counted: "price rounded"},
		{name: "half to even, up", change: `price=100.000000015`, want: "100.00000002", counted: "price rounded"},
		{name: "just over half", change: `price=100.0000000050000000000000000001`, want: "100.00000001", counted: "price rounded"},
		{name: "trailing zeros past the scale", change: `price=150.2500000000000000000000000000`, want: "150.25"},
		{name: "leading zeros of a fraction", change: `price=0.00000001`, want: "1e-08"},
		{name: "very small price", change: `price=8.942e-06`, reason: DecimalPrecision},
		{name: "1e-50", change: `price=1e-50`, reason: DecimalPrecision},
		{name: "rounding by exactly a millionth", change: `price=0.010000010000`, want: "0.01000001"},
		{name: "huge exponent", change: `price=1e999999999`, reason: NumberOverflow},
		{name: "huge negative exponent", change: `price=1e-999999999`, reason: DecimalPrecision},
		{name: "zero with a huge exponent", change: `bid=0e999999999`, want: "0"},
		{name: "decimal overflow", change: `price=10000000000`, reason: NumberOverflow},
		{name: "largest decimal", change: `price=9999999999.99999999`, want: "9999999999.99999999"},
		{name: "overflow by rounding", change: `price=9999999999.999999999`, reason: NumberOverflow},
		{name: "market cap of 15 trillion", change: `market_cap=15171731849216`, want: "15171731849216"},
		{name: "price as a string", change: `price="150.25"`, want: "150.25", counted: "price number_as_string"},
		{name: "price as an escaped string", change: `price="150\u002e25"`, want: "150.25", counted: "price number_as_string"},
		{name: "price as words", change: `price="n/a"`, reason: TypeMismatch},
		{name: "price as an empty string", change: `price=""`, reason: TypeMismatch},
		{name: "price as a boolean", change: `price=true`, reason: TypeMismatch},
		{name: "price as an array", change: `price=[1]`, reason: TypeMismatch},
		{name: "price as an object", change: `price={"a":1}`, reason: TypeMismatch},
		{name: "price with a leading zero", change: `price=0150`, reason: JSONSyntax},
		{name: "price with a plus", change: `price=+1`, reason: JSONSyntax},
		{name: "price ending in a point", change: `price=1.`, reason: JSONSyntax},
		{name: "minus zero", change: `bid=-0`, want: "0", counted: "bid negative_zero"},
		{name: "minus zero float", change: `change=-0.0`, want: "0", counted: "change negative_zero"},
		{name: "zero price", change: `price=0`, reason: RuleBroken},
		{name: "negative price", change: `price=-36.98`, reason: RuleBroken},
		{name: "negative bid", change: `bid=-1`, reason: RuleBroken},

		{name: "NaN", change: `change=NaN`, want: "null", counted: "change nan_to_null"},
		{name: "Infinity", change: `change=Infinity`, want: "null", counted: "change infinity_to_null", flags: "infinity"},
		{name: "minus Infinity", change: `bid=-Infinity`, want: "null", counted: "bid infinity_to_null", flags: "infinity"},
		{name: "NaN as a string", change: `volume="NaN"`, want: "null", counted: "volume nan_to_null"},
		{name: "NaN for a date", dataType: "forecasts", change: `training_data_end_date=NaN`, want: "null", counted: "training_data_end_date nan_to_null"},
		{name: "NaN for a string", dataType: "forecasts", change: `ensemble_method=NaN`, want: "null", counted: "ensemble_method nan_to_null"},
		{name: "NaN where required", change: `price=NaN`, reason: NotFinite},
		{name: "1e400", change: `change=1e400`, reason: NumberOverflow},
		{name: "1e-400", change: `change=1e-400`, want: "0"},
		{name: "17 digits of a float", change: `change=0.30000000000000004`, want: "0.30000000000000004"},
		{name: "float as a string", change: `change="-1.5e-3"`, want: "-0.0015", counted: "change number_as_string"},

		{name: "volume", change: `volume=1000000`, want: "1000000"},
		{name: "volume as 10.0", change: `volume=10.0`, want: "10", counted: "volume integer_form"},
		{name: "volume as 1e3", change: `volume=1e3`, want: "1000", counted: "volume integer_form"},
		{name: "volume as a string", change: `volume="7"`, want: "7", counted: "volume number_as_string"},
		{name: "fractional volume", change: `volume=0.5`, reason: FractionalInteger},
		{name: "negative volume", change: `volume=-1`, reason: RuleBroken},
		{name: "largest int64", change: `volume=9223372036854775807`, want: "9223372036854775807"},
		{name: "int64 overflow", change: `volume=9223372036854775808`, reason: NumberOverflow},
		{name: "horizon zero", dataType: "forecasts", change: `forecast_horizon_days=0`, reason: RuleBroken},
		{name: "horizon -1", dataType: "forecasts", change: `forecast_horizon_days=-1`, reason: RuleBroken},
		{name: "horizon 2^31", dataType: "forecasts", change: `forecast_horizon_days=2147483648`, reason: NumberOverflow},

		{name: "timestamp Z", change: `timestamp="2024-01-15T14:30:52Z"`, want: "2024-01-15T14:30:52Z"},
		{name: "timestamp lower case", change: `timestamp="2024-01-15t14:30:52z"`, want: "2024-01-15T14:30:52Z"},
		{name: "timestamp with an offset", change: `timestamp="2024-01-15T09:30:52-05:00"`, want: "2024-01-15T14:30:52Z"},
		{name: "timestamp with a short offset", change: `timestamp="2024-01-15T20:00:52+0530"`, want: "2024-01-15T14:30:52Z"},
		{name: "timestamp with an hour's offset", change: `timestamp="2024-01-15T15:30:52+01"`, want: "2024-01-15T14:30:52Z"},
		{name: "timestamp with six digits", change: `timestamp="2024-01-15T14:30:52.123456+00:00"`, want: "2024-01-15T14:30:52.123456Z"},
		{name: "timestamp with nine digits", change: `timestamp="2024-01-15T14:30:52.123456789Z"`, want: "2024-01-15T14:30:52.123456Z", counted: "timestamp sub_microsecond"},
		{name: "timestamp with nine digits, none lost", change: `timestamp="2024-01-15T14:30:52.100000000Z"`, want: "2024-01-15T14:30:52.1Z"},
		{name: "naive timestamp", change: `timestamp="2024-01-15T14:30:52"`, want: "2024-01-15T14:30:52Z", counted: "timestamp naive_timestamp"},
		{name: "naive timestamp with a space", change: `timestamp="2024-01-15 14:30:52.5"`, want: "2024-01-15T14:30:52.5Z", counted: "timestamp naive_timestamp,timestamp space_timestamp"},
		{name: "date for a timestamp", change: `timestamp="2024-01-15"`, want: "2024-01-15T00:00:00Z", counted: "timestamp date_timestamp"},
		{name: "epoch seconds", change: `timestamp=1705329052`, want: "2024-01-15T14:30:52Z", counted: "timestamp epoch_seconds"},
		{name: "epoch seconds with a fraction", change: `timestamp=1705329052.25`, want: "2024-01-15T14:30:52.25Z", counted: "timestamp epoch_seconds"},
		{name: "epoch milliseconds", change: `timestamp=1705329052250`, want: "2024-01-15T14:30:52.25Z", counted: "timestamp epoch_millis"},
		{name: "epoch microseconds", change: `timestamp=1705329052250001`, want: "2024-01-15T14:30:52.250001Z", counted: "timestamp epoch_micros"},
		{name: "epoch nanoseconds", change: `timestamp=1705329052250001999`, want: "2024-01-15T14:30:52.250001Z", counted: "timestamp epoch_nanos,timestamp sub_microsecond"},
		{name: "epoch seconds in a string", change: `timestamp="1705329052"`, want: "2024-01-15T14:30:52Z", counted: "timestamp epoch_seconds,timestamp number_as_string"},
		{name: "epoch seconds in a float form", change: `timestamp=1.705329052e9`, want: "2024-01-15T14:30:52Z", counted: "timestamp epoch_seconds"},
		{name: "negative epoch seconds", change: `timestamp=-1000000000`, want: "1938-04-24T22:13:20Z", counted: "timestamp epoch_seconds"},
		{name: "ambiguous epoch", change: `timestamp=20240115`, reason: AmbiguousTimestamp},
		{name: "epoch zero", change: `timestamp=0`, reason: AmbiguousTimestamp},
		{name: "epoch past every unit", change: `timestamp=1e19`, reason: BadTimestamp},
		{name: "leap second", change: `timestamp="2016-12-31T23:59:60Z"`, want: "2017-01-01T00:00:00Z", counted: "timestamp leap_second", flags: "leap_second"},
		{name: "second 61", change: `timestamp="2016-12-31T23:59:61Z"`, reason: BadTimestamp},
		{name: "hour 24", change: `timestamp="2024-01-15T24:00:00Z"`, reason: BadTimestamp},
		{name: "minute 60", change: `timestamp="2024-01-15T14:60:00Z"`, reason: BadTimestamp},
		{name: "month 13", change: `timestamp="2024-13-01T00:00:00Z"`, reason: BadTimestamp},
		{name: "day 0", change: `timestamp="2024-01-00T00:00:00Z"`, reason: BadTimestamp},
		{name: "29 February of a leap year", change: `timestamp="2020-02-29T00:00:00Z"`, want: "2020-02-29T00:00:00Z"},
		{name: "29 February of another", change: `timestamp="2023-02-29T00:00:00Z"`, reason: BadTimestamp},
		{name: "29 February 1900", change: `timestamp="1900-02-29T00:00:00Z"`, reason: BadTimestamp},
		{name: "offset of 24 hours", change: `timestamp="2024-01-15T14:30:52+24:00"`, reason: BadTimestamp},
		{name: "a word after the time", change: `timestamp="2024-01-15T14:30:52 UTC"`, reason: BadTimestamp},
		{name: "a point without digits", change: `timestamp="2024-01-15T14:30:52.Z"`, reason: BadTimestamp},
		{name: "a CSV header", change: `timestamp="Ticker"`, reason: BadTimestamp},
		{name: "slashes", change: `timestamp="2024/01/15 14:30:52"`, reason: BadTimestamp},
		{name: "a boolean timestamp", change: `timestamp=true`, reason: TypeMismatch},
		{name: "year 0000", change: `timestamp="0000-01-01T00:00:00Z"`, reason: BadTimestamp},
		{name: "year 0001", change: `timestamp="0001-01-01T00:00:00Z"`, reason: EventTimeWindow},
		{name: "year 1677", change: `timestamp="1677-01-01T00:00:00Z"`, reason: EventTimeWindow},
		{name: "year 2263", change: `timestamp="2263-01-01T00:00:00Z"`, reason: EventTimeWindow},
		{name: "year 9999", change: `timestamp="9999-12-31T23:59:59Z"`, reason: EventTimeWindow},
		{name: "first of the window", change: `timestamp="1900-01-01T00:00:00Z"`, want: "1900-01-01T00:00:00Z"},
		{name: "before the window", change: `timestamp="1899-12-31T23:59:59.999999Z"`, reason: EventTimeWindow},
		{name: "366 days after publication", change: `timestamp="2025-01-15T15:00:00Z"`, want: "2025-01-15T15:00:00Z", flags: "future_event_time"},
		{name: "past 366 days after publication", change: `timestamp="2025-01-15T15:00:00.000001Z"`, reason: EventTimeWindow},
		{name: "a day ahead", change: `timestamp="2024-01-16T15:00:00Z"`, want: "2024-01-16T15:00:00Z"},
		{name: "over a day ahead", change: `timestamp="2024-01-16T15:00:00.000001Z"`, want: "2024-01-16T15:00:00.000001Z", flags: "future_event_time"},
		{name: "year 9999 of another time than the event's", change: `created_at="9999-12-31T23:59:59Z"`, want: "9999-12-31T23:59:59Z"},
		{name: "forecast of tomorrow but one", dataType: "forecasts", change: `prediction_date="2024-01-17"`, want: "2024-01-17", flags: "future_event_time"},

		{name: "date", dataType: "options_data", change: `expiration_date="2024-01-19"`, want: "2024-01-19"},
		{name: "date as midnight", dataType: "options_data", change: `expiration_date="2024-01-19T00:00:00Z"`, want: "2024-01-19", counted: "expiration_date timestamp_date"},
		{name: "date as epoch seconds", dataType: "options_data", change: `expiration_date=1705622400`, want: "2024-01-19", counted: "expiration_date epoch_seconds,expiration_date timestamp_date"},
		{name: "date with a time of day", dataType: "options_data", change: `expiration_date="2024-01-19T16:00:00Z"`, reason: DateHasTime},
		{name: "30 February", dataType: "options_data", change: `expiration_date="2024-02-30"`, reason: BadTimestamp},

		{name: "option type C", dataType: "options_data", change: `option_type="C"`, want: "call", counted: "option_type normalised"},
		{name: "option type CALL", dataType: "options_data", change: `option_type="CALL"`, want: "call", counted: "option_type normalised"},
		{name: "option type P", dataType: "options_data", change: `option_type="P"`, want: "put", counted: "option_type normalised", flags: "contract_contradicts"},
		{name: "option type x", dataType: "options_data", change: `option_type="x"`, reason: NotInEnum},

		{name: "odd symbols", change: `symbol="^GSPC"`, want: "^GSPC"},
		{name: "symbol like a path", change: `symbol="../../x"`, want: "../../x"},
		{name: "symbol with an escape", change: `symbol="A%2FB"`, want: "A%2FB"},
		{name: "symbol with an escaped slash", change: `symbol="a\/b"`, want: "a/b"},
		{name: "symbol beyond ASCII", change: `symbol="株式\u00e9\ud83d\ude00"`, want: "株式é😀"},
		{name: "empty symbol", change: `symbol=""`, want: "", flags: "empty_symbol"},
		{name: "formula", change: `data_source="=cmd()"`, want: "=cmd()"},
		{name: "long symbol", change: `symbol="` + long + `"`, reason: TooLong},
		{name: "newline in a symbol", change: `symbol="A\nB"`, reason: BadCharacters},
		{name: "NUL in a symbol", change: `symbol="A\u0000"`, reason: BadCharacters},
		{name: "raw control character", change: "symbol=\"A\x01\"", reason: JSONSyntax},
		{name: "right-to-left override in a symbol", change: `symbol="A\u202eB"`, reason: BadCharacters},
		{name: "zero-width space in a symbol", change: "symbol=\"A\u200bB\"", reason: BadCharacters},
		{name: "line separator in a symbol", change: `symbol="A\u2028"`, reason: BadCharacters},
		{name: "invalid UTF-8", change: "data_source=\"A\xff\"", reason: InvalidUTF8},
		{name: "overlong UTF-8", change: "data_source=\"\xc0\xaf\"", reason: InvalidUTF8},
		{name: "surrogate in UTF-8", change: "data_source=\"\xed\xa0\x80\"", reason: InvalidUTF8},
		{name: "lone high surrogate", change: `data_source="\ud800"`, reason: LoneSurrogate},
		{name: "lone low surrogate", change: `data_source="\udc00x"`, reason: LoneSurrogate},
		{name: "two high surrogates", change: `data_source="\ud800\ud800"`, reason: LoneSurrogate},
		{name: "bad escape", change: `data_source="\x"`, reason: JSONSyntax},
		{name: "symbol as a number", change: `symbol=7203`, reason: TypeMismatch},

		{name: "JSON text", dataType: "forecasts", change: `ensemble_weights="{\"a\":1}"`, want: `{"a":1}`},
		{name: "JSON text as an object", dataType: "forecasts", change: `ensemble_weights={"a": [1, 2.50]}`, want: `{"a": [1, 2.50]}`, counted: "ensemble_weights json_text"},
		{name: "JSON text with a NaN", dataType: "forecasts", change: `ensemble_weights={"a":NaN}`, reason: NotFinite},
		{name: "confidence as a percent", dataType: "forecasts", change: `confidence_score=90.64`, reason: RuleBroken},
		{name: "model without a name", dataType: "forecasts", change: `model_name=null`, reason: MissingRequired},
		{name: "model name with a space and a plus", dataType: "forecasts", change: `model_name="a + b"`, want: "a + b"},

		{name: "nothing for a nullable field", change: `volume=null`, want: "null"},
		{name: "nothing for a required field", change: `price=null`, reason: MissingRequired},
		{name: "required field absent", change: `price=`, reason: MissingRequired},
		{name: "created_at by default", change: `created_at=null`, want: "2024-01-15T15:00:00Z", counted: "created_at defaulted"},
		{name: "version by default", change: `version=`, want: "v1.2.0", counted: "version defaulted"},
		{name: "source for data_source", change: `data_source=`, field: "data_source", reason: MissingRequired},
		{name: "key in another case", change: `SYMBOL="MSFT"`, field: "symbol", want: "AAPL", counted: " unknown_field"},
		{name: "unknown field", change: `extra={"a":[1,{"b":null}],"c":"\u00e9"}`, field: "symbol", want: "AAPL", counted: " unknown_field"},
		{name: "unknown field with a NaN", change: `extra=[NaN]`, field: "symbol", want: "AAPL", counted: " non_finite_dropped, unknown_field"},
		{name: "unknown field with a name twice", change: `extra={"a":1,"\u0061":2}`, reason: DuplicateKey},
		{name: "message type of another type in the payload", change: `message_type="options_data"`, reason: WrongDataType},
		{name: "own message type in the payload", change: `message_type="market_data"`, field: "symbol", want: "AAPL", counted: " unknown_field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.dataType == "" {
				tt.dataType = "market_data"
			}
			if tt.field == "" {
				tt.field, _, _ = strings.Cut(tt.change, "=")
			}
			def := definition(t, tt.dataType)
			dec, rows := def.NewDecoder(Standard), NewColumns(def)
			m := message(record(tt.dataType, tt.change))
			rejected := dec.Decode(m, rows)
			if tt.reason != "" {
				if len(rejected) != 1 || rejected[0].Reason != tt.reason || rows.Len() != 0 {
					t.Fatalf("%s: %d rows, rejections %+v; want %s", m.Data, rows.Len(), rejected, tt.reason)
				}
				if r := rejected[0]; string(r.Record) != string(m.Data) || r.Index != 0 {
					t.Errorf("record %d = %q, want all of %q", r.Index, r.Record, m.Data)
				}
				return
			}
			if len(rejected) != 0 || rows.Len() != 1 {
				t.Fatalf("%s: %d rows, rejections %+v", m.Data, rows.Len(), rejected)
			}
			rec := rows.Record()
			if got := cell(rec, tt.field, 0); got != tt.want {
				t.Errorf("%s: %s = %q, want %q", m.Data, tt.field, got, tt.want)
			}
			var counted []string
			dec.Coercions(func(field, kind string, _ int64) {
				if kind != "defaulted" || field == tt.field {
					counted = append(counted, field+" "+kind)
				}
			})
			slices.Sort(counted)
			if got := strings.Join(counted, ","); got != tt.counted {
				t.Errorf("%s: counted %q, want %q", m.Data, got, tt.counted)
			}
			flags := def.FlagNames(rows.cols[def.Own+sysFlags].i64[0])
			flags = without(flags, "stale_event_time")
			if got := strings.Join(flags, ","); got != tt.flags {
				t.Errorf("%s: flags %q, want %q", m.Data, got, tt.flags)
			}
		})
	}
}
