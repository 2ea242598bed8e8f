// Package batching gathers rows into batches, one partition each, under one
// memory budget.
//
// What always holds:
//
//   - a batch is the rows of one data type on one day, all of one definition, and
//     the receipts of the messages they came in: a message is settled when the last batch that holds
//     rows of it is, never by a later, unrelated batch;
//   - a batch is open, then sealed, then settled, each once; no row is added to
//     a sealed batch;
//   - every byte of a batch is charged to the budget from before it is held until
//     the batch is settled; a full budget blocks whoever brings more;
//   - blocking ends: when the budget is full, open batches of any data type are
//     sealed until those on their way to storage make the room.
//
// The budget counts the rows of batches, what a held message costs, and the copies
// that a flush makes (rows in order, encoders, the encoded object): a quarter of it
// is kept for those, so that a full budget never keeps from flushing what fills it.
//
// A batch of a few rows keeps them packed, in about the bytes that their values
// take; columns, with a buffer for every field, are made of them when there are
// many, or when they are flushed. A stream over ten thousand days costs its rows.
//
// Package batching starts no goroutines and does no input or output. Somebody
// must call Tick now and then, or age seals nothing.
package batching

import (
	"sync/atomic"
	"time"

	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A Policy says when a batch is sealed. A zero limit is no limit.
type Policy struct {
	Rows  int           // a batch never has more
	Bytes int64         // of memory that the rows take
	Age   time.Duration // since the batch was opened
}

// A Seal is why a batch was sealed.
type Seal uint8

// The reasons. The zero Seal is an open batch's.
const (
	ByRows Seal = iota + 1
	ByBytes
	ByAge
	ByMemory   // the budget was full
	ByShutdown // the process is about to end
	ByPause    // intake pauses: the store is down
	BySchema   // its definition is no longer the current one
	seals
)

// Seals are all reasons to seal a batch.
func Seals() []Seal { return []Seal{ByRows, ByBytes, ByAge, ByMemory, ByShutdown, ByPause, BySchema} }

func (s Seal) String() string {
	return [seals]string{"open", "rows", "bytes", "age", "memory", "shutdown", "pause", "schema"}[s]
}

// A Batch is the rows of one partition on their way to storage, with the
// receipts of the messages that brought them. Once sealed it is its receiver's,
// who settles it.
type Batch struct {
	Key    partition.Key
	Rows   *schema.Columns // nil while the rows are packed: see Unpack
	Opened time.Time
	Sealed Seal

	// Seq numbers the batches of this process, across data types and batchers:
	// with the writer's id it makes the names of a batch's objects unique.
	Seq int

	def      *schema.Definition
	packed   []byte // the rows, while they are few
	few      int    // of them
	expect   int    // rows to make room for, once they are many
	messages int
	borne    int64 // of the messages' cost
	receipts []*Receipt
	oldest   int64    // publish time of the oldest message, µs; 0: not known
	traced   []Origin // the first MaxTraced of those to be followed
	budget   *Budget
	charged  int64
	settled  atomic.Bool
}

// sequence is one for the process: two batchers of one data type must not give
// one number twice, or their objects would share a name.
var sequence atomic.Int64

// Len is the number of rows.
func (b *Batch) Len() int {
	if b.Rows == nil {
		return b.few
	}
	return b.Rows.Len()
}

// Unpack makes Rows of rows that are packed. Whoever flushes the batch calls it
// first, within the memory that FlushCost stands for.
func (b *Batch) Unpack() {
	if b.Rows == nil {
		b.unpack(b.few)
	}
}

// unpack is Unpack with room for so many rows.
func (b *Batch) unpack(room int) {
	b.Rows = schema.NewColumns(b.def)
	b.Rows.Reserve(room)
	b.Rows.Unpack(b.packed, b.few)
	b.packed = nil
}

// What the copies of a flush take, as measured: its rows in order and again as they
// are encoded, the encoded object, and what the encoders hold however few rows
// there are.
const (
	flushCopies = 3
	flushFixed  = 1 << 20
)

// FlushCost is what the copies made by a flush of b take at most, beyond b itself.
func (b *Batch) FlushCost() int64 { return flushFixed + flushCopies*b.bytes() }

// Messages is the number of messages that the batch's rows came in.
func (b *Batch) Messages() int { return b.messages }

// MaxTraced is how many messages of a batch are followed, at most.
const MaxTraced = 8

// note keeps what those who measure may ask of the message.
func (b *Batch) note(o Origin) {
	b.oldest = Older(b.oldest, o.Published)
	if o.Trace != "" && len(b.traced) < MaxTraced {
		b.traced = append(b.traced, o)
	}
}

// Origin is the i-th message's, in the order they came. Before Settle only.
func (b *Batch) Origin(i int) Origin { return b.receipts[i].Origin }

// Oldest is the publish time of the oldest message, µs since 1970; 0 if none is
// known.
func (b *Batch) Oldest() int64 { return b.oldest }

// Traced are the origins of the messages to be followed, at most MaxTraced.
func (b *Batch) Traced() []Origin { return b.traced }

// Settle releases every receipt, and the memory. With an error the messages will
// be delivered again. Only the first call counts. The rows must not be used
// afterwards.
func (b *Batch) Settle(err error) {
	if b.settled.Swap(true) {
		return
	}
	receipts := b.receipts
	b.receipts, b.Rows, b.packed = nil, nil, nil
	// The memory first: an ack may take its time.
	b.budget.Release(b.charged)
	for _, r := range receipts {
		r.Release(err)
	}
}
