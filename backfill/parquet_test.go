package backfill

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
)

// parquetOf writes rows given as JSON into a Parquet file.
func parquetOf(t testing.TB, schema *arrow.Schema, rows string) string {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &b, parquet.NewWriterProperties(), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func column1(name string, dt arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: dt, Nullable: true}
}

func TestParquet(t *testing.T) {
	symbols := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	for _, tt := range []struct {
		name   string
		fields []arrow.Field
		s      Settings
		rows   string
		want   []string
	}{
		{"decimals, nanoseconds, dictionaries, nulls",
			[]arrow.Field{
				column1("symbol", symbols), column1("timestamp", &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "America/New_York"}),
				column1("price", &arrow.Decimal128Type{Precision: 30, Scale: 10}), column1("volume", arrow.PrimitiveTypes.Int64), column1("halted", arrow.FixedWidthTypes.Boolean),
			}, Settings{},
			`[{"symbol":"A","timestamp":"2024-01-15T09:30:52.123456-05:00","price":"12345678901234567890.1234567890","volume":9007199254740993,"halted":true},
			  {"symbol":"B\n","timestamp":"2024-01-15T00:00:00Z","price":"-0.5"},{"timestamp":"2024-01-15T00:00:00Z"}]`,
			[]string{
				`{"symbol":"A","timestamp":"2024-01-15T14:30:52.123456Z","price":12345678901234567890.1234567890,"volume":9007199254740993,"halted":true}`,
				`{"symbol":"B\n","timestamp":"2024-01-15T00:00:00Z","price":-0.5000000000}`, `{"timestamp":"2024-01-15T00:00:00Z"}`,
			}},
		{"floats, dates, mapped twice and set, a column of lists left alone",
			[]arrow.Field{
				column1("l", arrow.ListOf(arrow.PrimitiveTypes.Int32)), column1("c", arrow.PrimitiveTypes.Float64), column1("d", arrow.FixedWidthTypes.Date32),
				column1("Symbol", arrow.BinaryTypes.LargeString), column1("volume", arrow.PrimitiveTypes.Float32), column1("note", arrow.BinaryTypes.Binary),
			},
			Settings{Map: map[string]string{"price": "c", "beta": "c", "timestamp": "d"}, Set: map[string]string{"halted": "false"}},
			`[{"l":[1,2],"c":0.1,"d":"2024-01-15","Symbol":"A","volume":1000000,"note":"eA=="},{"c":1e-9,"d":"1969-12-31","Symbol":"B","volume":0.1},{"l":[],"c":1e300,"d":"2024-01-15","Symbol":"C"}]`,
			[]string{
				`{"beta":0.1,"price":0.1,"timestamp":"2024-01-15","symbol":"A","volume":1000000,"note":"x","halted":false}`,
				`{"beta":1e-09,"price":1e-09,"timestamp":"1969-12-31","symbol":"B","volume":0.1,"halted":false}`,
				`{"beta":1e+300,"price":1e+300,"timestamp":"2024-01-15","symbol":"C","halted":false}`,
			}},
		{"texts are read as CSV cells are",
			[]arrow.Field{column1("symbol", arrow.BinaryTypes.String), column1("timestamp", arrow.BinaryTypes.String), column1("price", arrow.BinaryTypes.String)}, Settings{},
			`[{"symbol":"0700","timestamp":"2024-01-15","price":".50"}]`, []string{`{"symbol":"0700","timestamp":"2024-01-15","price":0.50}`}},
		{"no rows", []arrow.Field{column1("symbol", arrow.BinaryTypes.String), column1("timestamp", arrow.BinaryTypes.String)}, Settings{}, `[]`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, broken := texts(t, tt.s, parquetOf(t, arrow.NewSchema(tt.fields, nil), tt.rows))
			if diff := cmp.Diff(tt.want, got); diff != "" || broken > 0 {
				t.Errorf("%d broken; records (-want +got):\n%s", broken, diff)
			}
		})
	}
}

func TestDecimalsHaveAllTheirDigits(t *testing.T) {
	for _, tt := range []struct {
		unscaled string
		scale    int
		want     string
	}{
		{"0", 0, "0"}, {"0", 2, "0.00"}, {"5", 2, "0.05"}, {"-5", 2, "-0.05"}, {"-12345", 2, "-123.45"}, {"100", 2, "1.00"}, {"12", -3, "12e3"},
		{"99999999999999999999999999999999999999", 19, "9999999999999999999.9999999999999999999"},
	} {
		n, _ := new(big.Int).SetString(tt.unscaled, 10)
		if got := string(appendDecimal(nil, n, tt.scale)); got != tt.want || !jsonNumber([]byte(got)) {
			t.Errorf("%s at scale %d = %s, want %s", tt.unscaled, tt.scale, got, tt.want)
		}
	}
}

func TestParquetThatCannotBeRead(t *testing.T) {
	fields := []arrow.Field{column1("symbol", arrow.BinaryTypes.String), column1("timestamp", arrow.BinaryTypes.String), column1("l", arrow.ListOf(arrow.PrimitiveTypes.Int32))}
	good := parquetOf(t, arrow.NewSchema(fields, nil), `[{"symbol":"A","timestamp":"2024-01-15","l":[1]},{"symbol":"B","timestamp":"2024-01-15"}]`)
	j := job(t, newBroker(), store(t, "f.parquet", good))
	j.Map = map[string]string{"price": "l"}
	if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `column "l" is list`) {
		t.Errorf("error = %v, want one that names the column's type", err)
	}
	// Whatever byte is wrong, it ends in an error or in records; never in a panic.
	for i := 0; i < len(good); i += 3 {
		for _, bit := range []byte{1, 0x80} {
			bad := []byte(good)
			bad[i] ^= bit
			b := newBroker()
			j := job(t, b, store(t, "f.parquet", string(bad)))
			j.Format, j.Checkpoint = Parquet, store(t, "c", "")+time.Duration(i).String()
			_, _ = j.Run(t.Context())
		}
	}
	for n := 0; n < len(good); n += 7 {
		j := job(t, newBroker(), store(t, "f.parquet", good[:n]))
		j.Format = Parquet
		if _, err := j.Run(t.Context()); err == nil {
			t.Errorf("a file cut to %d of %d bytes is read without an error", n, len(good))
		}
	}
}
