package pipeline

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/schema"
)

// A trap panics at messages that end in 3, and when it is guarded at the record
// with index 1 of them; a deep one panics whatever is asked of it.
type trap struct {
	*schema.Decoder
	deep bool
}

func (d trap) Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	rejected := d.Decoder.Decode(m, rows)
	if strings.HasSuffix(m.ID, "3") {
		rows.Begin()
		panic("planted")
	}
	return rejected
}

func (d trap) DecodeGuarded(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	if d.deep {
		rows.Begin()
		panic("planted again")
	}
	records := bytes.Split(m.Data, []byte("\n"))
	broken := *m
	bad := records[1]
	records[1] = []byte("{")
	broken.Data = bytes.Join(records, []byte("\n"))
	rejected := d.Decoder.DecodeGuarded(&broken, rows)
	rejected[0].Reason, rejected[0].Record = deadletter.Panic, bad
	return rejected
}

// The records beside the one that panics become rows.
func TestAPanicIsConfinedToItsRecord(t *testing.T) {
	for _, deep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			messages := publish(40, 3, 0)
			for _, m := range messages {
				if strings.HasSuffix(m.ID, "3") && deep {
					m.rows, m.letters = nil, []string{m.ID + "/0"}
				} else if strings.HasSuffix(m.ID, "3") {
					m.rows, m.letters = append(m.rows[:1:1], m.rows[2:]...), []string{m.ID + "/1"}
				}
			}
			b := newBroker(messages)
			def := definition(t, "market_data")
			l, letters := newLedger(t, def), &topic{failAt: -1}
			b.onAck = checkAck(t, l, letters)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			b.allAcked = cancel
			c := config(t, b, l, letters)
			c.NewDecoder = func() Decoder { return trap{def.NewDecoder(schema.Standard), deep} }
			p := New(c)
			if err := p.Run(ctx); err != nil {
				t.Fatal(err)
			}
			checkAll(t, messages, l, letters)
			if s := p.Stats(); s.Panics != 4 || s.Rejected[deadletter.Panic] != 4 {
				t.Errorf("%d panics, rejected %v", s.Panics, s.Rejected)
			}
		})
	}
}
