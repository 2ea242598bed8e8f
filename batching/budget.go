package batching

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
)

// A Budget is the memory that all data types share: the bytes of open and sealed
// batches until they are durable, and of dead letters on their way.
//
// What does not fit waits, in the order it came, which blocks the callback that
// brought it. Waiting always ends: whatever is charged is either on its way to
// storage, and is given back when that ends well or badly, or sits in an open
// batch, and then the budget seals batches until those on their way make room.
// One request larger than the whole budget goes through alone.
type Budget struct {
	cap int64

	mu        sync.Mutex
	used      int64
	open      int64 // the part of used that open batches hold
	peak      int64
	waiting   []*waiter
	holders   []holder
	relieving bool
}

// A holder has open batches that can be sealed to make room.
type holder interface {
	// openBatches lists the open batches with their charges.
	openBatches(all []candidate) []candidate
}

// A candidate is an open batch that may be sealed for want of memory.
type candidate struct {
	batch   *Batch
	charged int64
	seal    func(*Batch)
}

type waiter struct {
	n       int64
	granted chan struct{}
}

// NewBudget makes a budget of that many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{cap: max(bytes, 1)} }

// Cap is the size of the budget.
func (b *Budget) Cap() int64 { return b.cap }

// InUse is what is charged now.
func (b *Budget) InUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Peak is the most that was ever charged at once.
func (b *Budget) Peak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peak
}

// Acquire charges n bytes, and waits until they fit. It must not be called by
// one who holds uncommitted bytes: a request is made whole or not at all.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	b.mu.Lock()
	if len(b.waiting) == 0 && b.fits(n) {
		b.charge(n)
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, granted: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	b.relieve()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		return b.withdraw(w, ctx.Err())
	}
}

// withdraw takes back a request, which may have been granted meanwhile.
func (b *Budget) withdraw(w *waiter, cause error) error {
	b.mu.Lock()
	if i := slices.Index(b.waiting, w); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	} else {
		b.used -= w.n
	}
	b.grant()
	b.mu.Unlock()
	b.relieve()
	return fmt.Errorf("wait for %d bytes of the memory budget: %w", w.n, cause)
}

// Release gives back n bytes.
func (b *Budget) Release(n int64) {
	if !b.release(n) {
		panic("batching: more given back to the budget than was charged")
	}
	b.relieve()
}

func (b *Budget) release(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.grant()
	return b.used >= 0
}

// opened notes that n bytes are in an open batch now (a negative number: in it no
// longer). All of them are charged already but for extra, what buffers grew by
// beyond their estimate.
func (b *Budget) opened(n, extra int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open += n
	b.charge(extra)
}

func (b *Budget) fits(n int64) bool { return b.used == 0 || b.used+n <= b.cap }

func (b *Budget) charge(n int64) {
	b.used += n
	b.peak = max(b.peak, b.used)
}

// grant serves who waits, in order: a small request does not overtake a large
// one, which would otherwise never be served.
func (b *Budget) grant() {
	for len(b.waiting) > 0 && b.fits(b.waiting[0].n) {
		b.charge(b.waiting[0].n)
		close(b.waiting[0].granted)
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
	}
}

func (b *Budget) register(h holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holders = append(b.holders, h)
}

// relieve seals the largest open batches (of equals the oldest) if somebody
// waits and what is on its way to storage cannot make the room. It then seals
// down to half of what it tolerates, so that a stream over thousands of days
// does not make one object a message.
func (b *Budget) relieve() {
	for {
		holders, need := b.excess()
		if need == 0 {
			return
		}
		var all []candidate
		for _, h := range holders {
			all = h.openBatches(all)
		}
		slices.SortFunc(all, func(x, y candidate) int {
			return cmp.Or(cmp.Compare(y.charged, x.charged), x.batch.Opened.Compare(y.batch.Opened))
		})
		for i := 0; i < len(all) && need > 0; i++ {
			all[i].seal(all[i].batch)
			need -= all[i].charged
		}
		b.mu.Lock()
		b.relieving = false
		b.mu.Unlock()
		if len(all) == 0 {
			return // whoever is about to open one looks again afterwards
		}
	}
}

// excess is how much must be sealed now, and who may have it. At most one caller
// at a time is told so.
func (b *Budget) excess() ([]holder, int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 || b.relieving {
		return nil, 0
	}
	tolerated := max(0, min(b.cap/2, b.cap-b.waiting[0].n))
	if b.open <= tolerated {
		return nil, 0
	}
	b.relieving = true
	return slices.Clone(b.holders), b.open - tolerated/2
}
