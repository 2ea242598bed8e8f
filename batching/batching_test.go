package batching

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func definition(t testing.TB, dataType string) *schema.Definition {
	t.Helper()
	r, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	d, ok := r.Latest(dataType)
	if !ok {
		t.Fatalf("no definition of %s", dataType)
	}
	return d
}

// rowsOn makes rows of market_data, one for each of the days.
func rowsOn(def *schema.Definition, symbol string, days ...int) *schema.Columns {
	c := schema.NewColumns(def)
	for i, day := range days {
		c.Begin()
		c.SetString(def.SymbolField, []byte(symbol))
		c.SetTimestamp(def.TimeField, int64(day)*86_400_000_000+int64(i))
		c.SetString(def.Own, []byte("m:"+symbol))
		c.SetInt32(def.Own+1, int32(i))
		c.Commit()
	}
	return c
}

// A tally counts how messages were settled.
type tally struct{ acked, nacked atomic.Int64 }

func (a *tally) receipt() *Receipt {
	return NewReceipt(func() { a.acked.Add(1) }, func() { a.nacked.Add(1) })
}

func (a *tally) want(t *testing.T, acked, nacked int64) {
	t.Helper()
	if a.acked.Load() != acked || a.nacked.Load() != nacked {
		t.Errorf("acked %d, nacked %d; want %d, %d", a.acked.Load(), a.nacked.Load(), acked, nacked)
	}
}

// A shelf takes sealed batches.
type shelf struct {
	mu      sync.Mutex
	batches []*Batch
}

func (s *shelf) put(b *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, b)
}

func (s *shelf) take() []*Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.batches
	s.batches = nil
	return all
}

func (s *shelf) String() string {
	var out []string
	for _, b := range s.batches {
		out = append(out, fmt.Sprintf("%s %s %d", b.Key, b.Sealed, b.Len()))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestBatchesAreSealed(t *testing.T) {
	def := definition(t, "market_data")
	for _, tt := range []struct {
		name   string
		policy Policy
		add    [][]int // messages: the days of their rows
		then   func(b *Batcher)
		want   string
	}{
		{name: "below every limit", policy: Policy{Rows: 3, Bytes: 1 << 30, Age: time.Hour}, add: [][]int{{0}, {0}}},
		{name: "no limits at all", add: [][]int{{0, 0, 0}, {0, 1}}},
		{name: "by rows", policy: Policy{Rows: 3}, add: [][]int{{0}, {0}, {0}}, want: "market_data/1970-01-01 rows 3"},
		{name: "a large message is cut to the limit", policy: Policy{Rows: 2}, add: [][]int{{0, 0, 0, 0, 0}},
			want: "market_data/1970-01-01 rows 2, market_data/1970-01-01 rows 2"},
		{name: "each day counts alone", policy: Policy{Rows: 2}, add: [][]int{{0, 1, 2}, {2}}, want: "market_data/1970-01-03 rows 2"},
		{name: "days taking turns in a message", policy: Policy{Rows: 2}, add: [][]int{{0, 1, 0, 1}},
			want: "market_data/1970-01-01 rows 2, market_data/1970-01-02 rows 2"},
		{name: "by bytes", policy: Policy{Bytes: 1}, add: [][]int{{0}, {0}}, want: "market_data/1970-01-01 bytes 1, market_data/1970-01-01 bytes 1"},
		{name: "not yet old enough", policy: Policy{Age: time.Minute}, add: [][]int{{0}},
			then: func(b *Batcher) { b.Tick(b.clock().Add(time.Minute - 1)) }},
		{name: "by age", policy: Policy{Age: time.Minute}, add: [][]int{{0}, {0}, {-1}},
			then: func(b *Batcher) { b.Tick(b.clock().Add(time.Minute)) }, want: "market_data/1969-12-31 age 1, market_data/1970-01-01 age 2"},
		{name: "on shutdown", add: [][]int{{0}, {1}},
			then: func(b *Batcher) { b.Seal(ByShutdown) }, want: "market_data/1970-01-01 shutdown 1, market_data/1970-01-02 shutdown 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out shelf
			var settled tally
			budget := NewBudget(1 << 30)
			now := time.Unix(1e9, 0)
			b := New(def, tt.policy, budget, func() time.Time { return now }, out.put)
			for _, days := range tt.add {
				r := settled.receipt()
				if err := b.Add(t.Context(), rowsOn(def, "AAPL", days...), 10, r); err != nil {
					t.Fatal(err)
				}
				r.Release(nil)
			}
			if tt.then != nil {
				tt.then(b)
			}
			if got := out.String(); got != tt.want {
				t.Errorf("sealed %s\nwant   %s", got, tt.want)
			}
			b.Seal(ByShutdown)
			for _, batch := range out.take() {
				batch.Settle(nil)
			}
			settled.want(t, int64(len(tt.add)), 0)
			if n := budget.InUse(); n != 0 {
				t.Errorf("%d bytes in use after everything was settled", n)
			}
		})
	}
}

func TestAMessageSettlesWithItsLastBatch(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name          string
		errs          [3]error // of the batches of days 0, 1, 2
		acked, nacked int64
	}{
		{name: "all durable", acked: 1},
		{name: "the first part failed", errs: [3]error{broken, nil, nil}, nacked: 1},
		{name: "the last part failed", errs: [3]error{nil, nil, broken}, nacked: 1},
		{name: "all failed", errs: [3]error{broken, broken, broken}, nacked: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, "market_data")
			var out shelf
			var settled tally
			b := New(def, Policy{}, NewBudget(1<<30), time.Now, out.put)
			r := settled.receipt()
			if err := b.Add(t.Context(), rowsOn(def, "AAPL", 0, 1, 2, 1), 10, r); err != nil {
				t.Fatal(err)
			}
			r.Release(nil)
			b.Seal(ByShutdown)
			batches := out.take()
			slices.SortFunc(batches, func(x, y *Batch) int { return x.Key.Compare(y.Key) })
			for i, batch := range batches {
				settled.want(t, 0, 0)
				batch.Settle(tt.errs[i])
				batch.Settle(nil) // counts no more
			}
			settled.want(t, tt.acked, tt.nacked)
		})
	}
}

