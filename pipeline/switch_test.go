package pipeline

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/schema"
)

// A switching decoder lets another definition come while it decodes its first
// message, as if an operator had chosen that very moment.
type switching struct {
	Decoder
	once   *sync.Once
	change func()
}

func (d switching) Decode(m *schema.Message, rows *schema.Columns) []schema.Rejection {
	d.once.Do(d.change)
	return d.Decoder.Decode(m, rows)
}

// verdictsOf notes what letters say of who judged.
type verdictsOf struct {
	deadletter.Publisher
	mu       sync.Mutex
	versions []string
}

func (v *verdictsOf) Publish(ctx context.Context, m *schema.Message) error {
	v.mu.Lock()
	v.versions = append(v.versions, deadletter.Parse(m).SchemaVersion)
	v.mu.Unlock()
	return v.Publisher.Publish(ctx, m)
}

// A definition that comes in the middle of a message changes nothing for it: its rows
// are flushed as rows of the one before, its letters name that, and the next
// message is judged by the new one, whole.
func TestAMessageIsJudgedByOneDefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older, newer := definition(t, "market_data"), next(t)
		messages := publish(5, 1, 0)
		for _, m := range messages { // a good record and a bad one each
			m.Data = []byte(`[{"symbol":"A","timestamp":"2024-01-15T14:00:00Z","price":1,"data_source":"x"},{"symbol":"A"}]`)
			m.rows, m.letters = []string{m.ID + "/0"}, []string{m.ID + "/1"}
		}
		b := newBroker(messages)
		l, letters := newLedger(t, newer), &verdictsOf{Publisher: &topic{failAt: -1}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		b.allAcked = cancel
		c := config(t, b, l, letters)
		seen := &versions{rows: map[string]int{}, next: c.Sink}
		c.Sink, c.Workers, c.Policy.Rows, c.Policy.Age = seen, 1, 1000, time.Second
		var p *Pipeline
		var once sync.Once
		c.NewDecoder = func() Decoder {
			return switching{Decoder: older.NewDecoder(schema.Standard), once: &once, change: func() {
				p.Switch(newer, func() Decoder { return newer.NewDecoder(schema.Standard) })
			}}
		}
		p = New(c)
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if seen.rows["v1.2.0"] != 1 || seen.rows["v1.3.0"] != 4 {
			t.Errorf("rows by definition: %v, want 1 and 4", seen.rows)
		}
		by := map[string]int{}
		for _, version := range letters.versions {
			by[version]++
		}
		if by["v1.2.0"] != 1 || by["v1.3.0"] != 4 {
			t.Errorf("letters by definition: %v, want 1 and 4", by)
		}
	})
}
