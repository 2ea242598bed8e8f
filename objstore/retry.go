package objstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// errTooSlow is the cause of a context that ended because the store took too
// long, and not because a caller lost interest.
var errTooSlow = fmt.Errorf("the store is too slow: %w", context.DeadlineExceeded)

// A RetryPolicy says how often and how long to try. A zero field means the
// value beside it.
type RetryPolicy struct {
	Attempts int           // 4: tries in all
	Base     time.Duration // 100ms: the wait before the second try is a random part of it; it doubles from try to try
	Max      time.Duration // 10s: no wait is longer
	Timeout  time.Duration // 60s: for one try; of a listing, for one step
	Deadline time.Duration // 5m: for all tries and waits together; a listing has none, since its reader sets the pace
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	return RetryPolicy{
		Attempts: cmp.Or(p.Attempts, 4),
		Base:     cmp.Or(p.Base, 100*time.Millisecond),
		Max:      cmp.Or(p.Max, 10*time.Second),
		Timeout:  cmp.Or(p.Timeout, time.Minute),
		Deadline: cmp.Or(p.Deadline, 5*time.Minute),
	}
}

// Retry makes a store that tries again, after random waits (full jitter), what
// may be tried again:
//
//   - Stat and Read, always; List goes on behind the last object it gave;
//   - Create. If a try of unknown outcome is followed by "exists", the object is
//     compared with ours by size and checksum: the same is success. Where it
//     cannot be compared (no right to read), ErrExist stands;
//   - Replace(Any), whose repetition changes nothing.
//
// Replace at a generation and Remove get one try: after an unknown outcome a
// second answer would not say whose doing it was, and their callers begin anew
// from what they see.
//
// ErrExist, ErrNotExist, ErrPrecondition, ErrRefused and ErrName are answers,
// not failures, and end the tries; so do a breaker's ErrOpen and the caller's
// context.
func Retry(s Store, p RetryPolicy) Store { return &retrying{store: s, policy: p.withDefaults()} }

type retrying struct {
	store  Store
	policy RetryPolicy
}

// Do tries as Retry does: what try did not finish is tried again, answers that are
// final are not. It is for operations that a Store lacks and that may be repeated.
func (p RetryPolicy) Do(ctx context.Context, try func(context.Context) error) error {
	p = p.withDefaults()
	return p.do(ctx, try)
}

// List implements Reader.
func (r *retrying) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		t := r.policy.begin()
		for after := after; ; {
			progress := false
			err := r.listOnce(ctx, prefix, after, func(o Object) bool {
				after, progress = o.Name, true
				return yield(o, nil)
			})
			if err == nil {
				return
			}
			if progress { // a new page is a new operation
				t = r.policy.begin()
			}
			if err := t.again(ctx, ctx, err); err != nil {
				yield(Object{}, err)
				return
			}
		}
	}
}

// listOnce lists until the end, the first error, or yield says stop. The time
// that yield takes does not count.
func (r *retrying) listOnce(ctx context.Context, prefix, after string, yield func(Object) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(r.policy.Timeout, func() {
		cancel(fmt.Errorf("no answer within %v: %w", r.policy.Timeout, errTooSlow))
	})
	defer timer.Stop()
	for o, err := range r.store.List(ctx, prefix, after) {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = fmt.Errorf("%w (%w)", cause, err)
			}
			return err
		}
		timer.Stop()
		if !yield(o) {
			return nil
		}
		timer.Reset(r.policy.Timeout)
	}
	return nil
}

// Stat implements Reader.
func (r *retrying) Stat(ctx context.Context, name string) (o Object, err error) {
	err = r.policy.do(ctx, func(ctx context.Context) error {
		o, err = r.store.Stat(ctx, name)
		return err
	})
	return o, err
}

