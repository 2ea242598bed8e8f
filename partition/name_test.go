package partition

import (
	"errors"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/objstore"
)

// anyString is any bytes, leaning towards those that names are made of.
func anyString() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[A-Z~_./\-=^%]{0,12}`),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"", ".", "..", "../../x", "a/b", "A%2FB", "^VIX", "EURUSD=X", "BRK.B", "~multi", "~none", "~-", "~h", "_", "a\x00b", "\xff\xfe", strings.Repeat("A", 500), strings.Repeat("é", 40)}),
	)
}

func anyDay() *rapid.Generator[Day] {
	lo := DayOf(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	hi := DayOf(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro())
	return rapid.Map(rapid.Int32Range(int32(lo), int32(hi)), func(d int32) Day { return Day(d) })
}

func TestEscapedSymbolIsSafeAndReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyString().Draw(t, "symbol")
		part := EscapeSymbol(s)
		switch {
		case part == "" || part[0] == '_' || part[0] == '.':
			t.Fatalf("EscapeSymbol(%q) = %q: hidden from other engines", s, part)
		case len(part) > maxPart:
			t.Fatalf("EscapeSymbol(%q) is %d bytes", s, len(part))
		case url.PathEscape(part) != part:
			t.Fatalf("EscapeSymbol(%q) = %q needs URI encoding", s, part)
		case strings.ContainsAny(part, "_/"):
			t.Fatalf("EscapeSymbol(%q) = %q holds a separator", s, part)
		}
		got, err := UnescapeSymbol(part)
		if len(escape(s)) > maxPart {
			if !errors.Is(err, ErrHashed) {
				t.Fatalf("UnescapeSymbol(%q) = %q, %v; want ErrHashed", part, got, err)
			}
		} else if err != nil || got != s {
			t.Fatalf("UnescapeSymbol(%q) = %q, %v; want %q", part, got, err, s)
		}
	})
}

func TestDifferentSymbolsHaveDifferentParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyString().Draw(t, "a"), anyString().Draw(t, "b")
		if a != b && EscapeSymbol(a) == EscapeSymbol(b) {
			t.Fatalf("%q and %q are both %q", a, b, EscapeSymbol(a))
		}
	})
}

func TestEscapeSymbol(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"share", "AAPL", "AAPL"},
		{"share class", "BRK.B", "BRK.B"},
		{"pair", "BTC-USD", "BTC-USD"},
		{"lower case stays", "brk.b", "brk.b"},
		{"index", "^VIX", "~5EVIX"},
		{"currency", "EURUSD=X", "EURUSD~3DX"},
		{"separator", "A_B", "A~5FB"},
		{"escape character", "A~B", "A~7EB"},
		{"up and away", "../../x", "~2E.~2F..~2Fx"},
		{"two dots", "..", "~2E."},
		{"empty", "", "~none"},
		{"the word for empty", "~none", "~7Enone"},
		{"64 characters", strings.Repeat("A", 64), strings.Repeat("A", 64)},
		{"65 characters", strings.Repeat("A", 65), strings.Repeat("A", 38) + "~h836203944f4c0280461ad73d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := EscapeSymbol(tt.in); got != tt.want {
				t.Errorf("EscapeSymbol(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestUnescapeRefusesWhatEscapeNeverWrites(t *testing.T) {
	for _, tt := range []struct{ name, part string }{
		{"nothing", ""},
		{"separator", "A_B"},
		{"escape cut short", "A~5"},
		{"no hexadecimal digits", "A~ZZ"},
		{"lower-case escape", "A~5f"},
		{"escape of a plain character", "~41"},
		{"several", multiMark},
		{"leading dot", ".A"},
		{"too long", strings.Repeat("A", 65)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := UnescapeSymbol(tt.part); err == nil || errors.Is(err, ErrHashed) {
				t.Errorf("UnescapeSymbol(%q) = %q, %v", tt.part, got, err)
			}
		})
	}
}

func TestRawNameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		day := anyDay().Draw(t, "day")
		n := RawName{
			Key:      Key{rapid.SampledFrom([]string{"market_data", "options_data", "forecasts", "dead_letters"}).Draw(t, "type"), day},
			Category: rapid.SampledFrom([]string{"market", "options", "forecast", "dead-letter"}).Draw(t, "category"),
			First:    anyString().Draw(t, "symbol"),
			Multi:    rapid.Bool().Draw(t, "multi"),
			Time:     day.Start().UnixMicro() + rapid.Int64Range(0, microsPerDay-1).Draw(t, "time"),
			Major:    rapid.IntRange(0, 1000).Draw(t, "major"),
			Writer:   anyString().Draw(t, "writer"),
			Seq:      rapid.IntRange(0, math.MaxInt32).Draw(t, "seq"),
		}
		want := n
		want.Time -= want.Time % 1e6
		if n.Time < 0 && n.Time%1e6 != 0 {
			want.Time -= 1e6
		}
		if n.Multi {
			n.First, want.First = "", ""
		} else if len(escape(n.First)) > maxPart {
			want.First, want.Hashed = "", EscapeSymbol(n.First)
		}
		if len(escape(n.Writer)) > maxPart {
			n.Writer, want.Writer = "w", "w"
		}
		if n.Category == forecast {
			n.Model = anyString().Draw(t, "model")
			want.Time = day.Start().UnixMicro()
			if len(escape(n.Model)) <= maxPart {
				want.Model = n.Model
			}
		}
		checkName(t, n.String())
		got, err := ParseName(n.String())
		if err != nil || got != want {
			t.Fatalf("ParseName(%q) = %+v, %v; want %+v", n.String(), got, err, want)
		}
		if want.Model == n.Model && got.String() != n.String() {
			t.Fatalf("%q parsed and written is %q", n.String(), got.String())
		}
	})
}

func TestProcessedNameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := ProcessedName{
			Key:      Key{"market_data", anyDay().Draw(t, "day")},
			Category: rapid.SampledFrom([]string{"market", "forecast", "dead-letter"}).Draw(t, "category"),
			First:    anyString().Draw(t, "first"),
			Last:     anyString().Draw(t, "last"),
			Major:    rapid.IntRange(0, 1000).Draw(t, "major"),
			Hash:     rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "hash"),
			Planned:  rapid.Int64Range(0, math.MaxInt64).Draw(t, "planned"),
		}
		checkName(t, n.String())
		got, err := ParseProcessedName(n.String())
		if err != nil || got.Key != n.Key || got.Hash != n.Hash || got.Planned != n.Planned || got.Major != n.Major || got.Category != n.Category {
			t.Fatalf("ParseProcessedName(%q) = %+v, %v; want %+v", n.String(), got, err, n)
		}
		long := len(escape(n.First)) > maxPart || len(escape(n.Last)) > maxPart
		if !long && (got.First != n.First || got.Last != n.Last) || long && got.First+got.Last != "" {
			t.Fatalf("symbols of %q = %q, %q; want %q, %q", n.String(), got.First, got.Last, n.First, n.Last)
		}
		if got.String() != n.String() {
			t.Fatalf("%q parsed and written is %q", n.String(), got.String())
		}
	})
}

func checkName(t *rapid.T, name string) {
	if err := objstore.CheckName(name); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".") {
			t.Fatalf("%q: %q is hidden from other engines", name, part)
		}
	}
	if u := encodePath(name); u != name {
		t.Fatalf("%q is %q in the log", name, u)
	}
}

func TestNames(t *testing.T) {
	at := time.Date(2024, 1, 15, 14, 30, 52, 999_000_000, time.UTC).UnixMicro()
	for _, tt := range []struct {
		name string
		in   interface{ String() string }
		want string
	}{
		{"one symbol", RawName{Key: Key{"market_data", jan15}, Category: "market", First: "AAPL", Time: at, Major: 1, Writer: "k3x9", Seq: 7},
			"raw/market_data/year=2024/month=01/day=15/AAPL_market_20240115_143052_v1_k3x9-000007.parquet"},
		{"options", RawName{Key: Key{"options_data", jan15}, Category: "options", First: "SPY", Time: at, Major: 1, Writer: "k3x9", Seq: 8},
			"raw/options_data/year=2024/month=01/day=15/SPY_options_20240115_143052_v1_k3x9-000008.parquet"},
		{"the long tail", RawName{Key: Key{"market_data", jan15}, Category: "market", Multi: true, Time: at, Major: 1, Writer: "k3x9", Seq: 9},
			"raw/market_data/year=2024/month=01/day=15/~multi_market_20240115_143052_v1_k3x9-000009.parquet"},
		{"forecast", RawName{Key: Key{"forecasts", jan15}, Category: "forecast", First: "AAPL", Model: "lstm", Major: 2, Writer: "k3x9", Seq: 1},
			"raw/forecasts/year=2024/month=01/day=15/forecast_AAPL_model-lstm_20240115_v2_k3x9-000001.parquet"},
		{"forecasts of several models", RawName{Key: Key{"forecasts", jan15}, Category: "forecast", Multi: true, Major: 2, Writer: "k3x9", Seq: 2},
			"raw/forecasts/year=2024/month=01/day=15/forecast_~multi_model-~multi_20240115_v2_k3x9-000002.parquet"},
		{"a symbol called forecast", RawName{Key: Key{"market_data", jan15}, Category: "market", First: "forecast", Time: at, Major: 1, Writer: "k3x9", Seq: 1},
			"raw/market_data/year=2024/month=01/day=15/forecast_market_20240115_143052_v1_k3x9-000001.parquet"},
		{"processed range", ProcessedName{Key: Key{"market_data", jan15}, Category: "market", First: "AAPL", Last: "MSFT", Major: 1, Hash: "00ff", Planned: 12},
			"processed/market_data/year=2024/month=01/day=15/AAPL~-MSFT_market_20240115_v1_00ff.b12.parquet"},
		{"processed, one symbol", ProcessedName{Key: Key{"market_data", jan15}, Category: "market", First: "AAPL", Last: "AAPL", Major: 1, Hash: "00ff", Planned: 0},
			"processed/market_data/year=2024/month=01/day=15/AAPL_market_20240115_v1_00ff.b0.parquet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.String(); got != tt.want {
				t.Errorf("name = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseNameRefuses(t *testing.T) {
	good := "raw/market_data/year=2024/month=01/day=15/AAPL_market_20240115_143052_v1_k3x9-000007.parquet"
	if _, err := ParseName(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new string }{
		{"another folder", "raw/", "processed/"},
		{"no data type", "market_data/", "/"},
		{"folder that is no day", "month=01", "month=13"},
		{"day without padding", "day=15/", "day=5/"},
		{"date of another day", "20240115", "20240116"},
		{"not Parquet", ".parquet", ".csv"},
		{"no sequence", "-000007", ""},
		{"negative sequence", "-000007", "--7"},
		{"no such time", "143052", "253052"},
		{"no version", "_v1_", "_1_"},
		{"empty version part", "_v1_", "__"},
		{"a part too few", "_market", ""},
		{"a part too many", "_market", "_market_x"},
		{"symbol that is no escape", "AAPL", "~"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := strings.Replace(good, tt.old, tt.new, 1)
			if n, err := ParseName(bad); err == nil {
				t.Errorf("ParseName(%q) = %+v", bad, n)
			}
		})
	}
}

func TestParsersNeverPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(anyString(), rapid.StringMatching(`(raw|processed)/m/year=2024/month=01/day=15/[A-Z_~.0-9vhb\-]{0,40}\.parquet`)).Draw(t, "name")
		_, _ = ParseName(s)
		_, _ = ParseProcessedName(s)
		_, _ = UnescapeSymbol(s)
		_, _ = ParseKey(s)
		_, _ = decodePath(s)
	})
}

func TestKeyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{"market_data", anyDay().Draw(t, "day")}
		if got, err := ParseKey(k.String()); err != nil || got != k {
			t.Fatalf("ParseKey(%q) = %v, %v", k, got, err)
		}
		if got, err := keyOfValues(k.Type, k.partitionValues()); err != nil || got != k {
			t.Fatalf("keyOfValues(%v) = %v, %v; want %v", k.partitionValues(), got, err, k)
		}
		if got, ok := keyOfPath(k.Type, strings.TrimPrefix(k.RawPrefix(), RawRoot(k.Type))+"x.parquet"); !ok || got != k {
			t.Fatalf("keyOfPath(%q) = %v, %v", k.RawPrefix(), got, ok)
		}
	})
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Key
		wantErr  string
	}{
		{name: "market day", in: "market_data/2024-01-15", want: Key{market, jan15}},
		{name: "no data type", in: "/2024-01-15", wantErr: `partition "/2024-01-15": no data type`},
		{name: "no day", in: "market_data", wantErr: `partition "market_data": day "": want a date as in 2024-01-15`},
		{name: "no such day", in: "m/2024-02-30", wantErr: `partition "m/2024-02-30": day "2024-02-30": want a date as in 2024-01-15`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseKey(tt.in)
			if got, want := message(err), tt.wantErr; got != want {
				t.Fatalf("error = %q, want %q", got, want)
			}
			if got != tt.want {
				t.Errorf("ParseKey(%q) = %v, want %v", tt.in, got, tt.want)
			}
		})
	}
}

func TestDayOf(t *testing.T) {
	for _, tt := range []struct {
		name   string
		micros int64
		want   Day
	}{
		{"epoch", 0, 0},
		{"last microsecond of a day", microsPerDay - 1, 0},
		{"next day", microsPerDay, 1},
		{"just before the epoch", -1, -1},
		{"a whole day before", -microsPerDay, -1},
		{"the end of time", math.MaxInt64, 106751991},
		{"the beginning of time", math.MinInt64, -106751992},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := DayOf(tt.micros); got != tt.want {
				t.Errorf("DayOf(%d) = %d, want %d", tt.micros, got, tt.want)
			}
		})
	}
}
