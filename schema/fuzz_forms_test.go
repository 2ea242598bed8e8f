package schema

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"
)

// Whatever arrives as Avro, Arrow or compressed ends as rows or rejections, and
// what came of it can be shown.
func FuzzAvro(f *testing.F)  { fuzzForms(f, "avro/binary", ocfType) }
func FuzzArrow(f *testing.F) { fuzzForms(f, arrowType) }
func FuzzGzip(f *testing.F)  { fuzzForms(f, "gzip") }
func FuzzZstd(f *testing.F)  { fuzzForms(f, "zstd") }

// fuzzForms fuzzes payloads of some forms, starting from good ones of each.
func fuzzForms(f *testing.F, forms ...string) {
	def := definition(f, "market_data")
	for i, form := range forms {
		for _, data := range goodForms(f, def)[form] {
			f.Add(uint8(i), data)
		}
	}
	dec := def.NewDecoder(Standard)
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		form, name := forms[int(which)%len(forms)], "content_type"
		if form == "gzip" || form == "zstd" {
			name = "content_encoding"
		}
		rows := NewColumns(def)
		rejected := dec.Decode(attributed(data, name, form), rows)
		if rows.Len()+len(rejected) == 0 {
			t.Fatal("neither a row nor a rejection")
		}
		for _, r := range rejected {
			if r.Reason == "" || r.Explanation == "" {
				t.Fatalf("rejection %+v", r)
			}
		}
		show(rows.Record())
	})
}

// goodForms are good payloads by content type or content encoding.
func goodForms(f *testing.F, def *Definition) map[string][][]byte {
	writer := avro.MustParse(def.Avro())
	r := rand.New(rand.NewPCG(1, 1))
	var all []avroSample
	var lines []string
	for range 5 {
		all = append(all, randomSample(r, def))
		lines = append(lines, all[len(all)-1].json)
	}
	rows := NewColumns(def)
	def.NewDecoder(Standard).Decode(attributed([]byte(strings.Join(lines, "\n"))), rows)
	datum, err := writer.Encode(all[0].values)
	if err != nil {
		f.Fatal(err)
	}
	return map[string][][]byte{
		"avro/binary": {datum},
		ocfType:       {writeContainer(f, writer, all, nil), writeContainer(f, writer, all, ocf.SnappyCodec())},
		arrowType:     {arrowStreamOf(f, rows)},
		"gzip":        {compressed(f, "gzip", []byte(lines[0]))},
		"zstd":        {compressed(f, "zstd", []byte(lines[0]))},
	}
}
