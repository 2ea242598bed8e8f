package schema

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Against the standard library's calendar, every day from year 1 to 9999.
func TestDaysFromCivil(t *testing.T) {
	day := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for days := int32(day.Unix() / 86400); day.Year() < 10000; days++ {
		y, m, d := day.Date()
		if got := daysFromCivil(y, int(m), d); got != days {
			t.Fatalf("%s = day %d, want %d", day.Format(time.DateOnly), got, days)
		}
		if d > daysIn(y, int(m)) {
			t.Fatalf("%s: the month has %d days", day.Format(time.DateOnly), daysIn(y, int(m)))
		}
		day = day.AddDate(0, 0, 1)
	}
}

// Against a byte at a time, wherever the odd byte stands.
func TestPlainText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte("abcz !#[]~\x7f\"\\\x00\x1f\n\x80\xff")), 0, 40).Draw(t, "b")
		p := rapid.IntRange(0, len(b)).Draw(t, "p")
		want := p
		for want < len(b) && b[want] != '"' && b[want] != '\\' && b[want] >= ' ' && b[want] < utf8.RuneSelf {
			want++
		}
		if got := plainText(b, p); got != want {
			t.Fatalf("plainText(%q, %d) = %d, want %d", b, p, got, want)
		}
	})
}

// The short way to read a number agrees with the long way.
func TestShortNumberAgreesWithLong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{0,3})?`).Draw(t, "text")
		after := rapid.SliceOfN(rapid.SampledFrom([]byte(" ,}09.eE\x00\x80\xba\xff")), 0, 50).Draw(t, "after")
		after = append(after, "                    "...)
		b := append([]byte(text+","), after...)
		digits, point, next := shortNumber(b, 0)
		if d, p, n := shortEnd(b, 0); d != digits && n >= 0 || p != point || n != next {
			t.Fatalf("%s: %d / 10^%d to %d, without words %d / 10^%d to %d", b, digits, point, next, d, p, n)
		}
		if next < 0 {
			return
		}
		n, long := scanNumber(b, 0)
		if long != next || n.digits != digits || n.exp != -point || n.neg || n.more {
			t.Fatalf("%s: %d / 10^%d, long %+v", text, digits, point, n)
		}
	})
}

// It does so at every length of both parts, with a zero ahead or not, whatever follows.
func TestShortNumberAtEveryLength(t *testing.T) {
	for whole := range 20 {
		for fraction := -1; fraction < 20; fraction++ {
			for _, first := range []string{"", "0", "9"} {
				text := first + strings.Repeat("7", whole)
				if fraction >= 0 {
					text += "." + strings.Repeat("3", fraction)
				}
				for _, after := range []string{",", "e1,", "E,", ".,", ",123456789012345678901234567890", "e", ""} {
					for _, room := range []int{0, 60} {
						b := []byte(text + after + strings.Repeat(" ", room))
						d1, p1, n1 := shortNumber(b, 0)
						d2, p2, n2 := shortEnd(b, 0)
						if n1 != n2 || n1 >= 0 && (d1 != d2 || p1 != p2) {
							t.Fatalf("%q: %d / 10^%d to %d, without words %d / 10^%d to %d", b, d1, p1, n1, d2, p2, n2)
						}
					}
				}
			}
		}
	}
}

func TestReadOCC(t *testing.T) {
	for _, tt := range []struct {
		in, root string
		day      string
		kind     byte
		strike   int64
		ok       bool
	}{
		{"SPY260817C00580000", "SPY", "2026-08-17", 'C', 580000, true},
		{"GOOG  151231C00460000", "GOOG", "2015-12-31", 'C', 460000, true},
		{"AAPL1 240119P00002500", "AAPL1", "2024-01-19", 'P', 2500, true},
		{"BTC-9JUN20-9875-P", "", "", 0, 0, false},
		{"SPY260230C00580000", "", "", 0, 0, false},
		{"SPY260817X00580000", "", "", 0, 0, false},
		{"260817C00580000", "", "", 0, 0, false},
		{"      260817C00580000", "", "", 0, 0, false},
		{"TOOLONGROOT260817C00580000", "", "", 0, 0, false},
		{"", "", "", 0, 0, false},
	} {
		o, ok := readOCC([]byte(tt.in))
		if ok != tt.ok {
			t.Errorf("%q: %v, want %v", tt.in, ok, tt.ok)
		}
		if !ok {
			continue
		}
		day := time.Unix(int64(o.days)*86400, 0).UTC().Format(time.DateOnly)
		if string(o.root) != tt.root || day != tt.day || o.kind != tt.kind || o.strike != tt.strike {
			t.Errorf("%q: %s %s %c %d", tt.in, o.root, day, o.kind, o.strike)
		}
	}
}

// A dictionary against a list, through growth, taking back and clearing.
func TestDictionary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d dictionary
		var want []string
		t.Repeat(map[string]func(*rapid.T){
			"intern": func(t *rapid.T) {
				v := fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "v"))
				e, added := d.intern([]byte(v))
				at := slices.Index(want, v)
				if added != (at < 0) || !added && int(e) != at || added && int(e) != len(want) {
					t.Fatalf("intern(%s) = %d, %v; list has it at %d of %d", v, e, added, at, len(want))
				}
				if added {
					want = append(want, v)
				}
			},
			"truncate": func(t *rapid.T) {
				n := rapid.IntRange(0, len(want)).Draw(t, "n")
				d.truncate(n)
				want = want[:n]
			},
			"clear": func(t *rapid.T) {
				d.clear()
				want = nil
			},
			"": func(t *rapid.T) {
				if d.len() != len(want) {
					t.Fatalf("%d entries, want %d", d.len(), len(want))
				}
				for i, v := range want {
					if !bytes.Equal(d.value(int32(i)), []byte(v)) {
						t.Fatalf("entry %d = %q, want %q", i, d.value(int32(i)), v)
					}
				}
			},
		})
	})
}

func TestIdentity(t *testing.T) {
	m := &Message{ID: "77", PublishTime: published}
	if id, at := Identity(m); id != "m:77" || at != published.UnixMicro() {
		t.Errorf("identity = %s, %d", id, at)
	}
	m.Attributes = map[string]string{"event_id": "m:77", "published_at": "2024-01-01T00:00:00Z"}
	if id, at := Identity(m); id != "e:m:77" || at != time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() {
		t.Errorf("identity = %s, %d", id, at)
	}
}

// Order prediction learns: a record whose names come in any order has the same
// row, and the one after it too.
func TestOrderOfNamesDoesNotMatter(t *testing.T) {
	def := definition(t, "options_data")
	dec := def.NewDecoder(Standard)
	var want string
	rapid.Check(t, func(t *rapid.T) {
		var parts []string
		for k, v := range bases["options_data"] {
			parts = append(parts, fmt.Sprintf("%q:%s", k, v))
		}
		slices.Sort(parts)
		parts = append(parts, `"unknown":[1]`)
		parts = rapid.Permutation(parts).Draw(t, "order")
		data := "{"
		for i, p := range parts {
			if i > 0 {
				data += ","
			}
			data += p
		}
		rows := NewColumns(def)
		if rejected := dec.Decode(message(data+"}"), rows); len(rejected) > 0 {
			t.Fatal(rejected[0].Explanation)
		}
		got := show(rows.Record())
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("row %s\nwant %s", got, want)
		}
	})
}
