package pipeline

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/sourcegraph/conc/panics"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/schema"
)

// Stats are the counts of a pipeline since it was made.
//
// Every record that was published, each delivery counted once however often it
// was tried, is in AckedRecords: AckedRows in the lake and AckedLetters among the
// dead letters. Rows that were flushed beyond AckedRows belong to messages that
// were delivered again, and merge with their twins; likewise Letters.
type Stats struct {
	Received int64 // deliveries
	Acked    int64
	Nacked   int64
	Held     int64 // not settled yet

	MostAttempts int64 // most deliveries of any one message; 0 where the broker does not count them

	AckedRows, AckedLetters int64 // records of acked messages

	Rows     int64                   // good records decoded
	Rejected map[schema.Reason]int64 // rejected ones
	Panics   int64                   // messages whose decoding panicked

	Postponed int64 // deliveries handed back because their schema version is not known yet
	Switches  int64 // definitions that became current after the first

	Letters, LettersFailed int64 // dead letters published, and tries that failed

	Flushes, FlushesFailed           int64 // batches, and tries that failed
	GaveUp                           int64 // batches and dead letters held for as long as they may be, then handed back
	FlushedRows, Files, FlushedBytes int64
	Seals                            map[string]int64 // batches by the reason they were sealed for

	Coercions map[Coercion]int64 // values not stored as they were sent
}

// A Coercion is one way in which a field's values were changed.
type Coercion struct{ Field, Kind string }

// AckedRecords is the number of records of acked messages.
func (s *Stats) AckedRecords() int64 { return s.AckedRows + s.AckedLetters }

// RejectedTotal is the number of rejected records.
func (s *Stats) RejectedTotal() int64 {
	var n int64
	for _, v := range s.Rejected {
		n += v
	}
	return n
}

// fields are the figures worth a line at the end.
func (s *Stats) fields() []zap.Field {
	return []zap.Field{
		zap.Int64("received", s.Received), zap.Int64("acked", s.Acked), zap.Int64("nacked", s.Nacked),
		zap.Int64("most_attempts", s.MostAttempts), zap.Int64("acked_rows", s.AckedRows), zap.Int64("acked_dead_letters", s.AckedLetters),
		zap.Int64("files", s.Files), zap.Int64("flushed_rows", s.FlushedRows), zap.Int64("flushed_bytes", s.FlushedBytes),
		zap.Int64("flushes_failed", s.FlushesFailed), zap.Any("rejected", s.Rejected), zap.Any("seals", s.Seals),
	}
}

// counts are the live counters.
type counts struct {
	received, acked, nacked, held        atomic.Int64
	attempts                             atomic.Int64
	ackedRows, ackedLetters              atomic.Int64
	rows, panics, letters, lettersFailed atomic.Int64
	postponed, switches                  atomic.Int64
	flushes, flushesFailed, gaveUp       atomic.Int64
	flushedRows, files, flushedBytes     atomic.Int64
	seals                                [8]atomic.Int64 // by batching.Seal

	mu       sync.Mutex
	rejected map[schema.Reason]int64
}

// attempt notes how often a message has been delivered.
func (c *counts) attempt(n int64) {
	for most := c.attempts.Load(); n > most && !c.attempts.CompareAndSwap(most, n); most = c.attempts.Load() {
	}
}

func (c *counts) reject(r schema.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rejected == nil {
		c.rejected = map[schema.Reason]int64{}
	}
	c.rejected[r]++
}

// Stats are the counts as they are now. Coercions may lag behind by the messages
// that are being decoded; after Run they are exact.
func (p *Pipeline) Stats() Stats {
	c := &p.counts
	s := Stats{
		Received: c.received.Load(), Acked: c.acked.Load(), Nacked: c.nacked.Load(), Held: c.held.Load(),
		MostAttempts: c.attempts.Load(), AckedRows: c.ackedRows.Load(), AckedLetters: c.ackedLetters.Load(),
		Rows: c.rows.Load(), Panics: c.panics.Load(),
		Postponed: c.postponed.Load(), Switches: c.switches.Load(),
		Letters: c.letters.Load(), LettersFailed: c.lettersFailed.Load(),
		Flushes: c.flushes.Load(), FlushesFailed: c.flushesFailed.Load(), GaveUp: c.gaveUp.Load(),
		FlushedRows: c.flushedRows.Load(), Files: c.files.Load(), FlushedBytes: c.flushedBytes.Load(),
		Seals: map[string]int64{}, Rejected: map[schema.Reason]int64{}, Coercions: map[Coercion]int64{},
	}
	for _, why := range batching.Seals() {
		if n := c.seals[why].Load(); n > 0 {
			s.Seals[why.String()] = n
		}
	}
	p.coerced(s.Coercions)
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(s.Rejected, c.rejected)
	return s
}

// A coercer is a decoder that counts coercions.
type coercer interface {
	Coercions(yield func(field, kind string, n int64))
}

// coerced adds up the coercions. Only an idle worker can be asked; of a busy one
// the last answer counts. Each is given back at once, so that whoever looks keeps
// one message at most waiting.
func (p *Pipeline) coerced(sum map[Coercion]int64) {
	p.coercions.Lock()
	defer p.coercions.Unlock()
	for range len(p.workers) {
		select {
		case w := <-p.workers: // the one that has been idle longest: each in turn
			w.look()
			p.workers <- w
		default:
		}
	}
	for _, w := range p.all {
		addTo(sum, w.coerced)
	}
	addTo(sum, p.retired)
}

func addTo(sum, more map[Coercion]int64) {
	for c, n := range more {
		sum[c] += n
	}
}

// look asks the decoder.
func (w *worker) look() {
	c, ok := w.decoder.(coercer)
	if !ok {
		return
	}
	clear(w.coerced)
	c.Coercions(func(field, kind string, n int64) { w.coerced[Coercion{field, kind}] += n })
}

// replace gives a worker a new decoder, and keeps what the old one counted.
func (p *Pipeline) replace(w *worker) {
	p.coercions.Lock()
	defer p.coercions.Unlock()
	var caught panics.Catcher
	caught.Try(w.look) // it has panicked once: then the last answer stands
	addTo(p.retired, w.coerced)
	*w = *p.newWorker()
}
