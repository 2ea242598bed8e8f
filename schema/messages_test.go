package schema

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// verdict is a rejection as these tests look at it.
type verdict struct {
	Index  int32
	Reason Reason
	Record string
}

func verdicts(rejected []Rejection) []verdict {
	var v []verdict
	for _, r := range rejected {
		v = append(v, verdict{r.Index, r.Reason, string(r.Record)})
	}
	return v
}

// indexes are the _index of every row.
func indexes(rows *Columns) []int32 {
	return append([]int32(nil), rows.cols[rows.def.Own+sysIndex].i32[:rows.n]...)
}

// How a message is taken apart.
func TestMessages(t *testing.T) {
	a, b, c := record("market_data"), record("market_data", `symbol="B"`), record("market_data", `symbol="C"`)
	noPrice := record("market_data", `price=`)
	deep := record("market_data", "x="+strings.Repeat("[", 31)+strings.Repeat("]", 31))
	tooDeep := record("market_data", "x="+strings.Repeat("[", 32)+strings.Repeat("]", 32))
	veryDeep := record("market_data", "x="+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))
	pretty := strings.ReplaceAll(strings.ReplaceAll(a, "{", "{\n  "), ",", ",\n  ")
	for _, tt := range []struct {
		name, data  string
		contentType string
		rows        []int32
		rejected    []verdict
	}{
		{name: "one object", data: a, rows: []int32{0}},
		{name: "one object with white space", data: " \r\n\t" + a + "\n\n", rows: []int32{0}},
		{name: "one object over several lines", data: pretty, rows: []int32{0}},
		{name: "no bytes", data: "", rejected: []verdict{{0, EmptyPayload, ""}}},
		{name: "white space", data: " \n", rejected: []verdict{{0, EmptyPayload, " \n"}}},
		{name: "no bytes in lines", data: "\n\n", contentType: "application/x-ndjson", rejected: []verdict{{0, EmptyPayload, "\n\n"}}},
		{name: "null", data: " null ", rejected: []verdict{{0, NullPayload, " null "}}},
		{name: "empty array", data: "[ ]", rejected: []verdict{{0, EmptyArray, "[ ]"}}},
		{name: "empty object", data: "{}", rejected: []verdict{{0, MissingRequired, "{}"}}},
		{name: "a number", data: "17", rejected: []verdict{{0, NotAnObject, "17"}}},
		{name: "words", data: "hello there", rejected: []verdict{{0, JSONSyntax, "hello there"}}},
		{name: "byte-order mark", data: "\ufeff" + a, rejected: []verdict{{0, ByteOrderMark, "\ufeff" + a}}},
		{name: "trailing garbage", data: a + " x", rejected: []verdict{{0, TrailingData, a + " x"}}},
		{name: "two documents", data: a + b, rejected: []verdict{{0, TrailingData, a + b}}},
		{name: "trailing comma", data: a + ",", rejected: []verdict{{0, TrailingData, a + ","}}},
		{name: "cut off", data: a[:len(a)-1], rejected: []verdict{{0, JSONSyntax, a[:len(a)-1]}}},
		{name: "cut off in a string", data: a[:len(a)-2], rejected: []verdict{{0, JSONSyntax, a[:len(a)-2]}}},
		{name: "comma before the end", data: a[:len(a)-1] + ",}", rejected: []verdict{{0, JSONSyntax, a[:len(a)-1] + ",}"}}},
		{name: "name twice", data: `{"symbol":"A",` + a[1:], rejected: []verdict{{0, DuplicateKey, `{"symbol":"A",` + a[1:]}}},
		{name: "name twice with one value", data: `{"symbol":"AAPL",` + a[1:], rejected: []verdict{{0, DuplicateKey, `{"symbol":"AAPL",` + a[1:]}}},
		{name: "name twice, once escaped", data: `{"s\u0079mbol":"AAPL",` + a[1:], rejected: []verdict{{0, DuplicateKey, `{"s\u0079mbol":"AAPL",` + a[1:]}}},
		{name: "unknown name twice", data: `{"x":1,"x":1,` + a[1:], rejected: []verdict{{0, DuplicateKey, `{"x":1,"x":1,` + a[1:]}}},
		{name: "one name in two nested objects", data: `{"x":[{"a":1},{"a":1}],"y":{"a":1,"x":2},` + a[1:], rows: []int32{0}},
		{name: "two names of a field agree", data: `{"source":"yahoo",` + a[1:], rows: []int32{0}},
		{name: "two names of a field disagree", data: `{"source":"other",` + a[1:], rejected: []verdict{{0, DuplicateKey, `{"source":"other",` + a[1:]}}},
		{name: "two names of a field, one of them twice", data: `{"source":"yahoo","source":"yahoo",` + a[1:], rejected: []verdict{{0, DuplicateKey, `{"source":"yahoo","source":"yahoo",` + a[1:]}}},
		{name: "two names of a field, the first again", data: `{"source":"yahoo","data_source":"yahoo",` + a[1:], rejected: []verdict{{0, DuplicateKey, `{"source":"yahoo","data_source":"yahoo",` + a[1:]}}},
		{name: "nested 32 deep", data: deep, rows: []int32{0}},
		{name: "nested 33 deep", data: tooDeep, rejected: []verdict{{0, TooDeep, tooDeep}}},
		{name: "nested without end", data: veryDeep, rejected: []verdict{{0, TooDeep, veryDeep}}},

		{name: "array", data: "[" + a + " , " + b + "]", rows: []int32{0, 1}},
		{name: "the same record twice", data: "[" + a + "," + a + "]", rows: []int32{0, 1}},
		{name: "array with a bad record", data: "[" + a + ",\n " + noPrice + " ," + b + "]", rows: []int32{0, 2}, rejected: []verdict{{1, MissingRequired, noPrice}}},
		{name: "array with a deep record", data: "[" + tooDeep + "," + b + "]", rows: []int32{1}, rejected: []verdict{{0, TooDeep, tooDeep}}},
		{name: "array with bad UTF-8", data: "[{\"symbol\":\"\xff\"}," + b + "]", rows: []int32{1}, rejected: []verdict{{0, InvalidUTF8, "{\"symbol\":\"\xff\"}"}}},
		{name: "array with a raw newline in a string", data: "[{\"symbol\":\"\n\"}," + b + "]", rows: []int32{1}, rejected: []verdict{{0, JSONSyntax, "{\"symbol\":\"\n\"}"}}},
		{name: "array with a name twice", data: `[{"x":1,"x":"\"}"},` + b + "]", rows: []int32{1}, rejected: []verdict{{0, DuplicateKey, `{"x":1,"x":"\"}"}`}}},
		{name: "array of all kinds", data: `[1,"x",null,[` + a + `],` + b + "]", rows: []int32{4}, rejected: []verdict{{0, NotAnObject, "1"}, {1, NotAnObject, `"x"`}, {2, NotAnObject, "null"}, {3, NotAnObject, "[" + a + "]"}}},
		{name: "array with a broken element", data: "[" + a + `,{"symbol":tru},` + b + "]", rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, `{"symbol":tru},` + b + "]"}}},
		{name: "array with a word for an element", data: "[" + a + `,x,` + b + "]", rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, `x,` + b + "]"}}},
		{name: "array with two commas", data: "[" + a + `,,` + b + "]", rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, `,` + b + "]"}}},
		{name: "array with a comma before its end", data: "[" + a + `,]`, rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, `]`}}},
		{name: "array without commas", data: "[" + a + b + "]", rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, b + "]"}}},
		{name: "array cut off between records", data: "[" + a + ",", rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, ""}}},
		{name: "array cut off in a record", data: "[" + a + "," + b[:20], rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, b[:20]}}},
		{name: "array that opens only", data: "[", rejected: []verdict{{0, JSONSyntax, ""}}},
		{name: "garbage after an array", data: "[" + a + "] x", rows: []int32{0}, rejected: []verdict{{1, TrailingData, "x"}}},
		{name: "garbage after an empty array", data: "[] x", rejected: []verdict{{0, TrailingData, "[] x"}}},

		{name: "lines", data: a + "\n" + b + "\r\n\n  " + c + "\n", rows: []int32{0, 1, 2}},
		{name: "lines, said to be", data: a + "\n" + b + "\n", contentType: "application/x-ndjson", rows: []int32{0, 1}},
		{name: "lines, with a parameter", data: a + "\n" + b, contentType: "Application/X-NDJSON; charset=utf-8", rows: []int32{0, 1}},
		{name: "JSON with a parameter", data: a, contentType: "application/json; charset=utf-8", rows: []int32{0}},
		{name: "lines with a bad one", data: a + "\n" + noPrice + " \n" + c, rows: []int32{0, 2}, rejected: []verdict{{1, MissingRequired, noPrice}}},
		{name: "lines with a broken one", data: a + "\n" + b[:20] + "\n" + c, rows: []int32{0, 2}, rejected: []verdict{{1, JSONSyntax, b[:20]}}},
		{name: "lines, the first broken", data: a[:20] + "\n" + b + "\n" + c, rows: []int32{1, 2}, rejected: []verdict{{0, JSONSyntax, a[:20]}}},
		{name: "lines, the first bad", data: noPrice + "\n" + b, rows: []int32{1}, rejected: []verdict{{0, MissingRequired, noPrice}}},
		{name: "lines, the first cut at a comma", data: `{"symbol":"A",` + "\n" + b, rows: []int32{1}, rejected: []verdict{{0, JSONSyntax, `{"symbol":"A",`}}},
		{name: "lines, garbage after one", data: a + "\n" + b + " x\n" + c, rows: []int32{0, 2}, rejected: []verdict{{1, TrailingData, b + " x"}}},
		{name: "lines, garbage after the first", data: a + " x\n" + b, rows: []int32{1}, rejected: []verdict{{0, TrailingData, a + " x"}}},
		{name: "lines of all kinds", data: a + "\nnull\n[" + b + "]\nx\n1 2", rows: []int32{0}, rejected: []verdict{{1, NotAnObject, "null"}, {2, NotAnObject, "[" + b + "]"}, {3, JSONSyntax, "x"}, {4, TrailingData, "1 2"}}},
		{name: "an object over two of the lines", data: a + "\n" + `{"symbol":` + "\n" + `"A"}`, contentType: "application/x-ndjson", rows: []int32{0}, rejected: []verdict{{1, JSONSyntax, `{"symbol":`}, {2, TrailingData, `"A"}`}}},
		{name: "array where lines are said to be", data: "[" + a + "]", contentType: "application/x-ndjson", rejected: []verdict{{0, NotAnObject, "[" + a + "]"}}},

		{name: "Avro that is none", data: "x", contentType: "avro/binary", rejected: []verdict{{0, AvroSyntax, "x"}}},
		{name: "an Avro container that is none", data: "x", contentType: "application/vnd.apache.avro+ocf", rejected: []verdict{{0, AvroSyntax, "x"}}},
		{name: "Arrow that is none", data: "x", contentType: "application/vnd.apache.arrow.stream", rejected: []verdict{{0, ArrowSyntax, "x"}}},
		{name: "a format nobody reads", data: "x", contentType: "application/xml", rejected: []verdict{{0, UnsupportedContentType, "x"}}},
		{name: "a content type that is none", data: a, contentType: "; ;", rejected: []verdict{{0, UnsupportedContentType, a}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, "market_data")
			dec, rows := def.NewDecoder(Standard), NewColumns(def)
			m := message(tt.data)
			if tt.contentType != "" {
				m.Attributes = map[string]string{"content_type": tt.contentType}
			}
			for range 2 { // the second time with memory of the first
				rows.Reset()
				rejected := dec.Decode(m, rows)
				if diff := cmp.Diff(tt.rejected, verdicts(rejected)); diff != "" {
					t.Errorf("%q: rejections (-want +got):\n%s", tt.data, diff)
				}
				if diff := cmp.Diff(tt.rows, indexes(rows)); diff != "" {
					t.Errorf("%q: rows (-want +got):\n%s", tt.data, diff)
				}
				rec := rows.Record()
				for row := range rows.Len() {
					if got := cell(rec, ColID, row) + cell(rec, ColSchemaVersion, row); got != "m:1v1.2.0" {
						t.Errorf("row %d: id and version %s", row, got)
					}
				}
				for _, r := range rejected {
					if r.Explanation == "" || strings.Contains(r.Explanation, "\n") {
						t.Errorf("explanation %q", r.Explanation)
					}
				}
			}
		})
	}
}

