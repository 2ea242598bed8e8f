package batching

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A Batcher holds the open batches of one data type. It is safe for concurrent
// use.
type Batcher struct {
	def    *schema.Definition
	policy Policy
	budget *Budget
	clock  func() time.Time
	emit   func(*Batch)

	rowCost  int64 // most memory that a further row's fixed-width values may take
	openCost int64 // of a batch with its first row

	mu   sync.Mutex
	open map[int32]*Batch
	days map[int32]struct{} // scratch of estimate
}

// MessageCost is what holding one message is charged beyond its rows: the
// receipt, and what a broker's client keeps to ack it.
const MessageCost = 1 << 10

// New makes a batcher that hands sealed batches to emit, which must not block:
// it is called by whoever seals, also by other data types in want of memory.
// What piles up behind it is bounded by the budget.
func New(def *schema.Definition, policy Policy, budget *Budget, clock func() time.Time, emit func(*Batch)) *Batcher {
	b := &Batcher{
		def: def, policy: policy, budget: budget, clock: clock, emit: emit,
		rowCost: rowCost(def), openCost: openCost(def),
		open: map[int32]*Batch{}, days: map[int32]struct{}{},
	}
	budget.register(b)
	return b
}

// rowCost is twice the width of a row, because buffers double, and something for
// its strings.
func rowCost(def *schema.Definition) int64 {
	width := 32
	for _, f := range def.Fields {
		switch f.Kind {
		case schema.Decimal:
			width += 16
		case schema.Int64, schema.Float64, schema.Timestamp:
			width += 8
		default:
			width += 4
		}
	}
	return int64(2 * width)
}

// openCost is what a batch of one row holds: its buffers start with room for a few.
func openCost(def *schema.Definition) int64 {
	c := schema.NewColumns(def)
	c.Begin()
	for i, f := range def.Fields {
		if f.Kind == schema.String {
			c.SetString(i, []byte("a string of 24 characters"))
		}
	}
	c.Commit()
	return c.Bytes()
}

// Add copies the rows of one message into the batches of their days, each of
// which holds r until it is settled. payload is the size of the message, a bound
// on its strings. Add blocks while the budget is full; an error means that ctx
// ended meanwhile and nothing was added.
func (b *Batcher) Add(ctx context.Context, rows *schema.Columns, payload int, r *Receipt) error {
	n := rows.Len()
	if n == 0 {
		return nil
	}
	perRow := b.rowCost + int64(payload)/int64(n)
	rest := b.estimate(rows, perRow)
	if err := b.budget.Acquire(ctx, rest); err != nil {
		return fmt.Errorf("add %d rows of %s: %w", n, b.def.Name, err)
	}
	var full []*Batch
	b.mu.Lock()
	for from := 0; from < n; {
		batch, opened := b.batch(rows.Day(from))
		to := runEnd(rows, from, b.room(batch))
		charge := int64(to-from)*perRow + MessageCost
		if opened {
			charge += b.openCost
		}
		charge = min(charge, rest)
		rest -= charge
		b.append(batch, rows, from, to, charge, r)
		if s := b.full(batch); s != 0 {
			full = append(full, b.seal(batch, s))
		}
		from = to
	}
	b.mu.Unlock()
	b.emitAll(full)
	b.budget.Release(rest)
	return nil
}

// estimate is the most that the rows should take. It supposes that no batch is
// open: those that are may be sealed while the message waits for memory. It need
// not be exact: what buffers grow by beyond it is charged afterwards.
func (b *Batcher) estimate(rows *schema.Columns, perRow int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.days)
	for from := 0; from < rows.Len(); from = runEnd(rows, from, rows.Len()) {
		b.days[rows.Day(from)] = struct{}{}
	}
	return int64(len(b.days))*(b.openCost+MessageCost) + int64(rows.Len())*perRow
}

// runEnd is the end of the rows of one day that start at from, at most limit.
func runEnd(rows *schema.Columns, from, limit int) int {
	day, to := rows.Day(from), from+1
	for to < rows.Len() && to-from < limit && rows.Day(to) == day {
		to++
	}
	return to
}

