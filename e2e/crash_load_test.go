package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/samples"
	"github.com/buffetbot/ingest/schema"
)

// A load publishes messages and knows what must become of each: it asks the
// broker for every message's id, which is what rows and dead letters go by.
type load struct {
	w        *world
	client   *pubsub.Client
	topics   map[string]*pubsub.Publisher
	registry *schema.Registry
	began    time.Time

	rows     map[string]map[string]string // data type, identity: every value but the publish time
	letters  map[string]string            // data type, message id and index: reason
	ids      map[string][]string          // data type and identity, or letter: the messages that bring it
	seen     *witness                     // nil: our own broker, which delivers again
	messages int
	records  int
	repeated int // messages that were sent again
}

func newLoad(t *testing.T, w *world) *load {
	t.Helper()
	w.publish(func(func(string, *schema.Message)) {}) // topics and subscriptions are there before anything is sent
	t.Setenv("PUBSUB_EMULATOR_HOST", w.broker)
	client, err := pubsub.NewClient(t.Context(), w.project)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	registry, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return &load{w: w, client: client, topics: map[string]*pubsub.Publisher{}, registry: registry, began: time.Now(),
		rows: map[string]map[string]string{}, letters: map[string]string{}, ids: map[string][]string{}}
}

// samplesOf are about n messages in the shapes of real publishers: singles and
// batches, with and without event_id, bad ones, and some that come twice.
func samplesOf(chunk, n int) []samples.Sample {
	n = max(n-25, 10)
	all := samples.Messages(samples.Mix{
		Seed: uint64(chunk) + 1, Run: fmt.Sprintf("crash-%d", chunk), Day: time.Date(2024, 1, 19, 0, 0, 0, 0, time.UTC),
		Market: n * 6 / 10, Options: n * 2 / 10, Forecasts: n * 2 / 10, Batches: 2, BatchRows: 40, WithFaults: true,
	})
	sent := len(all)
	for i := 0; i < sent; i += 3 {
		s := &all[i]
		if s.Bad > 0 || s.Message.Attributes["event_id"] != "" {
			continue
		}
		s.Message.Attributes = maps.Clone(s.Message.Attributes)
		s.Message.Attributes["event_id"] = fmt.Sprintf("crash-%d-single-%d", chunk, i)
		if i%30 == 0 {
			again := *s
			again.Repeated = again.Records
			all = append(all, again)
		}
	}
	return all
}

// publish sends a chunk and returns when the broker has all of it.
func (l *load) publish(ctx context.Context, chunk, n int) error {
	all := samplesOf(chunk, n)
	results := make([]*pubsub.PublishResult, len(all))
	for i := range all {
		s := &all[i]
		topic := l.topics[s.Topic]
		if topic == nil {
			topic = l.client.Publisher(s.Topic)
			topic.PublishSettings.DelayThreshold = 5 * time.Millisecond
			l.topics[s.Topic] = topic
		}
		results[i] = topic.Publish(ctx, &pubsub.Message{Data: s.Message.Data, Attributes: s.Message.Attributes})
	}
	for i, r := range results {
		id, err := r.Get(ctx)
		if err != nil {
			return fmt.Errorf("publish message %d of chunk %d: %w", i, chunk, err)
		}
		if err := l.expect(&all[i], id); err != nil {
			return err
		}
	}
	return nil
}

// expect notes what the message must become.
func (l *load) expect(s *samples.Sample, id string) error {
	def, _ := l.registry.Latest(s.DataType)
	m := s.Message
	m.ID, m.PublishTime = id, time.Now().Truncate(time.Microsecond)
	rows := schema.NewColumns(def)
	rejected := def.NewDecoder(schema.Standard).Decode(&m, rows)
	if len(rejected) != s.Bad || rows.Len() != s.Records-s.Bad {
		return fmt.Errorf("sample %q: %d rows and %d rejections", s.Why, rows.Len(), len(rejected))
	}
	if l.rows[s.DataType] == nil {
		l.rows[s.DataType] = map[string]string{}
	}
	each(rows.Record(), func(identity, values string, _ time.Time) {
		l.rows[s.DataType][identity] = values
		key := s.DataType + " " + identity
		l.ids[key] = append(l.ids[key], id)
	})
	for _, r := range rejected {
		key := fmt.Sprintf("%s %s %d", s.DataType, id, r.Index)
		l.letters[key] = string(r.Reason)
		l.ids[key] = append(l.ids[key], id)
	}
	l.messages++
	l.records += s.Records
	if s.Repeated > 0 {
		l.repeated++
	}
	return nil
}