// What the attributes decide.
func TestAttributes(t *testing.T) {
	for _, tt := range []struct {
		name, dataType string
		attributes     map[string]string
		data           string
		field, want    string
		reason         Reason
	}{
		{name: "source from the attribute", attributes: map[string]string{"source": "polygon"}, data: record("market_data", "data_source="), field: "data_source", want: "polygon"},
		{name: "source from the alias", attributes: map[string]string{"source": "polygon"}, data: record("market_data", "data_source=", `source="yahoo"`), field: "data_source", want: "yahoo"},
		{name: "source is null, attribute there", attributes: map[string]string{"source": "polygon"}, data: record("market_data", "data_source=null"), field: "data_source", want: "polygon"},
		{name: "source nowhere", data: record("market_data", "data_source="), reason: MissingRequired},
		{name: "message id", field: "_id", want: "m:1"},
		{name: "event id", attributes: map[string]string{"event_id": "m:1"}, field: "_id", want: "e:m:1"},
		{name: "empty event id", attributes: map[string]string{"event_id": ""}, field: "_id", want: "m:1"},
		{name: "publish time", field: "_published_at", want: "2024-01-15T15:00:00Z"},
		{name: "published_at beside an event id", attributes: map[string]string{"event_id": "x", "published_at": "2024-01-14T00:00:00.5+01:00"}, field: "_published_at", want: "2024-01-13T23:00:00.5Z"},
		{name: "published_at alone", attributes: map[string]string{"published_at": "2024-01-14T00:00:00Z"}, field: "_published_at", want: "2024-01-15T15:00:00Z"},
		{name: "published_at that is no time", attributes: map[string]string{"event_id": "x", "published_at": "yesterday"}, reason: BadAttribute},
		{name: "published_at in the future", attributes: map[string]string{"event_id": "x", "published_at": "2024-01-16T15:00:01Z"}, reason: BadAttribute},
		{name: "event id that is not UTF-8", attributes: map[string]string{"event_id": "\xff"}, reason: BadAttribute},
		{name: "created_at follows published_at", attributes: map[string]string{"event_id": "x", "published_at": "2024-01-15T14:31:00Z"}, field: "created_at", want: "2024-01-15T14:31:00Z"},
		{name: "own schema version", attributes: map[string]string{"schema_version": "v1.2.0"}, field: "_schema_version", want: "v1.2.0"},
		{name: "own schema version without the v", attributes: map[string]string{"schema_version": "1.2.0"}, field: "_schema_version", want: "v1.2.0"},
		{name: "older schema version", attributes: map[string]string{"schema_version": "v1.0.0"}, field: "_schema_version", want: "v1.2.0"},
		{name: "newer schema version", attributes: map[string]string{"schema_version": "v1.10.0"}, reason: UnknownSchemaVersion},
		{name: "older major version", attributes: map[string]string{"schema_version": "v0.9.0"}, reason: UnknownSchemaVersion},
		{name: "schema version that is none", attributes: map[string]string{"schema_version": "latest"}, reason: UnknownSchemaVersion},
		{name: "gzip that is none", attributes: map[string]string{"content_encoding": "gzip"}, reason: CorruptEncoding},
		{name: "zstd that is none", attributes: map[string]string{"content_encoding": "zstd"}, reason: CorruptEncoding},
		{name: "an encoding nobody reads", attributes: map[string]string{"content_encoding": "br"}, reason: UnsupportedEncoding},
		{name: "identity", attributes: map[string]string{"content_encoding": "identity"}, field: "symbol", want: "AAPL"},
		{name: "Pub/Sub's own binary encoding", attributes: map[string]string{"googclient_schemaencoding": "BINARY"}, reason: AvroSyntax},
		{name: "own message type", attributes: map[string]string{"message_type": "market_data"}, field: "symbol", want: "AAPL"},
		{name: "upstream's other message type", attributes: map[string]string{"message_type": "json_data"}, field: "symbol", want: "AAPL"},
		{name: "message type of another data type", attributes: map[string]string{"message_type": "options_data"}, reason: WrongDataType},
		{name: "another data type's topic", attributes: map[string]string{"message_type": "options-data"}, reason: WrongDataType},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, "market_data")
			dec, rows := def.NewDecoder(Standard), NewColumns(def)
			m := message(record("market_data"))
			if tt.data != "" {
				m.Data = []byte(tt.data)
			}
			m.Attributes = tt.attributes
			rejected := dec.Decode(m, rows)
			if tt.reason != "" {
				if diff := cmp.Diff([]verdict{{0, tt.reason, string(m.Data)}}, verdicts(rejected)); diff != "" || rows.Len() != 0 {
					t.Errorf("%d rows, rejections (-want +got):\n%s", rows.Len(), diff)
				}
				return
			}
			if len(rejected) != 0 {
				t.Fatalf("rejections %+v", rejected)
			}
			if got := cell(rows.Record(), tt.field, 0); got != tt.want {
				t.Errorf("%s = %q, want %q", tt.field, got, tt.want)
			}
		})
	}
}