// Read implements Reader.
func (r *retrying) Read(ctx context.Context, name string, off, n int64) (data []byte, err error) {
	err = r.policy.do(ctx, func(ctx context.Context) error {
		data, err = r.store.Read(ctx, name, off, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Create implements Writer.
func (r *retrying) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (o Object, err error) {
	unknown := false // whether an earlier try may have made the object
	err = r.policy.do(ctx, func(ctx context.Context) error {
		o, err = r.store.Create(ctx, name, data, metadata)
		if unknown && errors.Is(err, ErrExist) {
			o, err = r.own(ctx, name, data, err)
		}
		unknown = unknown || err != nil && !final(err)
		return err
	})
	if err != nil {
		return Object{}, err
	}
	return o, nil
}

// own describes the object at name if it is what we wrote.
func (r *retrying) own(ctx context.Context, name string, data []byte, exists error) (Object, error) {
	o, err := r.store.Stat(ctx, name)
	switch {
	case err != nil && !final(err):
		return Object{}, fmt.Errorf("compare with an earlier try: %w", err) // and try again
	case err != nil:
		return Object{}, fmt.Errorf("%w (after a try of unknown outcome; comparing: %v)", exists, err)
	case o.Size != int64(len(data)) || o.CRC32C != Checksum(data):
		return Object{}, fmt.Errorf("%w, with other bytes than ours", exists)
	}
	return o, nil
}

// Replace implements Writer.
func (r *retrying) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match Generation) (o Object, err error) {
	p := r.policy
	if match != Any {
		p.Attempts = 1
	}
	err = p.do(ctx, func(ctx context.Context) error {
		o, err = r.store.Replace(ctx, name, data, metadata, match)
		return err
	})
	if err != nil {
		return Object{}, err
	}
	return o, nil
}

// Remove implements Remover.
func (r *retrying) Remove(ctx context.Context, name string, match Generation) error {
	p := r.policy
	p.Attempts = 1
	return p.do(ctx, func(ctx context.Context) error {
		return r.store.Remove(ctx, name, match)
	})
}

// do calls f until it succeeds, gives a final answer, or the policy ends.
func (p RetryPolicy) do(ctx context.Context, f func(context.Context) error) error {
	t := p.begin()
	bounded, cancel := context.WithTimeoutCause(ctx, p.Deadline, errTooSlow)
	defer cancel()
	for {
		once, cancel := context.WithTimeoutCause(bounded, p.Timeout, errTooSlow)
		err := f(once)
		cancel()
		if err == nil {
			return nil
		}
		if err := t.again(ctx, bounded, err); err != nil {
			return err
		}
	}
}

// tries counts the tries of one operation.
type tries struct {
	policy RetryPolicy
	began  time.Time
	n      int
}

func (p RetryPolicy) begin() *tries { return &tries{policy: p, began: time.Now()} }

// again waits before the next try and returns nil, or says why there is none.
// ctx is the caller's context, bounded the same with the policy's deadline.
func (t *tries) again(ctx, bounded context.Context, last error) error {
	t.n++
	if final(last) {
		return last
	}
	if errors.Is(last, ErrOpen) {
		if t.n == 1 {
			return last
		}
		return t.sum("stopped", last)
	}
	if ctx.Err() != nil {
		return t.sum("stopped", fmt.Errorf("%w (last: %w)", context.Cause(ctx), last))
	}
	if t.n >= t.policy.Attempts {
		return t.sum("gave up", last)
	}
	wait := t.wait()
	if end, ok := bounded.Deadline(); ok && time.Now().Add(wait).After(end) {
		return t.sum("out of time", last)
	}
	if sleep(bounded, wait) != nil && ctx.Err() != nil {
		return t.sum("stopped", fmt.Errorf("%w (last: %w)", context.Cause(ctx), last))
	}
	return nil
}

// wait is a random time up to the exponential bound: full jitter, so that
// writers that failed together do not come back together.
func (t *tries) wait() time.Duration {
	bound := t.policy.Max
	if shift := t.n - 1; shift < 20 {
		bound = min(bound, t.policy.Base<<shift)
	}
	return rand.N(max(bound, 1))
}

// sum tells how often and how long it was tried; err names the operation.
func (t *tries) sum(end string, err error) error {
	times := "1 try"
	if t.n != 1 {
		times = fmt.Sprintf("%d tries", t.n)
	}
	return fmt.Errorf("%s after %s in %v: %w", end, times, time.Since(t.began).Round(time.Millisecond), err)
}

// sleep waits, or gives ctx's error if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// final says whether err is an answer rather than a failure.
func final(err error) bool {
	return errors.Is(err, ErrExist) || errors.Is(err, ErrNotExist) || errors.Is(err, ErrPrecondition) ||
		errors.Is(err, ErrRefused) || errors.Is(err, ErrName)
}
