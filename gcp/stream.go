package gcp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"sync/atomic"
	"time"

	vkit "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/googleapis/gax-go/v2"
	"github.com/sourcegraph/conc"
	"github.com/sourcegraph/conc/pool"
	"google.golang.org/grpc"

	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
)

// A Stream is a source of deliveries like a Subscription, at a third of its cost:
// it speaks StreamingPull itself. One goroutine a stream reads a response and
// hands its messages on at once, many a call; there is no goroutine, map entry or timer
// for a message.
//
//	stream ─▶ response ─▶ load of leases ─▶ callback
//	                          ├─▶ extended every half deadline, all of a load at once
//	                          └─▶ acked or nacked: a request for up to 2,000, at the latest after 50 ms
//
// While callbacks block, nothing more is read: what the service sends beyond that
// stays in the connection's window. A message that waits there for longer than the
// deadline is delivered again.
//
// A subscription with exactly-once delivery is left to Google's client, which
// knows how its acks are confirmed.
type Stream struct {
	client      *vkit.SubscriptionAdminClient
	name        string // in full
	id          string // of this client, the same in all its streams
	streams     int
	maxMessages int
	maxBytes    int
	deadline    time.Duration // of a lease
	renewal     time.Duration // when a lease is extended
	extension   time.Duration // for how long at most
	drain       time.Duration
	held        atomic.Int64
	exact       *Subscription // for exactly-once delivery
}

var _ pipeline.BatchSource = (*Stream)(nil)

// streamDeadline is how long a message stays leased without another word.
const streamDeadline = 60 * time.Second

// Stream gives a source for the subscription called name (or
// projects/P/subscriptions/S). It sends nothing yet. The limits on outstanding
// messages and bytes are divided among the streams.
func (p *PubSub) Stream(name string, s SubscriptionSettings) *Stream {
	n := max(s.NumGoroutines, 1)
	return &Stream{
		client: p.client.SubscriptionAdminClient, name: p.full("subscriptions", name), id: newClientID(),
		streams: n, maxMessages: max(cmp.Or(s.MaxOutstandingMessages, 20_000)/n, 1), maxBytes: max(cmp.Or(s.MaxOutstandingBytes, 256<<20)/n, 1),
		deadline: streamDeadline, renewal: streamDeadline / 2,
		extension: cmp.Or(s.MaxExtension, time.Hour), drain: cmp.Or(s.DrainTimeout, 2*time.Minute),
		exact: p.Subscription(name, s),
	}
}

// Held is how many messages have been delivered and not been settled.
func (s *Stream) Held() int64 { return s.held.Load() + s.exact.Held() }

// Receive implements pipeline.Source.
func (s *Stream) Receive(ctx context.Context, callback func(context.Context, *pipeline.Delivery)) error {
	return s.ReceiveMany(ctx, func(ctx context.Context, all []pipeline.Delivery) {
		for i := range all {
			d := all[i]
			if d.Lease != nil {
				if ctx.Err() != nil { // intake has ended within the response
					d.Lease.Nack()
					continue
				}
				d.Data, d.Attributes = bytes.Clone(d.Data), maps.Clone(d.Attributes)
				d.Ack, d.Nack = d.Lease.Ack, d.Lease.Nack
			}
			callback(ctx, &d)
		}
	})
}

// errExactlyOnce ends the streams of a subscription that Google's client is to
// receive from.
var errExactlyOnce = errors.New("exactly-once delivery")

// ReceiveMany implements pipeline.BatchSource. A message may be settled long after
// its callback has returned, also after ctx has ended; until then its lease is
// extended.
//
// When ctx ends, or the service refuses to go on, nothing more is delivered, and
// ReceiveMany returns as soon as the callbacks have returned, every held message is
// settled and the service has been told. If that takes longer than DrainTimeout it
// returns ErrUnsettled, and what is left is delivered again when its lease runs
// out. In a pause (pipeline.Pause) it waits for as long as that lasts; meanwhile no
// stream is open, and leases are extended.
func (s *Stream) ReceiveMany(ctx context.Context, callback func(context.Context, []pipeline.Delivery)) error {
	l := newLedger(ctx, s)
	defer l.close()
	streams := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for range s.streams {
		streams.Go(func(inner context.Context) error { return s.pull(inner, ctx, l, callback) })
	}
	err := streams.Wait()
	if errors.Is(err, errExactlyOnce) {
		err = s.exact.Receive(ctx, func(ctx context.Context, d *pipeline.Delivery) { callback(ctx, []pipeline.Delivery{*d}) })
	}
	if !s.settled(ctx, l) {
		return errors.Join(err, fmt.Errorf("receive from %s: %w: %d after %v; they will be delivered again", s.name, ErrUnsettled, s.held.Load(), s.drain))
	}
	return err
}

