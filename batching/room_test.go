package batching

import (
	"slices"
	"testing"
	"time"
)

// Buffers double: a batch ends where they would double beyond what it may hold. One
// that doubled first would be sealed half empty, with twice the memory.
func TestABatchEndsBeforeItsBuffersDoubleBeyondIt(t *testing.T) {
	def := definition(t, "market_data")
	const limit = 1 << 20
	var settled tally
	var out shelf
	b := New(def, Policy{Bytes: limit}, NewBudget(1<<30), time.Now, out.put)
	rows := rowsOn(def, "AAPL", slices.Repeat([]int{7}, 300)...)
	added := 0
	for range 60 {
		r := settled.receipt()
		if err := b.Add(t.Context(), rows, 300, r); err != nil {
			t.Fatal(err)
		}
		r.Release(nil)
		added += rows.Len()
	}
	sealed := out.take()
	if len(sealed) < 3 {
		t.Fatalf("%d batches of %d rows", len(sealed), added)
	}
	first := sealed[0].Len()
	for i, batch := range sealed {
		if held := batch.Rows.Bytes(); batch.Sealed != ByBytes || held > limit || held < limit/3 {
			t.Errorf("batch %d of %d rows was sealed by %s and holds %d bytes", i, batch.Len(), batch.Sealed, held)
		}
		if batch.Len() != first {
			t.Errorf("batch %d has %d rows, the first %d", i, batch.Len(), first)
		}
		batch.Settle(nil)
	}
	b.Seal(ByShutdown)
	for _, batch := range out.take() {
		batch.Settle(nil)
	}
	settled.want(t, 60, 0)
}

// After a batch that was full comes another: it has its room at once. After one that was
// merely old, nobody knows.
func TestAfterAFullBatchThereIsRoomAtOnce(t *testing.T) {
	def := definition(t, "market_data")
	for _, tt := range []struct {
		policy Policy
		room   bool
	}{{Policy{Rows: 4096}, true}, {Policy{}, false}} {
		var settled tally
		var out shelf
		b := New(def, tt.policy, NewBudget(1<<30), time.Now, out.put)
		add := func(n int) {
			r := settled.receipt()
			if err := b.Add(t.Context(), rowsOn(def, "AAPL", slices.Repeat([]int{7}, n)...), n, r); err != nil {
				t.Fatal(err)
			}
			r.Release(nil)
		}
		add(4096)
		b.Seal(ByAge)
		first := out.take()[0]
		add(packedRows + 1)
		b.Seal(ByAge)
		second := out.take()[0]
		if got := second.Rows.Bytes() >= first.Rows.Bytes(); got != tt.room {
			t.Errorf("%+v: %d bytes after %d", tt.policy, second.Rows.Bytes(), first.Rows.Bytes())
		}
		first.Settle(nil)
		second.Settle(nil)
		add(packedRows + 1)
		b.Seal(ByAge)
		third := out.take()[0]
		if third.Rows.Bytes() >= first.charged/2 {
			t.Errorf("%+v: %d bytes after a batch that was not full", tt.policy, third.Rows.Bytes())
		}
		third.Settle(nil)
		settled.want(t, 3, 0)
	}
}
