package deadletter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// sameLetter compares letters; a broker does not tell nothing from empty.
var sameLetter = cmpopts.EquateEmpty()

func named(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("a%03d", i)] = "v"
	}
	return all
}

// TestEachLimit: at a limit everything is in the message, beyond it everything is
// in the object, and the row refers to it.
func TestEachLimit(t *testing.T) {
	def := definition(t, "market_data")
	most := maxAttributes - ownAttributes
	for _, tt := range []struct {
		name       string
		attributes map[string]string
		key        string // ordering key
		size       int    // of the record; 0: small
		fits       bool
	}{
		{name: "as many attributes as there is room for", attributes: named(most), fits: true},
		{name: "one attribute more", attributes: named(most + 1)},
		{name: "100 attributes", attributes: named(100)},
		{name: "a value of 1024 bytes", attributes: map[string]string{"k": strings.Repeat("v", 1024)}, fits: true},
		{name: "a value of 1025 bytes", attributes: map[string]string{"k": strings.Repeat("v", 1025)}},
		{name: "a key of 251 bytes", attributes: map[string]string{strings.Repeat("k", 251): "v"}, fits: true},
		{name: "a key of 252 bytes", attributes: map[string]string{strings.Repeat("k", 252): "v"}},
		{name: "a value that is not UTF-8", attributes: map[string]string{"k": "a\xffb", "l": "fine"}},
		{name: "a key that is not UTF-8", attributes: map[string]string{"\xc3": "v"}},
		{name: "an ordering key", key: "AAPL", fits: true},
		{name: "an ordering key of 1025 bytes", key: strings.Repeat("k", 1025)},
		{name: "a record of 9 MB", size: 9_000_000, attributes: named(most), fits: true},
		{name: "a record of 9 MB and a byte", size: 9_000_001},
		{name: "a message of 10 MB", size: 10_000_000, attributes: named(100)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, r := message(tt.attributes), rejection
			m.OrderingKey = tt.key
			if tt.size > 0 {
				m.Data = bytes.Repeat([]byte{'x', 0xff}, tt.size/2+1)[:tt.size]
				r.Record = m.Data
			}
			l := New(def, m, &r)
			got, sent, mem := arrive(t, l)
			if (got.PayloadRef == "") != tt.fits {
				t.Fatalf("payload_ref %q, want one: %v", got.PayloadRef, !tt.fits)
			}
			if len(sent.Attributes) > maxAttributes {
				t.Errorf("%d attributes", len(sent.Attributes))
			}
			whole, original, err := Whole(t.Context(), mem, &got)
			if err != nil || original != nil {
				t.Fatalf("original %v, %v", original, err)
			}
			want := *l
			want.PayloadRef = got.PayloadRef
			if !bytes.Equal(whole.Record, want.Record) {
				t.Errorf("%d bytes of the record, want %d", len(whole.Record), len(want.Record))
			}
			whole.Record, want.Record = nil, nil // Diff is slow on megabytes
			if diff := cmp.Diff(&want, whole, sameLetter); diff != "" {
				t.Errorf("letter (-made +whole):\n%s", diff)
			}
		})
	}
}

func TestWhatALetterKeepsOfTheMessage(t *testing.T) {
	def := definition(t, "market_data")
	m := message(map[string]string{"source": "yahoo"})
	m.OrderingKey = "AAPL"
	l := New(def, m, &rejection)
	l.Attempt = 7
	got, sent, _ := arrive(t, l)
	for name, want := range map[string]string{"topic": "market-data", "ordering_key": "AAPL", "delivery_attempt": "7", "data_form": "message",
		"message_id": "4711", "record_index": "3", "published_at": "2024-01-15T14:30:52.123456Z", "attr.source": "yahoo", "schema_version": "v1.2.0"} {
		if sent.Attributes[name] != want {
			t.Errorf("attribute %s = %q, want %q", name, sent.Attributes[name], want)
		}
	}
	if got.Topic != "market-data" || got.OrderingKey != "AAPL" || got.Form != WholeMessage {
		t.Errorf("read %+v", got)
	}
	if got.Attempt != 0 {
		t.Errorf("attempt %d: the row must not depend on the delivery", got.Attempt)
	}
	once, _, _ := arrive(t, New(def, m, &rejection))
	if diff := cmp.Diff(once, got); diff != "" {
		t.Errorf("the rows of two deliveries differ:\n%s", diff)
	}
}

