package columnar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// A oneObject is a Reader of a single object that counts its requests.
type oneObject struct {
	data  []byte
	mu    sync.Mutex
	reads []string
	err   error
}

func (o *oneObject) List(context.Context, string, string) iter.Seq2[objstore.Object, error] {
	panic("not listed")
}

func (o *oneObject) Stat(context.Context, string) (objstore.Object, error) { panic("not asked for") }

func (o *oneObject) Read(_ context.Context, _ string, off, n int64) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads = append(o.reads, fmt.Sprintf("%d+%d", off, n))
	if o.err != nil {
		return nil, o.err
	}
	end := min(off+n, int64(len(o.data)))
	return slices.Clone(o.data[min(off, end):end]), nil
}

func TestOpenReadsTheFooterOnlyAndReadNeededChunksOnly(t *testing.T) {
	defer goleak.VerifyNone(t)
	rows := someRows(random(20), 40_000, 0)
	data, _, sorted := encoded(t, record(everyKind, rows...))
	store := &oneObject{data: data}
	f, err := Open(t.Context(), store, "o", int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{fmt.Sprintf("%d+%d", len(data)-tailRead, tailRead)}; !slices.Equal(store.reads, want) {
		t.Errorf("Open read %v, want %v", store.reads, want)
	}
	store.reads = nil
	got := must(f.Read(t.Context(), everyKind, []int{0, 1, 12}, nil))
	if len(store.reads) != 2 {
		t.Errorf("Read read %v, want two neighbours at once and one far away", store.reads)
	}
	for i, c := range []int{0, 1, 12} {
		for r := range 100 {
			if a, b := valueOf(got.Column(i), r), valueOf(sorted.Column(c), r); a != b {
				t.Fatalf("column %d row %d = %v, want %v", c, r, a, b)
			}
		}
	}
	if !equalRows(must(f.Read(t.Context(), everyKind, nil, nil)), sorted) {
		t.Error("all columns differ")
	}
	t.Run("a short answer is corrupt, a store's error is passed on", func(t *testing.T) {
		store.data = data[:len(data)/2]
		if _, err := f.Read(t.Context(), everyKind, []int{12}, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("short: %v", err)
		}
		store.err = objstore.ErrNotExist
		if _, err := f.Read(t.Context(), everyKind, nil, nil); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("missing: %v", err)
		}
	})
}

func TestOpenReadsALongFooterInASecondRequest(t *testing.T) {
	fields := slices.Clone(everyKind.Fields[:2])
	for i := range 600 {
		fields = append(fields, schemaString(fmt.Sprintf("a_field_with_a_rather_long_name_%d", i)))
	}
	wide := define("wide", 0, 1, fields...)
	r := make(row, len(wide.Fields))
	for i := range fields[2:] {
		r[i+2] = "a value of some length, to make statistics long"
	}
	data, _, err := Encode(record(wide, r), wide)
	if err != nil {
		t.Fatal(err)
	}
	store := &oneObject{data: data}
	f, err := Open(t.Context(), store, "o", int64(len(data)))
	if err != nil || len(store.reads) != 2 {
		t.Fatalf("%v after %v, want two requests", err, store.reads)
	}
	if got := must(f.Read(t.Context(), wide, nil, nil)); !reflect.DeepEqual(rowsOf(got), []row{r}) {
		t.Error("rows differ")
	}
}

