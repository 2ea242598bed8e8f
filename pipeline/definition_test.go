package pipeline

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

// next is market_data v1.3.0, which has a column more.
func next(t testing.TB) *schema.Definition {
	t.Helper()
	avsc, err := os.ReadFile("../examples/definitions/market_data-v1.3.0.avsc")
	if err != nil {
		t.Fatal(err)
	}
	r, err := schema.FromTexts([]schema.Text{{Name: "market_data/v1.3.0.avsc", Origin: "test", Avsc: avsc}})
	if err != nil {
		t.Fatal(err)
	}
	def, _ := r.Latest("market_data")
	return def
}

// versions is a sink that notes which definition each row was flushed under.
type versions struct {
	mu   sync.Mutex
	rows map[string]int // by version
	next Sink
}

func (v *versions) Write(ctx context.Context, b *batching.Batch) ([]sink.Written, error) {
	v.mu.Lock()
	v.rows[b.Rows.Definition().Version.String()] += b.Rows.Len()
	v.mu.Unlock()
	return v.next.Write(ctx, b)
}

// A definition comes while messages do, at many moments: every row is durable
// exactly once, and what is judged after the switch has the new column.
func TestSwitchUnderLoad(t *testing.T) {
	older, newer := definition(t, "market_data"), next(t)
	var sealed int64
	for k := range 12 {
		t.Run(fmt.Sprintf("switch=%dms", k*7), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				messages := publish(300, 3, 10)
				b := newBroker(messages)
				l, letters := newLedger(t, newer), &topic{failAt: -1} // reads old objects by the new definition
				b.onAck = checkAck(t, l, letters)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				b.allAcked = cancel
				c := config(t, b, l, letters)
				seen := &versions{rows: map[string]int{}, next: c.Sink}
				c.Sink, c.Policy.Age = seen, time.Hour // nothing but rows, the switch and the end seals
				c.NewDecoder = func() Decoder { return paced{older.NewDecoder(schema.Standard)} }
				p := New(c)
				time.AfterFunc(time.Duration(k*7)*time.Millisecond, func() {
					p.Switch(newer, func() Decoder { return paced{newer.NewDecoder(schema.Standard)} })
				})
				time.AfterFunc(time.Minute, cancel) // the last open batches
				if err := p.Run(ctx); err != nil {
					t.Fatal(err)
				}
				checkAll(t, messages, l, letters)
				for id, n := range l.rows {
					if n != 1 {
						t.Errorf("row %s is durable %d times", id, n)
					}
				}
				s := p.Stats()
				if p.Definition() != newer || s.Switches != 1 || s.Nacked != 0 || s.Acked != 300 {
					t.Errorf("definition %s, stats %+v", p.Definition().Version, s)
				}
				sealed += s.Seals["schema"]
				if k > 0 && seen.rows["v1.2.0"] == 0 || seen.rows["v1.3.0"] == 0 || s.Seals["schema"] > 9 { // three open, and three of each of two workers
					t.Errorf("rows %v, seals %v", seen.rows, s.Seals)
				}
				if n := p.batcher.Open(); n != 0 {
					t.Errorf("%d batches are open", n)
				}
				if n := c.Budget.InUse(); n != 0 {
					t.Errorf("%d bytes in use", n)
				}
			})
		})
	}
	if sealed < 12 { // of 12 switches some meet no open batch, others three
		t.Errorf("%d batches were sealed by a switch", sealed)
	}
}

// A paced decoder takes a millisecond for a message.
type paced struct{ Decoder }

func (d paced) Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	time.Sleep(time.Millisecond)
	return d.Decoder.Decode(m, rows)
}

// ahead is n messages of v1.3.0, published now.
func ahead(n int) []*message {
	all := publish(n, 3, 0)
	for _, m := range all {
		m.PublishTime = time.Now()
		m.Attributes = map[string]string{"schema_version": "v1.3.0"}
		m.Data = []byte(strings.ReplaceAll(string(m.Data), `"timestamp":"2024`, `"timestamp":"1999`))
	}
	return all
}

func TestAMessageThatIsAheadWaitsForItsDefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages, newer := ahead(50), next(t)
		b := newBroker(messages)
		b.attempts = map[string]int{}
		l, letters := newLedger(t, newer), &topic{failAt: -1}
		b.onAck = checkAck(t, l, letters)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		b.allAcked = cancel
		c := config(t, b, l, letters)
		asked := make(chan struct{}, 1)
		c.UnknownAge = 10 * time.Minute
		c.Refresh = func() {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
		p := New(c)
		go func() {
			<-asked
			time.Sleep(5 * time.Minute)
			if p.Idle() != 0 || p.OldestHeld().IsZero() || p.Stats().Acked != 0 {
				t.Errorf("idle %v, oldest held %v, %d acked", p.Idle(), p.OldestHeld(), p.Stats().Acked)
			}
			p.Switch(newer, func() Decoder { return newer.NewDecoder(schema.Standard) })
		}()
		began := time.Now()
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 5*time.Minute || took > 5*time.Minute+2*time.Second {
			t.Errorf("everything was acked after %v, want soon after the definition came", took)
		}
		checkAll(t, messages, l, letters)
		for id, n := range b.attempts {
			if n < 10 || n > 22 {
				t.Errorf("message %s was delivered %d times in 5 minutes, want one in 15 to 30 seconds", id, n)
			}
		}
	})
}

// Nobody adds the definition: the age limit makes dead letters of them, not
// sooner and not much later. One that will never be known does not wait.
func TestAMessageThatIsAheadForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := ahead(5)
		for _, m := range messages {
			m.rows, m.letters = nil, []string{m.ID + "/0"}
		}
		messages[3].Attributes = map[string]string{"schema_version": "v0.9.0"}
		messages[4].Attributes = map[string]string{"schema_version": "latest"}
		b := newBroker(messages)
		l, letters := newLedger(t, definition(t, "market_data")), &topic{failAt: -1}
		check, acked := checkAck(t, l, letters), map[string]time.Duration{}
		var mu sync.Mutex
		began := time.Now()
		b.onAck = func(m *message) {
			check(m)
			mu.Lock()
			defer mu.Unlock()
			acked[m.ID] = time.Since(began)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		b.allAcked = cancel
		c := config(t, b, l, letters)
		c.Workers = 1
		c.UnknownAge = 10 * time.Minute
		p := New(c)
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		checkAll(t, messages, l, letters)
		for id, after := range acked {
			if waits := id < "3"; waits && (after < 10*time.Minute || after > 10*time.Minute+3*time.Second) || !waits && after > time.Second {
				t.Errorf("message %s became a dead letter after %v", id, after)
			}
		}
		if s := p.Stats(); s.Rejected[schema.UnknownSchemaVersion] != 5 || s.Postponed == 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// What is postponed ends no drain late, and is handed back.
func TestPostponedAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(ahead(20))
		b.waits = true
		l := newLedger(t, definition(t, "market_data"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		c := config(t, b, l, &topic{failAt: -1})
		c.UnknownAge = 10 * time.Minute
		began, p := time.Now(), New(c)
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if took, s := time.Since(began), p.Stats(); took != 3*time.Second || s.Held != 0 || s.Nacked < 20 || s.Acked != 0 || c.Budget.InUse() != 0 {
			t.Errorf("took %v, %+v, %d bytes in use", took, s, c.Budget.InUse())
		}
	})
}
