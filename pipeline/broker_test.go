package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func definition(t testing.TB, dataType string) *schema.Definition {
	t.Helper()
	r, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	d, ok := r.Latest(dataType)
	if !ok {
		t.Fatalf("no definition of %s", dataType)
	}
	return d
}

// A message of the test: what is published, and what must become of it.
type message struct {
	schema.Message
	rows, letters []string // "<message id>/<index>"
}

var firstDay = time.Date(2024, 1, 15, 14, 0, 0, 0, time.UTC)

// publish makes n messages: single records and arrays of up to 5, over days,
// every bad-th record without its price.
func publish(n, days, bad int) []*message {
	var all []*message
	record := 0
	for i := range n {
		m := &message{Message: schema.Message{ID: fmt.Sprint(i), PublishTime: firstDay.AddDate(1, 0, 0),
			Attributes: map[string]string{"source": "test"}}}
		var parts []string
		for k := range 1 + i%5 {
			at := firstDay.AddDate(0, 0, record%days).Add(time.Duration(record) * time.Second)
			id, price := fmt.Sprintf("%d/%d", i, k), fmt.Sprintf(`"price":%d.5,`, record+1)
			if bad > 0 && record%bad == bad-1 {
				price = ""
				m.letters = append(m.letters, id)
			} else {
				m.rows = append(m.rows, id)
			}
			parts = append(parts, fmt.Sprintf(`{"symbol":"S%d","timestamp":"%s",%s"data_source":"x"}`, record%11, at.Format(time.RFC3339), price))
			record++
		}
		m.Data = []byte(strings.Join(parts, "\n"))
		if i%2 == 0 && len(parts) > 1 {
			m.Data = []byte("[" + strings.Join(parts, ",") + "]")
		}
		all = append(all, m)
	}
	return all
}

// A broker delivers messages until they are acked, again when they are nacked
// or when the process that held them has ended.
type broker struct {
	messages map[string]*message
	onAck    func(*message)
	allAcked func() // called once everything is acked
	waits    bool   // Receive returns only when everything delivered is settled

	mu    sync.Mutex
	wake  chan struct{}
	queue []*message
	held  map[string]bool
	acked map[string]int
	nacks int

	attempts map[string]int // deliveries of each message, where set
	sessions int            // calls of Receive
}

func newBroker(messages []*message) *broker {
	b := &broker{messages: map[string]*message{}, wake: make(chan struct{}, 1), held: map[string]bool{}, acked: map[string]int{}}
	for _, m := range messages {
		b.messages[m.ID] = m
		b.queue = append(b.queue, m)
	}
	return b
}

func (b *broker) next() *message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return nil
	}
	m := b.queue[0]
	b.queue = b.queue[1:]
	b.held[m.ID] = true
	if b.attempts != nil {
		b.attempts[m.ID]++
	}
	return m
}

func (b *broker) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *broker) settle(m *message, ack bool) {
	if ack && b.onAck != nil {
		b.onAck(m)
	}
	b.mu.Lock()
	if !b.held[m.ID] {
		panic("message " + m.ID + " settled twice")
	}
	delete(b.held, m.ID)
	if ack {
		b.acked[m.ID]++
	} else {
		b.nacks++
		b.queue = append(b.queue, m)
	}
	all := len(b.acked) == len(b.messages)
	b.mu.Unlock()
	if all && b.allAcked != nil {
		b.allAcked()
	}
	b.signal()
}

func (b *broker) Receive(ctx context.Context, callback func(context.Context, *Delivery)) error {
	b.mu.Lock()
	b.sessions++
	b.mu.Unlock()
	var callbacks sync.WaitGroup
	slots := make(chan struct{}, 16)
	for ctx.Err() == nil {
		m := b.next()
		if m == nil {
			select {
			case <-b.wake:
			case <-ctx.Done():
			}
			continue
		}
		slots <- struct{}{}
		callbacks.Go(func() {
			defer func() { <-slots }()
			d := &Delivery{Message: m.Message}
			d.Data = bytes.Clone(m.Data)
			d.Ack, d.Nack = func() { b.settle(m, true) }, func() { b.settle(m, false) }
			callback(ctx, d)
			clear(d.Data) // the payload may not be used after the callback
		})
	}
	callbacks.Wait()
	for b.waits && b.heldNow() > 0 {
		<-b.wake
	}
	return nil
}

func (b *broker) heldNow() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

// restart takes back what a process that ended had not settled.
func (b *broker) restart() (unsettled int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.held {
		b.queue = append(b.queue, b.messages[id])
		unsettled++
	}
	clear(b.held)
	return unsettled
}

// A ledger is a store that knows which rows are durable in it.
type ledger struct {
	objstore.Store
	t   testing.TB
	def *schema.Definition

	mu   sync.Mutex
	rows map[string]int // "<message id>/<index>": in how many objects
}

