package objstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A State is what a breaker does with an operation.
type State uint8

// The states. The numbers are those of the metric that shows them.
const (
	Closed   State = iota // passes it to the store
	HalfOpen              // passes one at a time, whose outcome decides
	Open                  // refuses it at once, with ErrOpen
)

// String names the state: closed, half-open, open.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// ErrOpen is in the error of an operation that the breaker refused: this try
// did not reach the store.
var ErrOpen = errors.New("circuit breaker open")

// A BreakerPolicy says when to leave a store alone, and for how long. A zero
// field means the value beside it.
type BreakerPolicy struct {
	Name     string        // "store": what errors call it
	Failures int           // 5: operations failed in a row that open the breaker
	OpenFor  time.Duration // 10s: how long it stays open before one operation may try; in fact up to a fifth more, by chance, so that many processes do not come back together

	// Probe, a listing: a small request of s that only a store in order answers.
	// Recovered makes it where nobody else would find out whether the store is back.
	// It has half a minute.
	Probe func(ctx context.Context, s Store) error

	// OnChange, none: called at every change of state, in order, with what made the
	// breaker open; nil for Closed. It must not block nor call the breaker.
	OnChange func(from, to State, last error)
}

// A Breaker is a store that stops asking the one below it while that does not
// answer. It is safe for concurrent use.
//
// What counts as a failure: everything but success; the answers ErrExist,
// ErrNotExist, ErrPrecondition and ErrName; and an operation that its caller
// ended. So timeouts, lost connections, 5xx and 429 count, and so does
// ErrRefused: a store whose access or key was revoked is as unusable as one that
// is down, and may come back just so. (A try that Retry ends for taking too long
// counts; the deadline of whoever called Retry does not.)
//
// Its place is below Retry, around single tries: it sees every try, an open one
// ends the tries of all operations at once, and half-open takes one try, not a
// series of them.
type Breaker struct {
	store   Store
	policy  BreakerPolicy
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu      sync.Mutex
	state   State         // as of the last change
	changed chan struct{} // closed at the next change of what Wait waits for
	opened  chan struct{} // closed while the state is not Closed
	since   time.Time     // when it left Closed
	next    time.Time     // when an open one lets the next try through
	last    error         // the last failure
	probing int           // tries under way in half-open
	waiting int           // callers in Wait
	turn    time.Time     // until then half-open is one waiter's
}

var _ Store = (*Breaker)(nil)

// Break puts a breaker around s.
func Break(s Store, p BreakerPolicy) *Breaker {
	p = BreakerPolicy{
		Name: cmp.Or(p.Name, "store"), Failures: cmp.Or(max(p.Failures, 0), 5), OpenFor: cmp.Or(max(p.OpenFor, 0), 10*time.Second),
		Probe: p.Probe, OnChange: p.OnChange,
	}
	if p.Probe == nil {
		p.Probe = list
	}
	p.OpenFor += rand.N(p.OpenFor/5 + 1)
	b := &Breaker{store: s, policy: p, changed: make(chan struct{}), opened: make(chan struct{})}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          p.Name,
		MaxRequests:   1,
		Timeout:       p.OpenFor,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(p.Failures) },
		IsSuccessful:  func(err error) bool { return err == nil || answer(err) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errOurs) },
		OnStateChange: func(_ string, from, to gobreaker.State) { b.change(state(from), state(to)) },
	})
	return b
}

// list asks for the first object.
func list(ctx context.Context, s Store) error {
	for _, err := range s.List(ctx, "", "") {
		return err
	}
	return nil
}

func state(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Closed
}

// State is the state now.
func (b *Breaker) State() State { return state(b.circuit.State()) } // may move from open to half-open

// Err is nil while the breaker is closed, else it says since when it is not, and
// why.
func (b *Breaker) Err() error {
	s := b.State()
	b.mu.Lock()
	defer b.mu.Unlock()
	if s == Closed || b.state == Closed {
		return nil
	}
	return b.explain(s)
}

// explain is ErrOpen with what is known; b.mu is held.
func (b *Breaker) explain(s State) error {
	when := "now one try at a time is let through"
	if s == Open {
		when = "the next try is at " + b.next.UTC().Format(time.RFC3339)
	}
	text := fmt.Sprintf("%s does not answer since %s; %s", b.policy.Name, b.since.UTC().Format(time.RFC3339), when)
	if b.last != nil {
		text += fmt.Sprintf("; the last error: %v", b.last)
	}
	return &openError{text}
}

