package columnar

import (
	"encoding/binary"
	"fmt"
)

// Types of the Thrift compact protocol, in which Parquet's metadata is written.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftI8     = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// maxThriftDepth bounds the nesting of what is skipped.
const maxThriftDepth = 16

// A thriftReader reads one serialized struct. It allocates nothing that the
// bytes merely promise, and after the first error it reads zeros.
type thriftReader struct {
	b   []byte
	pos int
	err error
}

func (r *thriftReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("metadata at byte %d: %s: %w", r.pos, fmt.Sprintf(format, args...), ErrCorrupt)
		r.pos = len(r.b)
	}
}

func (r *thriftReader) byte() byte {
	if r.pos >= len(r.b) {
		r.fail("unexpected end")
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

func (r *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.pos:])
	if n <= 0 {
		r.fail("bad varint")
		return 0
	}
	r.pos += n
	return v
}

func (r *thriftReader) int() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *thriftReader) int32() int32 {
	v := r.int()
	if v != int64(int32(v)) {
		r.fail("%d in a 32-bit field", v)
		return 0
	}
	return int32(v)
}

// bytes is a binary or string value; it aliases the input.
func (r *thriftReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.pos) {
		r.fail("%d bytes promised, %d left", n, len(r.b)-r.pos)
		return nil
	}
	r.pos += int(n)
	return r.b[r.pos-int(n) : r.pos : r.pos]
}

// next reads the head of the next field of a struct, whose id follows on *id; ok
// is false behind the last, and after an error.
func (r *thriftReader) next(id *int16) (typ byte, ok bool) {
	head := r.byte()
	if head == 0 || r.err != nil {
		return 0, false
	}
	if delta := head >> 4; delta != 0 {
		*id += int16(delta)
	} else {
		*id = int16(r.int())
	}
	return head & 15, r.err == nil
}

// fields calls f for each field of a struct; f reads the value or returns false
// to have it skipped.
func (r *thriftReader) fields(f func(id int16, typ byte) bool) {
	for id := int16(0); ; {
		typ, ok := r.next(&id)
		if !ok {
			return
		}
		if !f(id, typ) {
			r.skip(typ, 0)
		}
	}
}

// list calls f for each element of a list of the wanted type.
func (r *thriftReader) list(want byte, f func()) {
	n, typ := r.listHead()
	if r.err == nil && n > 0 && typ != want {
		r.fail("list of type %d, want %d", typ, want)
	}
	for i := uint64(0); i < n && r.err == nil; i++ {
		f()
	}
}

func (r *thriftReader) listHead() (n uint64, typ byte) {
	head := r.byte()
	n, typ = uint64(head>>4), head&15
	if n == 15 {
		n = r.uvarint()
	}
	if n > uint64(len(r.b)-r.pos) { // an element takes a byte at least
		r.fail("list of %d elements in %d bytes", n, len(r.b)-r.pos)
		return 0, typ
	}
	return n, typ
}

func (r *thriftReader) skip(typ byte, depth int) {
	if depth > maxThriftDepth {
		r.fail("nested too deep")
		return
	}
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftI8:
		r.byte()
	case thriftI16, thriftI32, thriftI64:
		r.uvarint()
	case thriftDouble:
		for range 8 {
			r.byte()
		}
	case thriftBinary:
		r.bytes()
	case thriftList, thriftSet:
		n, elem := r.listHead()
		for i := uint64(0); i < n && r.err == nil; i++ {
			r.skipElement(elem, depth+1)
		}
	case thriftMap:
		r.skipMap(depth)
	case thriftStruct:
		r.skipStruct(depth)
	default:
		r.fail("field type %d", typ)
	}
}

// skipElement skips an element of a collection, where a boolean takes a byte.
func (r *thriftReader) skipElement(typ byte, depth int) {
	if typ == thriftTrue || typ == thriftFalse {
		r.byte()
		return
	}
	r.skip(typ, depth)
}

func (r *thriftReader) skipMap(depth int) {
	n := r.uvarint()
	if n == 0 {
		return
	}
	if n > uint64(len(r.b)-r.pos) {
		r.fail("map of %d entries in %d bytes", n, len(r.b)-r.pos)
		return
	}
	types := r.byte()
	for i := uint64(0); i < n && r.err == nil; i++ {
		r.skipElement(types>>4, depth+1)
		r.skipElement(types&15, depth+1)
	}
}

func (r *thriftReader) skipStruct(depth int) {
	for r.err == nil {
		head := r.byte()
		if head == 0 {
			return
		}
		if head>>4 == 0 {
			r.uvarint()
		}
		r.skip(head&15, depth+1)
	}
}
