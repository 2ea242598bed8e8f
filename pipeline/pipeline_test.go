package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

// config is a pipeline of market_data with small batches.
func config(t testing.TB, source Source, store objstore.Writer, letters deadletter.Publisher) Config {
	def := definition(t, "market_data")
	return Config{
		Definition: def, Source: source, DeadLetters: letters, Payloads: store,
		NewDecoder: func() Decoder { return def.NewDecoder(schema.Standard) },
		Sink:       sink.New(store, sink.Config{OwnFileRows: 5}),
		Policy:     batching.Policy{Rows: 7, Age: time.Second},
		Budget:     batching.NewBudget(64 << 20),
		Workers:    2,
	}
}

// until runs a new pipeline, as a process that starts, until everything is
// acked. Each run has at most a minute.
func until(t *testing.T, b *broker, make func() Config) (runs []error) {
	t.Helper()
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		b.allAcked = cancel
		p := New(make())
		runs = append(runs, p.Run(ctx))
		cancel()
		if s := p.Stats(); s.Held != 0 || s.Received != s.Acked+s.Nacked {
			t.Errorf("after Run: %d held, %d received, %d acked, %d nacked", s.Held, s.Received, s.Acked, s.Nacked)
		}
		if n := p.config.Budget.InUse(); n != 0 {
			t.Errorf("after Run: %d bytes of the budget in use", n)
		}
		if n := b.restart(); n != 0 {
			t.Errorf("Run left %d messages unsettled", n)
		}
		if len(b.acked) == len(b.messages) {
			return runs
		}
	}
	t.Fatalf("%d of %d messages acked after %d runs, the last: %v", len(b.acked), len(b.messages), len(runs), runs[len(runs)-1])
	return nil
}

func TestEverythingIsKeptAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(200, 3, 10)
		messages[4].Attributes = map[string]string{"content_type": "text/nonsense"} // five records, one letter
		messages[4].rows, messages[4].letters = nil, []string{"4/0"}
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
		b.onAck = checkAck(t, l, letters)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		b.allAcked = cancel
		p := New(config(t, b, l, letters))
		if got := p.Idle(); got != 0 {
			t.Errorf("idle for %v before Run", got)
		}
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		checkAll(t, messages, l, letters)
		var rows, dead int64
		for _, m := range messages {
			rows += int64(len(m.rows))
			dead += int64(len(m.letters))
		}
		got := p.Stats()
		if got.FlushedBytes == 0 || got.Files == 0 || got.Flushes == 0 {
			t.Errorf("stats %+v", got)
		}
		var seals int64
		for _, n := range got.Seals {
			seals += n
		}
		if seals != got.Flushes || got.Seals["rows"] == 0 || got.Seals["age"]+got.Seals["shutdown"] == 0 {
			t.Errorf("%d flushes, seals %v", got.Flushes, got.Seals)
		}
		got.Flushes, got.Files, got.FlushedBytes, got.Seals, got.Coercions = 0, 0, 0, nil, nil
		want := Stats{Received: 200, Acked: 200, AckedRows: rows, AckedLetters: dead, Rows: rows, FlushedRows: rows, Letters: dead,
			Rejected: map[schema.Reason]int64{schema.MissingRequired: dead - 1, schema.UnsupportedContentType: 1}}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		time.Sleep(3 * time.Second)
		if got := p.Idle(); got != 3*time.Second {
			t.Errorf("idle for %v, want 3s", got)
		}
	})
}

// TestEveryFault fails operation 0, 1, 2, … of the store, then of the topic,
// undone and with its answer lost.
func TestEveryFault(t *testing.T) {
	for _, where := range []string{"store", "topic"} {
		for _, lost := range []bool{false, true} {
			for k := 0; ; k++ {
				fired := false
				t.Run(fmt.Sprintf("%s/lost=%v/op=%d", where, lost, k), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { fired = oneFault(t, where, lost, k) })
				})
				if !fired {
					if k < 5 {
						t.Errorf("%s: only %d operations", where, k)
					}
					break
				}
			}
		}
	}
}

func oneFault(t *testing.T, where string, lost bool, k int) (fired bool) {
	messages := publish(40, 3, 9)
	b := newBroker(messages)
	l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1, lost: lost}
	faults := &objtest.Faults{Store: l, FailAt: -1, Lost: lost}
	if where == "store" {
		faults.FailAt = k
	} else {
		letters.failAt = k
	}
	b.onAck = checkAck(t, l, letters)
	runs := until(t, b, func() Config { return config(t, b, faults, letters) })
	if len(runs) != 1 || runs[0] != nil {
		t.Errorf("runs ended with %v, want one that ends well", runs)
	}
	checkAll(t, messages, l, letters)
	fired = faults.Fired() || letters.fired
	if b.nacks != 0 {
		t.Errorf("%d messages were nacked: one fault is no reason to let go", b.nacks)
	}
	return fired
}

