package batching

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// Whatever buffers double while messages come, the budget is never exceeded: a batch
// that would grow beyond it is sealed instead.
func TestTheBudgetIsNeverExceeded(t *testing.T) {
	def := definition(t, "market_data")
	for seed := range uint64(8) {
		draw := rand.New(rand.NewPCG(seed, 0))
		budget := NewBudget(96<<10 + draw.Int64N(2<<20))
		var settled tally
		var out shelf
		b := New(def, Policy{Bytes: 1 << 20}, budget, time.Now, out.put)
		days, most, distinct := 1+draw.IntN(20), 1+draw.IntN(120), seed%2 == 1
		sent, got := 0, 0
		settle := func(from []*Batch) {
			for _, batch := range from {
				got += batch.Len()
				batch.Settle(nil)
			}
		}
		var late []*Batch // what is on its way to storage
		for i := range 2000 {
			on := make([]int, 1+draw.IntN(most))
			for j := range on {
				on[j] = draw.IntN(days)
			}
			slices.Sort(on)
			rows := rowsOn(def, fmt.Sprintf("S%d", i), on...)
			if distinct {
				rows = distinctRows(def, i, on)
			}
			r := settled.receipt()
			done := make(chan error)
			go func() { done <- b.Add(t.Context(), rows, 120*len(on), r) }()
			for added := false; !added; {
				select {
				case err := <-done:
					if err != nil {
						t.Fatal(err)
					}
					added = true
				case <-time.After(time.Millisecond): // it waits for what is on its way
					settle(late)
					late = out.take()
				}
			}
			r.Release(nil)
			sent += len(on)
			if late = append(late, out.take()...); draw.IntN(4) == 0 {
				settle(late)
				late = nil
			}
		}
		b.Seal(ByShutdown)
		settle(append(late, out.take()...))
		if peak := budget.Peak(); peak > budget.Cap() || budget.InUse() != 0 || got != sent {
			t.Errorf("seed %d: of %d bytes %d were charged at most, %d at the end; %d rows of %d", seed, budget.Cap(), peak, budget.InUse(), got, sent)
		}
		if held := budget.held.cap; budget.Peak() > held {
			t.Errorf("seed %d: %d bytes of %d were charged with no flush", seed, budget.Peak(), held)
		}
	}
}

// distinctRows are rows of market_data, no two strings of which are the same.
func distinctRows(def *schema.Definition, message int, days []int) *schema.Columns {
	c := schema.NewColumns(def)
	for i, day := range days {
		c.Begin()
		for field := range def.Fields {
			if def.Fields[field].Kind == schema.String {
				c.SetString(field, fmt.Appendf(nil, "%d/%d", message, i))
			}
		}
		c.SetTimestamp(def.TimeField, int64(day)*86_400_000_000+int64(i))
		c.SetInt32(def.Own+1, int32(i))
		c.Commit()
	}
	return c
}
