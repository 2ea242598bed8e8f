package columnar

import "encoding/binary"

// A thriftWriter serializes structs in the Thrift compact protocol. Fields are
// written in ascending order of their ids.
type thriftWriter struct {
	b    []byte
	last []int16 // id of the field before, for each open struct
}

func (w *thriftWriter) begin() { w.last = append(w.last, 0) }

func (w *thriftWriter) end() {
	w.b = append(w.b, 0)
	w.last = w.last[:len(w.last)-1]
}

func (w *thriftWriter) field(id int16, typ byte) {
	last := &w.last[len(w.last)-1]
	if delta := id - *last; delta > 0 && delta <= 15 {
		w.b = append(w.b, byte(delta)<<4|typ)
	} else {
		w.b = append(w.b, typ)
		w.b = binary.AppendVarint(w.b, int64(id))
	}
	*last = id
}

func (w *thriftWriter) i32(id int16, v int32) {
	w.field(id, thriftI32)
	w.b = binary.AppendVarint(w.b, int64(v))
}

func (w *thriftWriter) i64(id int16, v int64) {
	w.field(id, thriftI64)
	w.b = binary.AppendVarint(w.b, v)
}

func (w *thriftWriter) bool(id int16, v bool) {
	typ := byte(thriftFalse)
	if v {
		typ = thriftTrue
	}
	w.field(id, typ)
}

func (w *thriftWriter) binary(id int16, v []byte) {
	w.field(id, thriftBinary)
	w.element(v)
}

func (w *thriftWriter) string(id int16, v string) { w.binary(id, []byte(v)) }

// element is a string in a list.
func (w *thriftWriter) element(v []byte) {
	w.b = binary.AppendUvarint(w.b, uint64(len(v)))
	w.b = append(w.b, v...)
}

// number is an integer in a list.
func (w *thriftWriter) number(v int32) { w.b = binary.AppendVarint(w.b, int64(v)) }

func (w *thriftWriter) list(id int16, typ byte, n int) {
	w.field(id, thriftList)
	if n < 15 {
		w.b = append(w.b, byte(n)<<4|typ)
		return
	}
	w.b = append(w.b, 0xf0|typ)
	w.b = binary.AppendUvarint(w.b, uint64(n))
}

// open begins a struct that is a field; end closes it.
func (w *thriftWriter) open(id int16) {
	w.field(id, thriftStruct)
	w.begin()
}

// empty is a field that is a struct without fields, as members of unions are.
func (w *thriftWriter) empty(id int16) {
	w.open(id)
	w.end()
}
