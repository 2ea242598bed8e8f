package schema

import (
	"slices"
	"strings"
	"testing"
)

func TestLevels(t *testing.T) {
	for _, tt := range []struct {
		name, dataType, change string
		field                  string
		strict, standard       Reason // "" is accepted
		lenient                string // the value stored, or a reason
		counted                string // by LENIENT
	}{
		{name: "nothing to do", change: `volume=1`, lenient: "1"},
		{name: "number as a string", change: `volume="1"`, strict: NotCanonical, lenient: "1", counted: "number_as_string"},
		{name: "float noise", change: `price=4.420000076293945`, strict: NotCanonical, lenient: "4.42000008", counted: "rounded"},
		{name: "very small price", change: `price=8.942e-06`, strict: DecimalPrecision, standard: DecimalPrecision, lenient: "8.94e-06", counted: "decimal_loss"},
		{name: "fractional volume", change: `volume=2.5`, strict: FractionalInteger, standard: FractionalInteger, lenient: "2", counted: "fraction_loss"},
		{name: "bad nullable value", change: `volume="n/a"`, strict: TypeMismatch, standard: TypeMismatch, lenient: "null", counted: "nulled"},
		{name: "bad required value", change: `price="n/a"`, strict: TypeMismatch, standard: TypeMismatch, lenient: "type_mismatch"},
		{name: "broken text in a nullable value", change: `volume=tru`, strict: JSONSyntax, standard: JSONSyntax, lenient: "json_syntax"},
		{name: "naive timestamp", change: `timestamp="2024-01-15T14:30:52"`, strict: NotCanonical, lenient: "2024-01-15T14:30:52Z", counted: "naive_timestamp"},
		{name: "NaN", change: `volume=NaN`, strict: NotCanonical, lenient: "null", counted: "nan_to_null"},
		{name: "unknown field", change: `extra=1`, field: "symbol", strict: UnknownField, lenient: "AAPL", counted: "unknown_field"},
		{name: "default", change: `created_at=`, lenient: "2024-01-15T15:00:00Z", counted: "defaulted"},
		{name: "minus zero", change: `bid=-0`, lenient: "0", counted: "negative_zero"},
		{name: "date with a time of day", dataType: "options_data", change: `expiration_date="2024-01-19T16:00:00Z"`, strict: DateHasTime, standard: DateHasTime, lenient: "2024-01-19", counted: "time_of_day_loss,timestamp_date"},
		{name: "rule broken", change: `price=-1`, strict: RuleBroken, standard: RuleBroken, lenient: "rule_broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.dataType == "" {
				tt.dataType = "market_data"
			}
			if tt.field == "" {
				tt.field, _, _ = strings.Cut(tt.change, "=")
			}
			def := definition(t, tt.dataType)
			m := message(record(tt.dataType, tt.change))
			for level, want := range map[Level]Reason{Strict: tt.strict, Standard: tt.standard} {
				rows := NewColumns(def)
				rejected := def.NewDecoder(level).Decode(m, rows)
				if want == "" && rows.Len() != 1 || want != "" && (len(rejected) != 1 || rejected[0].Reason != want) {
					t.Errorf("level %d: %d rows, %+v; want %q", level, rows.Len(), verdicts(rejected), want)
				}
			}
			dec, rows := def.NewDecoder(Lenient), NewColumns(def)
			got := ""
			if rejected := dec.Decode(m, rows); len(rejected) > 0 {
				got = string(rejected[0].Reason)
			} else {
				got = cell(rows.Record(), tt.field, 0)
			}
			if got != tt.lenient {
				t.Errorf("lenient: %q, want %q", got, tt.lenient)
			}
			var counted []string
			dec.Coercions(func(field, kind string, _ int64) {
				if kind != "defaulted" || field == tt.field {
					counted = append(counted, kind)
				}
			})
			slices.Sort(counted)
			if got := strings.Join(counted, ","); got != tt.counted {
				t.Errorf("lenient counted %q, want %q", got, tt.counted)
			}
		})
	}
}

