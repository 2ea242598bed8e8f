package schema

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"
)

// An avroSample is one record as Go values for twmb/avro, and as JSON.
type avroSample struct {
	values map[string]any
	json   string
}

// randomSample makes a record of a definition: every kind, nulls, negative
// numbers, letters of other scripts. Some break a rule or are out of range.
func randomSample(r *rand.Rand, def *Definition) avroSample {
	s := avroSample{values: map[string]any{}}
	var parts []string
	for i := range def.Fields[:def.Own] {
		f := &def.Fields[i]
		if !f.Required && r.IntN(4) == 0 {
			s.values[f.Name] = nil
			parts = append(parts, strconv.Quote(f.Name)+":null")
			continue
		}
		v, text := randomValue(r, def, i)
		s.values[f.Name] = v
		parts = append(parts, strconv.Quote(f.Name)+":"+text)
	}
	s.json = "{" + strings.Join(parts, ",") + "}"
	return s
}

func randomValue(r *rand.Rand, def *Definition, i int) (v any, text string) {
	f := &def.Fields[i]
	switch f.Kind {
	case String:
		s := []string{"AAPL", "BRK.B", "^VIX", "ÄÖ", "日本", "a\"b\\c", ""}[r.IntN(7)]
		if f.Enum != nil {
			s = append(slices.Clone(f.Enum.Values), "odd")[r.IntN(len(f.Enum.Values)+1)]
		}
		return s, string(appendString(nil, []byte(s)))
	case Binary:
		b := []byte{byte(r.Uint32()), 0, 255}
		return b, `"` + base64.StdEncoding.EncodeToString(b) + `"`
	case Int32:
		n := int32(r.IntN(400)) - 5
		return n, strconv.Itoa(int(n))
	case Int64:
		n := r.Int64N(1<<40) - 1000
		return n, strconv.FormatInt(n, 10)
	case Float64:
		x := r.NormFloat64()
		return x, strconv.FormatFloat(x, 'g', -1, 64)
	case Decimal:
		unscaled := r.Int64N(int64(pow10[2+r.IntN(int(f.Precision)-2)])) - 3
		rat := new(big.Rat).SetFrac(big.NewInt(unscaled), new(big.Int).SetUint64(pow10[f.Scale]))
		return rat, rat.FloatString(int(f.Scale))
	case Date:
		d := published.Truncate(24*time.Hour).AddDate(0, 0, r.IntN(60)-30)
		return d, d.Format(`"2006-01-02"`)
	case Timestamp:
		at := published.Add(-time.Duration(r.Int64N(1e12)) * time.Microsecond)
		if i == def.TimeField && r.IntN(20) == 0 {
			at = published.AddDate(3, 0, 0) // outside the window
		}
		return at, at.Format(`"2006-01-02T15:04:05.000000Z"`)
	}
	panic(f.Kind)
}

// verdictsOf is all that decoding gives: rows, rejections without their records,
// coercions.
func verdictsOf(def *Definition, level Level, m *Message) string {
	dec, rows := def.NewDecoder(level), NewColumns(def)
	var b strings.Builder
	for _, r := range dec.Decode(m, rows) {
		fmt.Fprintf(&b, "%d %s %s %q\n", r.Index, r.Reason, r.Field, r.Value)
	}
	b.WriteString(show(rows.Record()))
	dec.Coercions(func(field, kind string, n int64) { fmt.Fprintln(&b, field, kind, n) })
	return b.String()
}

func attributed(data []byte, attributes ...string) *Message {
	m := message(string(data))
	m.Attributes = map[string]string{}
	for i := 0; i < len(attributes); i += 2 {
		m.Attributes[attributes[i]] = attributes[i+1]
	}
	return m
}

const (
	ocfType   = "application/vnd.apache.avro+ocf"
	arrowType = "application/vnd.apache.arrow.stream"
)