// batch is the open batch of a day, and whether it was opened just now.
func (b *Batcher) batch(day int32) (batch *Batch, opened bool) {
	if batch := b.open[day]; batch != nil {
		return batch, false
	}
	batch = &Batch{
		Key:    partition.Key{Type: b.def.Name, Day: partition.Day(day)},
		Rows:   schema.NewColumns(b.def),
		Opened: b.clock(),
		Seq:    int(sequence.Add(1)),
		budget: b.budget,
	}
	b.open[day] = batch
	return batch, true
}

// room is the number of rows that a batch still takes.
func (b *Batcher) room(batch *Batch) int {
	if b.policy.Rows <= 0 {
		return 1 << 30
	}
	return b.policy.Rows - batch.Rows.Len()
}

// append charges what it can to the message's share; the rest of what the batch
// grew by is held already and charged on top.
func (b *Batcher) append(batch *Batch, rows *schema.Columns, from, to int, charge int64, r *Receipt) {
	batch.Rows.Append(rows, from, to)
	batch.charged += charge
	if n := len(batch.receipts); n == 0 || batch.receipts[n-1] != r {
		r.Hold()
		batch.receipts = append(batch.receipts, r)
		batch.messages++
		batch.note(r.Origin)
	}
	over := max(0, b.held(batch)-batch.charged)
	batch.charged += over
	b.budget.opened(charge+over, over)
}

// held is the memory that a batch takes.
func (b *Batcher) held(batch *Batch) int64 {
	return batch.Rows.Bytes() + int64(batch.messages)*MessageCost
}

func (b *Batcher) full(batch *Batch) Seal {
	switch {
	case b.policy.Rows > 0 && batch.Rows.Len() >= b.policy.Rows:
		return ByRows
	case b.policy.Bytes > 0 && batch.Rows.Bytes() >= b.policy.Bytes:
		return ByBytes
	}
	return 0
}

// seal takes a batch out of the open ones and gives back what was charged for
// growth that did not come.
func (b *Batcher) seal(batch *Batch, why Seal) *Batch {
	delete(b.open, int32(batch.Key.Day))
	batch.Sealed = why
	b.budget.opened(-batch.charged, 0)
	return batch
}

func (b *Batcher) emitAll(sealed []*Batch) {
	for _, batch := range sealed {
		if spare := batch.charged - b.held(batch); spare > 0 {
			batch.charged -= spare
			b.budget.Release(spare)
		}
		b.emit(batch)
	}
}

// Tick seals the batches that are old enough.
func (b *Batcher) Tick(now time.Time) {
	if b.policy.Age > 0 {
		b.sealWhere(ByAge, func(batch *Batch) bool { return now.Sub(batch.Opened) >= b.policy.Age })
	}
}

// Oldest is the publish time of the oldest message in an open batch, µs since
// 1970; 0 if there is none.
func (b *Batcher) Oldest() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var oldest int64
	for _, batch := range b.open {
		oldest = Older(oldest, batch.oldest)
	}
	return oldest
}

// Older is the earlier of two publish times, where 0 is none.
func Older(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Seal seals every open batch.
func (b *Batcher) Seal(why Seal) {
	b.sealWhere(why, func(*Batch) bool { return true })
}

func (b *Batcher) sealWhere(why Seal, which func(*Batch) bool) {
	var sealed []*Batch
	b.mu.Lock()
	for _, batch := range b.open {
		if which(batch) {
			sealed = append(sealed, b.seal(batch, why))
		}
	}
	b.mu.Unlock()
	b.emitAll(sealed)
}

// Open is the number of open batches.
func (b *Batcher) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open)
}

func (b *Batcher) openBatches(all []candidate) []candidate {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, batch := range b.open {
		all = append(all, candidate{batch, batch.charged, b.sealForMemory})
	}
	return all
}

// sealForMemory seals a batch if it is still open.
func (b *Batcher) sealForMemory(batch *Batch) {
	var sealed []*Batch
	b.mu.Lock()
	if b.open[int32(batch.Key.Day)] == batch {
		sealed = append(sealed, b.seal(batch, ByMemory))
	}
	b.mu.Unlock()
	b.emitAll(sealed)
}
