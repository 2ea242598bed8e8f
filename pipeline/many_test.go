package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// A crowd delivers many messages with one call, in pieces of memory that are used
// again.
type crowd struct{ *broker }

func (c crowd) ReceiveMany(ctx context.Context, callback func(context.Context, []Delivery)) error {
	var all []Delivery
	for ctx.Err() == nil {
		all = all[:0]
		for len(all) < 20 {
			m := c.next()
			if m == nil {
				break
			}
			d := Delivery{Message: m.Message, Lease: &crowdLease{c.broker, m}}
			d.Data = append([]byte(nil), m.Data...)
			all = append(all, d)
		}
		if len(all) == 0 {
			select {
			case <-c.wake:
			case <-ctx.Done():
			}
			continue
		}
		callback(ctx, all)
		for i := range all {
			clear(all[i].Data)
			all[i] = Delivery{}
		}
	}
	return nil
}

type crowdLease struct {
	b *broker
	m *message
}

func (l *crowdLease) Ack()  { l.b.settle(l.m, true) }
func (l *crowdLease) Nack() { l.b.settle(l.m, false) }

// Messages that come many at once are kept as those that come alone: good records,
// rejected ones, and each settled once, after its parts.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(300, 3, 10)
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
		b.onAck = checkAck(t, l, letters)
		until(t, b, func() Config {
			c := config(t, b, l, letters)
			c.Source = crowd{b}
			return c
		})
		checkAll(t, messages, l, letters)
	})
}

// The drain that begins in the middle of a call hands back what it has not come to.
func TestDrainInTheMiddleOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := publish(20, 1, 0)
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
		b.onAck = checkAck(t, l, letters)
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		c := config(t, b, l, letters)
		c.Source = crowd{b}
		c.Workers = 1
		made, seen := c.NewDecoder, 0
		c.NewDecoder = func() Decoder {
			return counting{made(), func() {
				if seen++; seen == 5 {
					stop()
					synctest.Wait() // the drain has begun
				}
			}}
		}
		p := New(c)
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		s := p.Stats()
		if s.Acked != 5 || s.Nacked != 15 || s.Held != 0 {
			t.Errorf("%d acked, %d nacked, %d held; want 5, 15, 0", s.Acked, s.Nacked, s.Held)
		}
	})
}

// A counting decoder tells of each message.
type counting struct {
	Decoder
	tell func()
}

func (c counting) Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	c.tell()
	return c.Decoder.Decode(m, rows)
}