// The record from the documentation that users start with.
func TestDocumentedRecord(t *testing.T) {
	def := definition(t, "market_data")
	rows := NewColumns(def)
	m := message(`{"symbol":"AAPL","timestamp":"2024-01-15T14:30:52Z","price":150.25,"volume":1000000,"data_source":"yahoo_finance","created_at":"2024-01-15T14:30:53Z","version":"v1.2.0"}`)
	if rejected := def.NewDecoder(Strict).Decode(m, rows); len(rejected) > 0 {
		t.Fatalf("rejections %+v", rejected)
	}
	want := "symbol=AAPL timestamp=2024-01-15T14:30:52Z price=150.25 volume=1000000 data_source=yahoo_finance " +
		"created_at=2024-01-15T14:30:53Z version=v1.2.0 _id=m:1 _index=0 _published_at=2024-01-15T15:00:00Z _schema_version=v1.2.0 _flags=0 \n"
	if got := show(rows.Record()); got != want {
		t.Errorf("row = %s\nwant  %s", got, want)
	}
	if got := rows.Symbol(0); got != "AAPL" {
		t.Errorf("symbol = %q", got)
	}
	if got, want := rows.EventMicros(0), time.Date(2024, 1, 15, 14, 30, 52, 0, time.UTC).UnixMicro(); got != want {
		t.Errorf("event time = %d, want %d", got, want)
	}
	if got, want := rows.Day(0), int32(19737); got != want {
		t.Errorf("day = %d, want %d", got, want)
	}
}

