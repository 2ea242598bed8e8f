package deadletter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	attrPayloadRef    = "payload_ref"
	ownAttributes     = 12

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
		// The name holds a hash of the bytes, so what exists there is this.
		if _, err := w.Payloads.Create(ctx, name, body, nil); err != nil && !errors.Is(err, objstore.ErrExist) {
			return fmt.Errorf("dead letter %s: write payload: %w", l.ID, err)
		}
		m.Attributes[attrPayloadRef] = name
	}
	if err := w.Topic.Publish(ctx, m); err != nil {
		return fmt.Errorf("dead letter %s: publish: %w", l.ID, err)
	}
	return nil
}

// Message is the letter as it is published, and whether all of it fits. Where it
// does not, data over the limit is left out, as are attributes over theirs.
func (l *Letter) Message() (m *schema.Message, fits bool) {
	a := make(map[string]string, ownAttributes+len(l.Attributes))
	for key, value := range map[string]string{
		attrID:            l.ID,
		attrEventID:       l.ID,
		attrDataType:      l.DataType,
		attrReason:        string(l.Reason),
		attrField:         bound(l.Field),
		attrValue:         bound(l.Value),
		attrExplanation:   bound(l.Explanation),
		attrSchemaVersion: l.SchemaVersion,
		attrMessageID:     bound(l.MessageID),
		attrRecordIndex:   strconv.Itoa(int(l.RecordIndex)),
		attrPublishedAt:   l.PublishedAt.UTC().Format(timeLayout),
		attrPayloadRef:    l.PayloadRef,
	} {
		if value != "" {
			a[key] = value
		}
	}
	m = &schema.Message{Data: l.Record, Attributes: a}
	fits = addOriginal(a, l.Attributes)
	if len(m.Data) > maxDataBytes {
		m.Data, fits = nil, false
	}
	return m, fits
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
	}
	return 2
}

// bound cuts s to what an attribute holds, and not through a character.
func bound(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxValueBytes {
		return s
	}
	cut := maxValueBytes - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// payload is the whole letter as an object. Its name is a function of its bytes.
func (l *Letter) payload() (name string, body []byte, err error) {
	whole := *l
	whole.PayloadRef = ""
	if body, err = json.Marshal(&whole); err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(body)
	return "payloads/dead_letters/" + l.ID + "-" + hex.EncodeToString(sum[:8]), body, nil
}

// ReadPayload reads the whole letter that a payload_ref names.
func ReadPayload(ctx context.Context, r objstore.Reader, ref string) (*Letter, error) {
	body, err := r.Read(ctx, ref, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read dead letter payload: %w", err)
	}
	l := &Letter{}
	if err := json.Unmarshal(body, l); err != nil {
		return nil, fmt.Errorf("read dead letter payload %s: %w", ref, err)
	}
	l.PayloadRef = ref
	return l, nil
}

// Parse reads a message that arrived on the dead-letter topic. Any message is a
// letter: one that is not ours is Foreign or, from the broker's own dead-letter
// policy, Undelivered.
func Parse(m *schema.Message) *Letter {
	id, at := schema.Identity(m)
	l := &Letter{PublishedAt: time.UnixMicro(at).UTC(), Record: m.Data}
	if m.Attributes[attrID] == "" || m.Attributes[attrReason] == "" {
		l.stranger(m)
		l.ID = makeID(l.DataType, id, 0, at)
		return l
	}
	l.Attributes = map[string]string{}
	for key, value := range m.Attributes {
		if original, ok := strings.CutPrefix(key, originalPrefix); ok {
			l.Attributes[original] = value
		}
	}
	l.ID = m.Attributes[attrID]
	l.DataType = cmp.Or(m.Attributes[attrDataType], UnknownType)
	l.Reason = schema.Reason(m.Attributes[attrReason])
	l.Field = m.Attributes[attrField]
	l.Value = m.Attributes[attrValue]
	l.Explanation = m.Attributes[attrExplanation]
	l.SchemaVersion = m.Attributes[attrSchemaVersion]
	l.MessageID = m.Attributes[attrMessageID]
	l.PayloadRef = m.Attributes[attrPayloadRef]
	index, _ := strconv.ParseInt(m.Attributes[attrRecordIndex], 10, 32) // 0 will do
	l.RecordIndex = int32(index)
	return l
}

// What the broker's own dead-letter policy adds to a message.
const (
	policyCount        = "CloudPubSubDeadLetterSourceDeliveryCount"
	policySubscription = "CloudPubSubDeadLetterSourceSubscription"
	policyPublishTime  = "CloudPubSubDeadLetterSourceTopicPublishTime"
)

// stranger fills in what can be told of a message that is no letter of ours.
func (l *Letter) stranger(m *schema.Message) {
	l.MessageID, l.DataType, l.Attributes = m.ID, UnknownType, m.Attributes
	subscription, ok := m.Attributes[policySubscription]
	if !ok {
		l.Reason = Foreign
		l.Explanation = "not a dead letter of this pipeline: no attributes dl_id and reason"
		return
	}
	l.Reason = Undelivered
	l.Explanation = fmt.Sprintf("subscription %s gave up after %s deliveries", subscription, cmp.Or(m.Attributes[policyCount], "too many"))
	if topic, ok := strings.CutSuffix(subscription, "-ingest"); ok && topic != "" {
		l.DataType = strings.ReplaceAll(topic, "-", "_")
	}
	t, err := time.Parse(time.RFC3339Nano, m.Attributes[policyPublishTime])
	if err == nil && t.Year() >= 1900 && !t.After(m.PublishTime) {
		l.PublishedAt = t.UTC().Truncate(time.Microsecond)
	}
}
