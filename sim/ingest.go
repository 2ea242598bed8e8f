package sim

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
)

// A post is the settings of the ingestors of a world.
type post struct {
	policy  batching.Policy
	budget  int64
	hold    time.Duration
	drain   time.Duration
	own     int
	flushes int
}

func (w *World) populateIngest() {
	r := w.rng
	w.broker = &broker{w: w, rows: map[string]*message{}, letters: map[string]*message{}, buried: map[string]bool{},
		publish: .05 + .3*r.Float64(), again: .02 * r.Float64(), most: 5 + r.IntN(60), many: r.IntN(2) == 0}
	w.rates.longest = min(w.rates.longest, 20*time.Minute)
	// What jitter the code under test adds must fall between two steps of the
	// clock: see quantum.
	whole := func(least, most int) time.Duration { return time.Duration(least+r.IntN(most))*quantum + quantum/300 }
	s := w.drawShop()
	o := post{
		policy: batching.Policy{Rows: 1 + r.IntN(12), Age: whole(1, 10)},
		// Never full: who waits for memory is woken beside who seals for it, in an
		// order that no seed decides.
		budget: 256 << 20, hold: whole(4, 40), drain: whole(1, 6), own: 1 + r.IntN(4), flushes: 64, // all of them at once: the order in which batches are sealed is nobody's choice
	}
	for i := range 1 + r.IntN(2) {
		w.addProcess(fmt.Sprintf("ingestor%d", i), .5, o.ingest).stays = true
	}
	w.addProcess("compactor0", .02*r.Float64(), s.compactOnce)
	w.addProcess("reader", .02*r.Float64(), read)
}

// ingest is the program: a pipeline of the real packages.
func (o post) ingest(ctx context.Context, p *process) error {
	w := p.w
	life, _ := ctx.Value(lifeKey{}).(*bool)
	out := sink.New(p.lake(), sink.Config{Writer: fmt.Sprintf("w%dx%d", p.id, p.life), OwnFileRows: o.own, Uploads: 8})
	pipe := pipeline.New(pipeline.Config{
		Definition:  w.def,
		NewDecoder:  func() pipeline.Decoder { return w.def.NewDecoder(schema.Standard) },
		Source:      w.broker.source(p, life),
		Sink:        out,
		DeadLetters: letters{p},
		Payloads:    p.lake(),
		Policy:      o.policy,
		Budget:      batching.NewBudget(o.budget),
		Clock:       p.clock,
		Workers:     2, Flushes: o.flushes, Letters: 64, Drain: o.drain, HoldFor: o.hold,
	})
	return pipe.Run(ctx)
}

// A message is what was published, and what must become of it.
type message struct {
	schema.Message
	day           map[string]string // of each row, by identity
	rows, letters []string          // identities; "<message id>/<index>"
	acked         bool              // the broker knows
	ackLeft       bool
	held          []*lease
}

// A lease is one delivery that is not settled.
type lease struct {
	m    *message
	p    *process
	life *bool
}

// A broker is a topic with one subscription, and the topic of dead letters. Its
// fields are under w.mu; deliveries are the scheduler's.
type broker struct {
	w              *World
	messages       []*message
	rows           map[string]*message
	letters        map[string]*message
	buried         map[string]bool // letters that were published
	publish, again float64
	most           int
	many           bool // programs take many messages with one call
	consumers      []*consumer
	settled        []settlement
}

type consumer struct {
	p    *process
	life *bool
	next chan []*lease
}

type settlement struct {
	l   *lease
	ack bool
}

// A source is the broker as one process sees it.
type source struct {
	b    *broker
	p    *process
	life *bool
}

// Receive implements pipeline.Source.
func (s source) Receive(ctx context.Context, callback func(context.Context, *pipeline.Delivery)) error {
	return s.receive(ctx, func(ctx context.Context, all []pipeline.Delivery) {
		for i := range all {
			callback(ctx, &all[i])
		}
	})
}

