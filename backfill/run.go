package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Run publishes what the checkpoint does not name yet, and returns when the
// broker has it, or at the first error, or when ctx ends (ErrInterrupted): in
// each case after the messages in flight have their outcome and the checkpoint
// holds it. Running again goes on from there.
func (j *Job) Run(ctx context.Context) (Summary, error) {
	began := time.Now()
	p, err := j.prepare(ctx)
	if err != nil {
		return Summary{}, err
	}
	c, err := p.load()
	s := Summary{
		Before: c.Totals, Files: len(p.files), Repeated: p.repeated, FileBytes: p.total,
		PublishedAt: c.PublishedAt, Checkpoint: p.Checkpoint, AlreadyDone: c.Finished && !p.Again,
	}
	if err != nil || s.AlreadyDone {
		return s, err
	}
	if p.Again && c.Finished {
		c.Position, c.Totals, c.Finished, s.Before = position{}, Totals{}, false, Totals{}
	}
	// The publish time is on disk before anything carries it.
	if err := c.save(p.Checkpoint); err != nil {
		return s, err
	}
	t := &tracker{p: p, checkpoint: c, at: map[int]*outcome{}}
	err = p.publish(ctx, t)
	if saveErr := t.end(err == nil); err == nil {
		err = saveErr
	}
	s.Totals, s.Took = t.run, time.Since(began)
	return s, err
}

// publish sends every batch behind the checkpoint's position.
func (p *prepared) publish(ctx context.Context, t *tracker) error {
	limit := rate.NewLimiter(rate.Inf, p.BatchRows)
	if p.Rate > 0 {
		limit.SetLimit(rate.Limit(p.Rate))
	}
	// An end of ctx stops the reading; what is on its way gets its outcome.
	sending := context.WithoutCancel(ctx)
	window := pool.New().WithMaxGoroutines(p.InFlight)
	err := p.each(ctx, t.checkpoint.Position, func(b *batch, end position, done int64) error {
		if err := t.failed(); err != nil {
			return err
		}
		if err := limit.WaitN(ctx, len(b.lines)); err != nil {
			return err
		}
		p.tell(b)
		number := t.begin(end, b.totals(), done)
		m := p.message(b, t.checkpoint.PublishedAt)
		window.Go(func() { t.done(number, p.Publisher.Send(sending, p.Topic, m)) })
		return nil
	})
	window.Wait()
	if failed := t.failed(); failed != nil {
		return failed
	}
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}

// each hands every batch behind from to f, with the position after it and the
// bytes of files read so far.
func (p *prepared) each(ctx context.Context, from position, f func(b *batch, end position, done int64) error) error {
	before := int64(0)
	for i, file := range p.files {
		if i >= from.File {
			err := p.batches(ctx, file, func(b *batch) error {
				if i == from.File && b.number < from.Batches {
					return ctx.Err()
				}
				return f(b, position{i, b.number + 1}, before+b.read)
			})
			if err != nil {
				return err
			}
		}
		before += file.input.Size
	}
	return nil
}

// The most records that cannot be taken apart that a run logs; all are counted.
const mostTold = 20

// tell logs the first records that could not be taken apart.
func (p *prepared) tell(b *batch) {
	for _, r := range b.broken {
		if p.told++; p.told > mostTold {
			return
		}
		p.Log.Warn("record cannot be taken apart; it becomes a dead letter",
			zap.String("file", b.file.input.Name), zap.Int64("line", r.line), zap.String("because", r.broken))
		if p.told == mostTold {
			p.Log.Warn("no further record of this kind is logged; the summary counts them, --dry-run judges them all")
		}
	}
}

// An outcome is a message that has been begun.
type outcome struct {
	end    position
	totals Totals
	read   int64
	ok     bool
}

// A tracker turns answers, which come in any order, into a checkpoint of all
// messages up to the first without one.
type tracker struct {
	p *prepared

	mu         sync.Mutex
	checkpoint checkpoint
	at         map[int]*outcome // begun and not in the checkpoint, by number
	begun      int
	settled    int // messages in the checkpoint
	run        Totals
	saved      time.Time
	errs       []error
}

func (t *tracker) begin(end position, totals Totals, read int64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at[t.begun] = &outcome{end: end, totals: totals, read: read}
	t.begun++
	return t.begun - 1
}

// done takes the answer to a message.
func (t *tracker) done(number int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errs = append(t.errs, err)
		return
	}
	t.at[number].ok = true
	for o := t.at[t.settled]; o != nil && o.ok; o = t.at[t.settled] {
		delete(t.at, t.settled)
		t.settled++
		t.run.add(o.totals)
		t.checkpoint.Totals.add(o.totals)
		t.checkpoint.Position = o.end
		t.p.Progress(Progress{Step: "publishing", Done: o.read, Total: t.p.total, Rows: t.checkpoint.Totals.Rows, Messages: t.checkpoint.Totals.Messages})
	}
	if time.Since(t.saved) < t.p.SaveEvery {
		return
	}
	t.saved = time.Now()
	if err := t.checkpoint.save(t.p.Checkpoint); err != nil {
		t.errs = append(t.errs, err)
	}
}

// failed is the first failure of a message.
func (t *tracker) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) == 0 {
		return nil
	}
	if n := len(t.errs); n > 1 {
		return fmt.Errorf("%w (and %d failures more)", t.errs[0], n-1)
	}
	return t.errs[0]
}

// end writes the last checkpoint of a run.
func (t *tracker) end(finished bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if finished && len(t.at) > 0 {
		return errors.New("messages without an outcome at the end of the run")
	}
	t.checkpoint.Finished = finished
	return t.checkpoint.save(t.p.Checkpoint)
}
