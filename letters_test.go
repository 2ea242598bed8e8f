package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
)

// A post is a message to publish on a topic.
type post struct {
	topic string
	data  string
	attrs map[string]string
}

// deliver publishes posts and runs an ingestor until all have come into the lake.
func deliver(t *testing.T, lake *Lake, c IngestConfig, posts ...post) *Ingestor {
	t.Helper()
	c.Ingest.IdleExit, c.Ingest.FlushAge = time.Second, 100*time.Millisecond
	ingestor, err := lake.NewIngestor(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPublisher(t.Context(), PublisherConfig{Project: "test", Endpoint: c.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range posts {
		if err := p.Publish(t.Context(), m.topic, &schema.Message{Data: []byte(m.data), Attributes: m.attrs}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := p.Close(); n != len(posts) || err != nil {
		t.Fatalf("published %d, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := ingestor.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return ingestor
}

func collect(t *testing.T, lake *Lake, f LetterFilter) []deadletter.Letter {
	t.Helper()
	var all []deadletter.Letter
	for l, err := range lake.Letters(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// bad is a market record without its price, which belongs to an instant.
func bad(event string, minute int) post {
	return post{"market-data", fmt.Sprintf(`{"symbol":"AAPL","timestamp":"2024-01-15T14:%02d:00Z","data_source":"x"}`, minute),
		map[string]string{"event_id": event, "source": "yahoo", "published_at": fmt.Sprintf("2024-01-15T14:%02d:00Z", minute)}}
}

func TestLetters(t *testing.T) {
	lake, server := world(t)
	posts := []post{bad("b", 2), bad("a", 1), bad("c", 3),
		{"options-data", "{not json\x1b]0;", map[string]string{"event_id": "o", "source": "it's", "published_at": "2024-01-16T10:00:00Z"}},
		{"dead-letters", "\xff\x00", map[string]string{"event_id": "f", "published_at": "2024-01-14T10:00:00Z"}},
	}
	deliver(t, lake, settings(server), posts...)
	if _, err := lake.Compactor(compaction.Options{}).Run(t.Context(), []string{"dead_letters"}); err != nil {
		t.Fatal(err)
	}
	deliver(t, lake, settings(server), posts[0], bad("d", 4)) // one of them again: fresh rows beside compacted ones
	day := func(n int) time.Time { return time.Date(2024, 1, n, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name string
		f    LetterFilter
		want string // event_ids
	}{
		{"all, the newest first", LetterFilter{Limit: 100}, "o d c b a f"},
		{"all as a stream, by day and type", LetterFilter{}, "f a b c d o"},
		{"the newest two", LetterFilter{Limit: 2}, "o d"},
		{"of a reason", LetterFilter{Limit: 9, Reasons: []string{"missing_required"}}, "d c b a"},
		{"of two reasons", LetterFilter{Limit: 9, Reasons: []string{"json_syntax", "foreign"}}, "o f"},
		{"of a type", LetterFilter{Limit: 9, Types: []string{"options_data"}}, "o"},
		{"of nobody knows what", LetterFilter{Limit: 9, Types: []string{deadletter.UnknownType}}, "f"},
		{"of a source with a quote", LetterFilter{Limit: 9, Sources: []string{"it's"}}, "o"},
		{"from a day", LetterFilter{Limit: 9, From: day(16)}, "o"},
		{"to a day", LetterFilter{Limit: 9, To: day(15)}, "f"},
		{"of a reason that there is not", LetterFilter{Limit: 9, Reasons: []string{"' or ''='"}}, ""},
	} {
		for _, full := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/full=%v", tt.name, full), func(t *testing.T) {
				tt.f.Full = full
				var got []string
				for _, l := range collect(t, lake, tt.f) {
					if (l.Record != nil) != full {
						t.Errorf("%s: record %q", l.ID, l.Record)
					}
					whole, err := lake.Letter(t.Context(), l.ID)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, whole.Attributes["event_id"])
					if full && l.Attributes["event_id"] != whole.Attributes["event_id"] || l.Attributes["source"] != whole.Attributes["source"] {
						t.Errorf("attributes %v, want %v", l.Attributes, whole.Attributes)
					}
				}
				if strings.Join(got, " ") != tt.want {
					t.Errorf("letters %q, want %s", got, tt.want)
				}
			})
		}
	}
	t.Run("the bytes and attributes of each message", func(t *testing.T) {
		want := map[string]post{}
		for _, p := range append(posts, bad("d", 4)) {
			want[p.attrs["event_id"]] = p
		}
		for _, l := range collect(t, lake, LetterFilter{Full: true}) {
			p := want[l.Attributes["event_id"]]
			if string(l.Record) != p.data || !maps.Equal(l.Attributes, p.attrs) {
				t.Errorf("%q %v, want %q %v", l.Record, l.Attributes, p.data, p.attrs)
			}
		}
	})
	t.Run("stopping early", func(t *testing.T) {
		for _, limit := range []int{0, 5} {
			n := 0
			for range lake.Letters(t.Context(), LetterFilter{Limit: limit}) {
				if n++; n == 2 {
					break
				}
			}
			if n != 2 {
				t.Errorf("%d letters", n)
			}
		}
	})
	t.Run("ids", func(t *testing.T) { testLetterIDs(t, lake) })
	t.Run("counts", func(t *testing.T) { testLetterCounts(t, lake) })
}

func testLetterIDs(t *testing.T, lake *Lake) {
	all := collect(t, lake, LetterFilter{})
	id := all[0].ID
	unique := 1
	for slices.ContainsFunc(all[1:], func(l deadletter.Letter) bool { return strings.HasPrefix(l.ID, id[:unique]) }) {
		unique++
	}
	if l, err := lake.Letter(t.Context(), id[:unique]); err != nil || l.ID != id {
		t.Errorf("the start of the id: %v, %v", l, err)
	}
	for _, unknown := range []string{"", "nonsense", id + "0", "' or dl_id != '"} {
		if _, err := lake.Letter(t.Context(), unknown); !errors.Is(err, ErrNoLetter) {
			t.Errorf("Letter(%q): %v", unknown, err)
		}
	}
	if _, _, err := lake.LetterContents(t.Context(), &deadletter.Letter{ID: "x", PayloadRef: "payloads/dead_letters/gone"}); err == nil {
		t.Error("contents that are not there were read")
	}
	for _, err := range lake.Letters(t.Context(), LetterFilter{Limit: -1}) {
		if !errors.Is(err, query.ErrInvalid) {
			t.Errorf("limit -1: %v", err)
		}
	}
}

func testLetterCounts(t *testing.T, lake *Lake) {
	for _, tt := range []struct {
		by   []string
		want string
	}{
		{nil, "6"},
		{[]string{"reason"}, "missing_required 4, foreign 1, json_syntax 1"},
		{[]string{"type"}, "market_data 4, options_data 1, unknown 1"},
		{[]string{"source"}, "yahoo 4,  1, it's 1"},
		{[]string{"day", "reason"}, "2024-01-15/missing_required 4, 2024-01-14/foreign 1, 2024-01-16/json_syntax 1"},
	} {
		counts, err := lake.CountLetters(t.Context(), LetterFilter{Limit: 1}, tt.by...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range counts {
			got = append(got, strings.TrimPrefix(fmt.Sprintf("%s %d", strings.Join(c.Values, "/"), c.N), map[bool]string{true: " "}[tt.by == nil]))
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("by %v: %q, want %s", tt.by, got, tt.want)
		}
		if tt.by == nil {
			sample, err := lake.Letter(t.Context(), counts[0].Sample)
			if err != nil || !sample.PublishedAt.Equal(counts[0].Last) || counts[0].Last.Day() != 16 || counts[0].First.Day() != 14 {
				t.Errorf("%+v, sample %v, %v", counts[0], sample, err)
			}
		}
	}
	if _, err := lake.CountLetters(t.Context(), LetterFilter{}, "colour"); !errors.Is(err, query.ErrInvalid) {
		t.Errorf("by colour: %v", err)
	}
}

// What the broker gave up on comes into the archive as it was published, also when
// the broker moves it twice.
func TestUndeliveredMessagesAreDrained(t *testing.T) {
	lake, server := world(t)
	original := map[string]string{"source": "yahoo", "event_id": "e-1"}
	moved := maps.Clone(original)
	maps.Copy(moved, map[string]string{
		"CloudPubSubDeadLetterSourceDeliveryCount": "100", "CloudPubSubDeadLetterSourceSubscription": "a-name-of-its-own",
		"CloudPubSubDeadLetterSourceSubscriptionProject": "test", "CloudPubSubDeadLetterSourceTopicPublishTime": "2024-01-14T00:00:00.5Z"})
	m := post{"options-data-undelivered", "\x1f\x8bnot for any decoder", moved}
	ingestor := deliver(t, lake, settings(server), m, m, bad("a", 1))
	if n := ingestor.lettersUnderWay(); n != 0 { // those moved by the broker are none of ours
		t.Errorf("%d dead letters under way after the run", n)
	}
	letters := collect(t, lake, LetterFilter{Full: true, Reasons: []string{"undelivered"}})
	if len(letters) != 1 {
		t.Fatalf("%d letters, want 1", len(letters))
	}
	l := letters[0]
	if l.DataType != "options_data" || l.Topic != "options-data" || l.Attempt != 100 || string(l.Record) != m.data || !maps.Equal(l.Attributes, original) ||
		!l.PublishedAt.Equal(time.Date(2024, 1, 14, 0, 0, 0, 5e8, time.UTC)) || l.Form != deadletter.WholeMessage {
		t.Errorf("letter %+v", l)
	}
	if n := len(collect(t, lake, LetterFilter{})); n != 2 {
		t.Errorf("%d letters in all, want 2", n)
	}
}

// Without --create, what is missing is a warning, and the rest works.
func TestMissingUndeliveredSubscriptionsStopNothing(t *testing.T) {
	lake, server := world(t)
	c := settings(server)
	b, err := dial(t.Context(), c, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"market-data", "dead-letters"} {
		def, _ := lake.Registry().ForTopic("dead-letters") // no undelivered topic with it
		if err := b.ensureSource(t.Context(), def, topic, topic+"-ingest"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	c.Broker.Create, c.Types = false, []string{"market_data", "dead_letters"}
	deliver(t, lake, c, bad("a", 1))
	if got := collect(t, lake, LetterFilter{}); len(got) != 1 {
		t.Errorf("%d letters, want 1", len(got))
	}
}

// What does not fit into a message on the topic is read back from its object.
func TestLetterContents(t *testing.T) {
	lake, server := world(t)
	attrs := map[string]string{}
	for i := range 100 {
		attrs[fmt.Sprintf("a%02d", i)] = strings.Repeat("v", 50)
	}
	data := `{"symbol":"AAPL","note":"` + strings.Repeat("x", 1000) + `"}`
	stranger := func(id string) post {
		return post{"dead-letters", "x", map[string]string{"dl_id": id, "reason": "theirs"}}
	}
	oldest := stranger("same")
	oldest.attrs["event_id"], oldest.attrs["published_at"] = "same", "2020-01-01T00:00:00Z"
	deliver(t, lake, settings(server), post{"market-data", data, attrs}, stranger("same-1"), oldest, stranger("same-2"))
	if _, err := lake.Letter(t.Context(), "sam"); !errors.Is(err, query.ErrInvalid) {
		t.Errorf("the start of three ids: %v", err)
	}
	for _, id := range []string{"same", "same-2"} {
		if l, err := lake.Letter(t.Context(), id); err != nil || l.ID != id {
			t.Errorf("Letter(%s) = %v, %v", id, l, err)
		}
	}
	letters := collect(t, lake, LetterFilter{Full: true, Types: []string{"market_data"}})
	if len(letters) != 1 || letters[0].PayloadRef == "" || len(letters[0].Attributes) >= 100 {
		t.Fatalf("letters %+v", letters)
	}
	whole, message, err := lake.LetterContents(t.Context(), &letters[0])
	if err != nil || message != nil || !maps.Equal(whole.Attributes, attrs) || string(whole.Record) != data {
		t.Errorf("whole %+v, message %v, %v", whole, message, err)
	}
	text, err := json.Marshal(whole)
	if err != nil || !bytes.Contains(text, []byte(`"payload_ref":"payloads/dead_letters/`)) {
		t.Errorf("%.300s, %v", text, err)
	}
}

// The policy goes only where it works.
func TestDeadLetterPolicy(t *testing.T) {
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	for _, tt := range []struct {
		name, endpoint, emulator string
		want                     bool
	}{
		{name: "an emulator of the environment", emulator: "127.0.0.1:1"},
		{name: "an embedded broker", endpoint: "127.0.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PUBSUB_EMULATOR_HOST", tt.emulator)
			b, err := dial(t.Context(), IngestConfig{Project: "test", Endpoint: tt.endpoint, Broker: config.Broker{}}, "")
			if err != nil {
				t.Fatal(err)
			}
			if b.policies != tt.want {
				t.Errorf("policies = %v", b.policies)
			}
			if err := b.close(); err != nil {
				t.Error(err)
			}
		})
	}
}