// TestAFullBudgetBlocks holds everything that was sealed, so that nothing can
// make room, and then lets go of it.
func TestAFullBudgetBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := definition(t, "market_data")
		var out shelf
		var settled tally
		budget := NewBudget(64 << 10)
		b := New(def, Policy{}, budget, time.Now, out.put)
		var added atomic.Int64
		const messages = 500
		var group sync.WaitGroup
		for i := range messages {
			group.Go(func() {
				r := settled.receipt()
				err := b.Add(t.Context(), rowsOn(def, fmt.Sprint("S", i), i%7), 300, r)
				r.Release(err)
				added.Add(1)
			})
		}
		synctest.Wait()
		if n := added.Load(); n == 0 || n > 100 {
			t.Errorf("%d messages were let in at once", n)
		}
		for rounds := 0; settled.acked.Load() < messages; rounds++ {
			batches := out.take()
			if len(batches) == 0 {
				b.Seal(ByShutdown)
				if batches = out.take(); len(batches) == 0 || added.Load() < messages {
					t.Fatalf("stuck: %d of %d added, %d in use", added.Load(), messages, budget.InUse())
				}
			}
			for _, batch := range batches {
				batch.Settle(nil)
			}
			synctest.Wait()
		}
		group.Wait()
		if budget.InUse() != 0 || budget.open != 0 {
			t.Errorf("in use %d, open %d after all is settled", budget.InUse(), budget.open)
		}
		if budget.Peak() > budget.Cap() {
			t.Errorf("peak %d of %d", budget.Peak(), budget.Cap())
		}
	})
}

func TestAMessageLargerThanTheBudgetGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := definition(t, "market_data")
		var out shelf
		var settled tally
		budget := NewBudget(20 << 10)
		b := New(def, Policy{}, budget, time.Now, out.put)
		add := func(days ...int) *atomic.Bool {
			done := &atomic.Bool{}
			go func() {
				r := settled.receipt()
				r.Release(b.Add(t.Context(), rowsOn(def, "A", days...), 100, r))
				done.Store(true)
			}()
			synctest.Wait()
			return done
		}
		small := add(1)
		large := add(slices.Repeat([]int{2}, 1000)...)
		late := add(3)
		if !small.Load() || large.Load() || late.Load() {
			t.Fatalf("small in %v, large in %v, late in %v; want only the small one", small.Load(), large.Load(), late.Load())
		}
		if got := out.String(); got != "market_data/1970-01-02 memory 1" {
			t.Fatalf("sealed %q; the open batch had to make room", got)
		}
		for _, want := range []string{"market_data/1970-01-03 memory 1000"} {
			for _, batch := range out.take() {
				batch.Settle(nil)
			}
			synctest.Wait()
			if got := out.String(); got != want {
				t.Fatalf("sealed %q, want %q", got, want)
			}
		}
		for range 2 {
			for _, batch := range out.take() {
				batch.Settle(nil)
			}
			synctest.Wait()
			b.Seal(ByShutdown)
		}
		settled.want(t, 3, 0)
	})
}

