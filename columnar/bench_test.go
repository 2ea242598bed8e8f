package columnar

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/buffetbot/ingest/schema"
)

// market resembles market data: quotes of 100 symbols, prices that walk, a
// producer's random ids, a low-cardinality float.
var market = define("market", 0, 1,
	schema.Field{Name: "symbol", Kind: schema.String},
	schema.Field{Name: "timestamp", Kind: schema.Timestamp},
	schema.Field{Name: "open", Kind: schema.Decimal, Precision: 18, Scale: 6},
	schema.Field{Name: "close", Kind: schema.Decimal, Precision: 18, Scale: 6},
	schema.Field{Name: "volume", Kind: schema.Int64},
	schema.Field{Name: "market_cap", Kind: schema.Decimal, Precision: 18, Scale: 2},
	schema.Field{Name: "volatility", Kind: schema.Float64},
	schema.Field{Name: "beta", Kind: schema.Float64},
	schema.Field{Name: "exchange", Kind: schema.String},
	schema.Field{Name: "currency", Kind: schema.String},
	schema.Field{Name: "source", Kind: schema.String},
)

func marketRecord(seed uint64, rows int) arrow.RecordBatch {
	return marketWindow(seed, rows, 0, microsPerDay)
}

// marketWindow is what one flush holds: rows whose event times are in a window.
func marketWindow(seed uint64, rows int, from, length int64) arrow.RecordBatch {
	rng := rand.New(rand.NewPCG(seed, 7))
	all := make([]row, rows)
	const day = int64(1_705_276_800_000_000)
	for i := range all {
		s := rng.IntN(100)
		price := int64(10_000_000 + s*1_000_000 + rng.IntN(100)*10_000)
		at := day + from + rng.Int64N(length/1000)*1000
		all[i] = row{
			fmt.Sprintf("SYM%02d", s), at, price, price + int64(rng.IntN(200)-100)*10_000, rng.Int64N(1_000_000),
			int64(s) * 1_000_000_000_00, rng.Float64(), float64(s) / 50, []string{"NYSE", "NASDAQ", "LSE"}[s%3], "USD",
			[]string{"yahoo", "polygon"}[rng.IntN(2)],
			fmt.Sprintf("m:%d", 9_000_000_000_000_000+rng.Int64N(1e15)), int32(0), at + rng.Int64N(2_000_000), "v1.2.0", int64(0),
		}
	}
	return must(Sort(record(market, all...), market))
}

func plainRecord(rec arrow.RecordBatch, def *schema.Definition) arrow.RecordBatch {
	cols := make([]arrow.Array, rec.NumCols())
	fields := def.Arrow().Fields()
	for c := range cols {
		cols[c] = rec.Column(c)
		if d, ok := cols[c].(*array.Dictionary); ok {
			cols[c] = dense(d)
			fields[c].Type = arrow.BinaryTypes.String
		}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, rec.NumRows())
}

// dense is a string column without a dictionary.
func dense(a *array.Dictionary) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	words := stringsOf(a)
	for i := range a.Len() {
		if v := words.value(i); v == nil {
			b.AppendNull()
		} else {
			b.Append(string(v))
		}
	}
	return b.NewArray()
}

// BenchmarkEncode sets Encode beside the Parquet library with its defaults (and
// snappy) on the same rows, in one run. The ratio is the yardstick's time by ours;
// Encode checks the order, hashes the rows and adds checksums besides.
func BenchmarkEncode(b *testing.B) {
	for _, rows := range []int{2_000, 100_000} {
		rec := marketRecord(1, rows)
		yardstick := plainRecord(rec, market)
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			theirSize := 0
			theirs := timed(func() {
				var buf bytes.Buffer
				props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy))
				w := must(pqarrow.NewFileWriter(yardstick.Schema(), &buf, props, pqarrow.DefaultWriterProps()))
				if err := w.Write(yardstick); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				theirSize = buf.Len()
			})
			size := 0
			start := cpu()
			for b.Loop() {
				data, _, err := Encode(rec, market)
				if err != nil {
					b.Fatal(err)
				}
				size = len(data)
			}
			spent := float64(cpu() - start)
			report(b, start, rows, size)
			b.ReportMetric(theirs/(spent/float64(b.N)), "x-default")
			b.ReportMetric(float64(theirSize)/float64(rows), "default-bytes/row")
		})
	}
}

// cpu is the processor time of this process. Benchmarks of whole columns compare
// it rather than the clock: machines are shared.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// timed is the processor time of one call of f in ns, over half a second or so.
func timed(f func()) float64 {
	f()
	start, n := cpu(), 0
	for cpu()-start < 500*time.Millisecond {
		f()
		n++
	}
	return float64(cpu()-start) / float64(n)
}

func report(b *testing.B, start time.Duration, rows, size int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(cpu()-start)/float64(b.N)/float64(rows), "cpu-ns/row")
	if size > 0 {
		b.ReportMetric(float64(size)/float64(rows), "bytes/row")
	}
}

