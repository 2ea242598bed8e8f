package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/schema"
)

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

// A topic keeps what is published, as a broker that enforces its limits.
type topic struct {
	messages []*schema.Message
	err      error
}

func (p *topic) Publish(_ context.Context, m *schema.Message) error {
	size := len(m.Data)
	for key, value := range m.Attributes {
		size += len(key) + len(value)
		if key == "" || len(key) > 256 || len(value) > 1024 || !utf8.ValidString(key+value) {
			return fmt.Errorf("attribute %.20q…: over the broker's limits", key)
		}
	}
	if len(m.Attributes) > 100 || size > 10_000_000 {
		return fmt.Errorf("%d attributes, %d bytes: over the broker's limits", len(m.Attributes), size)
	}
	if p.err != nil {
		return p.err
	}
	p.messages = append(p.messages, m)
	return nil
}

var published = time.Date(2024, 1, 15, 14, 30, 52, 123456000, time.UTC)

func message(attributes map[string]string) *schema.Message {
	return &schema.Message{ID: "4711", Data: []byte(`{"symbol":"AAPL"}`), PublishTime: published, Attributes: attributes}
}

var rejection = schema.Rejection{Index: 3, Reason: schema.MissingRequired, Field: "price", Value: "null",
	Explanation: "record 3: price is missing", Record: []byte(`{"symbol":"AAPL"}`)}

// arrive sends the letter and reads it back from a row of the lake.
func arrive(t *testing.T, l *Letter) (Letter, *schema.Message, *objstore.Mem) {
	t.Helper()
	var p topic
	mem := objstore.NewMem()
	if err := (&Writer{Topic: &p, Payloads: mem}).Send(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	m := p.messages[0]
	m.ID, m.PublishTime = "another", published.Add(time.Second)
	def := definition(t, "dead_letters")
	d, err := NewDecoder(def)
	if err != nil {
		t.Fatal(err)
	}
	rows := schema.NewColumns(def)
	if rejected := d.Decode(m, rows); len(rejected) != 0 {
		t.Fatalf("rejected: %v", rejected)
	}
	letters, err := FromRecord(rows.Record())
	if err != nil || len(letters) != 1 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	return letters[0], m, mem
}

func TestALetterComesBackWhole(t *testing.T) {
	def := definition(t, "market_data")
	for _, tt := range []struct {
		name       string
		attributes map[string]string
		change     func(*schema.Rejection)
	}{
		{name: "plain"},
		{name: "with attributes", attributes: map[string]string{"source": "yahoo", "symbol": "^VIX", "empty": ""}},
		{name: "of a message with an event id", attributes: map[string]string{"event_id": "x-1", "published_at": "2023-01-02T03:04:05.000006Z"}},
		{name: "binary", change: func(r *schema.Rejection) { r.Record = []byte{0, 0xff, 0xfe, '\n'} }},
		{name: "of an empty message", change: func(r *schema.Rejection) { r.Record = []byte{}; r.Reason = schema.EmptyPayload }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rejection
			if tt.change != nil {
				tt.change(&r)
			}
			l := New(def, message(tt.attributes), &r)
			want := *l
			got, m, mem := arrive(t, l)
			if len(got.Record) == 0 && len(want.Record) == 0 {
				got.Record, want.Record = nil, nil // the broker does not tell them apart
			}
			if got.Attributes == nil && len(want.Attributes) == 0 {
				want.Attributes = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("letter (-sent +read):\n%s", diff)
			}
			if id, at := schema.Identity(m); id != "e:"+l.ID || at != l.PublishedAt.UnixMicro() {
				t.Errorf("the row's identity is %s at %d, want the letter's", id, at)
			}
			for range mem.List(t.Context(), "", "") {
				t.Error("an object was written although everything fits")
			}
		})
	}
}

