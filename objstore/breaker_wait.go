package objstore

import (
	"context"
	"fmt"
	"time"
)

// probeTimeout bounds a probe: what takes longer is no answer.
const probeTimeout = 30 * time.Second

// Opened gives a channel that is closed once the breaker leaves Closed; if it is
// not Closed now, the channel is closed already.
func (b *Breaker) Opened() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

// Wait returns nil when it is worth making a try: at once while the breaker is
// closed, and one caller at a time while it is half-open, so that of many who hold
// something only one prepares what may be refused. It gives an error when ctx
// ends first.
func (b *Breaker) Wait(ctx context.Context) error {
	waited := false
	defer func() {
		if waited {
			b.wait(-1)
		}
	}()
	for ctx.Err() == nil {
		changed, look, ok := b.turns(true)
		if ok {
			return nil
		}
		if !waited {
			waited = true
			b.wait(+1)
		}
		pause(ctx, changed, look)
	}
	return b.unavailing(ctx)
}

// Recovered returns nil once the breaker is closed. It is for who has nothing to
// try: while the breaker is half-open and nobody is about to try, it makes the
// policy's probe. It gives an error when ctx ends first.
func (b *Breaker) Recovered(ctx context.Context) error {
	for ctx.Err() == nil {
		changed, look, ok := b.turns(false)
		switch {
		case !ok:
			pause(ctx, changed, look)
		case b.State() == Closed:
			return nil
		default:
			b.probe(ctx)
		}
	}
	return b.unavailing(ctx)
}

// probe asks the store. Its outcome is what the breaker makes of it.
func (b *Breaker) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, errTooSlow)
	defer cancel()
	_ = b.policy.Probe(ctx, b)
}

// turns says whether the caller may make a try, else when to look again: at the next
// change, or after some time. holds says that the caller has something to try.
func (b *Breaker) turns(holds bool) (changed <-chan struct{}, look time.Duration, ok bool) {
	s := b.State() // before the lock: it may call change
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case s == Closed:
		return nil, 0, true
	case s == Open:
		return b.changed, max(b.next.Sub(now), 0) + time.Millisecond, false
	case b.probing > 0:
		return b.changed, b.policy.OpenFor, false
	case now.Before(b.turn):
		return b.changed, b.turn.Sub(now), false
	case !holds && b.waiting > 0:
		return b.changed, b.policy.OpenFor, false
	}
	b.turn = now.Add(b.policy.OpenFor) // long enough to prepare a try; then it is another's turn
	return nil, 0, true
}

func (b *Breaker) wait(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting += n
}

func (b *Breaker) unavailing(ctx context.Context) error {
	if err := b.Err(); err != nil {
		return fmt.Errorf("wait for the store: %w (%w)", context.Cause(ctx), err)
	}
	return fmt.Errorf("wait for the store: %w", context.Cause(ctx))
}

// pause waits for a change, for some time, or for the end of ctx.
func pause(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}
