package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// A patient is a store whose every operation has the outcome that is set, and
// that counts them.
type patient struct {
	objstore.Store
	err   atomic.Pointer[error]
	asked atomic.Int64
	begun chan struct{} // where set: each operation says so, and waits for release
	let   chan struct{}
}

func newPatient() *patient { return &patient{Store: objstore.NewMem()} }

func (p *patient) fail(err error) { p.err.Store(&err) }
func (p *patient) heal()          { p.err.Store(nil) }

func (p *patient) Stat(ctx context.Context, name string) (objstore.Object, error) {
	p.asked.Add(1)
	if p.begun != nil {
		p.begun <- struct{}{}
		<-p.let
	}
	if err := p.err.Load(); err != nil {
		return objstore.Object{}, *err
	}
	return objstore.Object{Name: name}, ctx.Err()
}

func (p *patient) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		if o, err := p.Stat(ctx, "listed"); err != nil {
			yield(o, err)
		}
	}
}

var errDown = errors.New("503 service unavailable")

// ask makes one try.
func ask(t *testing.T, s objstore.Reader) error {
	_, err := s.Stat(t.Context(), "x")
	return err
}

// openFor opens a breaker by failures.
func trip(t *testing.T, b *objstore.Breaker, p *patient) {
	t.Helper()
	p.fail(errDown)
	for range 5 {
		if err := ask(t, b); !errors.Is(err, errDown) {
			t.Fatalf("before it opens: %v", err)
		}
	}
	if got := b.State(); got != objstore.Open {
		t.Fatalf("after 5 failures it is %v", got)
	}
}

func TestBreakerWalksItsStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		var walk []string
		b := objstore.Break(p, objstore.BreakerPolicy{Name: "the lake", OpenFor: 10 * time.Second,
			OnChange: func(from, to objstore.State, last error) { walk = append(walk, fmt.Sprint(from, "→", to, " ", last)) }})
		if b.Err() != nil || b.State() != objstore.Closed {
			t.Fatalf("new: %v, %v", b.State(), b.Err())
		}
		select {
		case <-b.Opened():
			t.Fatal("new, and opened")
		default:
		}
		began := time.Now()
		trip(t, b, p)
		<-b.Opened()
		err := ask(t, b)
		if !errors.Is(err, objstore.ErrOpen) || errors.Is(err, errDown) || p.asked.Load() != 5 {
			t.Errorf("open: %v after %d operations", err, p.asked.Load())
		}
		for _, want := range []string{"stat x: circuit breaker open: the lake does not answer since 2000-01-01T00:00:00Z", "the next try is at 2000-01-01T00:00:1", "the last error: 503 service unavailable"} {
			if !strings.Contains(err.Error(), want) || !strings.Contains("stat x: "+b.Err().Error(), want) {
				t.Errorf("error %q, Err %q; want %q", err, b.Err(), want)
			}
		}
		time.Sleep(12*time.Second + time.Millisecond)
		if b.State() != objstore.HalfOpen || b.Err() == nil {
			t.Fatalf("after 12s: %v, %v", b.State(), b.Err())
		}
		if err := ask(t, b); !errors.Is(err, errDown) || b.State() != objstore.Open { // the probe fails
			t.Errorf("probe: %v, then %v", err, b.State())
		}
		time.Sleep(12*time.Second + time.Millisecond)
		p.heal()
		if err := ask(t, b); err != nil || b.State() != objstore.Closed || b.Err() != nil {
			t.Errorf("probe: %v, then %v, %v", err, b.State(), b.Err())
		}
		select {
		case <-b.Opened():
			t.Error("closed, and opened")
		default:
		}
		if got := strings.Join(walk, "; "); got != "closed→open 503 service unavailable; open→half-open 503 service unavailable; half-open→open 503 service unavailable; open→half-open 503 service unavailable; half-open→closed <nil>" {
			t.Errorf("walk: %s", got)
		}
		if time.Since(began) > 30*time.Second {
			t.Error("late")
		}
	})
}

