// Package pipeline takes messages of one data type from a broker to storage:
// receive, decode, batch, flush, ack.
//
//	Source ─▶ decode ─▶ batches ─▶ flush ─▶ Sink
//	  ▲          └────▶ dead letters ─▶ topic │
//	  └── ack, or nack ◀── receipts ◀─────────┘
//
// What always holds:
//
//   - a message is acked only after each of its rows is in a durable object and
//     each of its rejected records in a published dead letter;
//   - a message that cannot be kept is nacked, never dropped: it comes again;
//   - memory is bounded by the budget, which blocks the source's callback;
//   - an outage of the store ends nothing: intake pauses, what is held stays leased
//     and is tried again, nothing is acked; after HoldFor it is handed back;
//   - a message is judged by one definition, whole, and its rows are flushed as
//     rows of that one; the definition can be switched while messages come;
//   - a panic while decoding is confined to its message, which becomes a dead
//     letter; so does a message that has killed the process thrice, unread.
//
// When its context ends the pipeline drains: it takes no more messages, seals
// and flushes what it holds, publishes its dead letters, and acks. What is not
// durable at the deadline is nacked.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc"
	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/pipeline/quarantine"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

// A Delivery is one attempt to deliver a message.
type Delivery struct {
	schema.Message

	// Attempt is how many deliveries of the message there have been, this one
	// included; 0 where the broker does not count them.
	Attempt int

	// Exactly one of them is called, once, perhaps long after the callback has
	// returned. They should keep nothing of the message's data alive.
	Ack, Nack func()

	// Lease, unless nil, stands in for Ack and Nack.
	Lease Lease

	// Replay, unless nil, is the dead letter that the message was.
	Replay *deadletter.Replay
}

// A Lease settles a delivery: by one of its methods, once.
type Lease interface {
	Ack()
	Nack()
}

// A Source delivers messages.
type Source interface {
	// Receive calls back for each message, also concurrently, until ctx ends; it
	// then returns nil once its callbacks have returned. It may wait for the
	// messages to be settled. A callback may block. What is neither acked nor
	// nacked is delivered again. If the cause of ctx's end is a *Pause, Receive waits
	// for the messages to be settled, and will be called again.
	Receive(ctx context.Context, callback func(context.Context, *Delivery)) error
}

// A BatchSource can deliver many messages with one call, which costs less for each.
type BatchSource interface {
	Source

	// ReceiveMany is Receive with many messages a call. The deliveries and their Data
	// and Attributes are the callback's until it returns.
	ReceiveMany(ctx context.Context, callback func(context.Context, []Delivery)) error
}

// A Decoder judges the records of messages. It is used by one goroutine at a time.
type Decoder interface {
	// Decode appends the good records to rows and returns the rejected ones,
	// which may alias m.Data and are valid until the next call.
	Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection
}

// A Sink makes batches durable.
type Sink interface {
	// Write returns nil only when every row of b is durable. The same batch may
	// be written again after an error; that adds no rows.
	Write(ctx context.Context, b *batching.Batch) ([]sink.Written, error)
}

// A Config is what a pipeline is made of.
type Config struct {
	Definition  *schema.Definition // to begin with; Switch changes it
	NewDecoder  func() Decoder
	Source      Source
	Sink        Sink
	DeadLetters deadletter.Publisher // nil: a message with a rejected record is nacked
	Payloads    objstore.Writer      // for dead letters too large for a message
	Policy      batching.Policy
	Budget      *batching.Budget // shared by all pipelines of the process
	Log         *zap.Logger      // nil: none
	Clock       func() time.Time // nil: time.Now
	Observer    Observer         // nil: none

	// Quarantine notes what is being decoded, so that a message that kills the process
	// becomes a dead letter; nil: it is delivered again and again.
	Quarantine *quarantine.Journal

	Gate Gate // of the store that Sink writes to; nil: none

	Workers int           // messages decoded at once; 0: one a processor
	Flushes int           // batches flushed at once; 0: DefaultFlushes
	Letters int           // dead letters published at once; 0: DefaultLetters
	Drain   time.Duration // deadline of the drain; 0: DefaultDrain

	// HoldFor is how long a batch or dead letter that cannot be made durable is held,
	// its messages leased, before they are handed back; 0: DefaultHoldFor. The
	// source must keep messages leased for longer. It bounds how long a process that
	// is ill alone keeps messages from healthy ones; a store that is down for all
	// is waited for either way.
	HoldFor time.Duration

	// UnknownAge is for how long after its publication a message is tried again
	// that names a schema version newer than the newest known; then it becomes a
	// dead letter. 0: at once. Refresh, unless nil, is told of each such message; it
	// must not block.
	UnknownAge time.Duration
	Refresh    func()
}

