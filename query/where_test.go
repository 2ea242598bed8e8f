package query_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/query"
)

// kinds are rows whose ids are 1 to 5; the last has nothing but its identity.
func kinds() []row {
	return []row{
		{symbol: "AAPL", at: at(0, "09:30:00"), price: p(int64(15025000000)), volume: p(int64(100)), size: p(int32(1)), beta: p(0.1), active: p(true), payload: []byte{0, 255}, note: p("one"), expiry: p(int32(19737)), id: "e:1", pub: 1},
		{symbol: "EURUSD=X", at: at(0, "09:30:00.000001"), price: p(int64(-3698000000)), volume: p(int64(9007199254740993)), size: p(int32(-5)), beta: p(-2.5), active: p(false), payload: []byte("text"), note: p(""), expiry: p(int32(19738)), id: "e:2", pub: 1},
		{symbol: "^VIX", at: at(0, "12:00:00"), price: p(int64(1)), volume: p(int64(9007199254740992)), size: p(int32(0)), beta: p(1e300), active: p(true), payload: []byte{}, note: p("it's, \"so\"\n"), expiry: p(int32(-1)), id: "e:3", pub: 1},
		{symbol: "../../x", at: at(0, "23:59:59.999999"), price: p(int64(999999999999999999)), volume: p(int64(0)), beta: p(0.0), note: p("naïve"), id: "e:4", pub: 1},
		{symbol: "AAPL", at: at(1, "00:00:00"), id: "e:5", pub: 1},
	}
}

func TestWhere(t *testing.T) {
	l := newLake(t)
	l.raw(kinds()...)
	compacted := newLake(t)
	compacted.raw(kinds()...)
	compacted.compact(2, true)
	for _, tt := range []struct{ where, want string }{
		{``, "12345"},
		{`price = 150.25`, "1"},
		{`price = 150.25000000000`, "1"},
		{`price = 150.250000001`, ""},
		{`price != 150.25`, "234"},
		{`price > 0.00000001`, "14"},
		{`price >= 0.00000001`, "134"},
		{`price > 0.000000009`, "134"},
		{`price < 1e-8`, "2"},
		{`price <= 9999999999.99999999`, "1234"},
		{`price < 9999999999.99999999`, "123"},
		{`price < 1e30`, "1234"},
		{`price in (-36.98, 1e-8)`, "23"},
		{`price not in (-36.98, 1e-8)`, "14"},
		{`price is null`, "5"},
		{`price is not null`, "1234"},
		{`volume = 9007199254740993`, "2"}, // not a float: 2^53 + 1
		{`volume > 9007199254740992.5`, "2"},
		{`volume = 1e2`, "1"},
		{`volume <> 0`, "123"},
		{`size < 0`, "2"},
		{`size = 0.5`, ""},
		{`size != 0.5`, "123"},
		{`size > 99999999999`, ""},
		{`beta = 0.1`, "1"},
		{`beta = -0`, "4"},
		{`beta >= 1e300`, "3"},
		{`active = true`, "13"},
		{`active != true`, "2"},
		{`active in (true, FALSE)`, "123"},
		{`payload = 0x00ff`, "1"},
		{`payload = ''`, "3"},
		{`payload > 'a'`, "2"},
		{`payload is null`, "45"},
		{`note = one`, "1"},
		{`note = ''`, "2"},
		{`note = 'it''s, "so"` + "\n'", "3"},
		{`note > one`, ""},
		{`note <= naïve`, "234"},
		{`remark = one`, "1"},
		{`symbol = 'EURUSD=X'`, "2"},
		{`symbol = "^VIX"`, "3"},
		{`symbol = ^VIX`, "3"},
		{`symbol in (AAPL, ../../x)`, "145"},
		{`symbol >= AAPL and symbol < B`, "15"},
		{`timestamp = 2024-01-15T09:30:00.000001Z`, "2"},
		{`timestamp > 2024-01-15T09:30:00.0000005Z and timestamp < 2024-01-16`, "234"},
		{`timestamp >= '2024-01-15 12:00:00' and timestamp <= 2024-01-16`, "345"},
		{`timestamp < 2024-01-15T11:30:00+02:00`, ""},
		{`timestamp <= 2024-01-15T11:30:00+02:00`, "1"},
		{`expiry = 2024-01-15`, "1"},
		{`expiry < 1970-01-01`, "3"},
		{`expiry not in (2024-01-15)`, "23"},
		{`expiry IS NOT NULL AND price > 0`, "13"},
		{`_id = 'e:3' and _index = 0`, "3"},
		{`_published_at is null`, ""},
	} {
		t.Run(tt.where, func(t *testing.T) {
			for name, lake := range map[string]*lake{"raw": l, "processed": compacted} {
				lines, _ := lake.run(query.DataQuery{Where: tt.where, Columns: []string{"_id"}})
				got := map[string]bool{}
				for _, line := range lines {
					got[line] = true
				}
				for i := 1; i <= 5; i++ {
					want := strings.Contains(tt.want, fmt.Sprint(i))
					if line := fmt.Sprintf(`{"_id":"e:%d"}`, i); got[line] != want {
						t.Errorf("%s: row %d selected = %v, want %v", name, i, got[line], want)
					}
				}
				if len(lines) != len(tt.want) {
					t.Errorf("%s: %d rows %v, want %d", name, len(lines), lines, len(tt.want))
				}
			}
		})
	}
}