// Records judged alike in whatever encoding they come: the JSON text is written
// by this test, Avro by twmb/avro, Arrow by arrow-go.
func TestEveryFormGivesTheSameRowsAndVerdicts(t *testing.T) {
	for _, name := range []string{"market_data", "options_data", "forecasts"} {
		for _, level := range []Level{Standard, Strict, Lenient} {
			t.Run(fmt.Sprint(name, level), func(t *testing.T) {
				def := definition(t, name)
				writer := avro.MustParse(def.Avro())
				r := rand.New(rand.NewPCG(uint64(level), 7))
				var samples []avroSample
				var lines []string
				for range 200 {
					s := randomSample(r, def)
					samples, lines = append(samples, s), append(lines, s.json)
					single := verdictsOf(def, level, attributed([]byte(s.json)))
					binary, err := writer.Encode(s.values)
					if err != nil {
						t.Fatal(err)
					}
					got := verdictsOf(def, level, attributed(binary, "content_type", "avro/binary", "schema_version", def.Version.String()))
					if diff := cmp.Diff(single, got); diff != "" {
						t.Fatalf("Avro of %s (-JSON +Avro):\n%s", s.json, diff)
					}
				}
				want := verdictsOf(def, level, attributed([]byte(strings.Join(lines, "\n"))))
				for _, codec := range []ocf.Codec{nil, ocf.DeflateCodec(6), ocf.SnappyCodec(), ocf.MustZstdCodec(nil, nil)} {
					container := writeContainer(t, writer, samples, codec)
					if diff := cmp.Diff(want, verdictsOf(def, level, attributed(container, "content_type", ocfType))); diff != "" {
						t.Fatalf("container (-JSON +Avro):\n%s", diff)
					}
				}
			})
		}
	}
}

func writeContainer(t testing.TB, writer *avro.Schema, samples []avroSample, codec ocf.Codec) []byte {
	t.Helper()
	var b bytes.Buffer
	opts := []ocf.WriterOpt{ocf.WithBlockCount(17)}
	if codec != nil {
		opts = append(opts, ocf.WithCodec(codec))
	}
	w, err := ocf.NewWriter(&b, writer, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := w.Encode(s.values); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The step for a value of its field's own type, and the rendering that decides
// about all others, must never disagree.
func TestStepsAgreeWithTheRendering(t *testing.T) {
	def := definition(t, "options_data")
	writer := avro.MustParse(def.Avro())
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 2000 {
		binary, err := writer.Encode(randomSample(r, def).values)
		if err != nil {
			t.Fatal(err)
		}
		for range r.IntN(3) { // broken now and then
			binary[r.IntN(len(binary))] ^= 1 << r.IntN(8)
		}
		m := attributed(binary, "content_type", "avro/binary")
		quick, slow := decodeWith(def, m, false), decodeWith(def, m, true)
		if quick != slow {
			t.Fatalf("record %d: steps gave\n%s\nthe rendering\n%s", n, quick, slow)
		}
	}
}

func decodeWith(def *Definition, m *Message, careful bool) string {
	dec, rows := def.NewDecoder(Standard), NewColumns(def)
	dec.plan(def.avsc).careful = careful
	var b strings.Builder
	for _, r := range dec.Decode(m, rows) {
		fmt.Fprintf(&b, "%+v %s\n", r, r.Record)
	}
	b.WriteString(show(rows.Record()))
	dec.Coercions(func(field, kind string, n int64) { fmt.Fprintln(&b, field, kind, n) })
	return b.String()
}

// Writers whose types are not ours.
func TestWritersTypes(t *testing.T) {
	for _, tt := range []struct {
		name, typ string
		value     any
		want      string // price, or the reason
		coerced   string
	}{
		{"double", `"double"`, 150.25, "150.25", ""},
		{"double with noise", `"double"`, 4.420000076293945, "4.42000008", "price rounded 1"},
		{"double too fine", `"double"`, 8.942e-10, "decimal_precision", ""},
		{"NaN", `"double"`, nan(), "not_finite", ""},
		{"float", `"float"`, float32(4.42), "4.42", ""},
		{"int", `"int"`, int32(7), "7", ""},
		{"long beyond the precision", `"long"`, int64(1) << 60, "number_overflow", ""},
		{"string", `"string"`, "150.25", "150.25", "price number_as_string 1"},
		{"boolean", `"boolean"`, true, "type_mismatch", ""},
		{"decimal of another scale", `{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}`, big.NewRat(15025, 100), "150.25", ""},
		{"decimal of a finer scale", `{"type":"bytes","logicalType":"decimal","precision":20,"scale":12}`, big.NewRat(15025, 100), "150.25", ""},
		{"decimal of a finer scale, rounded", `{"type":"bytes","logicalType":"decimal","precision":20,"scale":12}`, big.NewRat(1502512345678, 10000000000), "150.25123457", "price rounded 1"},
		{"fixed decimal", `{"type":"fixed","name":"d","size":9,"logicalType":"decimal","precision":20,"scale":8}`, big.NewRat(-1, 4), "rule_broken", ""},
		{"null", `["null","double"]`, nil, "missing_required", ""},
		{"one of three", `["null","double","string"]`, "3.5", "3.5", "price number_as_string 1"},
		{"array", `{"type":"array","items":"double"}`, []any{1.0}, "type_mismatch", ""},
		{"map", `{"type":"map","values":"double"}`, map[string]any{"a": 1.0}, "type_mismatch", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, "market_data")
			writer, err := avro.Parse(`{"type":"record","name":"quote","fields":[{"name":"symbol","type":"string"},{"name":"extra","type":{"type":"array","items":{"type":"map","values":"long"}}},
				{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"source","type":{"type":"enum","name":"s","symbols":["yahoo"]}},{"name":"price","type":` + tt.typ + `}]}`)
			if err != nil {
				t.Fatal(err)
			}
			container := writeContainer(t, writer, []avroSample{{values: map[string]any{
				"symbol": "A", "timestamp": published, "source": "yahoo", "price": tt.value, "extra": []any{map[string]any{"a": int64(1)}},
			}}}, nil)
			dec, rows := def.NewDecoder(Standard), NewColumns(def)
			got := ""
			for _, r := range dec.Decode(attributed(container, "content_type", ocfType), rows) {
				got = string(r.Reason)
				if !r.Rendered || !strings.HasPrefix(string(r.Record), `{"symbol":"A"`) {
					t.Errorf("the rejected record is %q", r.Record)
				}
			}
			if rows.Len() == 1 {
				got = cell(rows.Record(), "price", 0)
				if at := cell(rows.Record(), "timestamp", 0) + cell(rows.Record(), "data_source", 0); at != "2024-01-15T15:00:00Zyahoo" {
					t.Errorf("time and source %s", at)
				}
			}
			if got != tt.want {
				t.Errorf("price %s, want %s", got, tt.want)
			}
			var coerced []string
			dec.Coercions(func(field, kind string, n int64) {
				if kind != "defaulted" && kind != "unknown_field" {
					coerced = append(coerced, fmt.Sprint(field, " ", kind, " ", n))
				}
			})
			if strings.Join(coerced, " ") != tt.coerced {
				t.Errorf("coerced %v, want %q", coerced, tt.coerced)
			}
		})
	}
}

