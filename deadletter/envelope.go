package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// Limits of a message on the topic. The broker's own are 100, 256, 1,024 and
// 10,000,000 bytes in all.
const (
	maxAttributes = 100
	maxKeyBytes   = 256
	maxValueBytes = 1024
	maxDataBytes  = 9_000_000
)

// The attributes of a letter. event_id is its id once more: it makes the row in
// the lake the same row when the letter comes twice.
const (
	attrID            = "dl_id"
	attrEventID       = "event_id"
	attrDataType      = "data_type"
	attrReason        = "reason"
	attrField         = "field"
	attrValue         = "value"
	attrExplanation   = "explanation"
	attrSchemaVersion = "schema_version"
	attrMessageID     = "message_id"
	attrRecordIndex   = "record_index"
	attrPublishedAt   = "published_at"
	attrTopic         = "topic"
	attrOrderingKey   = "ordering_key"
	attrAttempt       = "delivery_attempt"
	attrForm          = "data_form"
	attrPayloadRef    = "payload_ref"
	ownAttributes     = 16

	originalPrefix = "attr." // of the original message's attributes
)

// timeLayout is RFC 3339 with microseconds.
const timeLayout = "2006-01-02T15:04:05.000000Z07:00"

// A Writer sends letters.
type Writer struct {
	Topic    Publisher
	Payloads objstore.Writer // for what does not fit into a message
}

// Send returns nil only when the letter is durable. It may be called again after
// an error, also by another process: the broker may then have it twice, which
// its id mends.
func (w *Writer) Send(ctx context.Context, l *Letter) error {
	m, fits := l.Message()
	if !fits {
		name, body, err := l.payload()
		if err != nil {
			return fmt.Errorf("dead letter %s: encode payload: %w", l.ID, err)
		}
		if err := w.create(ctx, name, body); err != nil {
			return fmt.Errorf("dead letter %s: write payload: %w", l.ID, err)
		}
		m.Attributes[attrPayloadRef] = name
	}
	if err := w.Topic.Publish(ctx, m); err != nil {
		return fmt.Errorf("dead letter %s: publish: %w", l.ID, err)
	}
	return nil
}

// create makes an object whose name holds a hash of its bytes, so that what
// exists there is this.
func (w *Writer) create(ctx context.Context, name string, body []byte) error {
	if _, err := w.Payloads.Create(ctx, name, body, nil); err != nil && !errors.Is(err, objstore.ErrExist) {
		return err
	}
	return nil
}

// Message is the letter as it is published, and whether all of it fits. Where it
// does not, data over the limit is left out, as are attributes over theirs.
func (l *Letter) Message() (m *schema.Message, fits bool) {
	a := l.own()
	for key, value := range a {
		a[key] = bound(value)
	}
	fits = addOriginal(a, l.Attributes) && len(l.OrderingKey) <= maxValueBytes && utf8.ValidString(l.OrderingKey)
	m = &schema.Message{Data: l.Record, Attributes: a}
	if len(m.Data) > maxDataBytes {
		m.Data, fits = nil, false
	}
	return m, fits
}

// own gives the attributes of the letter itself, those that say something.
func (l *Letter) own() map[string]string {
	a := make(map[string]string, ownAttributes+len(l.Attributes))
	for key, value := range map[string]string{
		attrID:            l.ID,
		attrEventID:       l.ID,
		attrDataType:      l.DataType,
		attrReason:        string(l.Reason),
		attrField:         l.Field,
		attrValue:         l.Value,
		attrExplanation:   l.Explanation,
		attrSchemaVersion: l.SchemaVersion,
		attrMessageID:     l.MessageID,
		attrRecordIndex:   strconv.Itoa(int(l.RecordIndex)),
		attrPublishedAt:   l.PublishedAt.UTC().Format(timeLayout),
		attrTopic:         l.Topic,
		attrOrderingKey:   l.OrderingKey,
		attrForm:          string(l.Form),
		attrPayloadRef:    l.PayloadRef,
	} {
		if value != "" {
			a[key] = value
		}
	}
	if l.Attempt > 0 {
		a[attrAttempt] = strconv.Itoa(int(l.Attempt))
	}
	return a
}

