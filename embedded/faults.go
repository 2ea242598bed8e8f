package embedded

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A FaultPlan says how often a server misbehaves, for tests of those who use it.
// Rates lie between 0 and 1. The zero plan is a server that behaves.
type FaultPlan struct {
	Seed        uint64        // of the dice; the same seed throws the same
	Duplicate   float64       // a delivered message is delivered once more, right away
	Delay       time.Duration // responses wait up to this long
	DropAcks    float64       // an ack is answered and forgotten; with exactly-once delivery, reported as failed for now
	LoseLeases  float64       // a delivery's deadline passes at once
	ResetStream float64       // a stream ends with UNAVAILABLE instead of its next response
	Refuse      map[string]float64
	RefuseCode  codes.Code // of what Refuse refuses, by method ("Publish", "Acknowledge", ...); UNAVAILABLE if 0
}

// Faults makes a running server misbehave. It may be used while the server runs.
type Faults struct {
	plan atomic.Pointer[FaultPlan]
	mu   sync.Mutex
	dice *rand.Rand
}

// Set replaces the plan and throws anew from its seed.
func (f *Faults) Set(p FaultPlan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dice = rand.New(rand.NewPCG(p.Seed, 0x5eed))
	f.plan.Store(&p)
}

func (f *Faults) hit(rate float64) bool {
	if rate <= 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dice.Float64() < rate
}

func (f *Faults) duplicates() bool { return f.hit(f.plan.Load().Duplicate) }
func (f *Faults) dropsAck() bool   { return f.hit(f.plan.Load().DropAcks) }
func (f *Faults) losesLease() bool { return f.hit(f.plan.Load().LoseLeases) }

func (f *Faults) resets() error {
	if f.hit(f.plan.Load().ResetStream) {
		return status.Error(codes.Unavailable, "the stream was reset by a fault that a test asked for")
	}
	return nil
}

func (f *Faults) refuses(method string) error {
	p := f.plan.Load()
	if !f.hit(p.Refuse[method]) {
		return nil
	}
	code := p.RefuseCode
	if code == codes.OK {
		code = codes.Unavailable
	}
	return status.Errorf(code, "%s was refused by a fault that a test asked for", method)
}

// delay waits as long as the plan says, or until ctx ends.
func (f *Faults) delay(ctx context.Context) error {
	most := f.plan.Load().Delay
	if most <= 0 {
		return nil
	}
	f.mu.Lock()
	d := time.Duration(f.dice.Int64N(int64(most)))
	f.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
