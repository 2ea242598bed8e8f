package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sourcegraph/conc"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/sink"
)

// A Gate knows whether the store takes writes. *objstore.Breaker is one.
type Gate interface {
	// Wait returns nil when it is worth making a try, or an error when ctx ends
	// first. Of many who wait while the store is down, one at a time is let go.
	Wait(ctx context.Context) error
	// Recovered returns nil once the store is in order, or an error when ctx ends
	// first.
	Recovered(ctx context.Context) error
	// Opened gives a channel that is closed while the store is not in order.
	Opened() <-chan struct{}
	// Err is nil while the store is in order, else what is known about it.
	Err() error
}

// openGate is the gate of a store that is always worth a try.
type openGate struct{}

func (openGate) Wait(ctx context.Context) error      { return ctx.Err() }
func (openGate) Recovered(ctx context.Context) error { return ctx.Err() }
func (openGate) Opened() <-chan struct{}             { return nil }
func (openGate) Err() error                          { return nil }

// A Pause is why the context of Source.Receive has ended although the pipeline goes
// on: the store is down. Nothing more is to be delivered; what is held stays
// leased, for as long as it takes, until the pipeline settles it. Then Receive
// returns, and is called again when the store is back.
type Pause struct {
	Ended <-chan struct{} // closed when the pipeline itself is to end
}

func (*Pause) Error() string { return "paused: the store is down" }

// Intake is resumed at once after an outage, but ever later if the store goes down
// again soon: each time, messages that the client had fetched and not delivered
// are handed back, and an unstable store must not use up their attempts.
const (
	stable    = time.Minute // a session that lasted longer starts anew
	firstCalm = 10 * time.Second
	maxCalm   = 5 * time.Minute
)

// take receives until intake ends or the source fails; not while the store is down.
func (p *Pipeline) take(intake context.Context) error {
	for calm := time.Duration(0); p.calm(intake, calm) == nil; {
		p.paused.Store(0)
		began := time.Now()
		pausedAt, err := p.session(intake)
		switch {
		case pausedAt.IsZero() || intake.Err() != nil || err != nil:
			return err
		case pausedAt.Sub(began) > stable:
			calm = 0
		default:
			calm = min(max(2*calm, firstCalm), maxCalm)
		}
	}
	return nil
}

// calm waits until the store has been in order for d.
func (p *Pipeline) calm(intake context.Context, d time.Duration) error {
	for {
		if err := p.gate.Recovered(intake); err != nil {
			return err
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
			return nil
		case <-p.gate.Opened():
			timer.Stop()
		case <-intake.Done():
			timer.Stop()
			return intake.Err()
		}
	}
}

// session is one call of Receive. It says when the store went down meanwhile, if it
// did.
func (p *Pipeline) session(intake context.Context) (pausedAt time.Time, err error) {
	ctx, stop := context.WithCancelCause(intake)
	defer stop(nil)
	var letGo context.CancelFunc
	p.room, letGo = context.WithCancel(p.work)
	defer letGo()
	ended := make(chan struct{})
	var watch conc.WaitGroup
	watch.Go(func() {
		select {
		case <-ended:
			return
		case <-p.gate.Opened():
		}
		pausedAt = time.Now()
		p.paused.Store(p.config.Clock().UnixNano())
		p.log.Warn("the store is down: intake pauses; what is held stays leased", zap.Int64("held", p.counts.held.Load()),
			zap.Duration("hold_for", p.config.HoldFor), zap.Error(p.gate.Err()))
		stop(&Pause{Ended: intake.Done()})
		p.handing.RLock()
		p.batcher.Seal(batching.ByPause)
		p.handing.RUnlock()
		timer := time.NewTimer(p.config.HoldFor)
		defer timer.Stop()
		select {
		case <-timer.C:
			letGo() // what still waits for memory has been held for as long as a batch
		case <-ended:
		}
	})
	if many, ok := p.config.Source.(BatchSource); ok {
		err = many.ReceiveMany(ctx, p.receiveMany)
	} else {
		err = p.config.Source.Receive(ctx, p.receive)
	}
	close(ended)
	watch.Wait()
	if !pausedAt.IsZero() {
		p.log.Info("everything held through the outage is settled", zap.Duration("paused", time.Since(pausedAt)))
	}
	return pausedAt, err
}

// Waits between tries, about.
const (
	firstWait = time.Second
	maxWait   = 30 * time.Second
)

// persist calls try, once at least and always through the gate, until it
// succeeds, what it is to keep has been held for HoldFor since began, the
// pipeline's work ends, or the error says that trying again is of no use.
func (p *Pipeline) persist(began time.Time, gate Gate, t *trouble, try func() error) error {
	hold, cancel := context.WithTimeout(p.work, max(p.config.HoldFor-p.config.Clock().Sub(began), 0))
	defer cancel()
	var last error
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		ended := gate.Wait(hold)
		if p.work.Err() != nil {
			return cmp.Or(last, p.work.Err())
		}
		if ended != nil && last != nil {
			p.counts.gaveUp.Add(1)
			return fmt.Errorf("gave up after %v: %w", p.config.Clock().Sub(began).Round(time.Second), last)
		}
		if last = try(); last == nil {
			t.over()
			return nil
		}
		if p.work.Err() != nil || hopeless(last) {
			return last
		}
		t.note(p.config.Clock(), last)
		sleep(hold, wait/2+rand.N(wait/2))
	}
}

// heldSince is from when on a batch counts as held. One that was opened in a pause
// holds messages that had waited for memory since the pause began, or longer.
func (p *Pipeline) heldSince(b *batching.Batch) time.Time {
	if paused := p.paused.Load(); paused != 0 && paused < b.Opened.UnixNano() {
		return time.Unix(0, paused)
	}
	return b.Opened
}

// hopeless says that another try would end as this one did, whatever becomes of the
// store. The message itself may fare better in another batch.
func hopeless(err error) bool {
	return errors.Is(err, sink.ErrBatch) || errors.Is(err, objstore.ErrName)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A trouble is something that fails again and again, since when, and how.
type trouble struct {
	what string

	mu    sync.Mutex
	since time.Time
	last  error
}

// note notes a failure.
func (t *trouble) note(now time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.since = now
	}
	t.last = err
}

// over notes a success.
func (t *trouble) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = nil
}

func (t *trouble) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		return nil
	}
	return fmt.Errorf("%s fails since %s: %w", t.what, t.since.UTC().Format(time.RFC3339), t.last)
}

// Err says why the pipeline does not get on, or nil if it does: the store is
// down, flushes fail, dead letters cannot be published. It goes on trying, and
// recovers by itself when the cause is gone.
func (p *Pipeline) Err() error {
	if err := p.gate.Err(); err != nil {
		return err
	}
	if err := p.flushing.err(); err != nil {
		return err
	}
	return p.burying.err()
}

// Draining says whether the pipeline takes no more messages, for good.
func (p *Pipeline) Draining() bool { return p.draining.Load() }
