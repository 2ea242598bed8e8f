package columnar

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/buffetbot/ingest/schema"
)

// everyKind is a definition with a column of every kind.
var everyKind = define("every_kind", 0, 1,
	schema.Field{Name: "symbol", Kind: schema.String},
	schema.Field{Name: "timestamp", Kind: schema.Timestamp},
	schema.Field{Name: "price", Kind: schema.Decimal, Precision: 18, Scale: 6},
	schema.Field{Name: "tick", Kind: schema.Decimal, Precision: 9, Scale: 2},
	schema.Field{Name: "beta", Kind: schema.Float64},
	schema.Field{Name: "volume", Kind: schema.Int64},
	schema.Field{Name: "horizon", Kind: schema.Int32},
	schema.Field{Name: "open", Kind: schema.Bool},
	schema.Field{Name: "expiry", Kind: schema.Date},
	schema.Field{Name: "payload", Kind: schema.Binary},
	schema.Field{Name: "exchange", Kind: schema.String},
)

func define(name string, symbol, time int, own ...schema.Field) *schema.Definition {
	return &schema.Definition{
		Name: name, Version: schema.Version{Major: 1, Minor: 2}, Own: len(own), SymbolField: symbol, TimeField: time,
		Fields: append(slices.Clone(own),
			schema.Field{Name: schema.ColID, Kind: schema.String},
			schema.Field{Name: schema.ColIndex, Kind: schema.Int32},
			schema.Field{Name: schema.ColPublishedAt, Kind: schema.Timestamp},
			schema.Field{Name: schema.ColSchemaVersion, Kind: schema.String},
			schema.Field{Name: schema.ColFlags, Kind: schema.Int64}),
	}
}

// A row is one value per field: string, []byte, bool, int32, int64 (also
// timestamps, unscaled decimals), float64, or nil.
type row []any

// record builds rows as a record of def.
func record(def *schema.Definition, rows ...row) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, def.Arrow())
	defer b.Release()
	for _, r := range rows {
		for c, v := range r {
			appendValue(b.Field(c), v)
		}
	}
	return b.NewRecordBatch()
}

func appendValue(b array.Builder, v any) {
	var err error
	switch b := b.(type) {
	case *array.BinaryDictionaryBuilder:
		if s, ok := v.(string); ok {
			err = b.AppendString(s)
		} else {
			b.AppendNull()
		}
	case *array.BinaryBuilder:
		appendOr(b, v, b.Append)
	case *array.BooleanBuilder:
		appendOr(b, v, b.Append)
	case *array.Int32Builder:
		appendOr(b, v, b.Append)
	case *array.Int64Builder:
		appendOr(b, v, b.Append)
	case *array.Float64Builder:
		appendOr(b, v, b.Append)
	case *array.TimestampBuilder:
		appendOr(b, v, func(v int64) { b.Append(arrow.Timestamp(v)) })
	case *array.Date32Builder:
		appendOr(b, v, func(v int32) { b.Append(arrow.Date32(v)) })
	case *array.Decimal128Builder:
		appendOr(b, v, func(v int64) { b.Append(decimal128.FromI64(v)) })
	default:
		panic(fmt.Sprintf("builder %T", b))
	}
	if err != nil {
		panic(err)
	}
}

func appendOr[T any](b array.Builder, v any, add func(T)) {
	if v == nil {
		b.AppendNull()
		return
	}
	add(v.(T))
}

// rowsOf reads a record back, value by value, the slow and plain way.
func rowsOf(rec arrow.RecordBatch) []row {
	rows := make([]row, rec.NumRows())
	for i := range rows {
		rows[i] = make(row, rec.NumCols())
		for c := range rows[i] {
			rows[i][c] = valueOf(rec.Column(c), i)
		}
	}
	return rows
}

func valueOf(arr arrow.Array, i int) any {
	if arr.IsNull(i) {
		return nil
	}
	switch a := arr.(type) {
	case *array.Dictionary:
		return strings.Clone(a.Dictionary().(*array.String).Value(a.GetValueIndex(i)))
	case *array.Binary:
		return append([]byte{}, a.Value(i)...)
	case *array.Boolean:
		return a.Value(i)
	case *array.Int32:
		return a.Value(i)
	case *array.Int64:
		return a.Value(i)
	case *array.Float64:
		return a.Value(i)
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.Date32:
		return int32(a.Value(i))
	case *array.Decimal128:
		return int64(a.Value(i).LowBits())
	}
	panic(fmt.Sprintf("array %T", arr))
}

// someRows makes n rows of everyKind, every value null with the given chance.
func someRows(rng *rand.Rand, n int, nulls float64) []row {
	or := func(v any) any {
		if rng.Float64() < nulls {
			return nil
		}
		return v
	}
	rows := make([]row, n)
	for i := range rows {
		id := fmt.Sprintf("m:%d", rng.IntN(1<<40))
		if rng.IntN(2) == 0 {
			id = fmt.Sprintf("e:%08x-%d", rng.Uint32(), i)
		}
		rows[i] = row{
			or(fmt.Sprintf("S%d", rng.IntN(20))),
			or(1_705_276_800_000_000 + rng.Int64N(microsPerDay)),
			or(rng.Int64N(2_000_000_000_000) - 1_000_000_000_000),
			or(rng.Int64N(2_000_000) - 1_000_000),
			or(rng.NormFloat64()),
			or(rng.Int64() - 1<<62),
			or(rng.Int32() - 1<<30),
			or(rng.IntN(2) == 0),
			or(int32(rng.IntN(30000) - 1000)),
			or([]byte(strings.Repeat("b", rng.IntN(5)))),
			or([]string{"", "NYSE", "NASDAQ", "ΑΘΗΝΑ"}[rng.IntN(4)]),
			or(id),
			or(int32(rng.IntN(3))),
			or(1_705_276_800_000_000 + rng.Int64N(microsPerDay)),
			or("v1.2.0"),
			or(rng.Int64N(4)),
		}
	}
	return rows
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

// must unwraps a result that cannot fail in this test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// encoded sorts and encodes rows of everyKind.
func encoded(t testing.TB, rec arrow.RecordBatch) ([]byte, Summary, arrow.RecordBatch) {
	t.Helper()
	sorted, err := Sort(rec, everyKind)
	if err != nil {
		t.Fatal(err)
	}
	data, s, err := Encode(sorted, everyKind)
	if err != nil {
		t.Fatal(err)
	}
	return data, s, sorted
}

// rowLess is the total order of rows, spelled out on plain values.
func rowLess(def *schema.Definition, a, b row) int {
	for _, c := range []int{def.SymbolField, def.TimeField, def.Own, def.Own + 1, def.Own + 2} {
		if d := valueLess(a[c], b[c]); d != 0 {
			return d
		}
	}
	return 0
}

func valueLess(a, b any) int {
	if a == nil || b == nil {
		return compareBools(a != nil, b != nil)
	}
	switch x := a.(type) {
	case string:
		return cmp.Compare(x, b.(string))
	case int32:
		return cmp.Compare(x, b.(int32))
	}
	return cmp.Compare(a.(int64), b.(int64))
}

func schemaString(name string) schema.Field { return schema.Field{Name: name, Kind: schema.String} }

func nan(payload uint64) float64 { return math.Float64frombits(0x7ff8000000000000 | payload) }
