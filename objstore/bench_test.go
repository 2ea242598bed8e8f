package objstore_test

import (
	"fmt"
	"testing"

	"github.com/buffetbot/ingest/objstore"
)

// A flush's worth of bytes, made durable.
func BenchmarkDirCreate(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, err := objstore.OpenDir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				if _, err := d.Create(b.Context(), fmt.Sprintf("raw/t/year=2024/month=01/day=15/%d", i), data, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDirList(b *testing.B) {
	d, err := objstore.OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	const n = 2000
	for i := range n {
		if _, err := d.Create(b.Context(), fmt.Sprintf("raw/t/day=%d/%d", i%30, i), nil, nil); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		got := 0
		for _, err := range d.List(b.Context(), "raw/", "") {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if got != n {
			b.Fatalf("%d objects", got)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/object")
}