func nan() float64 { z := 0.0; return z / z }

func TestArrowStreams(t *testing.T) {
	for _, name := range []string{"market_data", "options_data", "forecasts"} {
		t.Run(name, func(t *testing.T) {
			def := definition(t, name)
			r := rand.New(rand.NewPCG(5, 6))
			var lines []string
			for range 300 {
				lines = append(lines, randomSample(r, def).json)
			}
			first := NewColumns(def)
			def.NewDecoder(Standard).Decode(attributed([]byte(strings.Join(lines, "\n"))), first)
			rec := first.Record()
			stream := arrowStreamOf(t, first)
			// The system columns travel as unknown fields; all others must come back.
			second := NewColumns(def)
			if rejected := def.NewDecoder(Standard).Decode(attributed(stream, "content_type", arrowType), second); len(rejected) > 0 {
				t.Fatalf("rejected %+v", rejected[0])
			}
			again := second.Record()
			for i := range def.Own {
				for row := range first.Len() {
					if rec.Column(i).ValueStr(row) != again.Column(i).ValueStr(row) {
						t.Fatalf("%s of row %d: %s, want %s", def.Fields[i].Name, row, again.Column(i).ValueStr(row), rec.Column(i).ValueStr(row))
					}
				}
			}
			if first.Len() < 20 || first.Len() != second.Len() {
				t.Errorf("%d rows, then %d", first.Len(), second.Len())
			}
		})
	}
}

