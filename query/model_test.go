package query_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/query"
)

// A predicate is a condition in both languages: the query's and Go.
type predicate struct {
	text  string
	holds func(row) bool
}

var operators = map[string]func(c int) bool{
	"=":  func(c int) bool { return c == 0 },
	"!=": func(c int) bool { return c != 0 },
	"<":  func(c int) bool { return c < 0 },
	"<=": func(c int) bool { return c <= 0 },
	">":  func(c int) bool { return c > 0 },
	">=": func(c int) bool { return c >= 0 },
}

func compare[T int64 | float64 | string](v *T, op string, literal T) bool {
	if v == nil {
		return false
	}
	c := 0
	if *v < literal {
		c = -1
	} else if *v > literal {
		c = 1
	}
	return operators[op](c)
}

var symbols = []string{"AAPL", "BRK.B", "EURUSD=X", "^VIX", "../../x", "", "日本"}

func genRow(t *rapid.T, n int) row {
	opt := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) > 0 }
	r := row{
		symbol: rapid.SampledFrom(symbols).Draw(t, "symbol"),
		at:     at(rapid.IntRange(0, 2).Draw(t, "day"), "10:00:00") + int64(rapid.IntRange(0, 3).Draw(t, "micro")),
		id:     rapid.SampledFrom([]string{"m:1", "m:2", "m:3", "e:1", "e:2"}).Draw(t, "id"),
		index:  int32(rapid.IntRange(0, 1).Draw(t, "index")),
		pub:    int64(rapid.IntRange(1, 2).Draw(t, "pub")),
	}
	if opt("price?") {
		r.price = p(rapid.Int64Range(-3, 3).Draw(t, "price"))
	}
	if opt("volume?") {
		r.volume = p(rapid.Int64Range(-2, 2).Draw(t, "volume"))
	}
	if opt("note?") {
		r.note = p(rapid.SampledFrom([]string{"", "a", "b", "é"}).Draw(t, "note"))
	}
	if opt("beta?") {
		r.beta = p(float64(rapid.IntRange(-2, 2).Draw(t, "beta")) / 2)
	}
	return r
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func genPredicate(t *rapid.T) predicate {
	op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "op")
	switch rapid.IntRange(0, 8).Draw(t, "condition") {
	case 0:
		v := rapid.Int64Range(-3, 3).Draw(t, "literal")
		return predicate{fmt.Sprintf("price %s %de-8", op, v), func(r row) bool { return compare(r.price, op, v) }}
	case 1:
		v := float64(rapid.IntRange(-6, 6).Draw(t, "literal")) / 2
		return predicate{fmt.Sprintf("volume %s %v", op, v), func(r row) bool {
			if r.volume == nil {
				return false
			}
			return compare(p(float64(*r.volume)), op, v)
		}}
	case 2:
		v := rapid.SampledFrom([]string{"", "a", "b", "é", "z"}).Draw(t, "literal")
		return predicate{fmt.Sprintf("note %s %s", op, quote(v)), func(r row) bool { return compare(r.note, op, v) }}
	case 3:
		v := float64(rapid.IntRange(-2, 2).Draw(t, "literal")) / 2
		return predicate{fmt.Sprintf("beta %s %v", op, v), func(r row) bool { return compare(r.beta, op, v) }}
	case 4:
		v := rapid.SampledFrom(symbols).Draw(t, "literal")
		return predicate{fmt.Sprintf("symbol %s %s", op, quote(v)), func(r row) bool { return compare(&r.symbol, op, v) }}
	case 5:
		v := at(rapid.IntRange(0, 2).Draw(t, "day"), "10:00:00") + int64(rapid.IntRange(0, 3).Draw(t, "micro"))
		return predicate{fmt.Sprintf("timestamp %s %s", op, time.UnixMicro(v).UTC().Format("2006-01-02T15:04:05.000000Z")), func(r row) bool { return compare(&r.at, op, v) }}
	case 6:
		vs := rapid.SliceOfN(rapid.Int64Range(-2, 2), 1, 3).Draw(t, "literals")
		not := rapid.SampledFrom([]string{"", "not "}).Draw(t, "not")
		return predicate{fmt.Sprintf("volume %sin (%s)", not, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(vs)), ", "), "[]")), func(r row) bool {
			return r.volume != nil && slices.Contains(vs, *r.volume) == (not == "")
		}}
	case 7:
		not := rapid.SampledFrom([]string{"", "not "}).Draw(t, "not")
		return predicate{fmt.Sprintf("note is %snull", not), func(r row) bool { return (r.note == nil) == (not == "") }}
	default:
		v := rapid.Int64Range(1, 2).Draw(t, "literal")
		return predicate{fmt.Sprintf("_published_at %s 1970-01-01T00:00:00.%06dZ", op, v), func(r row) bool { return compare(&r.pub, op, v) }}
	}
}