func (s source) receive(ctx context.Context, callback func(context.Context, []pipeline.Delivery)) error {
	c := &consumer{s.p, s.life, make(chan []*lease, 1)}
	s.b.w.mu.Lock()
	s.b.consumers = append(s.b.consumers, c)
	s.b.w.mu.Unlock()
	var callbacks conc.WaitGroup
	for {
		select {
		case leases := <-c.next:
			all := make([]pipeline.Delivery, len(leases))
			for i, l := range leases {
				all[i].Message = l.m.Message
				all[i].Data = slices.Clone(l.m.Data)
				all[i].Ack, all[i].Nack = func() { s.settle(l, true) }, func() { s.settle(l, false) }
			}
			callbacks.Go(func() {
				callback(ctx, all)
				for i := range all {
					clear(all[i].Data) // they are the callback's until it returns
				}
			})
		case <-ctx.Done():
			s.b.w.mu.Lock()
			s.b.consumers = slices.DeleteFunc(s.b.consumers, func(x *consumer) bool { return x == c })
			s.b.w.mu.Unlock()
			callbacks.Wait()
			return nil
		}
	}
}

// source is the broker for one life of a process.
func (b *broker) source(p *process, life *bool) pipeline.Source {
	if b.many {
		return manySource{source{b, p, life}}
	}
	return source{b, p, life}
}

// A manySource delivers several messages with one call.
type manySource struct{ source }

var _ pipeline.BatchSource = manySource{}

// ReceiveMany implements pipeline.BatchSource.
func (s manySource) ReceiveMany(ctx context.Context, callback func(context.Context, []pipeline.Delivery)) error {
	return s.receive(ctx, callback)
}

func (s source) settle(l *lease, ack bool) {
	s.b.w.mu.Lock()
	defer s.b.w.mu.Unlock()
	if !*s.life {
		s.b.settled = append(s.b.settled, settlement{l, ack})
	}
}

// disconnect forgets a process that died: what it held is delivered again.
func (b *broker) disconnect(p *process) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.consumers = slices.DeleteFunc(b.consumers, func(c *consumer) bool { return c.p == p })
	b.settled = slices.DeleteFunc(b.settled, func(s settlement) bool { return s.l.p == p })
	for _, m := range b.messages {
		m.held = slices.DeleteFunc(m.held, func(l *lease) bool { return l.p == p })
	}
}

// settle takes in what processes have acked: from now on it must be durable
// (C1). The ack may be lost on its way.
func (b *broker) settle() {
	b.w.mu.Lock()
	settled := b.settled
	b.settled = nil
	b.w.mu.Unlock()
	sort.SliceStable(settled, func(i, j int) bool {
		if settled[i].l.m.ID != settled[j].l.m.ID {
			return settled[i].l.m.ID < settled[j].l.m.ID
		}
		return settled[i].l.p.id < settled[j].l.p.id
	})
	for _, s := range settled {
		m := s.l.m
		m.held = slices.DeleteFunc(m.held, func(l *lease) bool { return l == s.l })
		if !s.ack {
			b.w.tracef("%s: nacks message %s", s.l.p, m.ID)
			continue
		}
		b.w.result.Stats.Acked++
		m.ackLeft = true
		b.durable(m, "is acked by "+s.l.p.String())
		if b.w.chance(b.w.rates.lost) {
			b.w.tracef("%s: acks message %s, lost", s.l.p, m.ID)
			continue
		}
		b.w.tracef("%s: acks message %s", s.l.p, m.ID)
		m.acked = true
	}
}

func (b *broker) durable(m *message, why string) {
	for _, id := range m.rows {
		if !b.w.model.durable[m.day[id]][id] {
			b.w.violate("C1", "message %s %s, its row %s is not durable", m.ID, why, id)
			return
		}
	}
	for _, id := range m.letters {
		if !b.buried[id] {
			b.w.violate("C1", "message %s %s, the dead letter of %s is not published", m.ID, why, id)
			return
		}
	}
}

// placed checks C8 and C9 of a raw object.
func (b *broker) placed(name string, ids []string) {
	for _, id := range ids {
		m := b.rows[id]
		switch {
		case m == nil:
			b.w.violate("C9", "%s holds row %s, which nobody published, or whose verdict is another", name, id)
		case m.day[id] != dayOf(name):
			b.w.violate("C9", "%s holds row %s of %s", name, id, m.day[id])
		}
	}
}

