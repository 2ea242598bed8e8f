package batching

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A Batcher holds the open batches of one data type. It is safe for concurrent
// use.
type Batcher struct {
	policy Policy
	budget *Budget
	clock  func() time.Time
	emit   func(*Batch)

	mu      sync.Mutex
	current *schema.Definition
	costs   costs // of the current definition
	open    map[slot]*Batch
	split   grouping     // scratch of Add
	packed  []byte       // scratch: rows on their way into a batch
	expect  map[slot]int // rows of the batch before, where that was full: the next will be
}

// A slot is the place of one open batch. There is at most one of each.
type slot struct {
	day int32
	def *schema.Definition
}

// costs are what rows of a definition are taken to hold.
type costs struct {
	row int64 // most memory that a further row's fixed-width values may take
}

func costsOf(def *schema.Definition) costs { return costs{row: rowCost(def)} }

// MessageCost is what holding one message is charged beyond its rows: the
// receipt, and what a broker's client keeps to ack it. The batches that hold its
// rows bear it in equal parts.
const MessageCost = 1 << 10

const (
	openCost    = 320 // of an open batch beyond its rows
	receiptCost = 16  // of a message that a batch holds, beyond its part of MessageCost
	packedRows  = 128 // a batch with more has columns
)

// New makes a batcher that hands sealed batches to emit, which must not block:
// it is called by whoever seals, also by other data types in want of memory.
// What piles up behind it is bounded by the budget.
func New(def *schema.Definition, policy Policy, budget *Budget, clock func() time.Time, emit func(*Batch)) *Batcher {
	if policy.Bytes > 0 {
		policy.Bytes = min(policy.Bytes, budget.MaxBatch())
	}
	b := &Batcher{
		policy: policy, budget: budget, clock: clock, emit: emit,
		current: def, costs: costsOf(def),
		open: map[slot]*Batch{}, expect: map[slot]int{},
	}
	budget.register(b)
	return b
}

// Switch makes another definition of the data type the current one, and seals
// the open batches of any other. Rows that were judged by another before the
// switch may still be added; their batches are sealed at once.
func (b *Batcher) Switch(def *schema.Definition) {
	c := costsOf(def)
	b.mu.Lock()
	b.current, b.costs = def, c
	clear(b.expect)
	b.mu.Unlock()
	b.sealWhere(BySchema, func(batch *Batch) bool { return batch.def != def })
}

// costsOf are the costs of a definition's rows.
func (b *Batcher) costsOf(def *schema.Definition) costs {
	b.mu.Lock()
	current, c := b.current, b.costs
	b.mu.Unlock()
	if def == current {
		return c
	}
	return costsOf(def) // of few messages: those that were being decoded at a switch
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
	def := rows.Definition()
	cost := b.costsOf(def)
	perRow := cost.row + int64(payload)/int64(n)
	rest, days := b.estimate(rows, perRow)
	perMessage := MessageCost/days + receiptCost
	if err := b.budget.Acquire(ctx, rest); err != nil {
		return fmt.Errorf("add %d rows of %s: %w", n, def.Name, err)
	}
	var full []*Batch
	b.mu.Lock()
	b.split.split(rows)
	for i, day := range b.split.days {
		left := b.split.day(rows, i)
		for left.len() > 0 {
			batch, opened := b.batch(slot{day, def})
			some := min(left.len(), b.room(batch))
			charge, borne := int64(some)*perRow+perMessage, perMessage
			if opened {
				charge += openCost
				borne += openCost
			}
			charge = min(charge, rest)
			lent, ok := b.borrow(batch, rows, left, some, charge-borne)
			if !ok {
				full = append(full, b.seal(batch, ByMemory))
				continue
			}
			rest -= charge - b.append(batch, left.cut(some), charge, lent, perMessage, r)
			if s := b.full(batch); s != 0 {
				full = append(full, b.seal(batch, s))
			}
		}
	}
	b.split.forget()
	late := def != b.current
	b.mu.Unlock()
	b.emitAll(full)
	if late { // a switch that came while the message was decoded or waited has sealed already
		b.sealWhere(BySchema, func(batch *Batch) bool { return batch.def == def })
	}
	b.budget.Release(rest)
	return nil
}

// estimate is the most that the rows should take, and the number of their days. It
// supposes that no batch is open: those that are may be sealed while the message
// waits for memory. It need not be exact: see borrow.
func (b *Batcher) estimate(rows *schema.Columns, perRow int64) (bytes, days int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.split.split(rows)
	days = int64(len(b.split.days))
	return days*(openCost+receiptCost) + MessageCost + int64(rows.Len())*perRow, days
}

// batch is the open batch of a slot, and whether it was opened just now.
func (b *Batcher) batch(s slot) (batch *Batch, opened bool) {
	if batch := b.open[s]; batch != nil {
		return batch, false
	}
	batch = &Batch{
		Key:    partition.Key{Type: s.def.Name, Day: partition.Day(s.day)},
		def:    s.def,
		expect: b.expect[s],
		Opened: b.clock(),
		Seq:    int(sequence.Add(1)),
		budget: b.budget,
	}
	b.open[s] = batch
	return batch, true
}