func arrowStreamOf(t testing.TB, rows *Columns) []byte {
	t.Helper()
	var b bytes.Buffer
	rec := rows.Record()
	w := ipc.NewWriter(&b, ipc.WithSchema(rec.Schema()))
	for _, part := range [][2]int64{{0, rec.NumRows() / 2}, {rec.NumRows() / 2, rec.NumRows()}} {
		if err := w.Write(rec.NewSlice(part[0], part[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(t testing.TB, encoding string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if encoding == "gzip" {
		w := gzip.NewWriter(&b)
		w.Write(data)
		w.Close()
		return b.Bytes()
	}
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func TestCompressedPayloads(t *testing.T) {
	good := record("market_data")
	bad := record("market_data", `price="x"`)
	both := []byte(good + "\n" + bad)
	for _, encoding := range []string{"gzip", "zstd"} {
		packed := compressed(t, encoding, both)
		big := compressed(t, encoding, bytes.Repeat([]byte(" "), 30<<20))
		for _, tt := range []struct {
			name string
			data []byte
			rows int
			want []Reason
		}{
			{"whole", packed, 1, []Reason{TypeMismatch}},
			{"cut off", packed[:len(packed)-5], 0, []Reason{CorruptEncoding}},
			{"garbage behind", append(slices.Clone(packed), "xxxxxxxx"...), 0, []Reason{CorruptEncoding}},
			{"flipped", flipped(packed), 0, []Reason{CorruptEncoding}},
			{"not compressed at all", both, 0, []Reason{CorruptEncoding}},
			{"empty", nil, 0, []Reason{map[string]Reason{"gzip": CorruptEncoding, "zstd": EmptyPayload}[encoding]}}, // no zstd frames are nothing
			{"of nothing", compressed(t, encoding, nil), 0, []Reason{EmptyPayload}},
			{"a bomb", big, 0, []Reason{DecompressionBomb}},
		} {
			t.Run(encoding+" "+tt.name, func(t *testing.T) {
				def := definition(t, "market_data")
				dec := def.NewDecoder(Standard)
				for range 2 {
					rows := NewColumns(def)
					var got []Reason
					rejected := dec.Decode(attributed(tt.data, "content_encoding", encoding), rows)
					for _, r := range rejected {
						got = append(got, r.Reason)
					}
					if !slices.Equal(got, tt.want) || rows.Len() != tt.rows {
						t.Fatalf("%d rows, %v; want %d, %v", rows.Len(), rejected, tt.rows, tt.want)
					}
					if tt.name == "whole" { // the record outlives the buffer it was in
						record := rejected[0].Record
						dec.Decode(attributed(compressed(t, encoding, bytes.Repeat([]byte("#"), len(both))), "content_encoding", encoding), rows)
						if string(record) != bad {
							t.Errorf("record %q, want %q", record, bad)
						}
					}
				}
			})
		}
	}
}

func flipped(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 0x10
	return b
}

// A container that breaks keeps what came before, and nothing panics wherever it
// is cut or flipped.
func TestBrokenBinaryPayloads(t *testing.T) {
	def := definition(t, "market_data")
	writer := avro.MustParse(def.Avro())
	r := rand.New(rand.NewPCG(8, 9))
	var samples []avroSample
	var lines []string
	for range 40 {
		s := randomSample(r, def)
		samples, lines = append(samples, s), append(lines, s.json)
	}
	rows := NewColumns(def)
	def.NewDecoder(Standard).Decode(attributed([]byte(strings.Join(lines, "\n"))), rows)
	for _, form := range []struct {
		contentType string
		data        []byte
	}{
		{ocfType, writeContainer(t, writer, samples, nil)},
		{ocfType, writeContainer(t, writer, samples, ocf.SnappyCodec())},
		{arrowType, arrowStreamOf(t, rows)},
	} {
		dec, rows := def.NewDecoder(Standard), NewColumns(def)
		for at := 0; at < len(form.data); at += 1 + len(form.data)/700 {
			for _, data := range [][]byte{form.data[:at], flipAt(form.data, at)} {
				rows.Reset()
				rejected := dec.Decode(attributed(data, "content_type", form.contentType), rows)
				if rows.Len()+len(rejected) == 0 {
					t.Fatalf("%s, %d of %d bytes: neither a row nor a rejection", form.contentType, at, len(form.data))
				}
				show(rows.Record())
			}
		}
		rows.Reset()
		cut := dec.Decode(attributed(form.data[:len(form.data)*3/4], "content_type", form.contentType), rows)
		if form.contentType == ocfType && (rows.Len() == 0 || cut[len(cut)-1].Reason != AvroSyntax) {
			t.Errorf("three quarters of a container: %d rows, %v", rows.Len(), cut)
		}
	}
}

func flipAt(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 0x41
	return b
}