// BenchmarkEncodings is the table that settles what Encode writes: each choice
// against what it chooses.
func BenchmarkEncodings(b *testing.B) {
	rec := marketRecord(1, 100_000)
	texts := func(f *schema.Field) bool { return f.Kind == schema.String && f.Name != schema.ColID }
	for _, tt := range []struct {
		name  string
		force func(f *schema.Field) setting
	}{
		{"as chosen", nil},
		{"plain numbers", func(f *schema.Field) setting { return setting{dictionary: texts(f)} }},
		{"delta for timestamps only", func(f *schema.Field) setting {
			return setting{dictionary: texts(f), delta: f.Kind == schema.Timestamp}
		}},
		{"delta for all integers", func(f *schema.Field) setting { return setting{dictionary: texts(f), delta: true} }},
		{"dictionary for everything", func(f *schema.Field) setting { return setting{dictionary: true} }},
		{"plain everything", func(f *schema.Field) setting { return setting{} }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			size := 0
			start := cpu()
			for b.Loop() {
				e := newEncoder(&standardSizes)
				e.force = tt.force
				data, err := write(rec, market, Summary{}, e)
				if err != nil {
					b.Fatal(err)
				}
				size = len(data)
			}
			report(b, start, int(rec.NumRows()), size)
		})
	}
}

// BenchmarkRead sets Read beside the library's reader on a file the size of a
// raw one and on a larger one.
func BenchmarkRead(b *testing.B) {
	for _, rows := range []int{2_000, 100_000} {
		data, _, err := Encode(marketRecord(1, rows), market)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			theirs := timed(func() {
				t, err := pqarrow.ReadTable(b.Context(), bytes.NewReader(data), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
				if err != nil {
					b.Fatal(err)
				}
				t.Release()
			})
			start := cpu()
			for b.Loop() {
				f, err := OpenBytes("o", data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err = f.Read(b.Context(), market, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
			spent := float64(cpu() - start)
			report(b, start, rows, len(data))
			b.ReportMetric(theirs/(spent/float64(b.N)), "x-library")
		})
	}
}

func BenchmarkSort(b *testing.B) {
	rec := marketRecord(1, 100_000)
	rng := rand.New(rand.NewPCG(1, 1))
	order := make([]int32, rec.NumRows())
	for i := range order {
		order[i] = int32(i)
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	shuffled := take(rec, order)
	start := cpu()
	for b.Loop() {
		if _, err := Sort(shuffled, market); err != nil {
			b.Fatal(err)
		}
	}
	report(b, start, len(order), 0)
}

func BenchmarkRowHashes(b *testing.B) {
	rec := marketRecord(1, 100_000)
	var hashes []SetHash
	start := cpu()
	for b.Loop() {
		hashes = RowHashes(rec, hashes[:0])
	}
	report(b, start, int(rec.NumRows()), 0)
}

// BenchmarkMerge merges 500 files of 2,000 rows, of which one in a hundred is
// also in the next file: flushes of one writer, each a little after the other,
// and a day's backfill in no order, where hardly two rows of a file stay together.
func BenchmarkMerge(b *testing.B) {
	const files = 500
	b.Run("flushes", func(b *testing.B) {
		benchmarkMerge(b, files, func(i int) (from, length int64) { return int64(i) * 160_000_000, 300_000_000 })
	})
	b.Run("interleaved", func(b *testing.B) {
		benchmarkMerge(b, files, func(int) (from, length int64) { return 0, microsPerDay })
	})
}

func benchmarkMerge(b *testing.B, files int, window func(i int) (from, length int64)) {
	const rows = 2_000
	recs := make([]arrow.RecordBatch, files)
	objects := make([][]byte, files)
	var before arrow.RecordBatch
	for i := range recs {
		from, length := window(i)
		rec := marketWindow(uint64(i+10), rows, from, length)
		recs[i] = rec
		if before != nil {
			recs[i] = must(Sort(must(Concat([]arrow.RecordBatch{before.NewSlice(0, rows/100), rec.NewSlice(0, rows-rows/100)}, market)), market))
		}
		before = rec
		data, _, err := Encode(recs[i], market)
		if err != nil {
			b.Fatal(err)
		}
		objects[i] = data
	}
	b.Run("merge", func(b *testing.B) {
		start := cpu()
		for b.Loop() {
			if _, _, err := Merge(recs, market); err != nil {
				b.Fatal(err)
			}
		}
		report(b, start, files*rows, 0)
	})
	b.Run("read, merge, encode", func(b *testing.B) {
		size := 0
		start := cpu()
		for b.Loop() {
			read := make([]arrow.RecordBatch, files)
			for i, o := range objects {
				read[i] = must(must(OpenBytes("o", o)).Read(b.Context(), market, nil, nil))
			}
			merged, dropped, err := Merge(read, market)
			if err != nil || dropped.Rows == 0 || dropped.Conflicts != 0 {
				b.Fatal(dropped, err)
			}
			data, _, err := Encode(merged, market)
			if err != nil {
				b.Fatal(err)
			}
			size = len(data)
		}
		report(b, start, files*rows, size)
	})
}
