package gcp

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/googleapis/gax-go/v2"
	"github.com/sourcegraph/conc"
	"github.com/sourcegraph/conc/pool"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Bounds of requests about held messages. The service takes 512 KiB a request.
const (
	idsPerRequest   = 2000
	bytesPerRequest = 400 << 10
	settleEvery     = 50 * time.Millisecond // the most that an ack waits for others
	settleAtOnce    = 4                     // requests under way
	tryTimeout      = 10 * time.Second      // of one request
)

// States of a lease.
const (
	leaseHeld uint32 = iota
	leaseSettling
	leaseDone
)

// A lease is what a held message costs here: it stays extended until it is
// settled and the service knows.
type lease struct {
	id    string
	load  *load
	state atomic.Uint32
}

// A load is the leases of one response. They are extended together, so that
// time is kept for loads and not for messages.
type load struct {
	ledger *ledger
	leases []lease
	until  time.Time // extended no longer
	due    time.Time // when to extend next
}

// Ack and Nack implement pipeline.Lease. Only the first counts.
func (l *lease) Ack()  { l.load.ledger.settle(l, true) }
func (l *lease) Nack() { l.load.ledger.settle(l, false) }

// An outbox is what is to be told the service at the next occasion.
type outbox struct {
	leases []*lease
	send   func(context.Context, []string) error
}

// A ledger keeps the leases of held messages and tells the service what became of
// them, in requests of many.
type ledger struct {
	stream *Stream
	ctx    context.Context // of requests; ends when nobody waits for them any more
	stop   context.CancelFunc
	loops  conc.WaitGroup
	some   chan struct{} // has a value when an outbox is not empty
	many   chan struct{} // has a value when one holds a request's worth

	mu          sync.Mutex
	acks, nacks outbox
	loads       []*load // the one to be extended next first
	open        int     // leases that are not done
	ending      bool
	empty       chan struct{} // closed when the ledger is ending and nothing is open
}