func TestWhatABreakerCounts(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want objstore.State
	}{
		{"unavailable", errDown, objstore.Open},
		{"a lost connection", errors.New("read: connection reset by peer"), objstore.Open},
		{"a timeout of the network", fmt.Errorf("dial: %w", context.DeadlineExceeded), objstore.Open},
		{"access revoked", fmt.Errorf("create x: %w: no permission", objstore.ErrRefused), objstore.Open},
		{"exists", fmt.Errorf("create x: %w", objstore.ErrExist), objstore.Closed},
		{"does not exist", fmt.Errorf("read x: %w", objstore.ErrNotExist), objstore.Closed},
		{"another generation", objstore.ErrPrecondition, objstore.Closed},
		{"a name it cannot hold", fmt.Errorf("create x: %w: %w", objstore.ErrRefused, objstore.ErrName), objstore.Closed},
		{"nothing wrong", nil, objstore.Closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPatient()
			if p.fail(tt.err); tt.err == nil {
				p.heal()
			}
			b := objstore.Break(p, objstore.BreakerPolicy{})
			for range 20 {
				ask(t, b)
			}
			if got := b.State(); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// An answer between failures shows that the store is there.
func TestFailuresMustBeInARow(t *testing.T) {
	p := newPatient()
	b := objstore.Break(p, objstore.BreakerPolicy{})
	for i := range 50 {
		if p.fail(errDown); i%5 == 4 {
			p.fail(objstore.ErrNotExist)
		}
		ask(t, b)
	}
	if got := b.State(); got != objstore.Closed {
		t.Errorf("%v", got)
	}
}

// Who ends an operation learns nothing about the store; a try that Retry ends for
// taking too long tells something.
func TestWhoEndsATryDecidesWhetherItCounts(t *testing.T) {
	for _, retry := range []bool{false, true} {
		t.Run(fmt.Sprint("retry=", retry), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hangs := &objtest.Faults{Store: objstore.NewMem(), Times: -1, Mode: objtest.Hang}
				b := objstore.Break(hangs, objstore.BreakerPolicy{})
				var s objstore.Store = b
				limit := time.Second // the caller's
				if retry {
					s, limit = objstore.Retry(b, objstore.RetryPolicy{Attempts: 5, Timeout: 100 * time.Millisecond}), time.Hour
				}
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					s.Stat(ctx, "x")
					for range s.List(ctx, "", "") {
					}
					cancel()
				}
				if opened := b.State() == objstore.Open; opened != retry {
					t.Errorf("%v", b.State())
				}
			})
		})
	}
}

func TestAnOpenBreakerEndsTheRetriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.fail(errDown)
		b := objstore.Break(p, objstore.BreakerPolicy{Failures: 2})
		began := time.Now()
		err := ask(t, objstore.Retry(b, objstore.RetryPolicy{Attempts: 100, Base: time.Millisecond, Max: time.Millisecond}))
		if !errors.Is(err, objstore.ErrOpen) || p.asked.Load() != 2 || time.Since(began) > 10*time.Millisecond {
			t.Errorf("%v after %d tries in %v", err, p.asked.Load(), time.Since(began))
		}
	})
}

// Half-open, any number of callers make one request.
func TestHalfOpenLetsOneThrough(t *testing.T) {
	for _, outcome := range []error{nil, errDown} {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPatient()
				b := objstore.Break(p, objstore.BreakerPolicy{})
				trip(t, b, p)
				if p.heal(); outcome != nil {
					p.fail(outcome)
				}
				time.Sleep(13 * time.Second)
				p.begun, p.let = make(chan struct{}), make(chan struct{})
				before := p.asked.Load()
				var refused atomic.Int64
				var all conc.WaitGroup
				for range 20 {
					all.Go(func() {
						if errors.Is(ask(t, b), objstore.ErrOpen) {
							refused.Add(1)
						}
					})
				}
				<-p.begun
				synctest.Wait()
				if refused.Load() != 19 || p.asked.Load() != before+1 {
					t.Errorf("%d refused, %d asked", refused.Load(), p.asked.Load()-before)
				}
				close(p.let)
				all.Wait()
				if closed := b.State() == objstore.Closed; closed != (outcome == nil) {
					t.Errorf("then %v", b.State())
				}
			})
		})
	}
}

// A probe whose caller ended it, or that panicked, must not keep the breaker
// half-open for ever.
func TestAProbeThatEndsUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		b := objstore.Break(p, objstore.BreakerPolicy{})
		trip(t, b, p)
		time.Sleep(13 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Stat(ctx, "x"); !errors.Is(err, errDown) || b.State() != objstore.HalfOpen {
			t.Errorf("%v, then %v", err, b.State())
		}
		func() {
			defer func() { recover() }()
			p.begun = make(chan struct{})
			close(p.begun) // sending on it panics
			ask(t, b)
		}()
		if b.State() != objstore.Open {
			t.Errorf("after a panic: %v", b.State())
		}
		p.begun = nil
		p.heal()
		time.Sleep(13 * time.Second)
		if err := ask(t, b); err != nil || b.State() != objstore.Closed {
			t.Errorf("%v, then %v", err, b.State())
		}
	})
}

