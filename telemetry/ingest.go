package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/pipeline"
)

// An Ingest is what there is to tell of an ingestor whenever somebody collects.
// Its functions must not block; they are called by one goroutine at a time for
// each reader of metrics.
type Ingest struct {
	Stats  func() map[string]pipeline.Stats // by data type
	Oldest func() map[string]time.Time      // pipeline.OldestHeld, by data type
	Budget *batching.Budget
}

// ObserveIngest reads the counts of an ingestor at each collection, for as long
// as the process's meter provider lives. The counts of several ingestors of one
// process add up.
func ObserveIngest(i Ingest) error {
	o := newIngestReader(meter())
	_, err := meter().RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for dataType, s := range i.Stats() {
			o.counts(to, dataType, s)
		}
		for dataType, published := range i.Oldest() {
			to.ObserveFloat64(o.oldest, age(published), metric.WithAttributes(attribute.String(labelType, dataType)))
		}
		to.ObserveInt64(o.used, i.Budget.InUse())
		to.ObserveInt64(o.limit, i.Budget.Cap())
		return nil
	}, o.all()...)
	if err != nil {
		return fmt.Errorf("observe the ingestor: %w", err)
	}
	return nil
}

// age is the time since t in seconds; 0 for no time.
func age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, time.Since(t).Seconds())
}

// An ingestReader holds the instruments that are read.
type ingestReader struct {
	postponed, switches, received, acked, nacked, held, panics, records, coercions, seals, flushes, gaveUp, letters metric.Int64Observable
	used, limit                                                                                                     metric.Int64Observable
	oldest                                                                                                          metric.Float64ObservableGauge
}

func newIngestReader(m metric.Meter) ingestReader {
	return ingestReader{
		received: msgReceived.read(m), acked: msgAcked.read(m), nacked: msgNacked.read(m), held: msgHeld.read(m),
		postponed: msgPostponed.read(m), switches: switches.read(m), panics: panics.read(m), records: records.read(m), coercions: coercions.read(m),
		seals: seals.read(m), flushes: flushes.read(m), gaveUp: gaveUp.read(m), letters: letters.read(m),
		used: memoryUsed.read(m), limit: memoryCap.read(m), oldest: oldestHeld.gauge(m),
	}
}

func (r *ingestReader) all() []metric.Observable {
	return []metric.Observable{r.postponed, r.switches, r.received, r.acked, r.nacked, r.held, r.panics, r.records, r.coercions, r.seals, r.flushes, r.gaveUp, r.letters, r.used, r.limit, r.oldest}
}

// counts tells the counts of one pipeline.
func (r *ingestReader) counts(to metric.Observer, dataType string, s pipeline.Stats) {
	tell := func(what metric.Int64Observable, n int64, labels ...attribute.KeyValue) {
		to.ObserveInt64(what, n, metric.WithAttributes(append(labels, attribute.String(labelType, dataType))...))
	}
	tell(r.received, s.Received)
	tell(r.acked, s.Acked)
	tell(r.nacked, s.Nacked)
	tell(r.held, s.Held)
	tell(r.panics, s.Panics)
	tell(r.postponed, s.Postponed)
	tell(r.switches, s.Switches)
	tell(r.records, s.Rows, attribute.String(labelVerdict, "accepted"), attribute.String(labelReason, ""))
	for reason, n := range s.Rejected {
		tell(r.records, n, attribute.String(labelVerdict, "rejected"), attribute.String(labelReason, string(reason)))
	}
	kinds := map[string]int64{}
	for c, n := range s.Coercions {
		kinds[c.Kind] += n
	}
	for kind, n := range kinds {
		tell(r.coercions, n, attribute.String(labelKind, kind))
	}
	for cause, n := range s.Seals {
		tell(r.seals, n, attribute.String(labelCause, cause))
	}
	tell(r.flushes, s.Flushes, attribute.String(labelOutcome, "ok"))
	tell(r.flushes, s.FlushesFailed, attribute.String(labelOutcome, "failed"))
	tell(r.gaveUp, s.GaveUp)
	tell(r.letters, s.Letters, attribute.String(labelOutcome, "published"))
	tell(r.letters, s.LettersFailed, attribute.String(labelOutcome, "failed"))
}

// Refreshes counts looks for new definitions, by outcome: ok or failed.
func Refreshes() func(outcome string) {
	c := refreshes.counter(meter())
	return func(outcome string) {
		c.Add(context.Background(), 1, metric.WithAttributes(attribute.String(labelOutcome, outcome)))
	}
}

// ObserveBreaker reads the state of a store's circuit breaker at each collection.
func ObserveBreaker(store string, b *objstore.Breaker) error {
	m := meter()
	state := storeBreaker.gauge(m)
	_, err := m.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		to.ObserveFloat64(state, float64(b.State()), metric.WithAttributes(attribute.String(labelStore, store)))
		return nil
	}, state)
	if err != nil {
		return fmt.Errorf("observe the breaker of %s: %w", store, err)
	}
	return nil
}
