package schema

import (
	"bytes"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// aboutText are the reasons that say a payload is not JSON, or not one record.
var aboutText = map[Reason]bool{
	JSONSyntax: true, InvalidUTF8: true, LoneSurrogate: true, DuplicateKey: true,
	TrailingData: true, ByteOrderMark: true, EmptyPayload: true,
}

// Against an independent reader of JSON: what it calls JSON we do not call
// broken, what it calls broken makes no row without a rejection, and what we
// accept has the values it reads.
func FuzzDecode(f *testing.F) {
	types := []string{"market_data", "options_data", "forecasts", "dead_letters"}
	for _, seed := range seeds(f) {
		f.Add(uint8(seed.which), seed.data)
	}
	var decoders []*Decoder
	for _, name := range types {
		decoders = append(decoders, definition(f, name).NewDecoder(Standard))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		dec := decoders[int(which)%len(decoders)]
		rows := NewColumns(dec.def)
		sent := bytes.Clone(data)
		rejected := dec.Decode(message(string(data)), rows)
		if !bytes.Equal(sent, data) {
			t.Fatal("the payload was written to")
		}
		rec := rows.Record()
		for _, r := range rejected {
			if !bytes.Contains(data, r.Record) || r.Reason == "" || r.Explanation == "" || len(r.Value) > MaxValueBytes {
				t.Fatalf("rejection %+v", r)
			}
		}
		if rows.Len()+len(rejected) == 0 {
			t.Fatal("neither a row nor a rejection")
		}
		if bytes.ContainsAny(data, "NI\n") {
			return // tokens that we let pass, or lines
		}
		valid := jsontext.Value(data).IsValid()
		if !valid && len(rejected) == 0 {
			t.Fatalf("accepted %q, which is not JSON", data)
		}
		if !valid && rows.Len() > 0 && !bytes.HasPrefix(bytes.TrimLeft(data, " \r\t"), []byte("[")) {
			t.Fatalf("a row of %q, which is not JSON", data)
		}
		if valid {
			for _, r := range rejected {
				if aboutText[r.Reason] && !(r.Reason == DuplicateKey && r.Field != "") {
					t.Fatalf("%q is JSON, not %s", data, r.Explanation)
				}
			}
		}
		if valid && rows.Len() == 1 && len(rejected) == 0 && !bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
			compareValues(t, dec.def, rec, data)
		}
	})
}

type sample struct {
	which int
	data  []byte
}

// seeds are the base records with every interesting change, in every framing,
// and real JSON where there is some.
func seeds(t testing.TB) []sample {
	var all []sample
	for i, name := range []string{"market_data", "options_data", "forecasts"} {
		base := record(name)
		all = append(all, sample{i, []byte(base)}, sample{i, []byte("[" + base + "," + base + "]")}, sample{i, []byte(base + "\n" + base)})
	}
	for _, change := range []string{
		`price=4.420000076293945`, `price="150.25"`, `price=1e999999999`, `price=-0.00`, `volume=10.0`, `volume="1e3"`, `change=0.1e-30`,
		`timestamp="2024-01-15 14:30:52.123456789+05:30"`, `timestamp=1705329052.5`, `created_at="2024-01-15"`, `symbol="\u00e9\ud83d\ude00\n\/"`,
		`x={"a":[1,{"b":[]}],"c":{"d":null,"d2":"\\"}}`, `source="yahoo"`, `bid=NaN`, `change=1.7976931348623157e308`, `change=123456789012345678901234567890.5`,
	} {
		all = append(all, sample{0, []byte(record("market_data", change))})
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sample{0, b})
	}
	return all
}

// compareValues checks the one row against another reading of the payload.
func compareValues(t *testing.T, def *Definition, rec arrow.RecordBatch, data []byte) {
	var sent map[string]jsontext.Value
	if err := json.Unmarshal(data, &sent); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	for i := range def.Own {
		f := &def.Fields[i]
		raw, ok := sent[f.Name]
		for _, a := range f.Aliases {
			if other, given := sent[a]; given && !ok {
				raw, ok = other, true
			}
		}
		if !ok || raw.Kind() == 'n' {
			if len(f.Defaults) == 0 && !rec.Column(i).IsNull(0) {
				t.Fatalf("%q: %s = %s, though it was not sent", data, f.Name, rec.Column(i).ValueStr(0))
			}
			continue
		}
		text := string(raw)
		if raw.Kind() == '"' {
			if err := json.Unmarshal(raw, &text); err != nil {
				t.Fatalf("%q: %v", data, err)
			}
		}
		compareValue(t, f, rec.Column(i), raw.Kind(), text)
	}
}

func compareValue(t *testing.T, f *Field, col arrow.Array, kind jsontext.Kind, text string) {
	if col.IsNull(0) {
		if !strings.Contains(strings.ToLower(text), "nan") && !strings.Contains(strings.ToLower(text), "inf") {
			t.Fatalf("%s: %q became null", f.Name, text)
		}
		return
	}
	got := col.ValueStr(0)
	switch f.Kind {
	case String:
		if f.Enum == nil && got != text && kind == '"' {
			t.Fatalf("%s: %q became %q", f.Name, text, got)
		}
	case Float64:
		want, err := strconv.ParseFloat(text, 64)
		if v := col.(*array.Float64).Value(0); err != nil || v != want {
			t.Fatalf("%s: %q became %v, want %v (%v)", f.Name, text, v, want, err)
		}
	case Decimal:
		compareDecimal(t, f, col.(*array.Decimal128).Value(0), text)
	case Int64, Int32:
		want, ok := smallRat(text)
		if v, ok2 := new(big.Rat).SetString(got); ok && (!ok2 || v.Cmp(want) != 0) {
			t.Fatalf("%s: %q became %s", f.Name, text, got)
		}
	case Timestamp:
		if want, err := time.Parse(time.RFC3339Nano, text); err == nil {
			if v := int64(col.(*array.Timestamp).Value(0)); v != want.UnixMicro() {
				t.Fatalf("%s: %q became %d, want %d", f.Name, text, v, want.UnixMicro())
			}
		}
	case Date:
		if want, err := time.Parse(time.DateOnly, text); err == nil {
			if v := int64(col.(*array.Date32).Value(0)); v != want.Unix()/86400 {
				t.Fatalf("%s: %q became %d", f.Name, text, v)
			}
		}
	}
}

// smallRat is the exact value of a number whose exponent does not make that a
// matter of hours.
func smallRat(text string) (*big.Rat, bool) {
	if _, exp, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		if e, err := strconv.Atoi(exp); err != nil || e > 400 || e < -400 {
			return nil, false
		}
	}
	return new(big.Rat).SetString(text)
}

// compareDecimal checks the rounding: half to even, and not by more than a
// millionth.
func compareDecimal(t *testing.T, f *Field, v decimal128.Num, text string) {
	sent, ok := smallRat(text)
	if !ok {
		return
	}
	unit := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(f.Scale)), nil))
	scaled := new(big.Rat).Quo(sent, unit)
	got := new(big.Rat).SetInt(v.BigInt())
	off := new(big.Rat).Sub(got, scaled)
	off.Abs(off)
	half := big.NewRat(1, 2)
	if off.Cmp(half) > 0 || off.Cmp(half) == 0 && v.BigInt().Bit(0) == 1 {
		t.Fatalf("%s: %q became %s units", f.Name, text, v.BigInt())
	}
	if limit := new(big.Rat).Mul(new(big.Rat).Abs(scaled), big.NewRat(1, 1_000_000)); off.Cmp(limit) > 0 {
		t.Fatalf("%s: %q became %s units: too far", f.Name, text, v.BigInt())
	}
}
