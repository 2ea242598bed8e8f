package schema

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/avro"
)

// shelf is revisions by id.
type shelf map[string]string

func (s shelf) Revision(name, id string) (string, error) {
	if avsc, ok := s[id]; ok && name == "projects/p/schemas/s" {
		return avsc, nil
	}
	return "", errors.New("not on the shelf")
}

// ofRevision is a message as Pub/Sub delivers it from a topic with a schema.
func ofRevision(data []byte, id, encoding string) *Message {
	return attributed(data, "googclient_schemaname", "projects/p/schemas/s", AttributeRevision, id, "googclient_schemaencoding", encoding)
}

// A record is judged alike as plain JSON, as Avro's JSON and as Avro binary of a
// revision.
func TestRevisionsGiveTheSameRows(t *testing.T) {
	for _, name := range []string{"market_data", "options_data", "forecasts"} {
		def := definition(t, name)
		writer := avro.MustParse(def.Avro())
		r := rand.New(rand.NewPCG(3, 4))
		decoders := [3]*Decoder{}
		for i := range decoders {
			decoders[i] = def.NewDecoder(Standard, WithRevisions(shelf{"a1": def.Avro()}))
		}
		for range 300 {
			s := randomSample(r, def)
			tagged, err := writer.EncodeJSON(s.values, avro.TaggedUnions())
			if err != nil {
				t.Fatal(err)
			}
			binary, err := writer.Encode(s.values)
			if err != nil {
				t.Fatal(err)
			}
			var got [3]string
			for i, m := range []*Message{message(s.json), ofRevision(tagged, "a1", "JSON"), ofRevision(binary, "a1", "BINARY")} {
				m.ID = "1"
				rows := NewColumns(def)
				for _, r := range decoders[i].Decode(m, rows) {
					got[i] += string(r.Reason) + " " + r.Field + "\n"
				}
				got[i] += show(rows.Record())
			}
			if got[1] != got[0] || got[2] != got[0] {
				t.Fatalf("%s\n as JSON %s\n as Avro's JSON %s\n as Avro %s", tagged, got[0], got[1], got[2])
			}
		}
	}
}

// The revision says how the bytes are to be read, not the definition.
func TestRevisions(t *testing.T) {
	const other = `{"type":"record","name":"Quote","fields":[{"name":"source","type":"string"},{"name":"price","type":"double"},{"name":"symbol","type":"string"},
		{"name":"volume","type":["null","long"]},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]}`
	good := `{"source":"x","price":1.5,"symbol":"A","volume":{"long":9007199254740993},"timestamp":1705329052000}`
	schema := avro.MustParse(other)
	var v any
	if err := schema.DecodeJSON([]byte(good), &v); err != nil {
		t.Fatal(err)
	}
	binary, err := schema.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, id, encoding, data string
		want                     Reason
	}{
		{name: "JSON", encoding: "JSON", data: good},
		{name: "JSON with white space", encoding: "JSON", data: " \n" + good + "\n"},
		{name: "binary", encoding: "BINARY", data: string(binary)},
		{name: "binary, cut off", encoding: "BINARY", data: string(binary[:4]), want: AvroSyntax},
		{name: "an unknown revision", id: "b2", encoding: "JSON", data: good, want: UnknownSchemaVersion},
		{name: "an unknown revision in binary", id: "b2", encoding: "BINARY", data: string(binary), want: UnknownSchemaVersion},
		{name: "a revision that is no schema", id: "c3", encoding: "JSON", data: good, want: AvroSyntax},
		{name: "a branch that there is not", encoding: "JSON", data: strings.Replace(good, `"long"`, `"string"`, 1), want: AvroSyntax},
		{name: "a field is missing", encoding: "JSON", data: strings.Replace(good, `"symbol":"A",`, "", 1), want: AvroSyntax},
		{name: "nothing", encoding: "JSON", want: EmptyPayload},
		{name: "two records", encoding: "JSON", data: good + good, want: TrailingData},
		{name: "an array", encoding: "JSON", data: "[" + good + "]", want: NotAnObject},
		{name: "a name twice", encoding: "JSON", data: `{"x":1,"x":1,` + good[1:], want: DuplicateKey},
		{name: "no end of brackets", encoding: "JSON", data: `{"x":` + strings.Repeat("[", 100_000), want: TooDeep},
		{name: "a bad value", encoding: "JSON", data: strings.Replace(good, "1.5", "-1.5", 1), want: RuleBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, "market_data")
			dec, rows := def.NewDecoder(Standard, WithRevisions(shelf{"a1": other, "c3": "{"})), NewColumns(def)
			id := tt.id
			if id == "" {
				id = "a1"
			}
			for range 2 {
				rows.Reset()
				rejected := dec.Decode(ofRevision([]byte(tt.data), id, tt.encoding), rows)
				if tt.want != "" {
					if len(rejected) != 1 || rejected[0].Reason != tt.want || rows.Len() != 0 {
						t.Fatalf("%d rows, %+v; want %s", rows.Len(), rejected, tt.want)
					}
					if tt.want == UnknownSchemaVersion && (rejected[0].Field != AttributeRevision || !strings.Contains(rejected[0].Explanation, "not on the shelf")) {
						t.Errorf("%+v", rejected[0])
					}
					continue
				}
				if len(rejected) > 0 || rows.Len() != 1 {
					t.Fatalf("%d rows, %+v", rows.Len(), rejected)
				}
				rec := rows.Record()
				if got := cell(rec, "symbol", 0) + cell(rec, "price", 0) + cell(rec, "volume", 0) + cell(rec, "timestamp", 0) + cell(rec, "data_source", 0); got != "A1.590071992547409932024-01-15T14:30:52Zx" {
					t.Errorf("row %s", got)
				}
			}
			rows.Reset() // a message without a schema after one with
			if rejected := dec.Decode(attributed([]byte(record("market_data")), "googclient_schemaencoding", "JSON"), rows); len(rejected) > 0 {
				t.Errorf("plain JSON afterwards: %+v", rejected)
			}
		})
	}
}

// Whatever is said to be Avro's JSON ends as a row or a rejection.
func FuzzTaggedJSON(f *testing.F) {
	def := definition(f, "market_data")
	r := rand.New(rand.NewPCG(5, 5))
	for range 3 {
		tagged, err := avro.MustParse(def.Avro()).EncodeJSON(randomSample(r, def).values, avro.TaggedUnions())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(tagged)
	}
	dec := def.NewDecoder(Standard, WithRevisions(shelf{"a1": def.Avro()}))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows := NewColumns(def)
		rejected := dec.Decode(ofRevision(data, "a1", "JSON"), rows)
		if rows.Len()+len(rejected) != 1 {
			t.Fatalf("%d rows, %d rejections", rows.Len(), len(rejected))
		}
		show(rows.Record())
	})
}
