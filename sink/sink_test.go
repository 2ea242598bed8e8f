package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func definition(t testing.TB, dataType string) *schema.Definition {
	t.Helper()
	r, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	d, ok := r.Latest(dataType)
	if !ok {
		t.Fatalf("no definition of %s", dataType)
	}
	return d
}

// day is 2024-01-15; the rows' times are seconds into its afternoon.
var day = time.Date(2024, 1, 15, 14, 30, 52, 0, time.UTC)

// batchOf makes a sealed batch with a row for each of the symbols ("AAPL" or,
// with a model, "AAPL|lstm").
func batchOf(t testing.TB, def *schema.Definition, symbols ...string) *batching.Batch {
	t.Helper()
	var sealed *batching.Batch
	b := batching.New(def, batching.Policy{}, batching.NewBudget(1<<30), time.Now, func(b *batching.Batch) { sealed = b })
	rows := schema.NewColumns(def)
	for i, s := range symbols {
		symbol, model, _ := strings.Cut(s, "|")
		rows.Begin()
		rows.SetString(def.SymbolField, []byte(symbol))
		if def.Fields[def.TimeField].Kind == schema.Date {
			rows.SetDate(def.TimeField, int32(partition.DayOf(day.UnixMicro())))
		} else {
			rows.SetTimestamp(def.TimeField, day.Add(time.Duration(len(symbols)-i-1)*time.Second).UnixMicro())
		}
		if model != "" {
			rows.SetString(def.Field("model_name"), []byte(model))
		}
		rows.SetString(def.Own, []byte("m:1"))
		rows.SetInt32(def.Own+1, int32(i))
		rows.SetTimestamp(def.Own+2, day.UnixMicro())
		rows.SetString(def.Own+3, []byte(def.Version.String()))
		rows.SetInt64(def.Own+4, 0)
		rows.Commit()
	}
	r := batching.NewReceipt(func() {}, func() {})
	if err := b.Add(t.Context(), rows, 0, r); err != nil {
		t.Fatal(err)
	}
	r.Release(nil)
	b.Seal(batching.ByShutdown)
	sealed.Seq = 7 // names in tests
	return sealed
}

func times(n int, symbol string) []string { return slices.Repeat([]string{symbol}, n) }

