package batching

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
)

// A Budget is the memory that all data types share: the bytes of open and sealed
// batches until they are durable, of dead letters on their way, and of the copies
// that flushes make. A part is kept for the copies: what is held may fill the rest.
//
// What does not fit waits, in the order it came, which blocks the callback that
// brought it. Waiting always ends: whatever is charged is either on its way to
// storage, and is given back when that ends well or badly, or sits in an open
// batch, and then the budget seals batches until those on their way make room.
// One request larger than the whole budget goes through alone.
type Budget struct {
	total int64

	mu        sync.Mutex
	held      lane  // of rows, receipts and dead letters
	copies    lane  // of flushes
	open      int64 // the part of what is held that open batches hold
	peak      int64 // of both lanes together
	holders   []holder
	relieving bool
}

// A lane is a part of the budget, and who waits for it.
type lane struct {
	cap, used int64
	waiting   []*waiter
}

// copiesShare is the part of the budget that is kept for the copies of flushes.
const copiesShare = 4 // a quarter

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
func NewBudget(bytes int64) *Budget {
	bytes = max(bytes, 1)
	copies := max(bytes/copiesShare, 1)
	return &Budget{total: bytes, held: lane{cap: max(bytes-copies, 1)}, copies: lane{cap: copies}}
}

// Cap is the size of the budget.
func (b *Budget) Cap() int64 { return b.total }

// MaxBatch is how large a batch may grow, so that its flush fits the part that is
// kept for copies.
func (b *Budget) MaxBatch() int64 {
	return max((b.copies.cap-flushFixed)/flushCopies, b.copies.cap/4, 1)
}

// InUse is what is charged now.
func (b *Budget) InUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held.used + b.copies.used
}

// Peak is the most that was ever charged at once.
func (b *Budget) Peak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peak
}

// Acquire charges n bytes, and waits until they fit. It must not be called by
// one who holds uncommitted bytes: a request is made whole or not at all.
func (b *Budget) Acquire(ctx context.Context, n int64) error { return b.acquire(ctx, &b.held, n) }

// Copies charges the n bytes of a flush's copies, see FlushCost, and waits until
// they fit beside those of other flushes; more than is kept for all of them goes
// alone. Who has them waits for nothing else of the budget, and gives them back.
func (b *Budget) Copies(ctx context.Context, n int64) (giveBack func(), err error) {
	n = min(n, b.copies.cap)
	if err := b.acquire(ctx, &b.copies, n); err != nil {
		return nil, err
	}
	return func() { b.release(&b.copies, n) }, nil
}

func (b *Budget) acquire(ctx context.Context, l *lane, n int64) error {
	b.mu.Lock()
	if len(l.waiting) == 0 && l.fits(n) {
		b.charge(l, n)
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, granted: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	b.mu.Unlock()
	b.relieve()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		return b.withdraw(l, w, ctx.Err())
	}
}

// withdraw takes back a request, which may have been granted meanwhile.
func (b *Budget) withdraw(l *lane, w *waiter, cause error) error {
	b.mu.Lock()
	if i := slices.Index(l.waiting, w); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	} else {
		l.used -= w.n
	}
	b.grant(l)
	b.mu.Unlock()
	b.relieve()
	return fmt.Errorf("wait for %d bytes of the memory budget: %w", w.n, cause)
}

// Release gives back n bytes.
func (b *Budget) Release(n int64) { b.release(&b.held, n) }

func (b *Budget) release(l *lane, n int64) {
	b.mu.Lock()
	l.used -= n
	b.grant(l)
	sound := l.used >= 0
	b.mu.Unlock()
	if !sound {
		panic("batching: more given back to the budget than was charged")
	}
	b.relieve()
}

// borrow charges n bytes if there is room for them now, whoever waits: they make a
// batch larger, which is what those wait for. It charges nothing for n <= 0.
func (b *Budget) borrow(n int64) (lent int64, ok bool) {
	if n <= 0 {
		return 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held.used+n > b.held.cap {
		return 0, false
	}
	b.charge(&b.held, n)
	return n, true
}

// opened notes that n bytes are in an open batch now (a negative number: in it no
// longer). All of them are charged already but for extra, what buffers grew by
// beyond their estimate.
func (b *Budget) opened(n, extra int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open += n
	b.charge(&b.held, extra)
}

func (l *lane) fits(n int64) bool { return l.used == 0 || l.used+n <= l.cap }

func (b *Budget) charge(l *lane, n int64) {
	l.used += n
	b.peak = max(b.peak, b.held.used+b.copies.used)
}

// grant serves who waits, in order: a small request does not overtake a large
// one, which would otherwise never be served.
func (b *Budget) grant(l *lane) {
	for len(l.waiting) > 0 && l.fits(l.waiting[0].n) {
		b.charge(l, l.waiting[0].n)
		close(l.waiting[0].granted)
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
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
	if len(b.held.waiting) == 0 || b.relieving {
		return nil, 0
	}
	tolerated := max(0, min(b.held.cap/2, b.held.cap-b.held.waiting[0].n))
	if b.open <= tolerated {
		return nil, 0
	}
	b.relieving = true
	return slices.Clone(b.holders), b.open - tolerated/2
}
