package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/sourcegraph/conc/panics"
)

// An Arrow IPC stream (https://arrow.apache.org/docs/format/Columnar.html,
// "IPC Streaming Format") is read by arrow-go, once its frames have been seen to
// fit the payload. As with Avro, a row with anything that takes thought is
// rendered as JSON and judged by the JSON decoder.

// stream decodes a payload that is an Arrow IPC stream. A row that cannot be
// accepted costs itself alone; where the stream is broken the rest is one
// rejection.
func (d *Decoder) stream() {
	index, data := int32(0), d.data
	var err error
	var caught panics.Catcher // arrow-go trusts offsets and lengths: what they overrun panics
	caught.Try(func() { err = d.batches(&index) })
	if r := caught.Recovered(); r != nil {
		err = fmt.Errorf("it contradicts itself: %v", r.Value)
		d.data, d.rendered = data, false
	}
	switch {
	case err != nil:
		d.fail(ArrowSyntax, -1, 0, err.Error())
		d.reject(index, 0, len(d.data))
	case index == 0:
		d.fail(EmptyArray, -1, 0, "a stream without rows")
		d.reject(0, 0, len(d.data))
	}
}

// batches decodes every record batch. *index is the number of the row it is at,
// whatever happens.
func (d *Decoder) batches(index *int32) error {
	if err := checkFrames(d.data); err != nil {
		return err
	}
	r, err := ipc.NewReader(bytes.NewReader(d.data))
	if err != nil {
		return err
	}
	defer r.Release()
	for r.Next() {
		batch := r.RecordBatch()
		if batch.NumRows() > 8*int64(len(d.data)) {
			return errors.New("a batch says it holds more rows than the stream has bits")
		}
		plan := d.compileArrow(batch)
		for row := range int(batch.NumRows()) {
			d.arrowRow(plan, row, *index)
			*index++
		}
	}
	if err := r.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// An arrowPlan is a batch compiled for the definition.
type arrowPlan struct {
	columns []arrowColumn
	seen    bitset
	unknown int
	careful bool
}

// An arrowColumn is one column of a batch. set stores the value of a row and is
// false for what takes thought; it is nil where that is every value.
type arrowColumn struct {
	name  string
	field int32 // of the definition; -1 where it has none
	kind  Kind  // of the field
	data  arrow.Array
	set   func(row int) bool
}

func (d *Decoder) compileArrow(batch arrow.RecordBatch) *arrowPlan {
	p := &arrowPlan{}
	for i, f := range batch.Schema().Fields() {
		c := arrowColumn{name: f.Name, field: -1, data: batch.Column(i)}
		slot, known := d.names[f.Name]
		if !known {
			p.unknown++
			p.careful = p.careful || f.Name == "message_type" || f.Name == "data_type"
		} else {
			c.field = d.slots[slot].field
			c.kind = d.plans[c.field].kind
			p.careful = p.careful || p.seen.has(int(c.field))
			p.seen.add(int(c.field))
			c.set = d.setter(int(c.field), c.data)
		}
		p.columns = append(p.columns, c)
	}
	return p
}

// arrowRow decodes one row and settles it.
func (d *Decoder) arrowRow(p *arrowPlan, row int, index int32) {
	if !p.careful && d.arrowPlain(p, row, index) {
		d.settle(true, index, 0, 0)
		return
	}
	d.failure = failure{}
	d.coerced = d.coerced[:d.counted]
	out := append(d.avro.rendered[:0], '{')
	for i := range p.columns {
		if i > 0 {
			out = append(out, ',')
		}
		c := &p.columns[i]
		out = append(appendString(out, []byte(c.name)), ':')
		out = appendArrow(out, c.data, row, c.kind)
	}
	out = append(out, '}')
	d.avro.rendered = out
	d.judge(out, index)
}

// arrowPlain decodes a row into an open one; false where it takes thought.
func (d *Decoder) arrowPlain(p *arrowPlan, row int, index int32) bool {
	d.rows.Begin()
	d.flags = 0
	d.coerced = d.coerced[:d.counted]
	d.seen = p.seen
	for i := range p.columns {
		c := &p.columns[i]
		if c.field < 0 || c.data.IsNull(row) {
			continue
		}
		if c.set == nil || !c.set(row) {
			return false
		}
	}
	for range p.unknown {
		if !d.coerce(-1, unknownField, 0) {
			return false
		}
	}
	if !d.complete(0) || !d.inWindow() || !d.keepsRules() {
		return false
	}
	d.system(index)
	return true
}