// Defaults of Config.
const (
	DefaultFlushes = 4
	DefaultLetters = 512
	DefaultDrain   = time.Minute
	DefaultHoldFor = 30 * time.Minute
)

// letterTimeout bounds the publishing of one dead letter, so that one that hangs
// does not hold its memory for ever.
const letterTimeout = 2 * time.Minute

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(max(c.Workers, 0), runtime.GOMAXPROCS(0))
	c.Flushes = cmp.Or(max(c.Flushes, 0), DefaultFlushes)
	c.Letters = cmp.Or(max(c.Letters, 0), DefaultLetters)
	c.Drain = cmp.Or(max(c.Drain, 0), DefaultDrain)
	c.HoldFor = cmp.Or(max(c.HoldFor, 0), DefaultHoldFor)
	if c.Gate == nil {
		c.Gate = openGate{}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

// A Pipeline runs once.
type Pipeline struct {
	config  Config
	log     *zap.Logger
	batcher *batching.Batcher
	queue   queue
	handing sync.RWMutex // read while batches go from batcher to queue
	workers chan *worker // the idle ones
	letters *pool.Pool
	writer  *deadletter.Writer
	sealing sealing
	current atomic.Pointer[generation]

	postponed waitingRoom

	traced bool // the observer follows messages

	work     context.Context // of what must still be done after intake has ended
	draining atomic.Bool

	gate     Gate
	room     context.Context // of what waits for memory: ends when it has been held for too long
	paused   atomic.Int64    // since when intake pauses, ns; 0: it does not
	flushing trouble
	burying  trouble
	active   atomic.Int64 // when a message last came or was settled, ns
	counts   counts

	coercions sync.Mutex // guards what follows, and the workers' coerced
	all       []*worker
	retired   map[Coercion]int64 // of decoders that are no more
}

// New makes a pipeline. It starts nothing.
func New(c Config) *Pipeline {
	p := &Pipeline{config: c.withDefaults()}
	p.log = p.config.Log.With(zap.String("type", c.Definition.Name))
	p.gate = p.config.Gate
	p.flushing.what, p.burying.what = "flushing "+c.Definition.Name, "publishing dead letters of "+c.Definition.Name
	p.batcher = batching.New(c.Definition, c.Policy, c.Budget, p.config.Clock, p.sealed)
	p.current.Store(&generation{c.Definition, c.NewDecoder})
	p.workers = make(chan *worker, p.config.Workers)
	for range p.config.Workers {
		w := p.newWorker()
		p.all = append(p.all, w)
		p.workers <- w
	}
	p.retired = map[Coercion]int64{}
	p.traced = c.Observer != nil && c.Observer.Traces()
	p.letters = pool.New().WithMaxGoroutines(p.config.Letters)
	if c.DeadLetters != nil {
		p.writer = &deadletter.Writer{Topic: c.DeadLetters, Payloads: c.Payloads}
	}
	p.queue.init()
	return p
}

// Run takes messages until ctx ends, drains, and returns when every goroutine it
// started has ended: nil if everything it had taken was settled by then without
// abandoning any.
func (p *Pipeline) Run(ctx context.Context) error {
	work, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	intake, stop := context.WithCancel(ctx)
	defer stop()
	p.work = work
	p.touch()
	p.log.Info("pipeline started", zap.Stringer("schema", p.Definition().Version),
		zap.Int("flush_rows", p.config.Policy.Rows), zap.Int64("flush_bytes", p.config.Policy.Bytes),
		zap.Duration("flush_age", p.config.Policy.Age), zap.Int64("memory_budget", p.config.Budget.Cap()))

	var flushes, watch conc.WaitGroup
	for range p.config.Flushes {
		flushes.Go(p.flushLoop)
	}
	settled := make(chan struct{})
	watch.Go(func() { p.watch(intake, settled, abandon) })

	err := p.take(intake)
	ended := ctx.Err() != nil
	stop()   // the source may have ended by itself
	p.seal() // the callbacks have returned: these are the last batches
	p.close()
	flushes.Wait()
	p.letters.Wait()
	close(settled)
	watch.Wait()
	return p.outcome(err, ended)
}

// watch seals by age, and begins the drain when intake ends.
func (p *Pipeline) watch(intake context.Context, settled <-chan struct{}, abandon func()) {
	ticker := time.NewTicker(tickEvery(p.config.Policy.Age))
	defer ticker.Stop()
	deadline := time.NewTimer(p.config.Drain)
	deadline.Stop()
	defer deadline.Stop()
	ended := intake.Done()
	for {
		select {
		case <-settled:
			return
		case <-ticker.C:
			p.handing.RLock()
			p.batcher.Tick(p.config.Clock())
			p.handing.RUnlock()
			p.postponed.tick(p.config.Clock())
		case <-ended:
			ended = nil
			deadline.Reset(p.config.Drain)
			p.log.Info("draining", zap.Int64("held", p.counts.held.Load()), zap.Duration("deadline", p.config.Drain))
			p.seal()
		case <-deadline.C:
			p.log.Warn("drain deadline passed: handing back what is not durable", zap.Int64("held", p.counts.held.Load()))
			abandon()
		}
	}
}

// tickEvery is how often to look for old batches: a tenth of the age is as exact
// as anybody needs.
func tickEvery(age time.Duration) time.Duration {
	if age <= 0 {
		return time.Second
	}
	return min(max(age/10, 10*time.Millisecond), time.Second)
}

// close ends the queue once every batch that somebody has taken out of the batcher is
// in it: the watch or a switch may have one in hand.
func (p *Pipeline) close() {
	p.handing.Lock()
	defer p.handing.Unlock()
	p.queue.close()
}

// seal ends batching: from here on every callback seals what it has added.
func (p *Pipeline) seal() {
	p.handing.RLock()
	defer p.handing.RUnlock()
	p.draining.Store(true)
	p.batcher.Seal(batching.ByShutdown)
	p.postponed.release(func(*postponed) bool { return true })
}

// outcome says how the run went, and what to do about it.
func (p *Pipeline) outcome(received error, asked bool) error {
	name := p.Definition().Name
	s := p.Stats()
	p.log.Info("pipeline ended", s.fields()...)
	switch {
	case received != nil && !(asked && errors.Is(received, context.Canceled)):
		return fmt.Errorf("pipeline %s: receive: %w", name, received)
	case p.work.Err() != nil:
		err := fmt.Errorf("pipeline %s: drain: not everything was durable after %v; nothing is lost: the rest has been handed back and will be delivered again", name, p.config.Drain)
		if cause := p.Err(); cause != nil {
			err = fmt.Errorf("%w; %w", err, cause)
		}
		return err
	}
	return nil
}

// touch notes that something happened.
func (p *Pipeline) touch() { p.active.Store(p.config.Clock().UnixNano()) }

// Idle is how long nothing has come and nothing has been held; 0 while anything
// is held, while intake pauses, or before Run.
func (p *Pipeline) Idle() time.Duration {
	last := p.active.Load()
	if last == 0 || p.counts.held.Load() > 0 || p.paused.Load() != 0 {
		return 0
	}
	return max(0, p.config.Clock().Sub(time.Unix(0, last)))
}
