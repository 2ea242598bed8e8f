// Package deadletter keeps what could not be accepted: the record's own bytes,
// where it came from, and why.
//
// A Letter is made of a message and the verdict on one of its records, is
// published on the dead-letter topic (its attributes say everything, the
// data is the record), and comes from there into the lake as a row of the data
// type dead_letters. A message that the broker gave up on comes in beside it, from
// the topic <topic>-undelivered.
//
// What always holds:
//
//   - a letter's id and contents are a function of the record and not of its
//     delivery, so a message that is delivered twice gives one dead letter twice,
//     never two;
//   - the record and the original attributes are kept whole: what a message on
//     the topic cannot carry is in an object that the letter refers to, and so is
//     the message that a record out of a binary container came in;
//   - whatever arrives on the dead-letter topic becomes a row; nothing there is
//     rejected.
//
// A letter may come again, as a Replay, under the identity that it had; which have is
// noted beside them.
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
	Panic       schema.Reason = "panic"       // decoding the record panicked; or the message, which is kept whole then
	Quarantined schema.Reason = "quarantined" // the process died again and again while decoding the message; it was not judged
	Undelivered schema.Reason = "undelivered" // the broker gave up delivering the message
	Foreign     schema.Reason = "foreign"     // not one of our dead letters; somebody published it there
)

// A Publisher publishes on the dead-letter topic.
type Publisher interface {
	// Publish returns nil only when the broker has the message. It may be called
	// again after an error, and by several goroutines. m stays the caller's.
	Publish(ctx context.Context, m *schema.Message) error
}

// A Form says what the bytes of a letter's record are, which decides how a replay
// sends them.
type Form string

// The forms. A letter of before there were forms has none.
const (
	WholeMessage Form = "message"  // the message's whole payload as it came: content_type and content_encoding apply
	OneRecord    Form = "record"   // one record's text out of the payload, inflated: content_encoding does not apply
	Rendered     Form = "rendered" // JSON of a record out of a binary container; the payload object holds the message
)

// A Letter is one dead letter.
type Letter struct {
	ID            string
	DataType      string // what the record was to be; UnknownType where nobody knows
	Reason        schema.Reason
	Field         string
	Value         string
	Explanation   string
	SchemaVersion string            // of the definition that judged
	MessageID     string            // the broker's, of the original message
	RecordIndex   int32             // position in the original message
	PublishedAt   time.Time         // of the original message
	Topic         string            // of the original message
	OrderingKey   string            // of the original message
	Attempt       int32             // deliveries of the original message so far; 0 where the broker does not count
	Attributes    map[string]string // of the original message
	Form          Form              // what Record is
	Record        []byte            // the record's original bytes, or what Form says
	PayloadRef    string            // the object that holds what is missing here; see Whole
}

// UnknownType is the data type of a letter that does not tell.
const UnknownType = "unknown"

// New makes the letter of a rejected record. It keeps no reference to the
// message's data. Where the record is rendered, the letter must still be made to Refer
// to the original message.
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
		Topic:         def.Topic,
		OrderingKey:   m.OrderingKey,
		Attributes:    maps.Clone(m.Attributes),
		Form:          formOf(m, r),
		Record:        bytes.Clone(r.Record),
	}
}

func formOf(m *schema.Message, r *schema.Rejection) Form {
	switch {
	case r.Rendered:
		return Rendered
	case bytes.Equal(r.Record, m.Data):
		return WholeMessage
	}
	return OneRecord
}

// IDOf is the id of the letter that a record has if it is rejected: of the data type,
// its message's identity (schema.Identity), its position, and the publish time in µs.
func IDOf(dataType, id string, index int32, publishedAt int64) string {
	return makeID(dataType, id, index, publishedAt)
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
