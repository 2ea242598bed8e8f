package embedded

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The hot requests and responses are read and written as bytes of the wire
// format: a message is checked once where it comes in, stored as it will be sent,
// and copied from the file into the response.

// fields calls f for each field of a message, with its value: the bytes of a
// length-delimited field, or a varint's. It reports malformed input.
func fields(b []byte, f func(num protowire.Number, typ protowire.Type, bytes []byte, varint uint64, raw []byte) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		var value []byte
		var varint uint64
		m := 0
		switch typ {
		case protowire.BytesType:
			value, m = protowire.ConsumeBytes(b[n:])
		case protowire.VarintType:
			varint, m = protowire.ConsumeVarint(b[n:])
		default:
			m = protowire.ConsumeFieldValue(num, typ, b[n:])
		}
		if m < 0 || !f(num, typ, value, varint, b[:n+m]) {
			return false
		}
		b = b[n+m:]
	}
	return true
}

// A publishRequest is the topic and the messages, each as it was sent.
type publishRequest struct {
	topic    string
	messages [][]byte
}

func parsePublish(b []byte) (r publishRequest, ok bool) {
	ok = fields(b, func(num protowire.Number, typ protowire.Type, value []byte, _ uint64, _ []byte) bool {
		switch {
		case num == 1 && typ == protowire.BytesType:
			r.topic = string(value)
		case num == 2 && typ == protowire.BytesType:
			r.messages = append(r.messages, value)
		}
		return true
	})
	return r, ok && utf8.ValidString(r.topic)
}

// An ackRequest is an AcknowledgeRequest or a ModifyAckDeadlineRequest, which
// keep their ids in fields of different numbers.
type ackRequest struct {
	subscription string
	ids          [][]byte
	seconds      int32
}

const (
	ackIDsField    = 2 // of AcknowledgeRequest
	modackIDsField = 4 // of ModifyAckDeadlineRequest
)

func parseAck(b []byte, idsField protowire.Number) (r ackRequest, ok bool) {
	ok = fields(b, func(num protowire.Number, typ protowire.Type, value []byte, varint uint64, _ []byte) bool {
		switch {
		case num == 1 && typ == protowire.BytesType:
			r.subscription = string(value)
		case num == idsField && typ == protowire.BytesType:
			r.ids = append(r.ids, value)
		case num == 3 && typ == protowire.VarintType:
			r.seconds = int32(varint)
		}
		return true
	})
	return r, ok && utf8.ValidString(r.subscription)
}

// Field numbers of PubsubMessage.
const (
	dataField       = 1
	attributesField = 2
	idField         = 3
	timeField       = 4
	keyField        = 5
)

// stamp appends the fields that the server adds to a message: its id and its
// publish time, which stampTime encoded.
func stamp(b []byte, id uint64, timestamp []byte) []byte {
	var digits [20]byte
	d := appendUint(digits[:0], id)
	b = append(b, idField<<3|2, byte(len(d)))
	b = append(b, d...)
	b = append(b, timeField<<3|2, byte(len(timestamp)))
	return append(b, timestamp...)
}

// stampSize is how many bytes stamp adds.
func stampSize(id uint64, timestamp []byte) int {
	n := 1
	for id >= 10 {
		id /= 10
		n++
	}
	return 2 + n + 2 + len(timestamp)
}

func appendUint(b []byte, n uint64) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		n /= 10
		if n == 0 {
			return append(b, digits[i:]...)
		}
	}
}

// stampTime is a google.protobuf.Timestamp.
func stampTime(t time.Time) []byte {
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(t.Unix()))
	if ns := t.Nanosecond(); ns != 0 {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(ns))
	}
	return b
}

// attribute finds an attribute of a stored message; as for any map field, the
// last of several with one key counts.
func attribute(message []byte, key string) (value string, found bool) {
	fields(message, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64, _ []byte) bool {
		if num == attributesField && typ == protowire.BytesType {
			if k, v, ok := entry(b); ok && string(k) == key {
				value, found = string(v), true
			}
		}
		return true
	})
	return value, found
}

// entry splits an attribute.
func entry(b []byte) (key, value []byte, ok bool) {
	ok = fields(b, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64, _ []byte) bool {
		switch {
		case num == 1 && typ == protowire.BytesType:
			key = b
		case num == 2 && typ == protowire.BytesType:
			value = b
		}
		return true
	})
	return key, value, ok
}

// orderingKey is the ordering key of a stored message.
func orderingKey(message []byte) (key []byte) {
	fields(message, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64, _ []byte) bool {
		if num == keyField && typ == protowire.BytesType {
			key = b
		}
		return true
	})
	return key
}

// An ackID says which delivery of which message to which subscription.
type ackID struct {
	sub  uint32 // the subscription's number
	era  uint16 // seeks of the subscription so far
	seq  uint64 // the message's number in its topic, of 48 bits
	slot uint32 // where the lease is
	gen  uint32 // which lease of those that were there
}

const (
	ackIDBytes = 23
	ackIDText  = 31 // in base64
)

func (a ackID) append(b []byte) []byte {
	var raw [ackIDBytes]byte
	raw[0] = 1 // version
	binary.BigEndian.PutUint32(raw[1:], a.sub)
	binary.BigEndian.PutUint64(raw[5:], a.seq)
	binary.BigEndian.PutUint16(raw[5:], a.era) // over the 16 bits of seq that are 0
	binary.BigEndian.PutUint32(raw[13:], a.slot)
	binary.BigEndian.PutUint32(raw[17:], a.gen)
	binary.BigEndian.PutUint16(raw[21:], uint16(crc32.Checksum(raw[:21], castagnoli)))
	return base64.RawURLEncoding.AppendEncode(b, raw[:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseAckID reads one; ok is false for what this server never handed out.
func parseAckID(text []byte) (a ackID, ok bool) {
	var raw [ackIDBytes + 1]byte
	if len(text) != ackIDText {
		return a, false
	}
	if n, err := base64.RawURLEncoding.Decode(raw[:], text); err != nil || n != ackIDBytes {
		return a, false
	}
	if raw[0] != 1 || binary.BigEndian.Uint16(raw[21:]) != uint16(crc32.Checksum(raw[:21], castagnoli)) {
		return a, false
	}
	return ackID{
		sub:  binary.BigEndian.Uint32(raw[1:]),
		era:  binary.BigEndian.Uint16(raw[5:]),
		seq:  binary.BigEndian.Uint64(raw[5:]) & (1<<48 - 1),
		slot: binary.BigEndian.Uint32(raw[13:]),
		gen:  binary.BigEndian.Uint32(raw[17:]),
	}, true
}
