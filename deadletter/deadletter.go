// Package deadletter keeps what could not be accepted: the record's own bytes,
// where it came from, and why.
//
// A Letter is made of a message and the verdict on one of its records, is
// published on the dead-letter topic (its attributes say everything, the
// data is the record), and comes from there into the lake as a row of the data
// type dead_letters.
//
// What always holds:
//
//   - a letter's id is a function of the record's identity, so a message that is
//     delivered twice gives one dead letter twice, never two;
//   - the record and the original attributes are kept whole: what a message on
//     the topic cannot carry is in an object that the letter refers to;
//   - whatever arrives on the dead-letter topic becomes a row; nothing there is
//     rejected.
//
// Package deadletter keeps no state and starts no goroutines.
package deadletter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// Reasons beside those of package schema.
const (
	Panic       schema.Reason = "panic"       // decoding the message panicked; the whole message is kept
	Undelivered schema.Reason = "undelivered" // the broker gave up delivering the message
	Foreign     schema.Reason = "foreign"     // not one of our dead letters; somebody published it there
)

// A Publisher publishes on the dead-letter topic.
type Publisher interface {
	// Publish returns nil only when the broker has the message. It may be called
	// again after an error, and by several goroutines. m stays the caller's.
	Publish(ctx context.Context, m *schema.Message) error
}

// A Letter is one dead letter.
type Letter struct {
	ID            string            `json:"dl_id"`
	DataType      string            `json:"data_type"` // what the record was to be; UnknownType where nobody knows
	Reason        schema.Reason     `json:"reason"`
	Field         string            `json:"field,omitempty"`
	Value         string            `json:"value,omitempty"`
	Explanation   string            `json:"explanation,omitempty"`
	SchemaVersion string            `json:"schema_version,omitempty"` // of the definition that judged
	MessageID     string            `json:"message_id,omitempty"`     // the broker's, of the original message
	RecordIndex   int32             `json:"record_index"`             // position in the original message
	PublishedAt   time.Time         `json:"published_at"`             // of the original message
	Attributes    map[string]string `json:"attributes,omitempty"`     // of the original message
	Record        []byte            `json:"record"`                   // the record's original bytes
	PayloadRef    string            `json:"payload_ref,omitempty"`    // the object that holds what is missing here
}

// UnknownType is the data type of a letter that does not tell.
const UnknownType = "unknown"

// New makes the letter of a rejected record. It keeps no reference to the
// message's data.
func New(def *schema.Definition, m *schema.Message, r *schema.Rejection) *Letter {
	id, at := schema.Identity(m)
	return &Letter{
		ID:            makeID(def.Name, id, r.Index, at),
		DataType:      def.Name,
		Reason:        r.Reason,
		Field:         r.Field,
		Value:         r.Value,
		Explanation:   r.Explanation,
		SchemaVersion: def.Version.String(),
		MessageID:     m.ID,
		RecordIndex:   r.Index,
		PublishedAt:   time.UnixMicro(at).UTC(),
		Attributes:    maps.Clone(m.Attributes),
		Record:        bytes.Clone(r.Record),
	}
}

// makeID hashes what identifies a record among all data types.
func makeID(dataType, id string, index int32, publishedAt int64) string {
	var numbers [12]byte
	binary.BigEndian.PutUint32(numbers[:4], uint32(index))
	binary.BigEndian.PutUint64(numbers[4:], uint64(publishedAt))
	h := sha256.New()
	for _, part := range [][]byte{[]byte(dataType), {0}, []byte(id), {0}, numbers[:]} {
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