func newLedger(t testing.TB, def *schema.Definition) *ledger {
	return &ledger{Store: objstore.NewMem(), t: t, def: def, rows: map[string]int{}}
}

// Write makes the ledger a sink that encodes nothing, for tests of many batches.
func (l *ledger) Write(ctx context.Context, b *batching.Batch) ([]sink.Written, error) {
	time.Sleep(5 * time.Millisecond)
	l.enter(b.Key.Day, b.Rows.Record())
	return make([]sink.Written, 1), ctx.Err()
}

func (l *ledger) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	o, err := l.Store.Create(ctx, name, data, metadata)
	if err != nil || !strings.HasPrefix(name, "raw/") {
		return o, err
	}
	raw, err := partition.ParseName(name)
	if err != nil {
		l.t.Error(err)
		return o, nil
	}
	f, err := columnar.OpenBytes(name, bytes.Clone(data))
	if err != nil {
		l.t.Error(err)
		return o, nil
	}
	rec, err := f.Read(context.WithoutCancel(ctx), l.def, nil, nil)
	if err != nil {
		l.t.Error(err)
		return o, nil
	}
	l.enter(raw.Day, rec)
	return o, nil
}

// enter notes rows as durable.
func (l *ledger) enter(day partition.Day, rec arrow.RecordBatch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := rec.Column(l.def.Own).(*array.Dictionary)
	for row := range int(rec.NumRows()) {
		id := ids.Dictionary().(*array.String).Value(ids.GetValueIndex(row))
		index := rec.Column(l.def.Own + 1).(*array.Int32).Value(row)
		l.rows[fmt.Sprintf("%s/%d", strings.TrimPrefix(id, "m:"), index)]++
		event := rec.Column(l.def.TimeField).(*array.Timestamp).Value(row)
		if got := partition.DayOf(int64(event)); got != day {
			l.t.Errorf("a batch of %s holds a row of %s", day, got)
		}
	}
}

func (l *ledger) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows[id] > 0
}

// A topic is the dead-letter topic. Publishing failAt (from 0) fails, and for
// times of them; with lost the message arrives all the same.
type topic struct {
	failAt, times int
	lost          bool
	delay         time.Duration

	mu      sync.Mutex
	count   int
	fired   bool
	letters map[string]int // "<message id>/<index>"
	flying  int
	most    int    // in flight at once
	wrong   string // a letter that does not hold its record
}

var errTopic = errors.New("injected topic fault")

func (p *topic) Publish(ctx context.Context, m *schema.Message) error {
	if p.delay > 0 {
		p.fly(1)
		defer p.fly(-1)
		select {
		case <-time.After(p.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.count
	p.count++
	fails := p.failAt >= 0 && n >= p.failAt && n < p.failAt+max(p.times, 1)
	p.fired = p.fired || fails
	if !fails || p.lost {
		if p.letters == nil {
			p.letters = map[string]int{}
		}
		p.letters[m.Attributes["message_id"]+"/"+m.Attributes["record_index"]]++
		if one := bytes.HasPrefix(m.Data, []byte(`{"symbol"`)); !one && m.Attributes["reason"] == "missing_required" {
			p.wrong = fmt.Sprintf("a dead letter holds %q", m.Data)
		}
	}
	if fails {
		return errTopic
	}
	return nil
}

func (p *topic) fly(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying += n
	p.most = max(p.most, p.flying)
}

func (p *topic) has(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.letters[id] > 0
}

// checkAck is C1: what is acked is durable.
func checkAck(t testing.TB, l *ledger, p *topic) func(*message) {
	return func(m *message) {
		for _, id := range m.rows {
			if !l.has(id) {
				t.Errorf("message %s was acked, but row %s is not durable", m.ID, id)
			}
		}
		for _, id := range m.letters {
			if !p.has(id) {
				t.Errorf("message %s was acked, but record %s is in no dead letter", m.ID, id)
			}
		}
	}
}

// checkAll: the distinct identities are those that were published.
func checkAll(t testing.TB, messages []*message, l *ledger, p *topic) {
	t.Helper()
	if p.wrong != "" {
		t.Error(p.wrong)
	}
	rows, letters := map[string]bool{}, map[string]bool{}
	for _, m := range messages {
		for _, id := range m.rows {
			rows[id] = true
		}
		for _, id := range m.letters {
			letters[id] = true
		}
	}
	if got := distinct(l.rows); !maps.Equal(got, rows) {
		t.Errorf("%d distinct rows in the store, %d published", len(got), len(rows))
	}
	if got := distinct(p.letters); !maps.Equal(got, letters) {
		t.Errorf("%d distinct dead letters, want %d", len(got), len(letters))
	}
}

func distinct(counts map[string]int) map[string]bool {
	out := map[string]bool{}
	for id := range counts {
		out[id] = true
	}
	return out
}
