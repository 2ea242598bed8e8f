package batching

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// A batch of one row costs its row, in the books and in truth.
func TestABatchOfOneRowIsSmall(t *testing.T) {
	def := definition(t, "market_data")
	var settled tally
	var out shelf
	budget := NewBudget(1 << 30)
	b := New(def, Policy{}, budget, time.Now, out.put)
	days := make([]int, 3650)
	for i := range days {
		days[i] = i
	}
	rows := rowsOn(def, "AAPL", days...)
	before := heap()
	r := settled.receipt()
	if err := b.Add(t.Context(), rows, 100, r); err != nil {
		t.Fatal(err)
	}
	r.Release(nil)
	taken, charged := heap()-before, budget.InUse()
	t.Logf("%d bytes a batch, %d charged", taken/3650, charged/3650)
	if taken > charged || charged > 3650*512 {
		t.Errorf("%d open batches of a row take %d bytes and are charged %d", b.Open(), taken, charged)
	}
	b.Seal(ByShutdown)
	if charged := budget.InUse(); taken > charged || charged > 3650*512 {
		t.Errorf("sealed, the batches are charged %d bytes and take %d", charged, taken)
	}
	for _, batch := range out.take() {
		batch.Unpack()
		if batch.Len() != 1 || batch.Rows.Day(0) != int32(batch.Key.Day) || batch.Rows.Symbol(0) != "AAPL" {
			t.Fatalf("unpacked %d rows of %s", batch.Len(), batch.Key)
		}
		batch.Settle(nil)
	}
	settled.want(t, 1, 0)
	runtime.KeepAlive(rows)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Rows go on to be the same when there are too many to be packed.
func TestPackedRowsBecomeColumns(t *testing.T) {
	def := definition(t, "market_data")
	var settled tally
	var out shelf
	b := New(def, Policy{}, NewBudget(1<<30), time.Now, out.put)
	want := schema.NewColumns(def)
	for i := range packedRows + 2 {
		rows := rowsOn(def, string(rune('A'+i%26)), 7)
		want.Append(rows, 0, 1)
		r := settled.receipt()
		if err := b.Add(t.Context(), rows, 10, r); err != nil {
			t.Fatal(err)
		}
		r.Release(nil)
	}
	b.Seal(ByAge)
	batch := out.take()[0]
	if batch.Rows == nil || batch.Len() != want.Len() {
		t.Fatalf("%d rows, in columns: %v", batch.Len(), batch.Rows != nil)
	}
	for i := range want.Len() {
		if batch.Rows.Symbol(i) != want.Symbol(i) || batch.Rows.EventMicros(i) != want.EventMicros(i) {
			t.Fatalf("row %d is %s at %d", i, batch.Rows.Symbol(i), batch.Rows.EventMicros(i))
		}
	}
	batch.Settle(nil)
}

// What is held never keeps a flush from its copies, and copies wait for copies alone.
func TestCopiesHaveAPartOfTheirOwn(t *testing.T) {
	budget := NewBudget(400)
	if err := budget.Acquire(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := budget.Acquire(short, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("more than three quarters are held: %v", err)
	}
	giveBack, err := budget.Copies(short, 1000) // more than there is: alone
	if err != nil || budget.InUse() != 400 {
		t.Fatalf("%d in use, %v", budget.InUse(), err)
	}
	if _, err := budget.Copies(short, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("copies beside those that fill their part: %v", err)
	}
	giveBack()
	budget.Release(300)
	if budget.InUse() != 0 || budget.Peak() != 400 {
		t.Errorf("%d in use, peak %d", budget.InUse(), budget.Peak())
	}
}