// TestRestarts ends the process at every moment of a run, again and again.
func TestRestarts(t *testing.T) {
	for _, waits := range []bool{false, true} {
		for ms := time.Duration(0); ms < 3000; ms += 230 {
			t.Run(fmt.Sprintf("waits=%v/after=%vms", waits, int(ms)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					messages := publish(60, 3, 9)
					b := newBroker(messages)
					b.waits = waits
					l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1, delay: 300 * time.Millisecond}
					slow := &objtest.Faults{Store: l, FailAt: -1, Delay: 400 * time.Millisecond}
					b.onAck = checkAck(t, l, letters)
					limit := ms * time.Millisecond
					for runs := 0; len(b.acked) < len(messages) && runs < 100; runs++ {
						ctx, cancel := context.WithTimeout(t.Context(), limit)
						b.allAcked = cancel
						c := config(t, b, slow, letters)
						c.Drain = 500 * time.Millisecond // often too short
						p := New(c)
						p.Run(ctx)
						cancel()
						if s := p.Stats(); s.Held != 0 || b.restart() != 0 || c.Budget.InUse() != 0 {
							t.Fatalf("Run left %d messages and %d bytes", s.Held, c.Budget.InUse())
						}
						limit += 100 * time.Millisecond
					}
					checkAll(t, messages, l, letters)
				})
			})
		}
	}
}

// TestBackPressure: thousands of messages over many days through a few kilobytes.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(3000, 400, 10)
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1, delay: time.Millisecond}
		b.onAck = checkAck(t, l, letters)
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		b.allAcked = cancel
		c := config(t, b, l, letters)
		c.Sink = l
		c.Policy = batching.Policy{} // nothing but memory seals
		c.Budget = batching.NewBudget(96 << 10)
		p := New(c)
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		for quiet := 0; quiet < 3; { // only what is left at the end may wait for a shutdown
			before := p.Stats()
			time.Sleep(time.Minute)
			if s := p.Stats(); s.Acked == before.Acked {
				quiet++
			}
		}
		s := p.Stats()
		if s.Acked < 2900 || s.Received != 3000 {
			t.Errorf("stuck: %d received, %d acked, %d of %d bytes in use", s.Received, s.Acked, c.Budget.InUse(), c.Budget.Cap())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		checkAll(t, messages, l, letters)
		if peak := c.Budget.Peak(); peak > c.Budget.Cap() {
			t.Errorf("peak %d of %d bytes", peak, c.Budget.Cap())
		}
		if s := p.Stats(); s.Seals["memory"] == 0 {
			t.Errorf("seals %v", s.Seals)
		}
	})
}

func TestAMessageLargerThanTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(50, 9, 10)
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
		b.onAck = checkAck(t, l, letters)
		until(t, b, func() Config {
			c := config(t, b, l, letters)
			c.Budget = batching.NewBudget(1)
			return c
		})
		checkAll(t, messages, l, letters)
	})
}

func TestShutdown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault *objtest.Faults
		waits bool
		took  time.Duration
		acked int
		err   string
	}{
		{name: "with full buffers", acked: 20},
		{name: "with full buffers and a client that waits for acks", waits: true, acked: 20},
		{name: "while the store is slow", fault: &objtest.Faults{FailAt: -1, Delay: 3 * time.Second}, took: 3 * time.Second, acked: 20},
		{name: "while the store fails", fault: &objtest.Faults{Times: -1}, waits: true, took: 10 * time.Second,
			err: "pipeline market_data: drain: not everything was durable after 10s; nothing is lost: the rest has been handed back and will be delivered again; " +
				"flushing market_data fails since"},
		{name: "while the store hangs", fault: &objtest.Faults{Times: -1, Mode: objtest.Hang}, waits: true, took: 10 * time.Second,
			err: "pipeline market_data: drain: not everything was durable after 10s; nothing is lost: the rest has been handed back and will be delivered again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroker(publish(20, 3, 9))
				b.waits = tt.waits
				l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
				faults := cmp.Or(tt.fault, &objtest.Faults{FailAt: -1})
				faults.Store = l
				b.onAck = checkAck(t, l, letters)
				c := config(t, b, faults, letters)
				c.Policy, c.Drain = batching.Policy{}, 10*time.Second
				ctx, cancel := context.WithCancel(t.Context())
				p := New(c)
				ended := make(chan error)
				go func() { ended <- p.Run(ctx) }()
				time.Sleep(time.Minute)
				if s := p.Stats(); s.Acked != 0 || s.Held != 20 {
					t.Fatalf("before shutdown %d acked, %d held", s.Acked, s.Held)
				}
				if p.Idle() != 0 {
					t.Error("idle, with messages held")
				}
				began := time.Now()
				cancel()
				err := <-ended
				if took := time.Since(began); took != tt.took {
					t.Errorf("drain took %v, want %v", took, tt.took)
				}
				if got := errorText(err); !strings.HasPrefix(got, tt.err) || tt.err == "" && got != "" {
					t.Errorf("Run = %q, want %q", got, tt.err)
				}
				s := p.Stats()
				if s.Acked != int64(tt.acked) || s.Acked+s.Nacked != 20 || c.Budget.InUse() != 0 {
					t.Errorf("%d acked, %d nacked, %d bytes in use; want %d acked of 20", s.Acked, s.Nacked, c.Budget.InUse(), tt.acked)
				}
			})
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestASourcesErrorEndsTheRun(t *testing.T) {
	denied := errors.New("permission denied")
	l := newLedger(t, definition(t, "market_data"))
	c := config(t, failingSource{denied}, l, &topic{failAt: -1})
	if err := New(c).Run(t.Context()); !errors.Is(err, denied) || err.Error() != "pipeline market_data: receive: permission denied" {
		t.Errorf("Run = %v", err)
	}
}

