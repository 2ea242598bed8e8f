package query_test

import (
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
)

const (
	benchDays    = 4
	benchSymbols = 500
	benchTicks   = 250 // of a symbol on a day
)

// ticks are a day's rows.
func ticks(d int) []row {
	var rows []row
	for s := range benchSymbols {
		for i := range benchTicks {
			n := (d*benchSymbols+s)*benchTicks + i
			rows = append(rows, row{symbol: fmt.Sprintf("SYM%03d", s), at: at(d, "10:00:00") + int64(i)*1e6, price: p(int64(n) * 12345), volume: p(int64(n)),
				beta: p(float64(n) / 7), note: p("source"), id: fmt.Sprintf("m:%012d", n), pub: at(40, "00:00:00") + int64(n)})
		}
	}
	return rows
}

// benchLake has 500,000 rows in the table, and if fresh a tenth of them more in
// raw objects, half of which are in the table already.
func benchLake(b *testing.B, fresh bool) *lake {
	l := newLake(b)
	l.load()
	var add []partition.File
	for d := range benchDays {
		rows := ticks(d)
		if fresh {
			rows = rows[:len(rows)*95/100]
		}
		add = append(add, l.processed(partition.Key{Type: "samples", Day: partition.DayOf(rows[0].at)}, l.record(rows)))
		if fresh {
			all := ticks(d)
			for i := range 10 {
				tail := all[len(all)*9/10:]
				l.raw(tail[i*len(tail)/10 : (i+1)*len(tail)/10]...)
			}
		}
	}
	var err error
	l.snap, err = l.table.Commit(b.Context(), l.snap, partition.Change{Operation: "COMPACT", Add: add})
	l.must(err)
	return l
}

func benchmarkQuery(b *testing.B, l *lake, q query.DataQuery, want int64) {
	q.DataType = "samples"
	b.ReportAllocs()
	var read int64
	for b.Loop() {
		plan, err := query.Prepare(b.Context(), l.store, l.reg, q, query.Options{})
		l.must(err)
		result, err := plan.Execute(b.Context(), func(arrow.RecordBatch) error { return nil })
		l.must(err)
		if result.Rows != want {
			b.Fatalf("%d rows, want %d", result.Rows, want)
		}
		read += result.Rows
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkQuery(b *testing.B) {
	const all = benchDays * benchSymbols * benchTicks
	for _, bb := range []struct {
		name  string
		fresh bool
	}{{"compacted", false}, {"fresh", true}} {
		b.Run(bb.name, func(b *testing.B) {
			l := benchLake(b, bb.fresh)
			day := query.DataQuery{Symbols: []string{"SYM250"}, From: jan15, To: jan15.AddDate(0, 0, 1)}
			b.Run("symbol and day", func(b *testing.B) { benchmarkQuery(b, l, day, benchTicks) })
			day.Limit = 1
			b.Run("first row", func(b *testing.B) { benchmarkQuery(b, l, day, 1) })
			b.Run("all columns", func(b *testing.B) { benchmarkQuery(b, l, query.DataQuery{}, all) })
			b.Run("one column", func(b *testing.B) { benchmarkQuery(b, l, query.DataQuery{Columns: []string{"price"}}, all) })
			b.Run("a tenth by value", func(b *testing.B) {
				benchmarkQuery(b, l, query.DataQuery{Columns: []string{"price"}, Where: "beta < 7142.8"}, 50_000)
			})
		})
	}
}

func BenchmarkWriters(b *testing.B) {
	l := newLake(b)
	rec := l.record(ticks(0))
	for _, format := range query.Formats {
		b.Run(format, func(b *testing.B) {
			for b.Loop() {
				w, err := query.NewWriter(format, discard{}, rec.Schema())
				l.must(err)
				l.must(w.Write(rec))
				l.must(w.Close())
			}
			b.ReportMetric(float64(rec.NumRows())*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
