package telemetry

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

// A feed delivers its messages once, and waits until all are settled.
type feed struct {
	messages []schema.Message
	during   func() // called when all are delivered and none is settled

	settled       sync.WaitGroup
	acked, nacked int
	mu            sync.Mutex
}

func (f *feed) Receive(ctx context.Context, callback func(context.Context, *pipeline.Delivery)) error {
	count := func(n *int) func() {
		return func() {
			f.mu.Lock()
			*n++
			f.mu.Unlock()
			f.settled.Done()
		}
	}
	f.settled.Add(len(f.messages))
	for _, m := range f.messages {
		callback(ctx, &pipeline.Delivery{Message: m, Ack: count(&f.acked), Nack: count(&f.nacked)})
	}
	if f.during != nil {
		f.during()
	}
	return nil // and so the pipeline drains
}

// trades are n good messages of one day, published age ago, and one without a price.
func trades(n int, age time.Duration, attributes map[string]string) []schema.Message {
	var all []schema.Message
	for i := range n + 1 {
		price := fmt.Sprintf(`"price":%d.5,`, i+1)
		if i == n {
			price = ""
		}
		all = append(all, schema.Message{
			ID: fmt.Sprint(i), PublishTime: time.Now().Add(-age), Attributes: attributes,
			Data: fmt.Appendf(nil, `{"symbol":"S%d","timestamp":"2024-01-15T14:30:%02dZ",%s"data_source":"x"}`, i%5, i%60, price),
		})
	}
	return all
}

type topic struct{}

func (topic) Publish(context.Context, *schema.Message) error { return nil }

// observedRun makes a pipeline as an ingestor wires it, with what is measured.
func observedRun(t testing.TB, store objstore.Store, f *feed, log *zap.Logger) (*pipeline.Pipeline, func() error) {
	t.Helper()
	registry, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := registry.Latest("market_data")
	budget := batching.NewBudget(64 << 20)
	p := pipeline.New(pipeline.Config{
		Definition: def, NewDecoder: func() pipeline.Decoder { return def.NewDecoder(schema.Standard) }, Source: f,
		Sink: sink.New(store, sink.Config{}), DeadLetters: topic{}, Payloads: store, Budget: budget, Observer: Flushes(), Log: log,
	})
	err = ObserveIngest(Ingest{
		Budget: budget,
		Stats:  func() map[string]pipeline.Stats { return map[string]pipeline.Stats{"market_data": p.Stats()} },
		Oldest: func() map[string]time.Time { return map[string]time.Time{"market_data": p.OldestHeld()} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, func() error { return p.Run(t.Context()) }
}

func TestAFlushIsMeasured(t *testing.T) {
	tel := started(t, Config{})
	f := &feed{messages: trades(250, 10*time.Minute, nil)}
	_, run := observedRun(t, observedStore(objstore.NewMem()), f, nop())
	f.during = func() {
		families := scrape(t, tel)
		for end := time.Now().Add(10 * time.Second); values(families["ingest_messages_held"])["data_type=market_data"] != 250 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // the dead letter of the rejected one is on its way
			families = scrape(t, tel)
		}
		expect(t, families, "ingest_messages_held", map[string]float64{"data_type=market_data": 250})
		if age := values(families["ingest_lag_oldest_seconds"])["data_type=market_data"]; age < 600 || age > 700 {
			t.Errorf("the oldest message held is %v s old, want 10 minutes", age)
		}
		if used := values(families["ingest_memory_used_bytes"])[""]; used < 250<<10 {
			t.Errorf("%v bytes of memory are used, want 1 KiB a message and its row", used)
		}
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	families, market := scrape(t, tel), "data_type=market_data"
	one := map[string]float64{market: 1}
	expect(t, families, "ingest_messages_received_total", map[string]float64{market: 251})
	expect(t, families, "ingest_messages_acked_total", map[string]float64{market: 251})
	expect(t, families, "ingest_messages_nacked_total", map[string]float64{})
	expect(t, families, "ingest_messages_held", map[string]float64{})
	expect(t, families, "ingest_records_total", map[string]float64{market + " verdict=accepted": 250, market + " reason=missing_required verdict=rejected": 1})
	expect(t, families, "ingest_dead_letters_total", map[string]float64{market + " outcome=published": 1})
	expect(t, families, "ingest_batch_seals_total", map[string]float64{"cause=shutdown " + market: 1})
	expect(t, families, "ingest_flushes_total", map[string]float64{market + " outcome=ok": 1})
	expect(t, families, "ingest_flush_duration_seconds", map[string]float64{market + " outcome=ok": 1})
	expect(t, families, "ingest_batch_age_seconds", one)
	expect(t, families, "ingest_flush_files", one)
	expect(t, families, "ingest_lag_durable_seconds", map[string]float64{market: 100}) // of 250
	expect(t, families, "ingest_lag_oldest_seconds", map[string]float64{})
	expect(t, families, "ingest_memory_used_bytes", map[string]float64{})
	expect(t, families, "ingest_memory_limit_bytes", map[string]float64{"": 64 << 20})
	if rows := families["ingest_flush_rows"].GetMetric()[0].GetHistogram().GetSampleSum(); rows != 250 {
		t.Errorf("%v rows flushed, want 250", rows)
	}
	if lag := families["ingest_lag_durable_seconds"].GetMetric()[0].GetHistogram().GetSampleSum(); lag < 60_000 || lag > 70_000 {
		t.Errorf("the latencies add up to %v s, want 100 of 10 minutes", lag)
	}
	written := values(families["store_transferred_bytes_total"])["direction=written store=data"]
	if bytes := families["ingest_flush_bytes"].GetMetric()[0].GetHistogram().GetSampleSum(); bytes == 0 || bytes != written {
		t.Errorf("%v bytes flushed, %v written", bytes, written)
	}
}

func TestAFailedFlushIsMeasured(t *testing.T) {
	tel := started(t, Config{})
	f := &feed{messages: trades(5, 0, nil)}
	_, run := observedRun(t, observedStore(&objtest.Faults{Store: objstore.NewMem(), Times: 3}), f, nop()) // one flush's tries
	if err := run(); err != nil {
		t.Fatal(err)
	}
	families, market := scrape(t, tel), "data_type=market_data"
	both := map[string]float64{market + " outcome=failed": 1, market + " outcome=ok": 1}
	expect(t, families, "ingest_flushes_total", both)
	expect(t, families, "ingest_flush_duration_seconds", both)
	expect(t, families, "ingest_lag_durable_seconds", map[string]float64{market: 5})
	expect(t, families, "ingest_flush_rows", map[string]float64{market: 1})
	expect(t, families, "store_operations_total", map[string]float64{"operation=create outcome=failed store=data": 1, "operation=create outcome=ok store=data": 1})
	expect(t, families, "store_retries_total", map[string]float64{"operation=create store=data": 2})
}

// Counts of several ingestors of one process add up.
func TestTwoIngestorsAddUp(t *testing.T) {
	tel := started(t, Config{})
	for range 2 {
		_, run := observedRun(t, objstore.NewMem(), &feed{messages: trades(3, 0, nil)}, nop())
		if err := run(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, scrape(t, tel), "ingest_messages_acked_total", map[string]float64{"data_type=market_data": 8})
}
