package deadletter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// payloads is where the objects are that letters refer to.
const payloads = "payloads/dead_letters/"

// letterJSON is a letter as JSON, in a payload object and for people: text where
// it is text, base64 where it is not.
type letterJSON struct {
	ID               string            `json:"dl_id,omitempty"`
	DataType         string            `json:"data_type,omitempty"`
	Reason           schema.Reason     `json:"reason,omitempty"`
	Field            string            `json:"field,omitempty"`
	Value            string            `json:"value,omitempty"`
	Explanation      string            `json:"explanation,omitempty"`
	SchemaVersion    string            `json:"schema_version,omitempty"`
	MessageID        string            `json:"message_id,omitempty"`
	RecordIndex      int32             `json:"record_index"`
	PublishedAt      time.Time         `json:"published_at"`
	Topic            string            `json:"topic,omitempty"`
	OrderingKey      string            `json:"ordering_key,omitempty"`
	Attempt          int32             `json:"delivery_attempt,omitempty"`
	Attributes       map[string]string `json:"attributes,omitempty"`
	AttributesBase64 [][2][]byte       `json:"attributes_base64,omitempty"` // key and value of those that are not UTF-8
	Form             Form              `json:"data_form,omitempty"`
	Data             *string           `json:"data,omitempty"`
	DataBase64       []byte            `json:"data_base64,omitempty"` // where the record is not UTF-8
	PayloadRef       string            `json:"payload_ref,omitempty"`
}

// MarshalJSON writes the letter under the names of its attributes on the topic.
// The record is the text data or, where it is not UTF-8, data_base64.
func (l Letter) MarshalJSON() ([]byte, error) {
	j := letterJSON{
		ID: l.ID, DataType: l.DataType, Reason: l.Reason, Field: l.Field, Value: l.Value, Explanation: l.Explanation,
		SchemaVersion: l.SchemaVersion, MessageID: l.MessageID, RecordIndex: l.RecordIndex, PublishedAt: l.PublishedAt,
		Topic: l.Topic, OrderingKey: l.OrderingKey, Attempt: l.Attempt, Form: l.Form, PayloadRef: l.PayloadRef,
	}
	for key, value := range l.Attributes {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			j.AttributesBase64 = append(j.AttributesBase64, [2][]byte{[]byte(key), []byte(value)})
			continue
		}
		if j.Attributes == nil {
			j.Attributes = make(map[string]string, len(l.Attributes))
		}
		j.Attributes[key] = value
	}
	slices.SortFunc(j.AttributesBase64, func(a, b [2][]byte) int { return bytes.Compare(a[0], b[0]) })
	switch {
	case l.Record != nil && utf8.Valid(l.Record):
		text := string(l.Record)
		j.Data = &text
	case l.Record != nil:
		j.DataBase64 = l.Record
	}
	return json.Marshal(&j)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Letter) UnmarshalJSON(text []byte) error {
	var j letterJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	*l = Letter{
		ID: j.ID, DataType: j.DataType, Reason: j.Reason, Field: j.Field, Value: j.Value, Explanation: j.Explanation,
		SchemaVersion: j.SchemaVersion, MessageID: j.MessageID, RecordIndex: j.RecordIndex, PublishedAt: j.PublishedAt,
		Topic: j.Topic, OrderingKey: j.OrderingKey, Attempt: j.Attempt, Attributes: j.Attributes, Form: j.Form,
		Record: j.DataBase64, PayloadRef: j.PayloadRef,
	}
	if j.Data != nil {
		l.Record = []byte(*j.Data)
	}
	if l.Attributes == nil && len(j.AttributesBase64) > 0 {
		l.Attributes = map[string]string{}
	}
	for _, pair := range j.AttributesBase64 {
		l.Attributes[string(pair[0])] = string(pair[1])
	}
	return nil
}

// payload is the whole letter as an object. Its name is a function of its bytes,
// and these of the record: how often it was delivered is left out.
func (l *Letter) payload() (name string, body []byte, err error) {
	whole := *l
	whole.Attempt = 0
	if body, err = json.Marshal(whole); err != nil {
		return "", nil, err
	}
	return payloads + l.ID + "-" + shortHash(body), body, nil
}

func shortHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// An Original is a message kept whole, as an object: the letters of records that
// mean nothing without it refer to it. All letters of a message share one.
type Original struct {
	Name string // the object's; a function of the message
	body []byte
}

// NewOriginal makes the object of a message of def's topic. It keeps no reference
// to the message's data.
func NewOriginal(def *schema.Definition, m *schema.Message) (*Original, error) {
	id, at := schema.Identity(m)
	body, err := json.Marshal(Letter{
		DataType: def.Name, MessageID: m.ID, PublishedAt: time.UnixMicro(at).UTC(), Topic: def.Topic, OrderingKey: m.OrderingKey,
		Attributes: maps.Clone(m.Attributes), Form: WholeMessage, Record: m.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("message %s: encode: %w", m.ID, err)
	}
	return &Original{Name: payloads + "message-" + makeID(def.Name, id, 0, at) + "-" + shortHash(body), body: body}, nil
}

// Refer makes the letter refer to the message it came in. A letter that does not
// fit into a message refers to an object of its own, which refers to this one.
func (l *Letter) Refer(o *Original) { l.PayloadRef = o.Name }

// Size is the memory that the object takes until it is written.
func (o *Original) Size() int64 { return int64(len(o.body)) }

// Keep returns nil only when the original is durable. It may be called again.
func (w *Writer) Keep(ctx context.Context, o *Original) error {
	if err := w.create(ctx, o.Name, o.body); err != nil {
		return fmt.Errorf("keep the message of dead letters: %w", err)
	}
	return nil
}

// ReadPayload reads the object that a payload_ref names: a whole letter, or a
// message without a verdict.
func ReadPayload(ctx context.Context, r objstore.Reader, ref string) (*Letter, error) {
	if !strings.HasPrefix(ref, payloads) { // anybody who may publish may name anything
		return nil, fmt.Errorf("read dead letter payload %q: it is not under %s, so it was not written by this pipeline", ref, payloads)
	}
	body, err := r.Read(ctx, ref, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read dead letter payload: %w", err)
	}
	l := &Letter{}
	if err := json.Unmarshal(body, l); err != nil {
		return nil, fmt.Errorf("read dead letter payload %s: %w", ref, err)
	}
	return l, nil
}

// Whole follows a letter's references: it gives the letter with nothing left out,
// and the message that the record came in where that is kept, else nil. Both keep
// the letter's PayloadRef.
func Whole(ctx context.Context, r objstore.Reader, l *Letter) (whole, original *Letter, err error) {
	whole = l
	for ref, hops := l.PayloadRef, 0; ref != "" && hops < 2; hops++ {
		p, err := ReadPayload(ctx, r, ref)
		if err != nil {
			return nil, nil, err
		}
		ref, p.PayloadRef = p.PayloadRef, l.PayloadRef
		if p.Reason == "" {
			original = p
			break
		}
		whole = p
	}
	return whole, original, nil
}