func TestRejectionNamesRecordFieldOffsetAndValue(t *testing.T) {
	def := definition(t, "market_data")
	rows := NewColumns(def)
	bad := `{"symbol":"AAPL","timestamp":"2024-01-15T14:30:52Z","price":"a\u2028lot","data_source":"x"}`
	m := message("[" + record("market_data") + "," + bad + "]")
	rejected := def.NewDecoder(Standard).Decode(m, rows)
	offset := bytes.Index(m.Data, []byte(`"a\u2028lot"`))
	want := []Rejection{{
		Index: 1, Reason: TypeMismatch, Field: "price", Value: `"a\u2028lot"`, Offset: offset, Record: []byte(bad),
		Explanation: fmt.Sprintf(`record 1, field price, offset %d, value "\"a\\u2028lot\"": a value of the wrong type: want a number`, offset),
	}}
	if diff := cmp.Diff(want, rejected); diff != "" {
		t.Errorf("rejections (-want +got):\n%s", diff)
	}
}

func TestRejectedValueIsBounded(t *testing.T) {
	def := definition(t, "market_data")
	rows := NewColumns(def)
	for _, symbol := range []string{strings.Repeat("é", 5000), strings.Repeat("\xff", 5000), strings.Repeat("\xff.", 5000), strings.Repeat("x", 5000)} {
		rejected := def.NewDecoder(Standard).Decode(message(record("market_data", `symbol="`+symbol+`"`)), rows)
		if len(rejected) != 1 || len(rejected[0].Value) > MaxValueBytes || !utf8.ValidString(rejected[0].Value) || rejected[0].Field != "symbol" {
			t.Errorf("value %q of field %q", rejected[0].Value, rejected[0].Field)
		}
	}
}