// addOriginal adds the original attributes, those that matter for a replay
// first, and says whether all of them fit.
func addOriginal(a, original map[string]string) (all bool) {
	all = true
	room := maxAttributes - ownAttributes
	keys := slices.SortedFunc(maps.Keys(original), func(x, y string) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x, y))
	})
	for _, key := range keys {
		name, value := originalPrefix+key, original[key]
		if room == 0 || len(name) > maxKeyBytes || len(value) > maxValueBytes || !utf8.ValidString(name) || !utf8.ValidString(value) {
			all = false
			continue
		}
		a[name] = value
		room--
	}
	return all
}

// rank orders attributes by what a replay loses without them.
func rank(key string) int {
	switch {
	case key == attrEventID, key == attrPublishedAt:
		return 0
	case key == attrSchemaVersion, strings.HasPrefix(key, "content_"), strings.HasPrefix(key, "googclient_schema"):
		return 1
	case key == "source", key == "symbol", key == "message_type", key == "timestamp":
		return 2
	}
	return 3
}

// bound cuts s to what an attribute holds, and not through a character.
func bound(s string) string {
	s = valid(s)
	if len(s) <= maxValueBytes {
		return s
	}
	cut := maxValueBytes - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// valid is s with what is not UTF-8 replaced; a broker delivers none of that.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Parse reads a message that arrived on the dead-letter topic. Any message is a
// letter: one that is not ours is Foreign or, from the broker's own dead-letter
// policy, Undelivered. The letter's record is the message's data, not a copy.
func Parse(m *schema.Message) *Letter {
	if m.Attributes[attrID] == "" || m.Attributes[attrReason] == "" {
		if _, ok := m.Attributes[policySubscription]; ok {
			return giveUp("", "", m)
		}
		return foreign(m)
	}
	_, at := schema.Identity(m)
	text := func(name string) string { return valid(m.Attributes[name]) }
	number := func(name string) int32 {
		n, _ := strconv.ParseInt(m.Attributes[name], 10, 32) // 0 will do
		return int32(n)
	}
	l := &Letter{
		ID:            text(attrID),
		DataType:      cmp.Or(text(attrDataType), UnknownType),
		Reason:        schema.Reason(text(attrReason)),
		Field:         text(attrField),
		Value:         text(attrValue),
		Explanation:   text(attrExplanation),
		SchemaVersion: text(attrSchemaVersion),
		MessageID:     text(attrMessageID),
		RecordIndex:   number(attrRecordIndex),
		PublishedAt:   time.UnixMicro(at).UTC(),
		Topic:         text(attrTopic),
		OrderingKey:   text(attrOrderingKey),
		Attributes:    map[string]string{},
		Form:          Form(text(attrForm)),
		Record:        m.Data,
		PayloadRef:    text(attrPayloadRef),
	}
	if l.Reason == Undelivered { // elsewhere it is of one delivery and not of the record
		l.Attempt = max(number(attrAttempt), 0)
	}
	for key, value := range m.Attributes {
		if original, ok := strings.CutPrefix(key, originalPrefix); ok {
			l.Attributes[valid(original)] = valid(value)
		}
	}
	return l
}

// foreign is the letter of a message that somebody else published on the topic.
func foreign(m *schema.Message) *Letter {
	id, at := schema.Identity(m)
	return &Letter{
		ID: makeID(UnknownType, id, 0, at), DataType: UnknownType, Reason: Foreign,
		Explanation: "not a dead letter of this pipeline: no attributes dl_id and reason",
		MessageID:   valid(m.ID), PublishedAt: time.UnixMicro(at).UTC(), OrderingKey: valid(m.OrderingKey),
		Attributes: validAll(m.Attributes), Form: WholeMessage, Record: m.Data,
	}
}

func validAll(a map[string]string) map[string]string {
	all := make(map[string]string, len(a))
	for key, value := range a {
		all[valid(key)] = valid(value)
	}
	return all
}