// step publishes or delivers something, perhaps.
func (b *broker) step() bool {
	w := b.w
	if !w.calm && len(b.messages) < b.most && w.rng.Float64() < b.publish {
		b.send()
		return true
	}
	b.w.mu.Lock()
	consumers := slices.DeleteFunc(slices.Clone(b.consumers), func(c *consumer) bool { return *c.life || len(c.next) > 0 || time.Now().Before(c.p.paused) })
	b.w.mu.Unlock()
	if len(consumers) == 0 {
		return false
	}
	slices.SortFunc(consumers, func(x, y *consumer) int { return x.p.id - y.p.id })
	var ready []*message
	for _, m := range b.messages {
		if !m.acked && len(m.held) == 0 || w.chance(b.again) { // the lease has expired, or the broker has forgotten the ack
			ready = append(ready, m)
		}
	}
	if len(ready) == 0 {
		return false
	}
	c := consumers[w.rng.IntN(len(consumers))]
	calls := 1
	if b.many {
		calls += w.rng.IntN(4)
	}
	var leases []*lease
	for ; calls > 0 && len(ready) > 0; calls-- {
		at := w.rng.IntN(len(ready))
		leases = append(leases, b.deliver(ready[at], c))
		ready = slices.Delete(ready, at, at+1)
	}
	c.next <- leases
	return true
}

func (b *broker) deliver(m *message, c *consumer) *lease {
	l := &lease{m, c.p, c.life}
	b.w.result.Stats.Delivered++
	if m.ackLeft || len(m.held) > 0 {
		b.w.result.Stats.Redelivered++
	}
	m.held = append(m.held, l)
	b.w.tracef("broker: delivers message %s to %s", m.ID, c.p)
	return l
}

// published is when the first message is: what is far from its publication is
// rejected.
var published = time.Date(2024, 1, 16, 9, 0, 0, 0, time.UTC)

// send publishes a message: a few records, some bad, over the days; with an
// event_id now and then, and then perhaps again.
func (b *broker) send() {
	r := b.w.rng
	m := &message{day: map[string]string{}}
	m.ID, m.PublishTime = fmt.Sprintf("%03d", len(b.messages)), published.Add(time.Since(start)).Truncate(time.Second)
	m.Attributes = map[string]string{"source": "sim"}
	id := "m:" + m.ID
	if r.IntN(4) == 0 {
		event := fmt.Sprint(r.IntN(3))
		m.Attributes["event_id"], id = event, "e:"+event
	}
	var lines []string
	for index := range 1 + r.IntN(4) {
		day, second := firstDay.Start().AddDate(0, 0, r.IntN(days)), r.IntN(3)
		at := day.Add(time.Duration(second) * time.Second).Format(time.RFC3339)
		symbol, price := fmt.Sprintf("S%d", r.IntN(3)), `"price":1.5,`
		if r.IntN(5) == 0 {
			price = ""
			m.letters = append(m.letters, fmt.Sprintf("%s/%d", m.ID, index))
			b.letters[m.letters[len(m.letters)-1]] = m
		} else {
			row := fmt.Sprintf("%q;%q;%q;%q;", symbol, at, id, fmt.Sprint(index))
			if strings.HasPrefix(id, "m:") {
				row += fmt.Sprintf("%q;", m.PublishTime.UTC().Format(time.RFC3339))
			}
			m.rows = append(m.rows, row)
			m.day[row] = partition.DayOf(day.UnixMicro()).Path()
			b.rows[row] = m
		}
		lines = append(lines, fmt.Sprintf(`{"symbol":%q,"timestamp":%q,%s"source":"x"}`, symbol, at, price))
	}
	m.Data = []byte(strings.Join(lines, "\n"))
	b.messages = append(b.messages, m)
	b.w.tracef("broker: message %s (%s) of %d rows and %d bad records is published", m.ID, id, len(m.rows), len(m.letters))
}

// letters is the dead-letter topic as one process sees it.
type letters struct{ p *process }

// Publish implements deadletter.Publisher.
func (l letters) Publish(ctx context.Context, m *schema.Message) error {
	id := m.Attributes["message_id"] + "/" + m.Attributes["record_index"]
	b := l.p.w.broker
	return l.p.ask(ctx, &op{kind: opPublish, name: "dead letter " + id, apply: func() error {
		b.w.result.Stats.Letters++
		if b.letters[id] == nil {
			b.w.violate("C8", "a dead letter of %s, which is a good record", id)
		}
		b.buried[id] = true
		return nil
	}}).err
}

// drained tells whether everything has been settled.
func (b *broker) drained() bool {
	for _, m := range b.messages {
		if !m.acked || len(m.held) > 0 {
			return false
		}
	}
	return true
}

// checkAll: all that was published is in the lake or among the dead letters.
func (b *broker) checkAll() {
	for _, m := range b.messages {
		b.durable(m, "was published")
	}
}
