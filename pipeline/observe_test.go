package pipeline

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/sink"
)

// A stuck decoder is asked as the second, and answers at release.
type stuck struct {
	Decoder
	asked   *atomic.Int64
	release <-chan struct{}
}

func (s stuck) Coercions(func(field, kind string, n int64)) {
	if s.asked.Add(1) == 2 {
		<-s.release
	}
}

// Whoever looks at the counts keeps one worker, never all: decoding goes on.
func TestLookingAtTheCountsDoesNotStopDecoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(publish(100, 3, 9))
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		b.allAcked = cancel
		c := config(t, b, l, letters)
		var asked atomic.Int64
		c.Workers, c.Policy = 2, batching.Policy{Age: time.Minute}
		decoder := c.NewDecoder
		c.NewDecoder = func() Decoder { return stuck{decoder(), &asked, ctx.Done()} }
		p := New(c)
		var looking sync.WaitGroup
		looking.Go(func() { p.Stats() })
		synctest.Wait() // it has a worker
		began := time.Now()
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
		looking.Wait()
		if took := time.Since(began); took >= time.Hour {
			t.Errorf("all was acked after %v only", took)
		}
	})
}

// TestOldestHeld follows the oldest message from the hands of a decoder to the store.
func TestOldestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(3, 1, 0)
		messages[2].PublishTime = firstDay // a year before the others
		b := newBroker(messages)
		l := newLedger(t, definition(t, "market_data"))
		c := config(t, b, l, &topic{failAt: -1})
		c.Policy, c.Workers = batching.Policy{Age: time.Minute}, 1
		decoder := c.NewDecoder
		c.NewDecoder = func() Decoder { return slow{decoder()} } // a second for a message
		c.Sink = slowSink{c.Sink}
		ctx, cancel := context.WithCancel(t.Context())
		b.allAcked = cancel
		p := New(c)
		if !p.OldestHeld().IsZero() {
			t.Error("something is held before Run")
		}
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		for _, tt := range []struct {
			after time.Duration
			where string
			want  bool // whether the oldest is held
		}{
			{3500 * time.Millisecond, "in an open batch", true},
			{60 * time.Second, "in a flush", true},
		} {
			time.Sleep(tt.after)
			if got := p.OldestHeld(); got.Equal(firstDay) != tt.want {
				t.Errorf("oldest held = %v %s", got, tt.where)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := p.OldestHeld(); !got.IsZero() {
			t.Errorf("oldest held = %v after Run", got)
		}
	})
}

// A message in the hands of a decoder, or waiting for memory there, is held.
func TestOldestInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(publish(1, 1, 0))
		l := newLedger(t, definition(t, "market_data"))
		c := config(t, b, l, &topic{failAt: -1})
		decoder := c.NewDecoder
		c.NewDecoder = func() Decoder { return slow{decoder()} }
		ctx, cancel := context.WithCancel(t.Context())
		b.allAcked = cancel
		p := New(c)
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		time.Sleep(500 * time.Millisecond)
		if got := p.OldestHeld(); !got.Equal(firstDay.AddDate(1, 0, 0)) {
			t.Errorf("oldest held = %v", got)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := p.OldestHeld(); !got.IsZero() {
			t.Errorf("oldest held = %v after Run", got)
		}
	})
}

// slowSink takes a minute.
type slowSink struct{ Sink }

func (s slowSink) Write(ctx context.Context, b *batching.Batch) ([]sink.Written, error) {
	time.Sleep(time.Minute)
	return s.Sink.Write(ctx, b)
}

// A watcher keeps what it was told of.
type watcher struct {
	traces  bool
	mu      sync.Mutex
	began   int
	ended   []error
	traced  []batching.Origin
	context bool
}

type watched struct{}

func (w *watcher) Traces() bool { return w.traces }

func (w *watcher) Flush(ctx context.Context, log *zap.Logger, b *batching.Batch) Flush {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began++
	w.traced = append(w.traced, b.Traced()...)
	return Flush{Context: context.WithValue(ctx, watched{}, true), Log: log, Done: func(_ []sink.Written, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = append(w.ended, err)
	}}
}

// asking is a sink that looks whose context it works in.
type asking struct {
	Sink
	w *watcher
}

func (s asking) Write(ctx context.Context, b *batching.Batch) ([]sink.Written, error) {
	s.w.context, _ = ctx.Value(watched{}).(bool)
	return s.Sink.Write(ctx, b)
}

func TestFlushesAreObserved(t *testing.T) {
	recorded, not := "00-"+strings.Repeat("a", 32)+"-"+strings.Repeat("b", 16)+"-01", "00-"+strings.Repeat("a", 32)+"-"+strings.Repeat("b", 16)+"-00"
	for _, traces := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			messages := publish(40, 1, 0)
			for i, m := range messages {
				m.Attributes = map[string]string{attrTrace: recorded}
				if i%3 == 0 {
					m.Attributes = map[string]string{attrTrace: not}
				}
				if i%3 == 1 {
					m.Attributes = map[string]string{attrTrace: "nonsense1"}
				}
			}
			b := newBroker(messages)
			l := newLedger(t, definition(t, "market_data"))
			w := &watcher{traces: traces}
			c := config(t, b, l, &topic{failAt: -1})
			c.Policy, c.Observer, c.Sink = batching.Policy{Age: time.Minute}, w, asking{c.Sink, w}
			until(t, b, func() Config { return c })
			if w.began != 1 || len(w.ended) != 1 || w.ended[0] != nil || !w.context {
				t.Errorf("%d flushes began, ended %v, in the observer's context: %v", w.began, w.ended, w.context)
			}
			want := map[bool]int{true: batching.MaxTraced}[traces]
			if len(w.traced) != want {
				t.Errorf("%d messages are followed, want %d", len(w.traced), want)
			}
			for _, o := range w.traced {
				if o.Trace != recorded || o.Published != firstDay.AddDate(1, 0, 0).UnixMicro() {
					t.Errorf("followed %+v", o)
				}
			}
		})
	}
}
