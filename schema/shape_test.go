package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// many is a definition of integers, f0 and on, each with a longer name than the one
// before, and of rules that reject.
func many(t testing.TB, fields int, rules []string) *Definition {
	var b strings.Builder
	for i := range fields {
		fmt.Fprintf(&b, `, {"name": %q, "type": ["null", "long"], "default": null}`, manyName(i))
	}
	for i, when := range rules {
		rules[i] = fmt.Sprintf(`{"name": "r%d", "when": %q, "severity": "reject", "doc": ""}`, i, when)
	}
	return parse(t, `{"type": "record", "name": "many", "doc": "", "bb.version": "1.0.0", "bb.topic": "many", "bb.category": "thing", "bb.symbol": "s", "bb.event_time": "t",
	  "bb.rules": [`+strings.Join(rules, ",")+`],
	  "fields": [{"name": "s", "type": "string"}, {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}}`+b.String()+`]}`)
}

func manyName(i int) string { return "f" + fmt.Sprint(i) + strings.Repeat("x", i) }

// How a record is spaced changes none of its values, whatever the lengths of its names.
func TestSpacesMeanNothing(t *testing.T) {
	const fields = 40
	def := many(t, fields, nil)
	spaces := []string{"", " ", " ", "  ", "\t"}
	rapid.Check(t, func(t *rapid.T) {
		dec, rows := def.NewDecoder(Standard), NewColumns(def)
		plain := NewColumns(def)
		for range 3 {
			compact, odd := []byte(`{"s":"a","t":"2024-01-15T14:30:52Z"`), []byte(`{"s":"a","t":"2024-01-15T14:30:52Z"`)
			comma, colon := rapid.SampledFrom(spaces).Draw(t, "after commas"), rapid.SampledFrom(spaces).Draw(t, "after colons")
			for i := range fields {
				if rapid.IntRange(0, 9).Draw(t, "without") == 0 {
					continue
				}
				if rapid.IntRange(0, 9).Draw(t, "another") == 0 {
					comma, colon = rapid.SampledFrom(spaces).Draw(t, "after this comma"), rapid.SampledFrom(spaces).Draw(t, "after this colon")
				}
				v := rapid.IntRange(10, 999).Draw(t, "value")
				compact = fmt.Appendf(compact, `,%q:%d`, manyName(i), v)
				odd = fmt.Appendf(odd, `,%s%q:%s%d`, comma, manyName(i), colon, v)
			}
			if rejected := dec.Decode(message(string(odd)+"}"), rows); len(rejected) > 0 {
				t.Fatalf("%s: %s", odd, rejected[0].Explanation)
			}
			if rejected := def.NewDecoder(Standard).Decode(message(string(compact)+"}"), plain); len(rejected) > 0 {
				t.Fatalf("%s: %s", compact, rejected[0].Explanation)
			}
		}
		if diff := cmp.Diff(plain.AppendPacked(nil, 0, plain.Len()), rows.AppendPacked(nil, 0, rows.Len())); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Rules by the hundred are all kept.
func TestHundredsOfRules(t *testing.T) {
	var rules []string
	for i := range 600 {
		rules = append(rules, fmt.Sprintf("f0 > %d", -1-i))
	}
	def := many(t, 1, rules)
	dec, rows := def.NewDecoder(Standard), NewColumns(def)
	for v, want := range map[int]int{-600: 0, -599: 1, 1: 1} {
		if rejected := dec.Decode(message(fmt.Sprintf(`{"s":"a","t":"2024-01-15T14:30:52Z","f0":%d}`, v)), rows); len(rejected) != want {
			t.Errorf("f0 = %d: %+v", v, rejected)
		}
	}
}

// Of a decimal with more digits than its field, little may be lost, and nothing of what
// comes before the point.
func TestDecimalsThatLoseTooMuch(t *testing.T) {
	def := parse(t, guarded)
	dec, rows := def.NewDecoder(Standard), NewColumns(def)
	for v, want := range map[string]Reason{
		"99999999.994": "", "99999999.995": NumberOverflow, "99999999.99500000001": NumberOverflow,
		"0.001": DecimalPrecision, "0.005": DecimalPrecision, "0.0100001": DecimalPrecision, "0.0000000000000001": DecimalPrecision,
		"1000.001": "", "999.999": DecimalPrecision, "1000.0010001": DecimalPrecision, "0.000": "", "1.2500000000": "",
	} {
		rejected := dec.Decode(message(`{"s":"a","t":"2024-01-15T14:30:52Z","dec":`+v+`}`), rows)
		if got := reasonOf(rejected); got != want {
			t.Errorf("%s: %q, want %q", v, got, want)
		}
	}
}

func reasonOf(rejected []Rejection) Reason {
	if len(rejected) == 0 {
		return ""
	}
	return rejected[0].Reason
}

// A key matches itself, whatever its length, and nothing that differs in one of its bits;
// what follows it does not matter.
func TestKeysMatchThemselvesAlone(t *testing.T) {
	for n := range 60 {
		text := `, "` + strings.Repeat("n", n) + `": `
		k := newKey(text)
		matches := func(b []byte) bool {
			return k.odd((*[keyRoom]byte)(b)) == 0 && (k.rest == "" || hasPrefix(b[keyRoom:], k.rest))
		}
		for _, after := range []string{"1", `"`, "\x00", "\xff"} {
			b := []byte(text + strings.Repeat(after, keyRoom))
			if !matches(b) {
				t.Errorf("%q does not match %q", text, b)
			}
			for i := range 8 * len(text) {
				b[i/8] ^= 1 << (i % 8)
				if matches(b) {
					t.Errorf("%q matches %q", text, b)
				}
				b[i/8] ^= 1 << (i % 8)
			}
		}
	}
}
