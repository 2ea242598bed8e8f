package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/sink"
)

// A site is a store that can go down and come back, with the wrappers of a real one.
type site struct {
	objstore.Store
	down  atomic.Pointer[error]
	hangs atomic.Bool
	tries atomic.Int64 // while down
}

func (s *site) fall(err error) { s.down.Store(&err) }
func (s *site) rise()          { s.down.Store(nil) }

func (s *site) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	if err := s.down.Load(); err != nil {
		s.tries.Add(1)
		if s.hangs.Load() {
			<-ctx.Done()
			return objstore.Object{}, ctx.Err()
		}
		return objstore.Object{}, *err
	}
	return s.Store.Create(ctx, name, data, metadata)
}

// outage is a pipeline under a stream of one message a second, on a store that
// goes down and comes back.
type outage struct {
	t        *testing.T
	b        *broker
	site     *site
	breaker  *objstore.Breaker
	ledger   *ledger
	letters  *topic
	p        *Pipeline
	messages []*message
	stop     context.CancelFunc
	ended    chan error
}

func newOutage(t *testing.T, n int, change func(*Config)) *outage {
	all := publish(n, 3, 10)
	b := newBroker(all)
	b.queue = nil
	b.waits = true // as the client: Receive returns when what is held is settled
	b.attempts = map[string]int{}
	o := &outage{t: t, b: b, messages: all, ledger: newLedger(t, definition(t, "market_data")), letters: &topic{failAt: -1}, ended: make(chan error, 1)}
	o.site = &site{Store: o.ledger}
	o.breaker = objstore.Break(o.site, objstore.BreakerPolicy{Probe: func(ctx context.Context, s objstore.Store) error {
		if _, err := s.Create(ctx, "probe", nil, nil); !errors.Is(err, objstore.ErrExist) {
			return err
		}
		return nil
	}})
	store := objstore.Retry(o.breaker, objstore.RetryPolicy{Attempts: 3, Timeout: 20 * time.Second})
	c := config(t, b, store, o.letters)
	c.Gate, c.Drain = o.breaker, 10*time.Second
	c.Policy = batching.Policy{Rows: 50, Age: 5 * time.Second}
	if change != nil {
		change(&c)
	}
	b.onAck = checkAck(t, o.ledger, o.letters)
	o.p = New(c)
	ctx, cancel := context.WithCancel(t.Context())
	o.stop = cancel
	go func() { o.ended <- o.p.Run(ctx) }()
	go func() {
		for _, m := range all {
			time.Sleep(time.Second)
			b.mu.Lock()
			b.queue = append(b.queue, m)
			b.mu.Unlock()
			b.signal()
		}
	}()
	return o
}

func (o *outage) acked() int {
	o.b.mu.Lock()
	defer o.b.mu.Unlock()
	return len(o.b.acked)
}

// finish waits until everything is acked and checks the whole.
func (o *outage) finish(within time.Duration) {
	o.t.Helper()
	for deadline := time.Now().Add(within); o.acked() < len(o.messages) && time.Now().Before(deadline); {
		time.Sleep(time.Second)
	}
	if n := o.acked(); n < len(o.messages) {
		o.t.Errorf("%d of %d messages acked: it does not recover", n, len(o.messages))
	}
	if err := o.p.Err(); err != nil {
		o.t.Errorf("recovered, and Err = %v", err)
	}
	o.stop()
	if err := <-o.ended; err != nil {
		o.t.Error(err)
	}
	if n := o.b.restart(); n != 0 {
		o.t.Errorf("%d messages unsettled", n)
	}
	if o.acked() == len(o.messages) {
		checkAll(o.t, o.messages, o.ledger, o.letters)
	}
}

// most is the most often that a message was delivered.
func (o *outage) most() (most int) {
	o.b.mu.Lock()
	defer o.b.mu.Unlock()
	for _, n := range o.b.attempts {
		most = max(most, n)
	}
	return most
}

func TestAnOutage(t *testing.T) {
	revoked := fmt.Errorf("%w: no permission on bucket b", objstore.ErrRefused)
	for _, tt := range []struct {
		name     string
		err      error
		hangs    bool
		lasts    time.Duration
		attempts int // most deliveries of a message
		gaveUp   bool
	}{
		{name: "10 minutes of 503", err: errors.New("503"), lasts: 10 * time.Minute, attempts: 2},
		{name: "10 minutes of hanging", err: errors.New("-"), hangs: true, lasts: 10 * time.Minute, attempts: 2},
		{name: "10 minutes without access", err: revoked, lasts: 10 * time.Minute, attempts: 2},
		{name: "3 hours of 503", err: errors.New("503"), lasts: 3 * time.Hour, attempts: 3, gaveUp: true},
		{name: "4 days of 503", err: errors.New("503"), lasts: 96 * time.Hour, attempts: 3, gaveUp: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutage(t, 300, nil)
				time.Sleep(100 * time.Second)
				o.site.hangs.Store(tt.hangs)
				o.site.fall(tt.err)
				time.Sleep(3 * time.Minute)
				acked, held, received := o.acked(), o.p.Stats().Held, o.p.Stats().Received
				if err := o.p.Err(); !errors.Is(err, objstore.ErrOpen) || !strings.Contains(err.Error(), "since") {
					t.Errorf("in the outage, Err = %v", err)
				}
				tries, writes := o.site.tries.Load(), o.p.Stats().FlushesFailed
				time.Sleep(20 * time.Minute)
				if tt.lasts < 23*time.Minute {
					o.site.rise()
				}
				if got := o.site.tries.Load() - tries; got > 6*20+1 { // one in ten seconds: 120 gaps have 121 ends
					t.Errorf("%d requests in 20 minutes", got)
				}
				if got := o.p.Stats().FlushesFailed - writes; got > 6*20+1 { // a batch is encoded for each
					t.Errorf("%d batches prepared in 20 minutes", got)
				}
				if s := o.p.Stats(); o.acked() != acked || s.Held != held || s.Received != received || o.p.Idle() != 0 {
					t.Errorf("in the outage acked %d→%d, held %d→%d, received %d→%d, idle %v",
						acked, o.acked(), held, s.Held, received, s.Received, o.p.Idle())
				}
				if held == 0 {
					t.Error("held nothing")
				}
				if tt.lasts > 23*time.Minute {
					time.Sleep(tt.lasts - 23*time.Minute)
					if s := o.p.Stats(); s.Held != 0 || o.p.Idle() != 0 {
						t.Errorf("held %d for %v, idle %v", s.Held, tt.lasts, o.p.Idle())
					}
					o.site.rise()
				}
				o.finish(10 * time.Minute)
				if n := o.most(); n > tt.attempts {
					t.Errorf("a message was delivered %d times", n)
				}
				if s := o.p.Stats(); (s.GaveUp > 0) != tt.gaveUp || (s.Nacked > 0) != tt.gaveUp {
					t.Errorf("gave up %d, nacked %d", s.GaveUp, s.Nacked)
				}
			})
		})
	}
}

