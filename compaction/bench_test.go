package compaction_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
)

// BenchmarkRun compacts 100 raw objects of 2,000 rows and 100 symbols, every
// hundredth row a duplicate, from the listing to the manifest.
func BenchmarkRun(b *testing.B) {
	const files, rows = 100, 2000
	base := newLake(b, objstore.NewMem())
	type object struct {
		name     string
		data     []byte
		metadata map[string]string
	}
	var raw []object
	for f := range files {
		batch := make([]quote, rows)
		for i := range batch {
			n := f*rows + i
			if i%100 == 0 && f > 0 {
				n -= rows
			}
			batch[i] = quote{symbol: fmt.Sprintf("S%02d", n%100), second: n % 86400, id: fmt.Sprintf("m:%d", n), published: int64(n), price: int64(n%977 + 1)}
		}
		data, metadata := base.encode(batch...)
		raw = append(raw, object{base.rawName(batch[0]), data, metadata})
	}
	var read int64
	for b.Loop() {
		b.StopTimer()
		l := newLake(b, objstore.NewMem())
		read = 0
		for _, o := range raw {
			l.put(o.name, o.data, o.metadata)
			read += int64(len(o.data))
		}
		b.StartTimer()
		r, err := l.compactor(l.store, compaction.Options{}).Run(context.Background(), []string{market})
		if err != nil || r.Tables[0].Partitions[0].RowsIn != files*rows {
			b.Fatal(err, r)
		}
	}
	b.SetBytes(read)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(files*rows), "ns/row")
	b.ReportAllocs()
}