// slot is where the batch is while it is open. Its rows are gone once it is settled.
func (b *Batch) slot() slot { return slot{int32(b.Key.Day), b.def} }

// room is the number of rows that a batch still takes: not so many that its buffers
// double beyond what it may hold, only to be sealed half empty.
func (b *Batcher) room(batch *Batch) int {
	room := math.MaxInt32
	if b.policy.Rows > 0 {
		room = b.policy.Rows - batch.Len()
	}
	if b.policy.Bytes > 0 && batch.Rows != nil {
		room = min(room, batch.Rows.Room(b.policy.Bytes))
	}
	return room
}

// borrow charges what a batch's buffers, which double, may grow by beyond the spare
// bytes of the charge when it takes the rows. Where the budget has no room for it, packed rows grow by what
// they need alone, and of columns ok is false: the batch is to be sealed as it is.
func (b *Batcher) borrow(batch *Batch, rows *schema.Columns, left selection, some int, spare int64) (lent int64, ok bool) {
	if batch.packs(some) {
		b.packed = left.cut(some).pack(b.packed[:0])
		need := len(batch.packed) + len(b.packed)
		if room := max(need, 2*cap(batch.packed)); need > cap(batch.packed) {
			lent, ok = b.budget.borrow(int64(room-cap(batch.packed)) - spare)
			if !ok {
				room = need
			}
			batch.packed = append(make([]byte, 0, room), batch.packed...)
		}
		return lent, true
	}
	if batch.Rows != nil {
		lent, ok = b.budget.borrow(batch.Rows.Growth(rows, some) - spare)
		return lent, ok
	}
	for _, room := range []int{max(batch.expect, batch.few+some), batch.few + some} {
		text := len(batch.packed) + rows.Text()
		most := schema.ColumnsBytes(batch.def, room, batch.few+some, text)
		if lent, ok = b.budget.borrow(most - spare); ok {
			batch.expect = room
			return lent, true
		}
	}
	batch.expect = 0
	return 0, batch.Len() == 0
}

// append charges what it can to the message's share and to what was borrowed for it;
// what the batch grew by beyond that is held already and charged on top, which only
// a message that is larger than the budget can make it. Packed rows are charged as
// what they take; columns, which double, keep what was charged until they are sealed.
// It returns what is left of the charge and the loan.
func (b *Batcher) append(batch *Batch, rows selection, charge, lent, perMessage int64, r *Receipt) (spare int64) {
	batch.append(rows, b.packed)
	if n := len(batch.receipts); n == 0 || batch.receipts[n-1] != r {
		r.Hold()
		batch.receipts = append(batch.receipts, r)
		batch.messages++
		batch.borne += perMessage
		batch.note(r.Origin)
	}
	want := b.held(batch)
	if batch.Rows != nil {
		want = max(want, batch.charged+charge)
	}
	grown := want - batch.charged
	batch.charged = want
	b.budget.opened(grown, max(0, grown-charge-lent))
	return max(0, charge+lent-grown)
}

// packs tells whether a batch keeps so many more rows packed.
func (b *Batch) packs(rows int) bool { return b.Rows == nil && b.few+rows <= packedRows }

// append adds rows, packed while they are few: packed is what they are then.
func (b *Batch) append(rows selection, packed []byte) {
	n := rows.len()
	if b.packs(n) {
		b.packed = append(b.packed, packed...)
		b.few += n
		return
	}
	if b.Rows == nil {
		b.unpack(max(b.expect, b.few+n))
	}
	rows.appendTo(b.Rows)
}

// bytes is the memory that the rows take.
func (b *Batch) bytes() int64 {
	if b.Rows == nil {
		return int64(cap(b.packed))
	}
	return b.Rows.Bytes()
}

// held is the memory that a batch takes.
func (b *Batcher) held(batch *Batch) int64 { return openCost + batch.bytes() + batch.borne }

func (b *Batcher) full(batch *Batch) Seal {
	switch {
	case b.policy.Rows > 0 && batch.Len() >= b.policy.Rows:
		return ByRows
	case b.policy.Bytes > 0 && (batch.bytes() >= b.policy.Bytes || b.room(batch) <= 0):
		return ByBytes
	}
	return 0
}

// seal takes a batch out of the open ones and gives back what was charged for
// growth that did not come.
func (b *Batcher) seal(batch *Batch, why Seal) *Batch {
	delete(b.open, batch.slot())
	batch.Sealed = why
	delete(b.expect, batch.slot())
	if (why == ByRows || why == ByBytes) && batch.Rows != nil {
		b.expect[batch.slot()] = batch.Len()
	}
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
	if b.open[batch.slot()] == batch {
		sealed = append(sealed, b.seal(batch, ByMemory))
	}
	b.mu.Unlock()
	b.emitAll(sealed)
}
