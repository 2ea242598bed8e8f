package ingest

import (
	"context"
	"errors"
	"testing"
)

// Readiness follows the life of an ingestor.
func TestReadyFollowsTheRun(t *testing.T) {
	i := &Ingestor{fleet: newFleet()}
	check := func(when string, want error) {
		t.Helper()
		if err := i.Ready(); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: Ready = %v, want %v", when, err, want)
		}
	}
	check("before Run", errNotRunning)
	ctx, cancel := context.WithCancel(t.Context())
	end := i.health.begin(ctx)
	check("while running", nil)
	cancel()
	check("told to stop", errDraining)
	end()
	check("after Run", errEnded)
}