func newLedger(ctx context.Context, s *Stream) *ledger {
	l := &ledger{stream: s, some: make(chan struct{}, 1), many: make(chan struct{}, 1), empty: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.acks.send = s.acknowledge
	l.nacks.send = func(ctx context.Context, ids []string) error { return s.modify(ctx, ids, 0) }
	l.loops.Go(l.settleLoop)
	l.loops.Go(l.extendLoop)
	return l
}

// hold takes up the messages of a response.
func (l *ledger) hold(ids []string) *load {
	now := time.Now()
	o := &load{ledger: l, leases: make([]lease, len(ids)), until: now.Add(l.stream.extension), due: now.Add(l.stream.renewal)}
	for i, id := range ids {
		o.leases[i].id, o.leases[i].load = id, o
	}
	l.stream.held.Add(int64(len(ids)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += len(ids)
	l.loads = append(l.loads, o)
	return o
}

func (l *ledger) settle(s *lease, ack bool) {
	if !s.state.CompareAndSwap(leaseHeld, leaseSettling) {
		return
	}
	l.stream.held.Add(-1)
	l.mu.Lock()
	box := &l.nacks
	if ack {
		box = &l.acks
	}
	box.leases = append(box.leases, s)
	n, last := len(box.leases), l.ending
	l.mu.Unlock()
	if n == 1 {
		signal(l.some)
	}
	if n == idsPerRequest || last { // at the end nobody waits for company
		signal(l.many)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// settleLoop sends acks and nacks: when a request's worth has gathered, or a short
// time after the first.
func (l *ledger) settleLoop() {
	requests := pool.New().WithMaxGoroutines(settleAtOnce)
	defer requests.Wait()
	timer := time.NewTimer(settleEvery)
	defer timer.Stop()
	for {
		select {
		case <-l.some:
		case <-l.ctx.Done():
			return
		}
		timer.Reset(settleEvery)
		select {
		case <-timer.C:
		case <-l.many:
		case <-l.ctx.Done():
			return
		}
		l.mu.Lock()
		acks, nacks := l.acks.leases, l.nacks.leases
		l.acks.leases, l.nacks.leases = nil, nil
		l.mu.Unlock()
		for _, box := range []outbox{{acks, l.acks.send}, {nacks, l.nacks.send}} {
			for rest := box.leases; len(rest) > 0; {
				n := fitting(rest)
				some := rest[:n]
				rest = rest[n:]
				requests.Go(func() {
					l.insist(some, l.stream.deadline, box.send)
					l.done(some)
				})
			}
		}
	}
}

// fitting is how many leases a request takes.
func fitting(all []*lease) int {
	size := 0
	for i, s := range all {
		if size += len(s.id) + 4; i > 0 && (i == idsPerRequest || size > bytesPerRequest) {
			return i
		}
	}
	return len(all)
}

// insist tries until the service has taken a request, its answer says that
// trying again is of no use, or patience is over. What it did not take is
// delivered again.
func (l *ledger) insist(leases []*lease, patience time.Duration, send func(context.Context, []string) error) {
	ids := make([]string, len(leases))
	for i, s := range leases {
		ids[i] = s.id
	}
	ctx, cancel := context.WithTimeout(l.ctx, patience)
	defer cancel()
	for wait := firstRetry; ; wait = min(2*wait, maxRetry) {
		if err := send(ctx, ids); err == nil || !passing(err) {
			return
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// done forgets leases that the service knows about, or will never.
func (l *ledger) done(leases []*lease) {
	for _, s := range leases {
		s.state.Store(leaseDone)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open -= len(leases)
	l.look()
}

// look says so when everything is done; mu is held.
func (l *ledger) look() {
	if l.ending && l.open == 0 {
		l.ending = false
		close(l.empty)
	}
}

// end gives a channel that is closed when every message has been settled and the
// service knows. Nothing may be held afterwards.
func (l *ledger) end() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	l.look()
	signal(l.many)
	return l.empty
}

// close ends all work. Leases that are not done run out.
func (l *ledger) close() {
	l.stop()
	l.loops.Wait()
}

// extendLoop keeps what is held leased.
func (l *ledger) extendLoop() {
	requests := pool.New().WithMaxGoroutines(settleAtOnce)
	defer requests.Wait()
	tick := time.NewTicker(max(l.stream.renewal/30, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
		for rest := l.due(time.Now()); len(rest) > 0; {
			n := fitting(rest)
			some := rest[:n]
			rest = rest[n:]
			requests.Go(func() {
				l.insist(some, l.stream.renewal/2, func(ctx context.Context, ids []string) error {
					return l.stream.modify(ctx, ids, l.stream.deadline)
				})
			})
		}
	}
}

// due gives the leases to be extended now, and sees to it that they are again.
// Loads are in the order in which they are due, for each goes to the end of the
// line for the same time.
func (l *ledger) due(now time.Time) (all []*lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.loads) && !now.Before(l.loads[n].due) {
		n++
	}
	ripe := l.loads[:n]
	l.loads = l.loads[n:]
	for _, o := range ripe {
		before := len(all)
		for i := range o.leases {
			if s := &o.leases[i]; s.state.Load() != leaseDone {
				all = append(all, s)
			}
		}
		if len(all) == before {
			continue
		}
		if o.until.Before(now) {
			all = all[:before]
			continue
		}
		o.due = now.Add(l.stream.renewal)
		l.loads = append(l.loads, o)
	}
	return all
}

// Waits between tries, about.
const (
	firstRetry = 100 * time.Millisecond
	maxRetry   = 30 * time.Second
)

// pause waits for up to d, at random, and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/4 + rand.N(3*d/4))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// passing says that the same request may well succeed later.
func passing(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Unknown:
		return true
	}
	return false
}

// Each try of a request is one request: how often to try is decided here.
var oneTry = []gax.CallOption{once, gax.WithTimeout(tryTimeout)}

func (s *Stream) acknowledge(ctx context.Context, ids []string) error {
	return s.client.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: s.name, AckIds: ids}, oneTry...)
}

// modify gives messages a new deadline from now; 0 hands them back.
func (s *Stream) modify(ctx context.Context, ids []string, deadline time.Duration) error {
	return s.client.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: s.name, AckIds: ids, AckDeadlineSeconds: int32(deadline / time.Second),
	}, oneTry...)
}