// Of many who wait, one at a time is let go, and all once the store is back.
func TestWaitTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		b := objstore.Break(p, objstore.BreakerPolicy{OpenFor: 10 * time.Second})
		if err := b.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		trip(t, b, p)
		var turns, done atomic.Int64
		var all conc.WaitGroup
		for range 16 {
			all.Go(func() {
				for {
					if err := b.Wait(t.Context()); err != nil {
						t.Error(err)
						return
					}
					turns.Add(1)
					time.Sleep(time.Second) // prepares
					if ask(t, b) == nil {
						done.Add(1)
						return
					}
				}
			})
		}
		time.Sleep(time.Minute)
		if n := turns.Load(); n < 4 || n > 6 {
			t.Errorf("%d turns in a minute of 10s each", n)
		}
		if n := p.asked.Load() - 5; n > 6 {
			t.Errorf("%d requests in a minute", n)
		}
		p.heal()
		time.Sleep(30 * time.Second)
		if done.Load() != 16 {
			t.Errorf("%d of 16 done after the store came back", done.Load())
		}
		all.Wait()
	})
}

// One who has its turn and does not use it keeps nobody waiting for ever.
func TestATurnNotUsedPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		b := objstore.Break(p, objstore.BreakerPolicy{OpenFor: 10 * time.Second})
		trip(t, b, p)
		for range 3 {
			if err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		b := objstore.Break(p, objstore.BreakerPolicy{})
		trip(t, b, p)
		for name, wait := range map[string]func(context.Context) error{"Wait": b.Wait, "Recovered": b.Recovered} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			err := wait(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, objstore.ErrOpen) || time.Since(began) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
			cancel()
		}
	})
}

// Who has nothing to try finds out with a probe, and leaves that to others where
// there are any.
func TestRecoveredProbes(t *testing.T) {
	for _, probe := range []bool{false, true} {
		for _, others := range []bool{false, true} {
			t.Run(fmt.Sprintf("probe=%v others=%v", probe, others), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { recovers(t, probe, others) })
			})
		}
	}
}

func recovers(t *testing.T, probe, others bool) {
	p := newPatient()
	policy := objstore.BreakerPolicy{OpenFor: 10 * time.Second}
	var probes atomic.Int64
	if probe {
		policy.Probe = func(ctx context.Context, s objstore.Store) error {
			probes.Add(1)
			_, err := s.Stat(ctx, "probe")
			return err
		}
	}
	b := objstore.Break(p, policy)
	trip(t, b, p)
	healed := time.Now().Add(time.Minute)
	var all conc.WaitGroup
	if others {
		all.Go(func() {
			for b.Wait(t.Context()) == nil && ask(t, b) != nil {
			}
		})
	}
	for range 3 {
		all.Go(func() {
			if err := b.Recovered(t.Context()); err != nil {
				t.Error(err)
			}
			if !time.Now().After(healed) {
				t.Error("recovered while the store was down")
			}
		})
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	if n := p.asked.Load() - 5; n > 7 {
		t.Errorf("%d requests in a minute", n)
	}
	p.heal()
	time.Sleep(30 * time.Second)
	all.Wait()
	if b.State() != objstore.Closed {
		t.Errorf("%v", b.State())
	}
	if probe && !others && probes.Load() < 4 {
		t.Errorf("%d probes", probes.Load())
	}
	if others && probes.Load() > 0 {
		t.Errorf("%d probes beside one who tries", probes.Load())
	}
}

func TestAListingThatFailsLaterCounts(t *testing.T) {
	mem := objstore.NewMem()
	for i := range 4 {
		if err := createOne(t.Context(), mem, fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	faults := &objtest.Faults{Store: mem, Times: -1, Mode: objtest.Truncate}
	b := objstore.Break(faults, objstore.BreakerPolicy{Failures: 1})
	for _, err := range b.List(t.Context(), "", "") {
		if errors.Is(err, objstore.ErrOpen) {
			t.Error(err)
		}
	}
	if b.State() != objstore.Open {
		t.Errorf("%v", b.State())
	}
}
