package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/telemetry"
)

// The reasons of an ingestor that is not ready.
var (
	errNotRunning = errors.New("not yet receiving")
	errDraining   = errors.New("draining")
	errEnded      = errors.New("ended")
)

// health is what others may ask of an ingestor while it runs.
type health struct {
	budget  *batching.Budget
	running atomic.Pointer[context.Context] // of the run; nil: it has not begun
	ended   atomic.Bool
}

// begin notes that the run has begun, and what it gives that it has ended.
func (h *health) begin(ctx context.Context) (end func()) {
	h.running.Store(&ctx)
	return func() { h.ended.Store(true) }
}

// Ready says whether the ingestor is taking messages, and why not.
func (i *Ingestor) Ready() error {
	run := i.health.running.Load()
	switch {
	case i.health.ended.Load():
		return errEnded
	case run == nil:
		return errNotRunning
	case (*run).Err() != nil:
		return errDraining
	}
	for _, dataType := range i.fleet.types() {
		if err := i.fleet.pipeline(dataType).Err(); err != nil {
			return err // the store is down for all, or something is amiss with this type
		}
	}
	return nil
}

// observe lets metrics be read from the pipelines.
func (i *Ingestor) observe() error {
	return telemetry.ObserveIngest(telemetry.Ingest{
		Budget: i.health.budget,
		Stats:  func() map[string]pipeline.Stats { return i.Report().Stats },
		Oldest: func() map[string]time.Time {
			all := map[string]time.Time{}
			for dataType, p := range i.fleet.all() {
				all[dataType] = p.OldestHeld()
			}
			return all
		},
	})
}
