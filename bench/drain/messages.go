package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// A tape makes market messages in the live publisher's shape: 200 symbols whose prices
// wander by cents, over three days. The same seed makes the same.
type tape struct {
	dice   *rand.Rand
	prices []int // cents
	row    int
}

func newTape(seed uint64) *tape {
	t := &tape{dice: rand.New(rand.NewPCG(seed, 0x7a9e)), prices: make([]int, 200)}
	for i := range t.prices {
		t.prices[i] = 2000 + t.dice.IntN(60000)
	}
	return t
}

var firstDay = time.Date(2024, 1, 16, 14, 30, 0, 0, time.UTC)

// record appends one record, about 345 bytes.
func (t *tape) record(b []byte) []byte {
	s := t.dice.IntN(len(t.prices))
	t.prices[s] = max(100, t.prices[s]+t.dice.IntN(21)-10)
	cents := t.prices[s]
	price := float64(cents) / 100
	at := firstDay.AddDate(0, 0, t.row%3).Add(time.Duration(t.row) * 7 * time.Millisecond)
	t.row++
	opened := float64(2000+s*300) / 100
	return fmt.Appendf(b, `{"symbol": "S%03d", "timestamp": "%s", "price": %.2f, "volume": %d, "bid": %.2f, "ask": %.2f, "high": %.2f, "low": %.2f, "open": %.2f, "close": %.2f, "change": %.4f, "change_percent": %.4f, "market_cap": %d, "source": "yahoo_finance"}`,
		s, at.Format("2006-01-02T15:04:05.000000+00:00"), price, 100*t.dice.IntN(100000), price-0.01, price+0.01,
		price+float64(t.dice.IntN(300))/100, price-float64(t.dice.IntN(300))/100, opened, price, price-opened, (price-opened)/opened*100,
		int64(s+1)*1e9+int64(cents)*1e5)
}

// message makes a message of that many records, one to a line.
func (t *tape) message(records int) *schema.Message {
	b := make([]byte, 0, records*360)
	for i := range records {
		if i > 0 {
			b = append(b, '\n')
		}
		b = t.record(b)
	}
	m := &schema.Message{Data: b, Attributes: map[string]string{"source": "yahoo_finance", "message_type": "market_data"}}
	if records > 1 {
		m.Attributes["content_type"] = "application/x-ndjson"
	}
	return m
}