// The object's name, too, is of the record and not of the delivery.
func TestAPayloadIsOneObjectHoweverOftenItIsDelivered(t *testing.T) {
	l := New(definition(t, "market_data"), message(named(100)), &rejection)
	mem, p := objstore.NewMem(), &topic{}
	for l.Attempt = 1; l.Attempt < 4; l.Attempt++ {
		if err := (&Writer{Topic: p, Payloads: mem}).Send(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range mem.List(t.Context(), "", "") {
		n++
	}
	if n != 1 {
		t.Errorf("%d objects, want 1", n)
	}
}

func TestFormsOfRecords(t *testing.T) {
	m := message(nil)
	for _, tt := range []struct {
		name string
		r    schema.Rejection
		want Form
	}{
		{"the payload", schema.Rejection{Record: m.Data}, WholeMessage},
		{"a part of it", schema.Rejection{Record: m.Data[1:]}, OneRecord},
		{"out of a container", schema.Rejection{Record: m.Data, Rendered: true}, Rendered},
	} {
		if got := New(definition(t, "market_data"), m, &tt.r).Form; got != tt.want {
			t.Errorf("%s: form %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestRecordsOfAContainerShareTheirMessage: also where a record's JSON and the
// message's attributes are too much for a message on the topic.
func TestRecordsOfAContainerShareTheirMessage(t *testing.T) {
	def := definition(t, "market_data")
	m := message(named(100))
	m.Data, m.OrderingKey = []byte("Obj\x01\xff\x00binary"), "AAPL"
	original, err := NewOriginal(def, m)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := NewOriginal(def, m); again.Name != original.Name {
		t.Error("the same message has two names")
	}
	mem, p := objstore.NewMem(), &topic{}
	w := &Writer{Topic: p, Payloads: mem}
	for range 2 {
		if err := w.Keep(t.Context(), original); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name       string
		attributes map[string]string
		size       int
	}{{"small", nil, 20}, {"too many attributes", m.Attributes, 20}, {"too large", nil, 9_000_001}} {
		t.Run(tt.name, func(t *testing.T) {
			r := rejection
			r.Record, r.Rendered = bytes.Repeat([]byte{'x'}, tt.size), true
			n := *m
			n.Attributes = tt.attributes
			l := New(def, &n, &r)
			l.Refer(original)
			if err := w.Send(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			got := Parse(p.messages[len(p.messages)-1])
			whole, message, err := Whole(t.Context(), mem, got)
			if err != nil || message == nil {
				t.Fatalf("message %v, %v", message, err)
			}
			if !bytes.Equal(whole.Record, r.Record) || !maps.Equal(whole.Attributes, l.Attributes) {
				t.Errorf("%d bytes, %d attributes of the letter", len(whole.Record), len(whole.Attributes))
			}
			if !bytes.Equal(message.Record, m.Data) || !maps.Equal(message.Attributes, m.Attributes) || message.MessageID != m.ID ||
				message.OrderingKey != "AAPL" || message.Topic != "market-data" || !message.PublishedAt.Equal(published) {
				t.Errorf("message %+v", message)
			}
		})
	}
}

func TestReferencesLeadNowhereElse(t *testing.T) {
	mem := objstore.NewMem()
	if _, err := mem.Create(t.Context(), "metadata/secret", []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"metadata/secret", "/etc/passwd", "payloads/dead_letters/gone"} {
		if _, _, err := Whole(t.Context(), mem, &Letter{PayloadRef: ref}); err == nil {
			t.Errorf("%s was read", ref)
		}
	}
	loop := Letter{ID: "x", Reason: "y", PayloadRef: "payloads/dead_letters/loop"} // an object that names itself
	body, _ := json.Marshal(loop)
	if _, err := mem.Create(t.Context(), loop.PayloadRef, body, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Whole(t.Context(), mem, &loop); err != nil {
		t.Error(err)
	}
}

func TestUndeliveredMessages(t *testing.T) {
	policy := map[string]string{
		"CloudPubSubDeadLetterSourceDeliveryCount": "100", "CloudPubSubDeadLetterSourceSubscription": "market-data-ingest",
		"CloudPubSubDeadLetterSourceSubscriptionProject": "p", "CloudPubSubDeadLetterSourceTopicPublishTime": "2024-01-14T00:00:00.5Z",
		"CloudPubSubDeadLetterSourceDeliveryErrorMessage": "deadline\x1b[31m"}
	original := map[string]string{"source": "yahoo", "event_id": "e-1", "dl_id": "of the publisher", "reason": "his own", "long": strings.Repeat("v", 1024)}
	maps.Copy(original, named(90))
	read := func(t *testing.T, id string, change func(map[string]string)) (Letter, string) {
		m := message(maps.Clone(original))
		m.ID, m.OrderingKey = id, "AAPL"
		maps.Copy(m.Attributes, policy)
		if change != nil {
			change(m.Attributes)
		}
		def := definition(t, "dead_letters")
		d, err := NewDecoder(def)
		if err != nil {
			t.Fatal(err)
		}
		envelope := Adopt("market_data", "market-data", m)
		rows := schema.NewColumns(def)
		d.Decode(&envelope, rows)
		letters, err := FromRecord(rows.Record())
		if err != nil || len(letters) != 1 {
			t.Fatalf("%d letters, %v", len(letters), err)
		}
		identity, _ := schema.Identity(&envelope)
		return letters[0], identity
	}
	got, identity := read(t, "1", nil)
	want := Letter{ID: got.ID, DataType: "market_data", Reason: Undelivered, Topic: "market-data", OrderingKey: "AAPL", MessageID: "1", Attempt: 100,
		Explanation: "subscription market-data-ingest gave up after 100 deliveries: deadline\x1b[31m", Attributes: original,
		PublishedAt: time.Date(2024, 1, 14, 0, 0, 0, 5e8, time.UTC), Form: WholeMessage, Record: []byte(`{"symbol":"AAPL"}`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("letter (-want +got):\n%s", diff)
	}
	if identity != "e:"+got.ID {
		t.Errorf("identity %s", identity)
	}
	for _, tt := range []struct {
		name   string
		change func(map[string]string)
		same   bool
	}{
		{name: "moved twice by the broker", same: true},
		{name: "another event", change: func(a map[string]string) { a["event_id"] = "e-2" }},
		{name: "published at another time", change: func(a map[string]string) {
			a["CloudPubSubDeadLetterSourceTopicPublishTime"] = "2024-01-14T00:00:00.6Z"
		}},
		{name: "without the time of publishing", change: func(a map[string]string) { delete(a, "CloudPubSubDeadLetterSourceTopicPublishTime") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			again, _ := read(t, "2", tt.change)
			if (again.ID == got.ID) != tt.same {
				t.Errorf("ids %s and %s, want the same: %v", got.ID, again.ID, tt.same)
			}
		})
	}
	t.Run("put there by hand", func(t *testing.T) {
		got, _ := read(t, "3", func(a map[string]string) {
			maps.DeleteFunc(a, func(k, _ string) bool { return strings.HasPrefix(k, "CloudPubSub") })
		})
		if got.Reason != Undelivered || got.DataType != "market_data" || !got.PublishedAt.Equal(published) || got.Attempt != 0 {
			t.Errorf("read %+v", got)
		}
	})
}

// FuzzParse: whatever arrives is one row, and the row says what the message said.
func FuzzParse(f *testing.F) {
	f.Add([]byte("{}"), "dl_id", "1", "reason", "x", "attr.k", "v", "7", int64(1705329052), false)
	f.Add([]byte{0xff}, "dl_id", "\xff", "reason", "\x00", "record_index", "-9", "\xfe", int64(-62135596800), false)
	f.Add([]byte(nil), "CloudPubSubDeadLetterSourceSubscription", "a-ingest", "CloudPubSubDeadLetterSourceDeliveryCount", "99999999999", "", "", "", int64(0), true)
	f.Add([]byte("x"), "event_id", "", "published_at", "1900-01-01T00:00:00Z", "payload_ref", "../..", "9", int64(253402300800), true)
	r, err := schema.Builtin()
	if err != nil {
		f.Fatal(err)
	}
	def, _ := r.Latest("dead_letters")
	f.Fuzz(func(t *testing.T, data []byte, k1, v1, k2, v2, k3, v3, id string, published int64, adopt bool) {
		for _, s := range []string{k1, k2, k3} {
			if !utf8.ValidString(s) {
				return // a broker's keys are UTF-8; two that are not may become one
			}
		}
		published %= 1 << 38
		m := schema.Message{ID: id, Data: data, PublishTime: time.Unix(published, 0), Attributes: map[string]string{k1: v1, k2: v2, k3: v3}}
		if adopt {
			m = Adopt("market_data", "market-data", &m)
		}
		d, err := NewDecoder(def)
		if err != nil {
			t.Fatal(err)
		}
		rows := schema.NewColumns(def)
		if rejected := d.Decode(&m, rows); len(rejected) != 0 || rows.Len() != 1 {
			t.Fatalf("%d rows, rejected %v", rows.Len(), rejected)
		}
		got, err := FromRecord(rows.Record())
		if err != nil || len(got) != 1 {
			t.Fatalf("%d letters, %v", len(got), err)
		}
		if diff := cmp.Diff(*Parse(&m), got[0], sameLetter); diff != "" {
			t.Errorf("letter (-parsed +read):\n%s", diff)
		}
		if adopt && (got[0].Reason != Undelivered || !bytes.Equal(got[0].Record, data)) {
			t.Errorf("adopted as %+v", got[0])
		}
		text, err := json.Marshal(got[0])
		if err != nil {
			if y := got[0].PublishedAt.Year(); y >= 0 && y <= 9999 {
				t.Fatal(err)
			}
			return
		}
		var again Letter
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got[0], again, sameLetter); diff != "" {
			t.Errorf("letter (-read +as JSON):\n%s", diff)
		}
	})
}