// stored reads every object and gives "base name: symbol symbol …" for each.
func stored(t testing.TB, s objstore.Store, def *schema.Definition) []string {
	t.Helper()
	var out []string
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		name, err := partition.ParseName(o.Name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := columnar.Open(t.Context(), s, o.Name, o.Size)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := f.Read(t.Context(), def, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		summary, err := columnar.ParseSummary(o.Metadata)
		if err != nil {
			t.Fatalf("metadata of %s: %v", o.Name, err)
		}
		if inside, err := f.Summary(); err != nil || inside != summary {
			t.Errorf("%s: footer says %+v (%v), metadata %+v", o.Name, inside, err, summary)
		}
		if summary.Rows != rec.NumRows() || name.Writer != "w" {
			t.Errorf("%s: %d rows, summary %+v", o.Name, rec.NumRows(), summary)
		}
		symbols, err := textColumn(rec, def.SymbolField)
		if err != nil {
			t.Fatal(err)
		}
		var counts []string
		for from := 0; from < symbols.len(); from = symbols.runEnd(from) {
			counts = append(counts, fmt.Sprintf("%s*%d", symbols.at(from), symbols.runEnd(from)-from))
		}
		out = append(out, o.Name[strings.LastIndexByte(o.Name, '/')+1:]+": "+strings.Join(counts, " "))
	}
	return out
}

func TestABatchBecomesObjects(t *testing.T) {
	for _, tt := range []struct {
		name, dataType string
		symbols        []string
		want           []string
	}{
		{name: "one symbol names the object", dataType: "market_data", symbols: times(2, "AAPL"),
			want: []string{"AAPL_market_20240115_143052_v1_w-000007.parquet: AAPL*2"}},
		{name: "few rows of several symbols share one", dataType: "market_data", symbols: []string{"MSFT", "AAPL", "MSFT", "BRK.B"},
			want: []string{"~multi_market_20240115_143052_v1_w-000007.parquet: AAPL*1 BRK.B*1 MSFT*2"}},
		{name: "many rows earn an object, the tail shares", dataType: "market_data",
			symbols: append([]string{"A", "Z", "M"}, append(times(5, "B"), times(6, "Q")...)...),
			want: []string{
				"B_market_20240115_143058_v1_w-000007.parquet: B*5",
				"Q_market_20240115_143052_v1_w-000007.parquet: Q*6",
				"~multi_market_20240115_143103_v1_w-000007.parquet: A*1 M*1 Z*1",
			}},
		{name: "a tail of one symbol is named by it", dataType: "market_data", symbols: append(times(5, "B"), "A"),
			want: []string{"A_market_20240115_143052_v1_w-000007.parquet: A*1", "B_market_20240115_143053_v1_w-000007.parquet: B*5"}},
		{name: "an odd symbol", dataType: "market_data", symbols: []string{"../../x"},
			want: []string{"~2E.~2F..~2Fx_market_20240115_143052_v1_w-000007.parquet: ../../x*1"}},
		{name: "forecasts of one model", dataType: "forecasts", symbols: []string{"AAPL|lstm", "AAPL|lstm"},
			want: []string{"forecast_AAPL_model-lstm_20240115_v2_w-000007.parquet: AAPL*2"}},
		{name: "forecasts of several models", dataType: "forecasts", symbols: []string{"AAPL|lstm", "AAPL|arima"},
			want: []string{"forecast_AAPL_model-~multi_20240115_v2_w-000007.parquet: AAPL*2"}},
		{name: "forecasts of several symbols, one of them large", dataType: "forecasts",
			symbols: append(times(5, "B|lstm"), "A|lstm", "C|arima"),
			want: []string{
				"forecast_B_model-lstm_20240115_v2_w-000007.parquet: B*5",
				"forecast_~multi_model-~multi_20240115_v2_w-000007.parquet: A*1 C*1",
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def, mem := definition(t, tt.dataType), objstore.NewMem()
			b := batchOf(t, def, tt.symbols...)
			written, err := New(mem, Config{Writer: "w", OwnFileRows: 5}).Write(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, stored(t, mem, def)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			for _, w := range written {
				if o, err := mem.Stat(t.Context(), w.Name.String()); err != nil || o.Size != w.Bytes {
					t.Errorf("%s: %+v, %v", w.Name, o, err)
				}
			}
		})
	}
}

// TestWriteUnderFaults: whatever operation fails, trying again leaves each row
// once, in objects that were all created once.
func TestWriteUnderFaults(t *testing.T) {
	def := definition(t, "market_data")
	symbols := append([]string{"A", "Z", "M"}, append(times(5, "B"), times(6, "Q")...)...)
	clean := objstore.NewMem()
	if _, err := New(clean, Config{Writer: "w", OwnFileRows: 5}).Write(t.Context(), batchOf(t, def, symbols...)); err != nil {
		t.Fatal(err)
	}
	want := stored(t, clean, def)
	for _, lost := range []bool{false, true} {
		for k := 0; ; k++ {
			mem := objstore.NewMem()
			faults := &objtest.Faults{Store: mem, FailAt: k, Lost: lost}
			t.Run(fmt.Sprintf("lost=%v/op=%d", lost, k), func(t *testing.T) {
				s, b, tries := New(writeOnly{faults}, Config{Writer: "w", OwnFileRows: 5}), batchOf(t, def, symbols...), 1
				for ; ; tries++ {
					_, err := s.Write(t.Context(), b)
					if err == nil {
						break
					}
					if !errors.Is(err, objtest.ErrInjected) {
						t.Fatal(err)
					}
				}
				if want := map[bool]int{false: 1, true: 2}[faults.Fired()]; tries != want {
					t.Errorf("%d tries, want %d", tries, want)
				}
				if diff := cmp.Diff(want, stored(t, mem, def)); diff != "" {
					t.Errorf("objects (-want +got):\n%s", diff)
				}
			})
			if !faults.Fired() {
				if k != 3 {
					t.Errorf("%d operations, want one for each object", k)
				}
				break
			}
		}
	}
}

// writeOnly is all that the ingestor's account may do.
type writeOnly struct{ s objstore.Store }

func (w writeOnly) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	return w.s.Create(ctx, name, data, metadata)
}

func (w writeOnly) Replace(context.Context, string, []byte, map[string]string, objstore.Generation) (objstore.Object, error) {
	return objstore.Object{}, errors.New("the ingestor may not replace")
}

func TestWriterIDsAreNew(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		seen[New(objstore.NewMem(), Config{}).Writer()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d ids of 1000 starts", len(seen))
	}
}

func TestAPanicIsAnError(t *testing.T) {
	def := definition(t, "market_data")
	b := batchOf(t, def, "A")
	_, err := New(panicking{}, Config{}).Write(t.Context(), b)
	if err == nil || !strings.Contains(err.Error(), "market_data/2024-01-15") {
		t.Errorf("error = %v", err)
	}
}

type panicking struct{ objstore.Writer }

func (panicking) Create(context.Context, string, []byte, map[string]string) (objstore.Object, error) {
	panic("planted")
}