// Whatever is in raw objects and in the table, however it came there, a query
// gives what a look at all rows gives.
func TestQueryAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLake(t)
		l.plain = rapid.Bool().Draw(rt, "plain")
		for step := range rapid.IntRange(0, 5).Draw(rt, "steps") {
			var rows []row
			for i := range rapid.IntRange(1, 12).Draw(rt, "rows") {
				rows = append(rows, genRow(rt, 100*step+i))
			}
			l.raw(rows...)
			switch rapid.IntRange(0, 3).Draw(rt, "compact") {
			case 0:
				l.compact(rapid.IntRange(1, 10).Draw(rt, "rows per file"), true)
			}
		}
		q := query.DataQuery{Limit: int64(rapid.SampledFrom([]int{0, 0, 1, 3, 10}).Draw(rt, "limit"))}
		var all []predicate
		for range rapid.IntRange(0, 3).Draw(rt, "predicates") {
			all = append(all, genPredicate(rt))
		}
		var texts []string
		for _, c := range all {
			texts = append(texts, c.text)
		}
		q.Where = strings.Join(texts, " and ")
		if rapid.Bool().Draw(rt, "symbols?") {
			q.Symbols = rapid.SliceOfN(rapid.SampledFrom(symbols), 1, 3).Draw(rt, "symbols")
			all = append(all, predicate{holds: func(r row) bool { return slices.Contains(q.Symbols, r.symbol) }})
		}
		if rapid.Bool().Draw(rt, "from?") {
			q.From = time.UnixMicro(at(1, "10:00:00") + int64(rapid.IntRange(0, 3).Draw(rt, "from"))).UTC()
			all = append(all, predicate{holds: func(r row) bool { return r.at >= q.From.UnixMicro() }})
		}
		if rapid.Bool().Draw(rt, "to?") {
			q.To = time.UnixMicro(at(1, "10:00:00") + int64(rapid.IntRange(1, 6).Draw(rt, "to"))).UTC()
			all = append(all, predicate{holds: func(r row) bool { return r.at < q.To.UnixMicro() }})
		}
		if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
			q.To = time.Time{}
			all = all[:len(all)-1]
		}
		q.Columns = rapid.SampledFrom([][]string{nil, {"price"}, {"note", "symbol"}, {"volume", "_id"}}).Draw(rt, "columns")

		want := slices.DeleteFunc(l.expected(), func(r row) bool {
			return slices.ContainsFunc(all, func(c predicate) bool { return !c.holds(r) })
		})
		if q.Limit > 0 {
			want = want[:min(len(want), int(q.Limit))]
		}
		got, _, err := l.try(t.Context(), l.store, q, query.Options{Parallel: rapid.IntRange(1, 4).Draw(rt, "parallel")})
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(l.lines(want, q.Columns...), got); diff != "" {
			rt.Fatalf("%+v (-want +got):\n%s", q, diff)
		}
	})
}