func TestWhatDoesNotFitGoesToAnObject(t *testing.T) {
	def := definition(t, "market_data")
	many := map[string]string{"event_id": "kept"}
	for i := range 120 {
		many[fmt.Sprintf("a%03d", i)] = "v"
	}
	for _, tt := range []struct {
		name       string
		attributes map[string]string
		record     []byte
		inMessage  bool // the record still travels in the message
	}{
		{name: "too many attributes", attributes: many, record: rejection.Record, inMessage: true},
		{name: "a long value", attributes: map[string]string{"k": strings.Repeat("x", 1025)}, record: rejection.Record, inMessage: true},
		{name: "a long key", attributes: map[string]string{strings.Repeat("k", 254): "v"}, record: rejection.Record, inMessage: true},
		{name: "a large record", record: bytes.Repeat([]byte{'x'}, maxDataBytes+1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rejection
			r.Record = tt.record
			l := New(def, message(tt.attributes), &r)
			got, _, mem := arrive(t, l)
			if got.PayloadRef == "" {
				t.Fatal("no payload_ref")
			}
			if (len(got.Record) > 0) != tt.inMessage {
				t.Errorf("%d bytes of the record in the message", len(got.Record))
			}
			if tt.attributes["event_id"] != "" && got.Attributes["event_id"] != "kept" {
				t.Error("the attribute that a replay needs most gave way to others")
			}
			whole, err := ReadPayload(t.Context(), mem, got.PayloadRef)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(whole.Record, l.Record) {
				t.Errorf("%d bytes of the record, want all %d", len(whole.Record), len(l.Record))
			}
			want := *l
			want.Record, whole.Record = nil, nil // Diff is slow on megabytes
			if want.Attributes == nil {
				whole.Attributes = nil
			}
			if diff := cmp.Diff(want, *whole); diff != "" {
				t.Errorf("letter (-sent +read):\n%s", diff)
			}
		})
	}
}

func TestTheBrokersLimitsAreKept(t *testing.T) {
	def := definition(t, "market_data")
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.IntRange(1000, 1300), func(n int) string { return "é" + strings.Repeat("x", n) }), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(rt *rapid.T) {
		attributes := rapid.MapOfN(text, text, 0, 130).Draw(rt, "attributes")
		r := schema.Rejection{Reason: schema.JSONSyntax, Field: text.Draw(rt, "field"), Value: text.Draw(rt, "value"),
			Explanation: text.Draw(rt, "explanation"), Record: []byte(text.Draw(rt, "record")), Index: rapid.Int32().Draw(rt, "index")}
		m := message(attributes)
		before := maps.Clone(attributes)
		l := New(def, m, &r)
		var p topic
		if err := (&Writer{Topic: &p, Payloads: objstore.NewMem()}).Send(t.Context(), l); err != nil {
			rt.Fatal(err)
		}
		if !maps.Equal(before, m.Attributes) {
			rt.Fatal("the message's attributes were changed")
		}
	})
}

func TestIDsAreOfTheRecordNotOfTheDelivery(t *testing.T) {
	market, options := definition(t, "market_data"), definition(t, "options_data")
	id := func(def *schema.Definition, change func(*schema.Message, *schema.Rejection)) string {
		m, r := message(map[string]string{}), rejection
		if change != nil {
			change(m, &r)
		}
		return New(def, m, &r).ID
	}
	base := id(market, nil)
	for _, tt := range []struct {
		name   string
		def    *schema.Definition
		change func(*schema.Message, *schema.Rejection)
		same   bool
	}{
		{name: "delivered again", def: market, same: true},
		{name: "judged in other words", def: market, same: true, change: func(_ *schema.Message, r *schema.Rejection) { r.Explanation = "" }},
		{name: "another record of the message", def: market, change: func(_ *schema.Message, r *schema.Rejection) { r.Index++ }},
		{name: "another message", def: market, change: func(m *schema.Message, _ *schema.Rejection) { m.ID = "4712" }},
		{name: "a restarted broker's message of that number", def: market, change: func(m *schema.Message, _ *schema.Rejection) { m.PublishTime = published.Add(1000) }},
		{name: "a producer's event of that number", def: market, change: func(m *schema.Message, _ *schema.Rejection) { m.Attributes["event_id"] = m.ID }},
		{name: "another data type", def: options},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := id(tt.def, tt.change); (got == base) != tt.same {
				t.Errorf("ids %s and %s, want the same: %v", base, got, tt.same)
			}
		})
	}
}

