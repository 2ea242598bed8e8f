//go:build unix

package pipeline

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

// A feed delivers the same payloads again and again from one goroutine a
// processor, as a broker that is never the bottleneck.
type feed struct {
	messages []schema.Message
	left     atomic.Int64
}

func (f *feed) Receive(ctx context.Context, callback func(context.Context, *Delivery)) error {
	var senders sync.WaitGroup
	nothing := func() {}
	for range runtime.GOMAXPROCS(0) {
		senders.Go(func() {
			for n := f.left.Add(-1); n >= 0; n = f.left.Add(-1) {
				m := f.messages[n%int64(len(f.messages))]
				m.ID = fmt.Sprint(n)
				callback(ctx, &Delivery{Message: m, Ack: nothing, Nack: nothing})
			}
		})
	}
	senders.Wait()
	return nil
}

// payloads are messages in the live publisher's shape, records in each.
func payloads(count, records int) []schema.Message {
	all := make([]schema.Message, count)
	row := 0
	for i := range all {
		var b strings.Builder
		for range records {
			at := firstDay.Add(time.Duration(row%86400) * time.Second)
			price := 100 + float64(row%5000)/100
			fmt.Fprintf(&b, `{"symbol": "S%03d", "timestamp": "%s", "price": %.2f, "volume": %d, "bid": %.2f, "ask": %.2f, "high": %.2f, "low": %.2f, "open": %.2f, "close": %.2f, "change": %.4f, "change_percent": %.4f, "market_cap": %d, "source": "yahoo_finance"}`+"\n",
				row%200, at.Format("2006-01-02T15:04:05.000000+00:00"), price, row*7, price-0.01, price+0.01, price+1, price-1, price, price, 0.5, 0.25, int64(row+1)*1e6)
			row++
		}
		all[i] = schema.Message{Data: []byte(strings.TrimSpace(b.String())), PublishTime: firstDay.Add(24 * time.Hour),
			Attributes: map[string]string{"source": "yahoo_finance", "message_type": "market_data"}}
	}
	return all
}

// BenchmarkIngest is the whole path: decode, batch, sort, encode, store in
// memory, ack. rows/s is what the machine has left for it; cpu-ns/row compares on a shared one.
func BenchmarkIngest(b *testing.B) {
	for _, records := range []int{1, 500} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			def := definition(b, "market_data")
			f := &feed{messages: payloads(max(1, 5000/records), records)}
			f.left.Store(int64(b.N))
			store := objstore.NewMem()
			p := New(Config{
				Definition: def, Source: f, Sink: sink.New(store, sink.Config{}), Payloads: store,
				NewDecoder: func() Decoder { return def.NewDecoder(schema.Standard) },
				Policy:     batching.Policy{Rows: 100_000, Bytes: 32 << 20, Age: 30 * time.Second},
				Budget:     batching.NewBudget(256 << 20),
			})
			b.ReportAllocs()
			b.SetBytes(int64(len(f.messages[0].Data)))
			b.ResetTimer()
			before := cpuTime(b)
			if err := p.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			s := p.Stats()
			if s.AckedRows != int64(b.N*records) {
				b.Fatalf("%d rows acked of %d: %+v", s.AckedRows, b.N*records, s)
			}
			b.ReportMetric(float64(s.AckedRows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(s.AckedRows), "cpu-ns/row")
			b.ReportMetric(float64(s.FlushedBytes)/float64(s.FlushedRows), "B/row")
		})
	}
}

// cpuTime is what the process has used of all processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
