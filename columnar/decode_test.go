package columnar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// library writes rec with the Parquet library and the given settings.
func library(t *testing.T, rec arrow.RecordBatch, props ...parquet.WriterProperty) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &buf, parquet.NewWriterProperties(props...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Objects written with other settings than ours, as by an older or a later
// version of this package.
func TestReadsOtherSettings(t *testing.T) {
	rec := record(everyKind, someRows(random(30), 3000, 0.2)...)
	common := []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithStoreDecimalAsInteger(true)}
	dictionaries := []parquet.WriterProperty{parquet.WithStoreDecimalAsInteger(true), parquet.WithDictionaryDefault(false)}
	for _, name := range []string{"symbol", "exchange", "_id", "_schema_version"} {
		dictionaries = append(dictionaries, parquet.WithDictionaryFor(name, true))
	}
	for _, tt := range []struct {
		name  string
		props []parquet.WriterProperty
	}{
		{"uncompressed", common},
		{"page version 2", append(slices.Clone(common), parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithCompression(compress.Codecs.Snappy))},
		{"page version 2, uncompressed", append(slices.Clone(common), parquet.WithDataPageVersion(parquet.DataPageV2))},
		{"dictionaries", append(slices.Clone(dictionaries), parquet.WithCompression(compress.Codecs.Snappy))},
		{"many small pages", append(slices.Clone(dictionaries), parquet.WithDataPageSize(256), parquet.WithBatchSize(16))},
		{"a dictionary that grew too large on the way", append(slices.Clone(dictionaries), parquet.WithDictionaryPageSizeLimit(64))},
		{"a page index", append(slices.Clone(common), parquet.WithPageIndexEnabled(true))},
		{"booleans in runs", append(slices.Clone(common), parquet.WithEncodingFor("open", parquet.Encodings.RLE))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := OpenBytes("o", library(t, rec, tt.props...))
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Read(t.Context(), everyKind, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !equalRows(got, rec) {
				t.Error("rows differ")
			}
			if _, err := f.Summary(); err == nil {
				t.Error("a foreign object has a summary")
			}
		})
	}
}

func TestRefusesWhatItDoesNotRead(t *testing.T) {
	rec := record(everyKind, someRows(random(31), 100, 0)...)
	plain := []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithStoreDecimalAsInteger(true)}
	for _, tt := range []struct {
		name  string
		props []parquet.WriterProperty
	}{
		{"gzip", append(slices.Clone(plain), parquet.WithCompression(compress.Codecs.Gzip))},
		{"decimals as bytes", []parquet.WriterProperty{parquet.WithDictionaryDefault(false)}},
		{"byte stream split", append(slices.Clone(plain), parquet.WithEncodingFor("beta", parquet.Encodings.ByteStreamSplit))},
		{"dictionaries of numbers", []parquet.WriterProperty{parquet.WithStoreDecimalAsInteger(true)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := must(OpenBytes("o", library(t, rec, tt.props...))).Read(t.Context(), everyKind, nil, nil)
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("error = %v, want ErrUnsupported", err)
			}
		})
	}
	t.Run("a nested column", func(t *testing.T) {
		sc := arrow.NewSchema([]arrow.Field{{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true}}, nil)
		b := array.NewRecordBuilder(memory.DefaultAllocator, sc)
		b.Field(0).AppendNull()
		if _, err := OpenBytes("o", library(t, b.NewRecordBatch())); !errors.Is(err, ErrUnsupported) {
			t.Errorf("error = %v, want ErrUnsupported", err)
		}
	})
}

func TestDecodersRefuse(t *testing.T) {
	ints := make([]int32, 9)
	delta := func(v ...uint64) (b []byte) {
		for _, x := range v {
			b = binary.AppendUvarint(b, x)
		}
		return b
	}
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"codes beyond the dictionary", (&columnBuilder{entries: 2}).dictionaryCodes([]byte{8, 2, 2}, 0, ints[:1])},
		{"codes without a dictionary", (&columnBuilder{entries: -1}).dictionaryCodes([]byte{8, 2, 0}, 0, ints[:1])},
		{"codes of 33 bits", hybrid([]byte{2, 0, 0, 0, 0, 0}, 33, ints[:1])},
		{"a run of nothing", hybrid([]byte{0, 0}, 8, ints)},
		{"runs that end early", hybrid([]byte{4, 1}, 8, ints)},
		{"packed values that end early", hybrid([]byte{5, 1, 2, 3}, 8, ints)},
		{"another number of deltas", deltas(delta(128, 4, 8, 0), ints)},
		{"deltas in no blocks", deltas(delta(0, 4, 9, 0, 0, 0, 0, 0), ints)},
		{"deltas in blocks of no miniblocks", deltas(delta(128, 0, 9, 0, 0), ints)},
		{"deltas of 65 bits", deltas(append(delta(128, 4, 9, 0, 0), append([]byte{65, 0, 0, 0}, make([]byte, 999)...)...), ints)},
		{"deltas that end early", deltas(append(delta(128, 4, 9, 0, 0), 32, 0, 0, 0, 1, 2), ints)},
		{"a footer that goes on", second(parseFooter([]byte{0, 0}, 4))},
	} {
		if !errors.Is(tt.err, ErrCorrupt) {
			t.Errorf("%s: error = %v, want ErrCorrupt", tt.name, tt.err)
		}
	}
}

func TestFewBytesThatPromiseManyAllocateNothing(t *testing.T) {
	p := &pageReader{}
	bomb := append(binary.AppendUvarint(nil, 1<<31-1), 0, 0, 0, 0)
	if _, err := p.decompress(bomb, 1<<31-1, codecSnappy); !errors.Is(err, ErrCorrupt) || cap(p.buf) != 0 {
		t.Errorf("error = %v after %d bytes were allocated", err, cap(p.buf))
	}
}

func TestSummaryRoundTrip(t *testing.T) {
	want := Summary{Rows: 7, First: 1_705_276_800_000_001, Last: math.MaxInt64, SchemaVersion: "v1.2.0", DataType: "market_data", Hash: SetHash{1, 2}}
	kv := want.Metadata()
	if kv[metaFirst] != "2024-01-15T00:00:00.000001Z" {
		t.Errorf("first = %s", kv[metaFirst])
	}
	kv["other"] = "ignored"
	if got, err := ParseSummary(kv); err != nil || got != want {
		t.Errorf("ParseSummary = %+v, %v", got, err)
	}
	for key := range want.Metadata() {
		for _, bad := range []string{"", "-1 x"} {
			damaged := want.Metadata()
			damaged[key] = bad
			if _, err := ParseSummary(damaged); err == nil && (bad == "" || key != metaDataType && key != metaSchemaVersion) {
				t.Errorf("%s = %q gave no error", key, bad)
			}
		}
	}
	if got := reflect.ValueOf(want).NumField(); got != len(want.Metadata()) {
		t.Errorf("%d fields, %d keys", got, len(want.Metadata()))
	}
}