// One data type's open batches make room for another's.
func TestDataTypesShareTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		market, dead := definition(t, "market_data"), definition(t, "dead_letters")
		var out shelf
		var settled tally
		budget := NewBudget(24 << 10)
		first := New(market, Policy{}, budget, time.Now, out.put)
		second := New(dead, Policy{}, budget, time.Now, out.put)
		r := settled.receipt()
		r.Release(first.Add(t.Context(), rowsOn(market, "A", slices.Repeat([]int{1}, 40)...), 100, r))
		go func() {
			r := settled.receipt()
			r.Release(second.Add(t.Context(), rowsOn(dead, "B", slices.Repeat([]int{1}, 80)...), 100, r))
		}()
		synctest.Wait()
		if got := out.String(); got != "market_data/1970-01-02 memory 40" {
			t.Fatalf("sealed %q, want the other type's batch", got)
		}
		for _, batch := range out.take() {
			batch.Settle(nil)
		}
		synctest.Wait()
		second.Seal(ByShutdown)
		for _, batch := range out.take() {
			batch.Settle(nil)
		}
		settled.want(t, 2, 0)
	})
}

func TestWaitingForMemoryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(136) // 102 of which are for what is held
		if err := budget.Acquire(t.Context(), 80); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		large, small := make(chan error, 1), make(chan error, 1)
		go func() { large <- budget.Acquire(ctx, 90) }()
		synctest.Wait()
		go func() { small <- budget.Acquire(t.Context(), 20) }()
		synctest.Wait()
		if len(small) != 0 {
			t.Fatal("a small request overtook a large one")
		}
		cancel()
		if err := <-large; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled request got %v", err)
		}
		if err := <-small; err != nil {
			t.Errorf("the one behind it got %v", err)
		}
		if n := budget.InUse(); n != 100 {
			t.Errorf("in use %d, want 100", n)
		}
	})
}

// TestManyDaysAtOnce adds from many goroutines, settles at random, and looks at
// the books at the end.
func TestManyDaysAtOnce(t *testing.T) {
	def := definition(t, "market_data")
	sealed := make(chan *Batch, 100_000)
	var settled tally
	budget := NewBudget(256 << 10)
	b := New(def, Policy{Rows: 50}, budget, time.Now, func(b *Batch) { sealed <- b })
	var rows atomic.Int64
	var flushes, adds sync.WaitGroup
	for range 3 {
		flushes.Go(func() {
			for batch := range sealed {
				rows.Add(int64(batch.Len()))
				batch.Settle(nil)
			}
		})
	}
	const workers, messages = 8, 400
	for w := range workers {
		adds.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for range messages {
				days := make([]int, 1+rnd.IntN(5))
				for i := range days {
					days[i] = rnd.IntN(3000)
				}
				r := settled.receipt()
				r.Release(b.Add(t.Context(), rowsOn(def, "A", days...), 300, r))
			}
		})
	}
	adds.Wait()
	b.Seal(ByShutdown)
	close(sealed)
	flushes.Wait()
	settled.want(t, workers*messages, 0)
	if budget.InUse() != 0 || budget.open != 0 || b.Open() != 0 {
		t.Errorf("in use %d, open %d in %d batches at the end", budget.InUse(), budget.open, b.Open())
	}
	if budget.Peak() > budget.Cap() {
		t.Errorf("peak %d of %d", budget.Peak(), budget.Cap())
	}
	t.Logf("%d rows; peak %d of %d", rows.Load(), budget.Peak(), budget.Cap())
}

func TestReceiptsAreHonest(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(r *Receipt)
	}{
		{"released too often", func(r *Receipt) { r.Release(nil); r.Release(nil) }},
		{"held after it was settled", func(r *Receipt) { r.Release(nil); r.Hold() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			tt.do(NewReceipt(func() {}, func() {}))
		})
	}
}