func TestReadProjectsByName(t *testing.T) {
	data, _, _ := Encode(record(quotes, quote("A", 10, 1, "e:1", 0, 100)), quotes)
	f := must(OpenBytes("o", data))
	venue := schemaString("venue")
	ticker := schema.Field{Name: "ticker", Kind: schema.String, Aliases: []string{"sym", "symbol"}}
	newer := define("quotes", 1, 2, append([]schema.Field{venue, ticker}, quotes.Fields[1])...)
	for c, k := range []schema.Kind{schema.Binary, schema.Bool, schema.Int32, schema.Int64, schema.Float64, schema.Date, schema.Timestamp} {
		newer.Fields = append(newer.Fields, schema.Field{Name: fmt.Sprint("new", c), Kind: k})
	}
	newer.Fields = append(newer.Fields, schema.Field{Name: "newdec", Kind: schema.Decimal, Precision: 18, Scale: 2})
	got := rowsOf(must(f.Read(t.Context(), newer, nil, nil)))
	want := []row{{nil, "A", int64(10), "e:1", int32(0), int64(100), "v1.2.0", int64(0), nil, nil, nil, nil, nil, nil, nil, nil}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("projected = %v, want %v", got, want)
	}
	t.Run("an int becomes a long", func(t *testing.T) {
		long := define("quotes", 0, 1, quotes.Fields[:3]...)
		long.Fields[4].Kind = schema.Int64
		if got := rowsOf(must(f.Read(t.Context(), long, []int{4}, nil))); !reflect.DeepEqual(got, []row{{int64(0)}}) {
			t.Errorf("index = %v", got)
		}
	})
	t.Run("another kind is refused", func(t *testing.T) {
		other := define("quotes", 0, 1, quotes.Fields[:3]...)
		other.Fields[2].Kind = schema.Float64
		if _, err := f.Read(t.Context(), other, nil, nil); !errors.Is(err, ErrUnsupported) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("columns and row groups that are not there are refused", func(t *testing.T) {
		for _, err := range []error{
			second(f.Read(t.Context(), quotes, []int{99}, nil)), second(f.Read(t.Context(), quotes, []int{-1}, nil)),
			second(f.Read(t.Context(), quotes, nil, []int{1})), second(f.Read(t.Context(), quotes, nil, []int{-1})),
		} {
			if !errors.Is(err, ErrRecord) {
				t.Errorf("error = %v", err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A reading is everything an object tells its reader.
type reading struct {
	Rows    []row
	Bounds  []any
	Summary Summary
}

func readAll(ctx context.Context, data []byte) (reading, error) {
	var all reading
	f, err := OpenBytes("o", data)
	if err != nil {
		return all, err
	}
	for g := range f.NumRowGroups() {
		for _, field := range everyKind.Fields {
			min, max, nulls, ok := f.RowGroupBounds(g, field.Name)
			all.Bounds = append(all.Bounds, min, max, nulls, ok)
		}
	}
	all.Summary, _ = f.Summary()
	rec, err := f.Read(ctx, everyKind, nil, nil)
	if err != nil {
		return all, err
	}
	all.Rows = rowsOf(rec)
	return all, nil
}

func TestCorruptObjects(t *testing.T) {
	data, _, _ := encoded(t, record(everyKind, someRows(random(21), 60, 0.2)...))
	want := must(readAll(t.Context(), data))
	right := func(t *testing.T, what string, got reading, err error) {
		t.Helper()
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported):
			t.Errorf("%s: error without a kind: %v", what, err)
		case err == nil && !reflect.DeepEqual(got, want):
			t.Errorf("%s: wrong rows, bounds or summary without an error: %.300s", what, fmt.Sprint(got))
		}
	}
	t.Run("every byte flipped", func(t *testing.T) {
		for i := range data {
			for _, flip := range []byte{0x01, 0x80, 0xff} {
				bad := slices.Clone(data)
				bad[i] ^= flip
				got, err := readAll(t.Context(), bad)
				right(t, fmt.Sprintf("byte %d ^ %#x", i, flip), got, err)
			}
		}
	})
	t.Run("cut short anywhere", func(t *testing.T) {
		for n := range data {
			got, err := readAll(t.Context(), data[:n])
			if err == nil {
				t.Fatalf("%d of %d bytes read as %d rows", n, len(data), len(got.Rows))
			}
			right(t, fmt.Sprintf("%d bytes", n), got, err)
		}
	})
	t.Run("every byte flipped under checksums that agree", func(t *testing.T) {
		var before, after runtime.MemStats
		for i := range data {
			for _, flip := range []byte{0x01, 0x10, 0x80, 0xff} {
				bad := slices.Clone(data)
				bad[i] ^= flip
				_ = setSums(bad)
				runtime.ReadMemStats(&before)
				_, err := readAll(t.Context(), bad) // any rows will do: the checksums vouch for them
				runtime.ReadMemStats(&after)
				if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
					t.Fatalf("byte %d ^ %#x: error without a kind: %v", i, flip, err)
				}
				if err != nil && strings.Contains(err.Error(), "decode:") {
					t.Errorf("byte %d ^ %#x: recovered from a panic: %v", i, flip, err)
				}
				if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
					t.Fatalf("byte %d ^ %#x: %d MiB allocated for an object of %d bytes", i, flip, got>>20, len(data))
				}
			}
		}
	})
}

func FuzzOpenRead(f *testing.F) {
	rows := someRows(random(22), 30, 0.2)
	data, _, _ := encoded(f, record(everyKind, rows...))
	f.Add(data)
	f.Add([]byte(magic + "\x00\x00\x00\x00" + magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = setSums(data)
		if _, err := readAll(t.Context(), data); err != nil && strings.Contains(err.Error(), "decode:") {
			t.Fatalf("recovered from a panic: %v", err)
		}
	})
}

func TestBoundsNeverNarrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := fewIdentities(t)
		for i := range rows {
			if rapid.Bool().Draw(t, "odd") {
				rows[i][4] = rapid.SampledFrom([]any{math.Inf(1), math.Inf(-1), 0.0, math.Copysign(0, -1), math.NaN()}).Draw(t, "float")
				rows[i][10] = rapid.SampledFrom([]any{"", strings.Repeat("z", 5000), "\xff\xff", "é"}).Draw(t, "string")
			}
		}
		sorted := must(Sort(record(everyKind, rows...), everyKind))
		data, _, err := Encode(sorted, everyKind)
		if err != nil {
			t.Fatal(err)
		}
		f := must(OpenBytes("o", data))
		for g := range f.NumRowGroups() {
			got := must(f.Read(context.Background(), everyKind, nil, []int{g}))
			for c, field := range everyKind.Fields {
				min, max, nulls, ok := f.RowGroupBounds(g, field.Name)
				checkBounds(t, field.Name, rowsOf(got), c, min, max, nulls, ok)
			}
		}
	})
}

func checkBounds(t *rapid.T, name string, rows []row, c int, min, max any, nulls int64, ok bool) {
	want := int64(0)
	for _, r := range rows {
		if r[c] == nil {
			want++
			continue
		}
		if !ok {
			continue
		}
		if v, isFloat := r[c].(float64); isFloat && v != v {
			t.Fatalf("%s: bounds [%v, %v] beside a NaN", name, min, max)
		}
		if less(r[c], min) || less(max, r[c]) {
			t.Fatalf("%s: %v outside [%v, %v]", name, r[c], min, max)
		}
	}
	if nulls != want && (nulls != -1 || ok) {
		t.Fatalf("%s: %d nulls, want %d", name, nulls, want)
	}
}

// less compares a bound or a row's value with another, on plain types.
func less(a, b any) bool {
	switch x := plain(a).(type) {
	case string:
		return x < plain(b).(string)
	case float64:
		return x < plain(b).(float64) || x == 0 && plain(b).(float64) == 0 && math.Signbit(x) && !math.Signbit(plain(b).(float64))
	case int64:
		return x < plain(b).(int64)
	}
	panic(fmt.Sprintf("%T", a))
}

func plain(v any) any {
	switch x := v.(type) {
	case []byte:
		return string(x)
	case bool:
		if x {
			return int64(1)
		}
		return int64(0)
	case int32:
		return int64(x)
	case arrow.Timestamp:
		return int64(x)
	case arrow.Date32:
		return int64(x)
	case Decimal:
		return x.Unscaled
	}
	return v
}

func TestBoundsOfWhatIsNotThere(t *testing.T) {
	data, _, _ := encoded(t, record(everyKind, someRows(random(23), 5, 0)...))
	f := must(OpenBytes("o", data))
	for _, tt := range []struct {
		name  string
		rg    int
		field string
	}{{"no such field", 0, "nope"}, {"no such row group", 1, "symbol"}, {"negative", -1, "symbol"}} {
		if _, _, nulls, ok := f.RowGroupBounds(tt.rg, tt.field); ok || nulls != -1 {
			t.Errorf("%s: %d nulls, %v", tt.name, nulls, ok)
		}
	}
	if min, max, nulls, ok := f.RowGroupBounds(0, "price"); !ok || nulls != 0 || min.(Decimal).Scale != 6 || max.(Decimal).Scale != 6 {
		t.Errorf("price = %v to %v, %d nulls, %v", min, max, nulls, ok)
	}
}

func TestAFileServesManyGoroutines(t *testing.T) {
	defer goleak.VerifyNone(t)
	data, _, sorted := encoded(t, record(everyKind, someRows(random(24), 2000, 0.1)...))
	f := must(Open(t.Context(), &oneObject{data: data}, "o", int64(len(data))))
	before := bytes.Clone(data)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			cols := []int{i, i + 1, 15}
			for range 5 {
				got, err := f.Read(context.Background(), everyKind, cols, nil)
				if err != nil || valueOf(got.Column(2), 7) != valueOf(sorted.Column(15), 7) {
					t.Errorf("columns %v: %v", cols, err)
				}
				_, _, _, _ = f.RowGroupBounds(0, "symbol")
				_, _ = f.Summary()
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(data, before) {
		t.Error("reading changed the object")
	}
}

func TestReadStopsWithItsContext(t *testing.T) {
	data, _, _ := encoded(t, record(everyKind, someRows(random(25), 20, 0)...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := must(OpenBytes("o", data)).Read(ctx, everyKind, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}