type failingSource struct{ err error }

func (s failingSource) Receive(context.Context, func(context.Context, *Delivery)) error { return s.err }

// A bomb is a decoder that panics on some messages, after it has added a row.
type bomb struct {
	Decoder
	coerced int64
}

func (d *bomb) Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	rejected := d.Decoder.Decode(m, rows)
	d.coerced++
	if strings.HasSuffix(m.ID, "3") {
		rows.Begin()
		panic("planted")
	}
	return rejected
}

func (d *bomb) Coercions(yield func(field, kind string, n int64)) {
	yield("price", "rounded", d.coerced)
}

func TestAPanicIsConfinedToItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(40, 3, 9)
		for _, m := range messages {
			if strings.HasSuffix(m.ID, "3") {
				m.rows, m.letters = nil, []string{m.ID + "/0"}
			}
		}
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
		b.onAck = checkAck(t, l, letters)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b.allAcked = cancel
		c := config(t, b, l, letters)
		decoder := c.NewDecoder
		c.NewDecoder = func() Decoder { return &bomb{Decoder: decoder()} }
		p := New(c)
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		checkAll(t, messages, l, letters)
		s := p.Stats()
		if s.Panics != 4 || s.Rejected[deadletter.Panic] != 4 {
			t.Errorf("%d panics, rejected %v", s.Panics, s.Rejected)
		}
		if n := s.Coercions[Coercion{"price", "rounded"}]; n != 40 {
			t.Errorf("%d coercions counted over decoders that were replaced, want 40", n)
		}
	})
}

// A dead letter waits for the broker beside the others, not behind them.
func TestDeadLettersFlyTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(100, 3, 1) // all bad
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1, delay: time.Second}
		b.onAck = checkAck(t, l, letters)
		c := config(t, b, l, letters)
		began := time.Now()
		until(t, b, func() Config { return c })
		checkAll(t, messages, l, letters)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("300 dead letters of a second each took %v", took)
		}
		if letters.most < 100 {
			t.Errorf("at most %d in flight", letters.most)
		}
	})
}

func TestAgeSealsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(publish(1, 1, 0))
		l := newLedger(t, definition(t, "market_data"))
		c := config(t, b, l, &topic{failAt: -1})
		c.Policy = batching.Policy{Age: 30 * time.Second}
		began := time.Now()
		until(t, b, func() Config { return c })
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("acked after %v, want the age that seals", took)
		}
	})
}

func TestWithoutADeadLetterTopicNothingIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(publish(3, 1, 1))
		l := newLedger(t, definition(t, "market_data"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		p := New(config(t, &once{b}, l, nil))
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Acked != 0 || s.Nacked != 3 {
			t.Errorf("%d acked, %d nacked", s.Acked, s.Nacked)
		}
	})
}

// once delivers what is there, and nothing again.
type once struct{ b *broker }

func (o *once) Receive(ctx context.Context, callback func(context.Context, *Delivery)) error {
	for m := o.b.next(); m != nil; m = o.b.next() {
		callback(ctx, &Delivery{Message: m.Message, Ack: func() {}, Nack: func() {}})
	}
	<-ctx.Done()
	return nil
}

// A slow decoder takes a second for a message.
type slow struct{ Decoder }

func (d slow) Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	time.Sleep(time.Second)
	return d.Decoder.Decode(m, rows)
}

// A message that is being decoded when the drain begins is kept too, although
// the drain has sealed what was open by then.
func TestShutdownDuringDecoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(publish(3, 3, 0))
		b.waits = true
		l := newLedger(t, definition(t, "market_data"))
		b.onAck = checkAck(t, l, &topic{})
		c := config(t, b, l, &topic{failAt: -1})
		c.Policy, c.Workers = batching.Policy{}, 3
		decoder := c.NewDecoder
		c.NewDecoder = func() Decoder { return slow{decoder()} }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		began := time.Now()
		p := New(c)
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second || p.Stats().Acked != 3 {
			t.Errorf("%d acked after %v, want 3 after the second they took", p.Stats().Acked, took)
		}
	})
}