func TestLenientSkipsByteOrderMark(t *testing.T) {
	def := definition(t, "market_data")
	rows := NewColumns(def)
	if rejected := def.NewDecoder(Lenient).Decode(message("\ufeff"+record("market_data")), rows); len(rejected) > 0 || rows.Len() != 1 {
		t.Errorf("%d rows, %+v", rows.Len(), verdicts(rejected))
	}
}

// Rules across fields flag and do not reject.
func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		name, dataType string
		changes        []string
		want           string
	}{
		{"nothing", "market_data", nil, ""},
		{"high below low", "market_data", []string{"high=1", "low=2"}, "high_below_low"},
		{"high equals low", "market_data", []string{"high=2", "low=2.0"}, ""},
		{"high without low", "market_data", []string{"high=1", "low=null"}, ""},
		{"bid above ask", "market_data", []string{"bid=2.01", "ask=2"}, "bid_above_ask"},
		{"bid zero", "market_data", []string{"bid=0", "ask=2"}, ""},
		{"close above high", "market_data", []string{"high=2", "low=1", "close=3"}, "outside_high_low"},
		{"close below zero", "market_data", []string{"close=-36.98"}, "bar_not_positive"},
		{"old", "market_data", []string{`timestamp="2024-01-01T00:00:00Z"`}, "stale_event_time"},
		{"two at once", "market_data", []string{"bid=3", "ask=2", "high=1", "low=2"}, "high_below_low,bid_above_ask"},

		{"contract agrees", "options_data", nil, ""},
		{"padded contract agrees", "options_data", []string{`contract_symbol="SPY   240119C00580000"`}, ""},
		{"contract of an exchange's own", "options_data", []string{`contract_symbol="BTC-9JUN20-9875-P"`}, ""},
		{"contract of another underlying", "options_data", []string{`contract_symbol="QQQ240119C00580000"`}, "contract_contradicts"},
		{"weekly contract", "options_data", []string{`underlying_symbol="^SPX"`, `contract_symbol="SPXW240119C00580000"`}, ""},
		{"underlying with a point", "options_data", []string{`underlying_symbol="BRK.B"`, `contract_symbol="BRKB240119C00580000"`}, ""},
		{"contract of another day", "options_data", []string{`contract_symbol="SPY240120C00580000"`}, "contract_contradicts"},
		{"contract of another type", "options_data", []string{`contract_symbol="SPY240119P00580000"`}, "contract_contradicts"},
		{"contract of another strike", "options_data", []string{`strike_price=580.5`}, "contract_contradicts"},
		{"expired", "options_data", []string{`expiration_date="2024-01-14"`, `contract_symbol="x"`}, "expired_at_quote"},
		{"expires today", "options_data", []string{`expiration_date="2024-01-15"`, `contract_symbol="x"`}, ""},
		{"delta of a put", "options_data", []string{"delta=-1"}, ""},
		{"delta beyond", "options_data", []string{"delta=-1.01"}, "delta_out_of_range"},
		{"vega negative", "options_data", []string{"vega=-0.1"}, "gamma_or_vega_negative"},
		{"volatility beyond", "options_data", []string{"implied_volatility=125.6"}, "implied_volatility_out_of_range"},
		{"volatility zero", "options_data", []string{"implied_volatility=0", "gamma=0", "vega=0", "delta=0"}, ""},

		{"interval reversed", "forecasts", []string{"confidence_interval_lower=160", "confidence_interval_upper=150"}, "interval_reversed,outside_interval"},
		{"prediction outside", "forecasts", []string{"confidence_interval_lower=152", "confidence_interval_upper=160"}, "outside_interval"},
		{"trained after", "forecasts", []string{`training_data_end_date="2024-01-16"`}, "trained_after_prediction"},
		{"expires before created", "forecasts", []string{`expires_at="2024-01-15T14:00:00Z"`}, "expires_before_created"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, tt.dataType)
			rows := NewColumns(def)
			m := message(record(tt.dataType, tt.changes...))
			if rejected := def.NewDecoder(Standard).Decode(m, rows); len(rejected) > 0 {
				t.Fatalf("%s: %+v", m.Data, rejected)
			}
			got := strings.Join(def.FlagNames(rows.cols[def.Own+sysFlags].i64[0]), ",")
			if got != tt.want {
				t.Errorf("%s: flags %q, want %q", m.Data, got, tt.want)
			}
		})
	}
}
