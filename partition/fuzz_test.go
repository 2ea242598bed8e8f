package partition

import (
	"errors"
	"strings"
	"testing"
)

// Any symbol has a safe part, from which it comes back unless it is too long; any
// part that is read is the one that would be written.
func FuzzSymbols(f *testing.F) {
	for _, s := range []string{"", "AAPL", "BRK.B", "^GSPC", "../../x", "A%2FB", "~none", "~2E", "a\x00\xff", strings.Repeat("é", 40), "A~h0123456789abcdef01234567"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		part := EscapeSymbol(s)
		if part == "" || len(part) > maxPart || strings.ContainsAny(part[:1], "._") || strings.ContainsAny(part, "/_%") {
			t.Fatalf("%q: part %q", s, part)
		}
		if got, err := UnescapeSymbol(part); !errors.Is(err, ErrHashed) && (err != nil || got != s) {
			t.Fatalf("%q: part %q is read as %q, %v", s, part, got, err)
		}
		if got, err := UnescapeSymbol(s); err == nil && EscapeSymbol(got) != s {
			t.Fatalf("part %q is read as %q, which is written %q", s, got, EscapeSymbol(got))
		}
	})
}

// A name that can be read is the one that would be written.
func FuzzNames(f *testing.F) {
	for _, s := range []string{
		"raw/market_data/year=2024/month=01/day=15/AAPL_market_20240115_143000_v1_k3x9-000001.parquet",
		"raw/market_data/year=2024/month=01/day=15/~multi_market_20240115_143000_v1_k3x9-000009.parquet",
		"raw/forecasts/year=2024/month=01/day=15/forecast_AAPL_model-lstm_20240115_v2_k3x9-000001.parquet",
		"processed/market_data/year=2024/month=01/day=15/A~-B_market_20240115_v1_0123abcd.b7.parquet",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if n, err := ParseName(name); err == nil && !unknownModel(name, n) {
			if got := n.String(); got != name {
				t.Fatalf("raw name %q is written %q", name, got)
			}
		}
		if n, err := ParseProcessedName(name); err == nil && n.Category != forecast {
			if got := n.String(); got != name {
				t.Fatalf("processed name %q is written %q", name, got)
			}
		}
	})
}

// unknownModel tells the names whose model is not to be had from them: it is too
// long for a name, or written in a way that is not ours.
func unknownModel(name string, n RawName) bool {
	return n.Category == forecast && n.Model == "" && !strings.Contains(name, modelMark+multiMark)
}