// One bad record among 100,000 costs itself alone.
func TestOneBadRecordAmongMany(t *testing.T) {
	def := definition(t, "market_data")
	dec, rows := def.NewDecoder(Standard), NewColumns(def)
	good := record("market_data")
	for _, tt := range []struct{ name, open, between, end string }{
		{"lines", "", "\n", ""},
		{"array", "[", ",", "]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := make([]string, 50_000)
			for i := range all {
				all[i] = good
			}
			all[777] = record("market_data", "volume=0.5")
			rows.Reset()
			m := message(tt.open + strings.Join(all, tt.between) + tt.end)
			if len(m.Data) > MaxMessageBytes {
				t.Fatalf("a message of %d bytes", len(m.Data))
			}
			rejected := dec.Decode(m, rows)
			if diff := cmp.Diff([]verdict{{777, FractionalInteger, all[777]}}, verdicts(rejected)); diff != "" || rows.Len() != len(all)-1 {
				t.Errorf("%d rows; rejections (-want +got):\n%s", rows.Len(), diff)
			}
		})
	}
}

func TestSizeCap(t *testing.T) {
	def := definition(t, "market_data")
	dec, rows := def.NewDecoder(Standard), NewColumns(def)
	data := record("market_data")
	data += strings.Repeat(" ", MaxMessageBytes-len(data))
	if rejected := dec.Decode(message(data), rows); len(rejected) != 0 || rows.Len() != 1 {
		t.Errorf("at the cap: %d rows, rejections %+v", rows.Len(), verdicts(rejected))
	}
	if rejected := dec.Decode(message(data+" "), rows); len(rejected) != 1 || rejected[0].Reason != TooLarge || rows.Len() != 1 {
		t.Errorf("over the cap: %d rows, %d rejections", rows.Len(), len(rejected))
	}
}
