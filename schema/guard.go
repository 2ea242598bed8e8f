package schema

import "fmt"

// DecodeGuarded is Decode for a message that makes it panic: where the message is
// JSON, the panic costs the record that it happened in alone, which is rejected.
// Of other forms nobody knows where the next record starts, and it panics as
// Decode does. It is slower; use it on a decoder that has not panicked.
func (d *Decoder) DecodeGuarded(m *Message, rows *Columns) []Rejection {
	d.guarded = true
	defer func() { d.guarded = false }()
	return d.Decode(m, rows)
}

// guard is record with a panic made a failure. The reason is the pipeline's for
// messages that panic.
func (d *Decoder) guard(p int, index int32) (next int) {
	defer func() {
		if v := recover(); v != nil {
			for i := range d.next { // what it has learned may be why
				d.next[i] = int32(i % len(d.slots))
			}
			next = d.fail("panic", -1, p, fmt.Sprintf("decoding the record panicked: %v", v))
		}
	}()
	return d.bareRecord(p, index)
}
