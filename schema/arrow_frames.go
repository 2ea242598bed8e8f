package schema

import (
	"encoding/binary"
	"errors"

	flatbuffers "github.com/google/flatbuffers/go"
)

// checkFrames sees that every message of an Arrow stream fits into it, that no
// list in its metadata says it is longer than the metadata, and that nothing is
// compressed: the reader allocates what a length says, and running out of memory
// ends the process.
func checkFrames(b []byte) error {
	for len(b) > 0 {
		if len(b) >= 4 && binary.LittleEndian.Uint32(b) == 0xffffffff {
			b = b[4:]
		}
		if len(b) < 4 {
			return errors.New("it is cut off before a message")
		}
		size := int64(int32(binary.LittleEndian.Uint32(b)))
		b = b[4:]
		if size == 0 {
			return nil // the end of the stream
		}
		if size < 8 || size > int64(len(b)) {
			return errors.New("a message's metadata is cut off")
		}
		body, err := checkMessage(b[:size])
		if err != nil {
			return err
		}
		b = b[size:]
		if body < 0 || body > int64(len(b)) {
			return errors.New("a message's body is cut off")
		}
		b = b[body:]
	}
	return nil
}

// The tables of Arrow's Message.fbs and Schema.fbs as far as they hold lists, by
// the slots of their fields.
const (
	slotHeaderType = 1 // Message
	slotHeader     = 2
	slotBody       = 3

	headerSchema     = 1
	headerDictionary = 2
	headerBatch      = 3

	slotFields         = 1 // Schema
	slotSchemaMetadata = 2
	slotFeatures       = 3

	slotChildren      = 5 // Field
	slotFieldMetadata = 6

	slotNodes       = 1 // RecordBatch
	slotBuffers     = 2
	slotCompression = 3
	slotVariadic    = 4

	slotData = 1 // DictionaryBatch
)

var errLongList = errors.New("a list in a message's metadata is longer than the metadata")

// A metadata is one message's metadata while it is being checked. Reading beyond
// its end panics, which the caller of the decoder's stream confines.
type metadata struct {
	size   int64
	fields int // seen so far: offsets may lead to one table often
}

// maxFields bounds the fields of a stream, nested ones too.
const maxFields = 1 << 12

// checkMessage returns the length of the message's body.
func checkMessage(b []byte) (body int64, err error) {
	m := &metadata{size: int64(len(b))}
	t := flatbuffers.Table{Bytes: b, Pos: flatbuffers.GetUOffsetT(b)}
	kind := byte(0)
	if o := place(&t, slotHeaderType); o != 0 {
		kind = t.GetByte(o)
	}
	if o := place(&t, slotHeader); o != 0 {
		var header flatbuffers.Table
		t.Union(&header, o-t.Pos)
		if err := m.header(kind, header); err != nil {
			return 0, err
		}
	}
	if o := place(&t, slotBody); o != 0 {
		body = t.GetInt64(o)
	}
	return body, nil
}

// place is where a table's field is, or 0 where it has none.
func place(t *flatbuffers.Table, n flatbuffers.VOffsetT) flatbuffers.UOffsetT {
	if o := t.Offset(4 + 2*n); o != 0 {
		return t.Pos + flatbuffers.UOffsetT(o)
	}
	return 0
}

func (m *metadata) header(kind byte, t flatbuffers.Table) error {
	switch kind {
	case headerSchema:
		return errors.Join(m.list(&t, slotSchemaMetadata, 4), m.list(&t, slotFeatures, 8), m.fieldList(&t, slotFields, 1))
	case headerDictionary:
		o := place(&t, slotData)
		if o == 0 {
			return errors.New("a dictionary without values")
		}
		t.Pos = t.Indirect(o)
	case headerBatch:
	default:
		return nil // the reader says what it is not
	}
	if place(&t, slotCompression) != 0 {
		return errors.New("its buffers are compressed: compress the payload instead, with content_encoding")
	}
	return errors.Join(m.list(&t, slotNodes, 16), m.list(&t, slotBuffers, 16), m.list(&t, slotVariadic, 8))
}

// list sees that a list of elements of a size ends within the metadata.
func (m *metadata) list(t *flatbuffers.Table, n flatbuffers.VOffsetT, size int64) error {
	o := place(t, n)
	if o == 0 {
		return nil
	}
	o -= t.Pos
	if int64(t.Vector(o))+int64(t.VectorLen(o))*size > m.size || t.VectorLen(o) < 0 {
		return errLongList
	}
	return nil
}

func (m *metadata) fieldList(t *flatbuffers.Table, n flatbuffers.VOffsetT, depth int) error {
	if err := m.list(t, n, 4); err != nil || place(t, n) == 0 {
		return err
	}
	if depth > MaxDepth {
		return errors.New("its types are nested too deep")
	}
	o := place(t, n) - t.Pos
	first := t.Vector(o)
	for i := range t.VectorLen(o) {
		if m.fields++; m.fields > maxFields {
			return errors.New("it has too many fields")
		}
		f := flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(first + flatbuffers.UOffsetT(4*i))}
		if err := errors.Join(m.list(&f, slotFieldMetadata, 4), m.fieldList(&f, slotChildren, depth+1)); err != nil {
			return err
		}
	}
	return nil
}
