package gcp

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/buffetbot/ingest/pipeline"
)

// A response is one StreamingPullResponse, kept as the bytes that came: its
// messages are read from them without an object for each. It is used again for
// the next one.
type response struct{ bytes []byte }

// keptBytes is the most that a stream keeps between responses: one huge message
// must not cost its size for ever.
const keptBytes = 2 << 20

// A codec is protobuf, except for a *response.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*response)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	n := data.Len()
	if cap(r.bytes) < n || cap(r.bytes) > keptBytes && n <= keptBytes {
		r.bytes = make([]byte, max(n, 64<<10))
	}
	r.bytes = r.bytes[:n]
	data.CopyTo(r.bytes)
	return nil
}

// errWire says that a response is no StreamingPullResponse.
var errWire = errors.New("a response cannot be read")

// texts makes strings that share one piece of memory. The strings of the messages
// of a response live about as long as one another.
type texts struct{ strings.Builder }

func (t *texts) of(b []byte) string {
	at := t.Len()
	t.Write(b)
	return t.String()[at:] // what is written after it leaves it as it is
}

// renew begins anew, with room for as much as before.
func (t *texts) renew() {
	n := t.Len()
	t.Reset()
	t.Grow(n + n/8)
}

// A parcel is what a response carries. Of a message, Data and Attributes are valid
// until the next response is read.
type parcel struct {
	messages    []pipeline.Delivery
	ackIDs      []string // of each
	exactlyOnce bool
	words, ids  texts
}

// read reads a response into the parcel.
func (p *parcel) read(b []byte) error {
	p.messages, p.ackIDs, p.exactlyOnce = p.messages[:0], p.ackIDs[:0], false
	p.words.renew()
	p.ids.renew()
	return fields(b, func(tag uint64, value []byte, _ uint64) error {
		switch tag {
		case 1<<3 | bytesType:
			return p.received(value)
		case 4<<3 | bytesType:
			return fields(value, func(tag uint64, _ []byte, v uint64) error {
				if tag == 1<<3|varintType {
					p.exactlyOnce = v != 0
				}
				return nil
			})
		}
		return nil
	})
}

// received reads a ReceivedMessage. The delivery's place, with its map of attributes,
// is one that was used before.
func (p *parcel) received(b []byte) error {
	n := len(p.messages)
	if n == cap(p.messages) {
		p.messages = append(p.messages, pipeline.Delivery{})
	}
	p.messages = p.messages[:n+1]
	d := &p.messages[n]
	attributes := d.Attributes
	*d = pipeline.Delivery{}
	clear(attributes)
	d.Attributes = attributes
	id := ""
	err := fields(b, func(tag uint64, value []byte, v uint64) error {
		switch tag {
		case 1<<3 | bytesType:
			id = p.ids.of(value)
		case 2<<3 | bytesType:
			return p.message(d, value)
		case 3<<3 | varintType:
			d.Attempt = int(int32(v))
		}
		return nil
	})
	p.ackIDs = append(p.ackIDs, id)
	return err
}

// message reads a PubsubMessage.
func (p *parcel) message(d *pipeline.Delivery, b []byte) error {
	return fields(b, func(tag uint64, value []byte, _ uint64) (err error) {
		switch tag {
		case 1<<3 | bytesType:
			d.Data = value
		case 2<<3 | bytesType:
			return p.attribute(d, value)
		case 3<<3 | bytesType:
			d.ID, err = p.text(value)
		case 4<<3 | bytesType:
			return timestamp(value, &d.PublishTime)
		case 5<<3 | bytesType:
			d.OrderingKey, err = p.text(value)
		}
		return err
	})
}

func (p *parcel) attribute(d *pipeline.Delivery, b []byte) error {
	var key, value string
	err := fields(b, func(tag uint64, b []byte, _ uint64) (err error) {
		switch tag {
		case 1<<3 | bytesType:
			key, err = p.text(b)
		case 2<<3 | bytesType:
			value, err = p.text(b)
		}
		return err
	})
	if d.Attributes == nil {
		d.Attributes = map[string]string{}
	}
	d.Attributes[key] = value
	return err
}

// text is a string of a message. Pub/Sub takes none that is not UTF-8, and protobuf
// reads none.
func (p *parcel) text(b []byte) (string, error) {
	if !utf8.Valid(b) {
		return "", errWire
	}
	return p.words.of(b), nil
}

func timestamp(b []byte, t *time.Time) error {
	var seconds, nanos int64
	err := fields(b, func(tag uint64, _ []byte, v uint64) error {
		switch tag {
		case 1<<3 | varintType:
			seconds = int64(v)
		case 2<<3 | varintType:
			nanos = int64(int32(v))
		}
		return nil
	})
	*t = time.Unix(seconds, nanos).UTC()
	return err
}

// A tag is a field's number and type. A field of another type than it should have
// is none that we know.
const (
	varintType = uint64(protowire.VarintType)
	bytesType  = uint64(protowire.BytesType)
)

// fields calls f for each field of a message that is bytes or a varint.
func fields(b []byte, f func(tag uint64, bytes []byte, varint uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		var value []byte
		var varint uint64
		switch typ {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if typ == protowire.BytesType || typ == protowire.VarintType {
			if err := f(uint64(num)<<3|uint64(typ), value, varint); err != nil {
				return err
			}
		}
	}
	return nil
}
