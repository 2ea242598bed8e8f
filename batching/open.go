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

	rowCost   int64 // most memory that a row's fixed-width values may take
	emptyCost int64 // of a batch without rows

	mu   sync.Mutex
	open map[int32]*Batch
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
		rowCost:   rowCost(def),
		emptyCost: schema.NewColumns(def).Bytes(),
		open:      map[int32]*Batch{},
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
		day := rows.Day(from)
		batch := b.batch(day)
		to := runEnd(rows, from, b.room(batch))
		charge := rest // the last part takes what is left
		if to < n {
			charge = min(rest, int64(to-from)*perRow)
		}
		rest -= charge
		b.append(batch, rows, from, to, charge, r)
		if s := b.full(batch); s != 0 {
			full = append(full, b.seal(batch, s))
		}
		from = to
	}
	b.mu.Unlock()
	b.emitAll(full)
	b.budget.relieve()
	return nil
}

// estimate is what the rows will take in their batches. It need not be exact:
// what buffers grow by beyond it is charged afterwards.
func (b *Batcher) estimate(rows *schema.Columns, perRow int64) int64 {
	total := MessageCost + int64(rows.Len())*perRow
	b.mu.Lock()
	defer b.mu.Unlock()
	for from := 0; from < rows.Len(); from = runEnd(rows, from, rows.Len()) {
		if b.open[rows.Day(from)] == nil {
			total += b.emptyCost
		}
	}
	return total
}

// runEnd is the end of the rows of one day that start at from, at most limit.
func runEnd(rows *schema.Columns, from, limit int) int {
	day, to := rows.Day(from), from+1
	for to < rows.Len() && to-from < limit && rows.Day(to) == day {
		to++
	}
	return to
}

func (b *Batcher) batch(day int32) *Batch {
	if batch := b.open[day]; batch != nil {
		return batch
	}
	batch := &Batch{
		Key:    partition.Key{Type: b.def.Name, Day: partition.Day(day)},
		Rows:   schema.NewColumns(b.def),
		Opened: b.clock(),
		Seq:    int(sequence.Add(1)),
		budget: b.budget,
	}
	b.open[day] = batch
	return batch
}

// room is the number of rows that a batch still takes.
func (b *Batcher) room(batch *Batch) int {
	if b.policy.Rows <= 0 {
		return 1 << 30
	}
	return b.policy.Rows - batch.Rows.Len()
}

func (b *Batcher) append(batch *Batch, rows *schema.Columns, from, to int, charge int64, r *Receipt) {
	batch.Rows.Append(rows, from, to)
	batch.charged += charge
	if n := len(batch.receipts); n == 0 || batch.receipts[n-1] != r {
		r.Hold()
		batch.receipts = append(batch.receipts, r)
		batch.messages++
	}
	if over := b.held(batch) - batch.charged; over > 0 {
		b.budget.force(over)
		batch.charged += over
		charge += over
	}
	b.budget.opened(charge)
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
	b.budget.opened(-batch.charged)
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