func TestQueriesThatAreWrong(t *testing.T) {
	l := newLake(t)
	const columns = "columns of samples: symbol, timestamp, price, volume, size, beta, active, payload, note, expiry, _id, _index, _published_at, _schema_version, _flags"
	for _, tt := range []struct {
		name string
		q    query.DataQuery
		want string
	}{
		{"no such data type", query.DataQuery{DataType: "sample"}, `no data type "sample"; there are samples`},
		{"no such column in where", query.DataQuery{Where: "price > 1 and prise = 2"}, `where: at character 15: no column "prise"; ` + columns},
		{"no such columns", query.DataQuery{Columns: []string{"x", "price", "y"}}, `no column "x", "y"; ` + columns},
		{"a column twice", query.DataQuery{Columns: []string{"note", "remark"}}, `column note is asked for twice`},
		{"or", query.DataQuery{Where: "price > 1 or price < 0"}, `where: at character 11: want "and" or the end, not "or" (conditions are joined by and; for or, use in or several queries)`},
		{"a word for a number", query.DataQuery{Where: "price > cheap"}, `where: at character 9: price is a decimal(18,8): "cheap": not a number`},
		{"a number that costs too much", query.DataQuery{Where: "price > 1e999999999"}, `where: at character 9: price is a decimal(18,8): "1e999999999": exponent beyond 400`},
		{"NaN", query.DataQuery{Where: "beta = NaN"}, `where: at character 8: beta is a float: "NaN": not a number`},
		{"a float beyond the floats", query.DataQuery{Where: "beta < 1e309"}, `where: at character 8: beta is a float: "1e309": beyond the range of a 64-bit float`},
		{"an instant for a date", query.DataQuery{Where: "expiry = 2024-01-15T00:00:00Z"}, `where: at character 10: expiry is a date: "2024-01-15T00:00:00Z": want a day such as 2024-01-15`},
		{"no such day", query.DataQuery{Where: "expiry = 2024-02-30"}, `where: at character 10: expiry is a date: "2024-02-30": want a day (2024-01-15) or an instant (2024-01-15T14:30:00Z)`},
		{"order of booleans", query.DataQuery{Where: "active < true"}, `where: at character 8: active is true or false: want = or !=, not <`},
		{"= null", query.DataQuery{Where: "note = null"}, `where: at character 8: nothing compares with null: use "note is null" or "is not null"`},
		{"text without end", query.DataQuery{Where: "note = 'x"}, `where: at character 8: the text after ' has no end`},
		{"no value", query.DataQuery{Where: "note ="}, `where: at character 7: want a value for note`},
		{"no operator", query.DataQuery{Where: "note like x"}, `where: at character 6: want =, !=, <, <=, >, >=, in, not in, is null or is not null after note, not "like"`},
		{"a list without end", query.DataQuery{Where: "size in (1, 2"}, `where: at character 14: want "," or ")", not ""`},
		{"an empty list", query.DataQuery{Where: "size in ()"}, `where: at character 10: want a value for size, not ")" (quote text that holds any of =!<>(),'")`},
		{"an odd number of hexadecimal digits", query.DataQuery{Where: "payload = 0x123"}, `where: at character 11: payload is binary: "0x123": want 0x and an even number of hexadecimal digits`},
		{"a range without instants", query.DataQuery{From: jan15, To: jan15}, `from 2024-01-15 is not before to 2024-01-15`},
		{"a negative limit", query.DataQuery{Limit: -1}, `limit -1: want 0 (all rows) or more`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := l.try(t.Context(), l.store, tt.q)
			if err == nil || err.Error() != "invalid query: "+tt.want || !errors.Is(err, query.ErrInvalid) {
				t.Errorf("error = %v\nwant invalid query: %s", err, tt.want)
			}
		})
	}
}

// Whatever is typed, it is a predicate or an error.
func FuzzWhere(f *testing.F) {
	for _, s := range []string{`price > 1 and note in ('a', "b")`, `expiry is not null`, `beta=-1e-7`, `payload != 0x`, `note = '`, "a\x00b", `price not in (1`} {
		f.Add(s)
	}
	l := newLake(f)
	f.Fuzz(func(t *testing.T, where string) {
		_, _, err := l.try(t.Context(), l.store, query.DataQuery{Where: where})
		if err != nil && !errors.Is(err, query.ErrInvalid) {
			t.Errorf("where %q: %v", where, err)
		}
	})
}

func TestBoundsAsPeopleTypeThem(t *testing.T) {
	for _, tt := range []struct{ name, from, to, wantFrom, wantTo string }{
		{"days, both included", "2024-01-15", "2024-01-16", "2024-01-15T00:00:00Z", "2024-01-17T00:00:00Z"},
		{"instants, the last left out", "2024-01-15T09:30:00Z", "2024-01-15T16:00:00Z", "2024-01-15T09:30:00Z", "2024-01-15T16:00:00Z"},
		{"offsets", "2024-01-15T00:00:00+02:00", "2024-01-15 10:00", "2024-01-14T22:00:00Z", "2024-01-15T10:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, err := query.ParseFrom(tt.from)
			if got := from.Format("2006-01-02T15:04:05.999999999Z07:00"); err != nil || got != tt.wantFrom {
				t.Errorf("from = %s, %v; want %s", got, err, tt.wantFrom)
			}
			to, err := query.ParseTo(tt.to)
			if got := to.Format("2006-01-02T15:04:05.999999999Z07:00"); err != nil || got != tt.wantTo {
				t.Errorf("to = %s, %v; want %s", got, err, tt.wantTo)
			}
		})
	}
	for _, s := range []string{"", "yesterday", "2024-1-5", "2024-02-30", "15.01.2024"} {
		if _, err := query.ParseTo(s); !errors.Is(err, query.ErrInvalid) {
			t.Errorf("ParseTo(%q) = %v, want an error", s, err)
		}
	}
}