func TestStrangersAreKept(t *testing.T) {
	def := definition(t, "dead_letters")
	d, err := NewDecoder(def)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		data       []byte
		attributes map[string]string
		reason     schema.Reason
		dataType   string
		at         time.Time
	}{
		{name: "no attributes", data: []byte("hello"), reason: Foreign, dataType: UnknownType, at: published},
		{name: "neither data nor attributes", reason: Foreign, dataType: UnknownType, at: published},
		{name: "half an envelope", data: []byte("x"), attributes: map[string]string{"dl_id": "1"}, reason: Foreign, dataType: UnknownType, at: published},
		{name: "an envelope full of nonsense", data: []byte{0xff}, attributes: map[string]string{"dl_id": "1", "reason": "x", "event_id": "1", "record_index": "many", "published_at": "yesterday"},
			reason: "x", dataType: UnknownType, at: published},
		{name: "text that is none", data: []byte{0xff}, attributes: map[string]string{"dl_id": "\xff", "reason": "\xfe", "event_id": "\xff"}, reason: "\uFFFD", dataType: UnknownType, at: published},
		{name: "given up by the broker", data: []byte("{}"), attributes: map[string]string{
			"CloudPubSubDeadLetterSourceSubscription": "market-data-ingest", "CloudPubSubDeadLetterSourceDeliveryCount": "100",
			"CloudPubSubDeadLetterSourceTopicPublishTime": "2024-01-14T00:00:00.5Z", "source": "yahoo"},
			reason: Undelivered, dataType: "market_data", at: time.Date(2024, 1, 14, 0, 0, 0, 5e8, time.UTC)},
		{name: "given up, from the future", attributes: map[string]string{
			"CloudPubSubDeadLetterSourceSubscription": "mine", "CloudPubSubDeadLetterSourceTopicPublishTime": "2050-01-14T00:00:00Z"},
			reason: Undelivered, dataType: UnknownType, at: published},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := message(tt.attributes)
			m.Data = tt.data
			rows := schema.NewColumns(def)
			if rejected := d.Decode(m, rows); len(rejected) != 0 || rows.Len() != 1 {
				t.Fatalf("%d rows, rejected %v", rows.Len(), rejected)
			}
			letters, err := FromRecord(rows.Record())
			if err != nil {
				t.Fatal(err)
			}
			l := letters[0]
			if l.Reason != tt.reason || l.DataType != tt.dataType || !l.PublishedAt.Equal(tt.at) || !bytes.Equal(l.Record, tt.data) || l.ID == "" {
				t.Errorf("read %+v", l)
			}
			if want := l.PublishedAt.UnixMicro(); rows.EventMicros(0) != want {
				t.Errorf("event time %d, want %d", rows.EventMicros(0), want)
			}
		})
	}
}

// TestSendUnderFaults: whatever fails, a Send that returned nil has published a
// message whose payload can be read.
func TestSendUnderFaults(t *testing.T) {
	def := definition(t, "market_data")
	r := rejection
	r.Record = bytes.Repeat([]byte{'x'}, maxDataBytes+1)
	l := New(def, message(nil), &r)
	for _, lost := range []bool{false, true} {
		for k := 0; ; k++ {
			mem := objstore.NewMem()
			faults := &objtest.Faults{Store: mem, FailAt: k, Lost: lost}
			t.Run(fmt.Sprintf("lost=%v/op=%d", lost, k), func(t *testing.T) {
				var p topic
				w := &Writer{Topic: &p, Payloads: faults}
				tries := 1
				for ; w.Send(t.Context(), l) != nil; tries++ {
					if len(p.messages) > 0 {
						t.Fatal("published although Send failed before")
					}
				}
				if tries > 2 || len(p.messages) != 1 {
					t.Fatalf("%d tries, %d messages", tries, len(p.messages))
				}
				if _, err := ReadPayload(t.Context(), mem, p.messages[0].Attributes["payload_ref"]); err != nil {
					t.Error(err)
				}
			})
			if !faults.Fired() {
				break
			}
		}
	}
}

func TestABrokersRefusalIsReported(t *testing.T) {
	refused := errors.New("refused")
	w := &Writer{Topic: &topic{err: refused}, Payloads: objstore.NewMem()}
	if err := w.Send(t.Context(), New(definition(t, "market_data"), message(nil), &rejection)); !errors.Is(err, refused) {
		t.Errorf("error = %v", err)
	}
}