// An unstable store, up for a while and down for a while, must not use up the
// attempts of the messages.
func TestAFlappingStore(t *testing.T) {
	for _, period := range []time.Duration{2 * time.Second, 15 * time.Second, 40 * time.Second, 3 * time.Minute} {
		t.Run(period.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutage(t, 1000, nil)
				for began := time.Now(); time.Since(began) < 2*time.Hour; {
					o.site.fall(errors.New("503"))
					time.Sleep(period)
					o.site.rise()
					time.Sleep(period)
				}
				o.finish(20 * time.Minute)
				if n := o.most(); n > 3 {
					t.Errorf("a message was delivered %d times", n)
				}
				if n := o.b.sessions; n > 50 { // each may hand back what the client had fetched
					t.Errorf("intake began %d times in two hours", n)
				}
			})
		})
	}
}

// SIGTERM while the store is down: bounded, and everything is handed back.
func TestADrainInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 300, nil)
		time.Sleep(100 * time.Second)
		o.site.fall(errors.New("503"))
		time.Sleep(5 * time.Minute)
		began, acked := time.Now(), o.acked()
		o.stop()
		err := <-o.ended
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		for _, want := range []string{"pipeline market_data: drain: not everything was durable after 10s; nothing is lost", "circuit breaker open", "503"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Run = %v, want %q in it", err, want)
			}
		}
		if s := o.p.Stats(); s.Held != 0 || s.Nacked == 0 || o.acked() != acked || o.b.restart() != 0 {
			t.Errorf("after the drain: %+v", s)
		}
	})
}

// Back-pressure and outage together: what waits for memory is held as long as a
// batch, then let go.
func TestAnOutageWithAFullBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 600, func(c *Config) { c.Budget = batching.NewBudget(64 << 10) })
		o.site.fall(errors.New("503"))
		time.Sleep(20 * time.Minute)
		if s := o.p.Stats(); s.Acked != 0 || s.Nacked != 0 || s.Held == 0 {
			t.Errorf("after 20 minutes: %+v", s)
		}
		time.Sleep(15 * time.Minute)
		if s := o.p.Stats(); s.Acked != 0 || s.Held != 0 {
			t.Errorf("after 35 minutes: %+v", s)
		}
		o.site.rise()
		o.finish(30 * time.Minute)
		if peak := o.p.config.Budget.Peak(); peak > o.p.config.Budget.Cap() {
			t.Errorf("peak %d", peak)
		}
	})
}

// A dead-letter topic that is gone holds the messages that have dead letters, for
// as long as may be, and ends nothing.
func TestADeadLetterTopicThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 300, nil)
		o.letters.mu.Lock()
		o.letters.failAt, o.letters.times = 0, 1e9
		o.letters.mu.Unlock()
		time.Sleep(20 * time.Minute)
		if s := o.p.Stats(); s.Nacked != 0 || s.Held == 0 || s.Acked+s.Held != 300 {
			t.Errorf("%d acked, %d nacked, %d held", s.Acked, s.Nacked, s.Held)
		}
		if err := o.p.Err(); !errors.Is(err, errTopic) || !strings.Contains(err.Error(), "publishing dead letters of market_data fails since") {
			t.Errorf("Err = %v", err)
		}
		o.letters.mu.Lock()
		o.letters.failAt = -1
		o.letters.mu.Unlock()
		o.finish(time.Minute)
		if n := o.most(); n != 1 {
			t.Errorf("a message was delivered %d times", n)
		}
	})
}

// A batch that cannot be written whatever the store does is handed back at once, and
// the others go on.
func TestABatchThatCannotBeWritten(t *testing.T) {
	for _, err := range []error{fmt.Errorf("encode: %w", sink.ErrBatch), objstore.ErrName} {
		synctest.Test(t, func(t *testing.T) {
			messages := publish(40, 3, 9)
			b := newBroker(messages)
			l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
			faults := &objtest.Faults{Store: l, FailAt: 2, Err: err}
			b.onAck = checkAck(t, l, letters)
			runs := until(t, b, func() Config { return config(t, b, faults, letters) })
			if len(runs) != 1 || runs[0] != nil || b.nacks == 0 {
				t.Errorf("runs ended with %v; %d nacks", runs, b.nacks)
			}
			checkAll(t, messages, l, letters)
		})
	}
}