// An openError is ErrOpen. What made the breaker open is told as text only: it is
// not this operation's, and who branches on a sentinel must not meet another's.
type openError struct{ text string }

func (e *openError) Error() string { return fmt.Sprintf("%v: %s", ErrOpen, e.text) }
func (e *openError) Unwrap() error { return ErrOpen }

// change is called by the circuit, which is locked.
func (b *Breaker) change(from, to State) {
	b.mu.Lock()
	now := time.Now()
	b.state, b.turn = to, time.Time{}
	switch to {
	case Open:
		b.next = now.Add(b.policy.OpenFor)
		if from == Closed {
			b.since = now
			close(b.opened)
		}
	case Closed:
		b.last = nil
		b.opened = make(chan struct{})
	}
	last := b.last
	b.tell()
	b.mu.Unlock()
	if b.policy.OnChange != nil {
		b.policy.OnChange(from, to, last)
	}
}

// tell wakes whoever waits; b.mu is held.
func (b *Breaker) tell() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// errOurs marks a try that ended because its caller ended it.
var errOurs = errors.New("ended by its caller")

// errPanicked is the outcome of a try that panicked.
var errPanicked = errors.New("panic")

// try begins a try of op on name, or refuses it. settle must be called once with its
// outcome.
func (b *Breaker) try(ctx context.Context, op, name string) (settle func(error), err error) {
	done, err := b.circuit.Allow()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", op, name, b.explain(b.state))
	}
	probes := b.state == HalfOpen
	if probes {
		b.probing++
	}
	return func(err error) {
		if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTooSlow) {
			err = errOurs
		}
		b.note(err)
		done(err)
		if probes {
			b.mu.Lock()
			b.probing--
			b.turn = time.Time{}
			b.tell()
			b.mu.Unlock()
		}
	}, nil
}

// note keeps the last failure, for those who ask.
func (b *Breaker) note(err error) {
	if err == nil || answer(err) || errors.Is(err, errOurs) {
		return
	}
	b.mu.Lock()
	b.last = err
	b.mu.Unlock()
}

// answer says whether err is what a store in order may answer.
func answer(err error) bool {
	return errors.Is(err, ErrExist) || errors.Is(err, ErrNotExist) || errors.Is(err, ErrPrecondition) || errors.Is(err, ErrName)
}

// through makes one try of an operation.
func through[T any](ctx context.Context, b *Breaker, op, name string, f func() (T, error)) (v T, err error) {
	settle, err := b.try(ctx, op, name)
	if err != nil {
		return v, err
	}
	outcome := errPanicked
	defer func() { settle(outcome) }()
	v, err = f()
	outcome = err
	return v, err
}

// List implements Reader. A listing is one operation up to its first object, and
// another one if it fails later.
func (b *Breaker) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		settle, err := b.try(ctx, "list", prefix+"*")
		if err != nil {
			yield(Object{}, err)
			return
		}
		outcome := errPanicked
		defer func() {
			if settle != nil {
				settle(outcome)
			}
		}()
		for o, err := range b.store.List(ctx, prefix, after) {
			if settle == nil && err != nil {
				settle, _ = b.try(ctx, "list", prefix+"*")
			}
			if settle != nil {
				settle(err)
				settle = nil
			}
			if !yield(o, err) {
				return
			}
		}
		outcome = nil
	}
}

// Stat implements Reader.
func (b *Breaker) Stat(ctx context.Context, name string) (Object, error) {
	return through(ctx, b, "stat", name, func() (Object, error) { return b.store.Stat(ctx, name) })
}

// Read implements Reader.
func (b *Breaker) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	return through(ctx, b, "read", name, func() ([]byte, error) { return b.store.Read(ctx, name, off, n) })
}

// Create implements Writer.
func (b *Breaker) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (Object, error) {
	return through(ctx, b, "create", name, func() (Object, error) { return b.store.Create(ctx, name, data, metadata) })
}

// Replace implements Writer.
func (b *Breaker) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match Generation) (Object, error) {
	return through(ctx, b, "replace", name, func() (Object, error) { return b.store.Replace(ctx, name, data, metadata, match) })
}

// Remove implements Remover.
func (b *Breaker) Remove(ctx context.Context, name string, match Generation) error {
	_, err := through(ctx, b, "remove", name, func() (struct{}, error) { return struct{}{}, b.store.Remove(ctx, name, match) })
	return err
}