// settled waits until everything is, and says whether it is.
func (s *Stream) settled(ctx context.Context, l *ledger) bool {
	all := l.end()
	var paused *pipeline.Pause
	if errors.As(context.Cause(ctx), &paused) {
		select {
		case <-all:
			return true
		case <-paused.Ended:
		}
	}
	timer := time.NewTimer(s.drain)
	defer timer.Stop()
	select {
	case <-all:
		return true
	case <-timer.C:
		return false
	}
}

// pull keeps a stream open until ctx ends or the service refuses for good. given is the
// context that callbacks get.
func (s *Stream) pull(ctx, given context.Context, l *ledger, callback func(context.Context, []pipeline.Delivery)) error {
	t := tap{stream: s, ledger: l, given: given, callback: callback}
	for wait := firstRetry; ; {
		t.flowed = false
		err := t.run(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errExactlyOnce):
			return err
		case !errors.Is(err, io.EOF) && !errors.Is(err, errWire) && !passing(err):
			return explain(fmt.Sprintf("receive from %s", s.name), "roles/pubsub.subscriber", err)
		case t.flowed:
			wait = firstRetry
		}
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, maxRetry)
	}
}

// A tap is one stream, through all its connections.
type tap struct {
	stream   *Stream
	ledger   *ledger
	given    context.Context
	callback func(context.Context, []pipeline.Delivery)
	response response
	parcel   parcel
	flowed   bool // something came since it was opened
}

// run opens the stream and hands on what comes until it ends.
func (t *tap) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var pings conc.WaitGroup
	defer pings.Wait()
	defer cancel()
	g, err := t.open(ctx)
	if err != nil {
		return err
	}
	pings.Go(func() { ping(ctx, g) })
	for {
		if err := g.RecvMsg(&t.response); err != nil {
			return err
		}
		t.flowed = true
		if err := t.deliver(ctx); err != nil {
			return err
		}
	}
}

func (t *tap) open(ctx context.Context) (pubsubpb.Subscriber_StreamingPullClient, error) {
	s := t.stream
	ctx = gax.InsertMetadataIntoOutgoingContext(ctx, "x-goog-request-params", "subscription="+url.QueryEscape(s.name))
	g, err := s.client.StreamingPull(ctx, gax.WithGRPCOptions(grpc.ForceCodecV2(newCodec()), grpc.MaxCallRecvMsgSize(maxResponse)))
	if err != nil {
		return nil, err
	}
	err = g.Send(&pubsubpb.StreamingPullRequest{
		Subscription: s.name, ClientId: s.id, StreamAckDeadlineSeconds: int32(s.deadline / time.Second),
		MaxOutstandingMessages: int64(s.maxMessages), MaxOutstandingBytes: int64(s.maxBytes),
	})
	if errors.Is(err, io.EOF) { // refused: the answer says why
		return nil, cmp.Or(g.RecvMsg(&t.response), err)
	}
	return g, err
}

// maxResponse is what the service may send in one response; a message has 10 MB at
// most.
const maxResponse = 64 << 20

// pingEvery is how often a stream is told that somebody is there: one without any
// traffic is closed.
const pingEvery = 30 * time.Second

func ping(ctx context.Context, g pubsubpb.Subscriber_StreamingPullClient) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if g.Send(&pubsubpb.StreamingPullRequest{}) != nil {
				return // the reading side learns why
			}
		}
	}
}

// deliver hands on the messages of the response. Those that come when intake has
// ended go back.
func (t *tap) deliver(ctx context.Context) error {
	p := &t.parcel
	if err := p.read(t.response.bytes); err != nil {
		return err
	}
	if len(p.messages) == 0 && !p.exactlyOnce {
		return nil
	}
	load := t.ledger.hold(p.ackIDs)
	if p.exactlyOnce || ctx.Err() != nil {
		for i := range load.leases {
			load.leases[i].Nack()
		}
		if p.exactlyOnce {
			return errExactlyOnce
		}
		return nil
	}
	for i := range p.messages {
		p.messages[i].Lease = &load.leases[i]
	}
	t.callback(t.given, p.messages)
	for i := range p.messages { // nothing of them stays alive here but the maps, for the next
		p.messages[i] = pipeline.Delivery{Message: keptMap(p.messages[i].Attributes)}
	}
	return nil
}

func keptMap(m map[string]string) schema.Message { return schema.Message{Attributes: m} }

// newClientID makes an id for the streams of one source.
func newClientID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