// each gives the rows of a record: identity, all other values as text, publish
// time. A created_at that is the publish time, by default, is written so.
func each(rec arrow.RecordBatch, yield func(identity, values string, published time.Time)) {
	names := make([]string, rec.NumCols())
	at := map[string]int{}
	for c := range names {
		names[c] = rec.ColumnName(c)
		at[names[c]] = c
	}
	var b strings.Builder
	for i := range int(rec.NumRows()) {
		text := func(name string) string { return rec.Column(at[name]).ValueStr(i) }
		published := text(schema.ColPublishedAt)
		b.Reset()
		for c, name := range names {
			value := rec.Column(c).ValueStr(i)
			switch name {
			case schema.ColID, schema.ColIndex, schema.ColPublishedAt:
				continue
			case "created_at":
				if value == published {
					value = "when it was published"
				}
			}
			b.WriteString(name)
			b.WriteByte('=')
			b.WriteString(value)
			b.WriteByte(' ')
		}
		when, _ := time.Parse("2006-01-02T15:04:05.999999Z", strings.Replace(published, " ", "T", 1))
		yield(text(schema.ColID)+" "+text(schema.ColIndex), b.String(), when)
	}
}

// A verdict counts what is not as it must be.
type verdict struct {
	rows, letters                      int
	lost, doubled, altered, unexpected int
	waiting                            int // of the expected, those that nobody acked: the broker has them
	held                               int // rows and letters that are there and were never acked: the broker will bring them again
	unseen                             int // rows and letters whose messages the witness never saw
}

func (v *verdict) bad() int { return v.lost + v.doubled + v.altered + v.unexpected + v.unseen }

// check compares the lake with what was published: every row, every value, every
// dead letter.
func (l *load) check() verdict {
	t := l.w.t
	t.Helper()
	var v verdict
	complain := func(format string, args ...any) {
		if v.bad() < 10 && !*planted {
			t.Errorf(format, args...)
		}
	}
	lake := l.w.lake()
	for dataType, want := range l.rows {
		l.checkRows(lake, dataType, want, &v, complain)
	}
	l.checkLetters(lake, &v, complain)
	return v
}

// vouch sees that what is in the lake was seen to be delivered, and counts what was
// never acked.
func (l *load) vouch(v *verdict, ids []string) {
	switch {
	case l.seen.unseen(ids):
		v.unseen++
	case l.seen.unacked(ids):
		v.held++
	}
}

func (l *load) checkRows(lake *ingest.Lake, dataType string, want map[string]string, v *verdict, complain func(string, ...any)) {
	t := l.w.t
	t.Helper()
	plan, err := lake.Query(t.Context(), query.DataQuery{DataType: dataType})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool, len(want))
	published := map[string]time.Time{}
	until := time.Now().Add(time.Second)
	_, err = plan.Execute(t.Context(), func(rec arrow.RecordBatch) error {
		each(rec, func(identity, values string, at time.Time) {
			v.rows++
			expected, ok := want[identity]
			message, _, _ := strings.Cut(identity, " ")
			first, others := published[message]
			published[message] = at
			switch {
			case !ok:
				v.unexpected++
				complain("%s: a row that nobody published: %s %s", dataType, identity, values)
			case seen[identity]:
				v.doubled++
				complain("%s: %s is there twice", dataType, identity)
			case values != expected:
				v.altered++
				complain("%s: %s is\n%s, not\n%s", dataType, identity, values, expected)
			case at.Before(l.began.Add(-time.Second)) || at.After(until) || others && !at.Equal(first):
				v.altered++
				complain("%s: %s published at %v; its message's other rows say %v", dataType, identity, at, first)
			}
			seen[identity] = true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for identity, values := range want {
		switch {
		case seen[identity]:
			l.vouch(v, l.ids[dataType+" "+identity])
		case l.seen.unacked(l.ids[dataType+" "+identity]):
			v.waiting++
		default:
			v.lost++
			complain("%s: %s is missing: %s", dataType, identity, values)
		}
	}
}

func (l *load) checkLetters(lake *ingest.Lake, v *verdict, complain func(string, ...any)) {
	t := l.w.t
	t.Helper()
	seen := map[string]bool{}
	for letter, err := range lake.Letters(t.Context(), ingest.LetterFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		v.letters++
		key := fmt.Sprintf("%s %s %d", letter.DataType, letter.MessageID, letter.RecordIndex)
		reason, ok := l.letters[key]
		switch {
		case !ok:
			v.unexpected++
			complain("a dead letter of nothing bad: %s: %s %s", key, letter.Reason, letter.Explanation)
		case seen[key]:
			v.doubled++
			complain("dead letter %s is there twice", key)
		case reason != string(letter.Reason):
			v.altered++
			complain("dead letter %s has reason %s, not %s", key, letter.Reason, reason)
		}
		seen[key] = true
	}
	for key, reason := range l.letters {
		switch {
		case seen[key]:
			l.vouch(v, l.ids[key])
		case l.seen.unacked(l.ids[key]), l.seen.letterUnacked(key):
			v.waiting++
		default:
			v.lost++
			complain("dead letter %s (%s) is missing", key, reason)
		}
	}
}
