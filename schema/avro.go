package schema

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// Avro comes with the schema it was written with, the writer's: a single datum's
// is a version of the definition, a container names its own. It is compiled once
// into one step for each of the writer's fields, which go straight into columns.
//
// A step does only what needs no thought: a value of the field's own type,
// within its bounds. A record with anything else (a coercion, a value out of
// range, a broken rule) is rolled back, rendered as JSON and judged by the JSON
// decoder: that decides what its values mean, and the rendering is what a
// dead letter holds.

// An avroReader is what decoding Avro reuses.
type avroReader struct {
	plans    map[string]*avroPlan // by the writer's schema
	current  *avroPlan            // of the version met last
	version  string
	text     string    // the writer's schema met last
	last     *avroPlan // of text
	rendered []byte
	scratch  []byte
	inflater inflater // of a container's blocks
}

// maxPlans bounds the writers' schemas that are kept compiled: containers bring
// their own, one each if they like.
const maxPlans = 64

// An avroPlan is a writer's schema compiled for the definition.
type avroPlan struct {
	text    string // the writer's schema
	writer  *avroNode
	steps   []avroStep
	seen    bitset // fields that the writer has
	unknown int    // fields of the writer's that the definition lacks
	careful bool   // every record is judged by its rendering
	err     error
}

// An avroStep reads one of the writer's fields.
type avroStep struct {
	do     avroAct
	field  int32     // of the definition
	null   int32     // the union's branch that is null; -1 where there is none
	value  int32     // the union's branch that is not; -1 where there is no union
	factor int64     // of microseconds, or 10^shift of a decimal
	node   *avroNode // of the value
	whole  *avroNode // of the writer's field, union and all
}

// An avroAct is what a step does.
type avroAct uint8

const (
	actSkip    avroAct = iota // the definition has no such field
	actJudge                  // never without thought
	actText                   // string to String
	actEnum                   // enum to String
	actInt64                  // int or long to Int64
	actInt32                  // int or long to Int32
	actFloat                  // double to Float64
	actSingle                 // float to Float64
	actWhole                  // int or long to Float64
	actDecimal                // decimal to Decimal
	actScaled                 // int or long to Decimal
	actDigits                 // double to Decimal, by its digits
	actTime                   // a timestamp in milliseconds or microseconds to Timestamp
	actDate                   // date to Date
	actBool                   // boolean to Bool
	actBinary                 // bytes to Binary
)

// plan compiles a writer's schema, or finds it compiled.
func (d *Decoder) plan(text string) *avroPlan {
	if d.avro.last != nil && text == d.avro.text { // neighbours mostly have the same; a comparison costs less than a hash
		return d.avro.last
	}
	p := d.planned(text)
	d.avro.text, d.avro.last = p.text, p
	return p
}

func (d *Decoder) planned(text string) *avroPlan {
	if p := d.avro.plans[text]; p != nil {
		return p
	}
	if d.avro.plans == nil || len(d.avro.plans) >= maxPlans {
		d.avro.plans = map[string]*avroPlan{}
	}
	text = strings.Clone(text)
	p := d.compileAvro(text)
	p.text = text
	d.avro.plans[text] = p
	return p
}

func (d *Decoder) compileAvro(text string) *avroPlan {
	writer, err := parseAvro(text)
	if err == nil && writer.kind != avroRecord {
		err = fmt.Errorf("the writer's schema is not a record")
	}
	if err != nil {
		return &avroPlan{err: err}
	}
	p := &avroPlan{writer: writer}
	for i, name := range writer.names {
		s := avroStep{null: -1, value: -1, node: writer.children[i], whole: writer.children[i]}
		slot, known := d.names[name]
		if !known {
			p.unknown++
			if name == "message_type" || name == "data_type" { // which may say that the record is another type's
				p.careful = true
			}
			p.steps = append(p.steps, s)
			continue
		}
		s.field = d.slots[slot].field
		if p.seen.has(int(s.field)) { // under two of its names
			p.careful = true
		}
		p.seen.add(int(s.field))
		s.choose(&d.plans[s.field])
		p.steps = append(p.steps, s)
	}
	return p
}

// choose decides what a step does: for a union of null and one type, what it
// does for that type.
func (s *avroStep) choose(f *plan) {
	s.do = actJudge
	if s.node.kind == avroUnion {
		if len(s.node.children) != 2 {
			return
		}
		for i, child := range s.node.children {
			if child.kind == avroNull {
				s.null, s.value = int32(i), int32(1-i)
			}
		}
		if s.null < 0 {
			return
		}
		s.node = s.node.children[s.value]
	}
	n := s.node
	if (n.kind == avroInt || n.kind == avroLong) && n.logical == "" {
		s.chooseInteger(f)
		return
	}
	switch {
	case n.kind == avroString && f.kind == String:
		s.do = actText
	case n.kind == avroEnum && f.kind == String:
		s.do = actEnum
	case n.kind == avroDouble && f.kind == Float64:
		s.do = actFloat
	case n.kind == avroFloat && f.kind == Float64:
		s.do = actSingle
	case n.kind == avroDouble && f.kind == Decimal:
		s.do = actDigits
	case n.logical == "decimal" && (n.kind == avroBytes || n.kind == avroFixed) && f.kind == Decimal && n.scale <= f.scale:
		s.do, s.factor = actDecimal, int64(pow10[f.scale-n.scale])
	case n.logical == "timestamp-micros" && f.kind == Timestamp:
		s.do, s.factor = actTime, 1
	case n.logical == "timestamp-millis" && f.kind == Timestamp:
		s.do, s.factor = actTime, 1000
	case n.kind == avroInt && n.logical == "date" && f.kind == Date:
		s.do = actDate
	case n.kind == avroBoolean && f.kind == Bool:
		s.do = actBool
	case n.kind == avroBytes && n.logical == "" && f.kind == Binary:
		s.do = actBinary
	}
}

// chooseInteger is choose for a plain integer.
func (s *avroStep) chooseInteger(f *plan) {
	switch f.kind {
	case Int64:
		s.do = actInt64
	case Int32:
		s.do = actInt32
	case Float64:
		s.do = actWhole
	case Decimal:
		s.do, s.factor = actScaled, int64(pow10[f.scale])
	}
}

// datum decodes a payload that is one record in Avro binary, written with the
// version of the definition that the message names, or the current one.
func (d *Decoder) datum() {
	p := d.writer(d.attributes.schemaVersion)
	if p == nil {
		d.refuse(UnknownSchemaVersion, "schema_version", d.attributes.schemaVersion)
		d.reject(0, 0, len(d.data))
		return
	}
	if p.err != nil {
		d.fail(AvroSyntax, -1, 0, p.err.Error())
		d.reject(0, 0, len(d.data))
		return
	}
	if len(d.data) == 0 {
		d.fail(EmptyPayload, -1, 0, "")
		d.reject(0, 0, 0)
		return
	}
	data := d.data
	if !p.careful && d.avroRow(p, data, 0, 0) == len(data) {
		d.settle(true, 0, 0, len(data))
		return
	}
	switch end := p.writer.skip(data, 0, 0); {
	case end < 0:
		d.fail(AvroSyntax, -1, 0, "not one record of the schema")
	case end < len(data):
		d.fail(TrailingData, -1, end, "")
	default:
		d.avroRendered(p, data, 0, 0)
		return
	}
	d.reject(0, 0, len(data))
}

// writer is the plan for the revision that the message names, or for a version of
// the definition; nil where there is no such version.
func (d *Decoder) writer(version string) *avroPlan {
	if d.revised.avsc != "" {
		return d.plan(d.revised.avsc)
	}
	if d.avro.current != nil && d.avro.version == version {
		return d.avro.current
	}
	var avsc string
	if version == "" {
		avsc = d.def.avsc
	} else {
		v, err := ParseVersion(version)
		for _, def := range append(d.def.family, d.def) {
			if err == nil && def.Version == v {
				avsc = def.avsc
			}
		}
	}
	if avsc == "" {
		return nil
	}
	d.avro.version, d.avro.current = strings.Clone(version), d.plan(avsc)
	return d.avro.current
}

// avroRecord decodes the record at b[p:] and settles it. It returns the index
// after it, or -1 with nothing settled where there is no such record.
func (d *Decoder) avroRecord(plan *avroPlan, b []byte, p int, index int32) int {
	if !plan.careful {
		if next := d.avroRow(plan, b, p, index); next >= 0 {
			d.settle(true, index, p, next)
			return next
		}
	}
	return d.avroRendered(plan, b, p, index)
}

// avroRendered judges a record by its rendering.
func (d *Decoder) avroRendered(plan *avroPlan, b []byte, p int, index int32) int {
	d.failure = failure{}
	d.coerced = d.coerced[:d.counted]
	out := append(d.avro.rendered[:0], '{')
	for i := range plan.steps {
		s := &plan.steps[i]
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, []byte(plan.writer.names[i])), ':')
		var kind Kind
		if s.do != actSkip {
			kind = d.plans[s.field].kind
		}
		if out, p = s.whole.appendJSON(out, b, p, kind, 1); p < 0 {
			d.avro.rendered = out
			return -1
		}
	}
	out = append(out, '}')
	d.avro.rendered = out
	d.judge(out, index)
	return p
}

// judge decodes and settles a record by its rendering.
func (d *Decoder) judge(rendering []byte, index int32) {
	data, borrowed := d.data, d.borrowed
	d.data, d.borrowed, d.rendered, d.space = rendering, true, true, documentSpace
	ok := d.record(0, index) >= 0
	d.settle(ok, index, 0, len(rendering))
	d.data, d.borrowed, d.rendered = data, borrowed, false
	if cap(d.avro.rendered) > keptInflated {
		d.avro.rendered = nil
	}
}

// avroRow decodes the record at b[p:] into an open row; -1 where it takes
// thought.
func (d *Decoder) avroRow(plan *avroPlan, b []byte, p int, index int32) int {
	d.rows.Begin()
	d.flags = 0
	d.coerced = d.coerced[:d.counted]
	d.seen = plan.seen
	for i := range plan.steps {
		s := &plan.steps[i]
		if s.value >= 0 { // a union of two: its branch is one byte, 0 or 2
			if p >= len(b) || b[p]&^2 != 0 {
				return -1
			}
			branch := int32(b[p] >> 1)
			if p++; branch == s.null {
				continue
			}
		}
		if s.do == actDecimal { // most are, and a call less counts
			p = d.avroDecimal(s, b, p)
		} else {
			p = d.avroStep(s, b, p)
		}
		if p < 0 {
			return -1
		}
	}
	for range plan.unknown {
		if !d.coerce(-1, unknownField, 0) {
			return -1
		}
	}
	if !d.complete(0) || !d.inWindow() || !d.keepsRules() {
		return -1
	}
	d.system(index)
	return p
}

// avroStep decodes one value and returns the index after it, or -1.
func (d *Decoder) avroStep(s *avroStep, b []byte, p int) int {
	f := int(s.field)
	switch s.do {
	case actSkip:
		return s.node.skip(b, p, 1)
	case actText:
		v, next := readBytes(b, p)
		if next < 0 || !d.plainText(f, v) {
			return -1
		}
		return next
	case actDecimal:
		return d.avroDecimal(s, b, p)
	case actFloat:
		if len(b)-p < 8 || !d.plainFloat(f, math.Float64frombits(binary.LittleEndian.Uint64(b[p:]))) {
			return -1
		}
		return p + 8
	case actSingle:
		if len(b)-p < 4 || !d.plainFloat(f, float64(math.Float32frombits(binary.LittleEndian.Uint32(b[p:])))) {
			return -1
		}
		return p + 4
	case actDigits:
		if len(b)-p < 8 || !d.floatDigits(f, math.Float64frombits(binary.LittleEndian.Uint64(b[p:]))) {
			return -1
		}
		return p + 8
	case actBool:
		next := s.node.skip(b, p, 0)
		if next >= 0 {
			d.rows.SetBool(f, b[p] == 1)
		}
		return next
	case actBinary:
		v, next := readBytes(b, p)
		if next >= 0 {
			d.rows.SetBinary(f, v)
		}
		return next
	case actJudge:
		return -1
	}
	v, next := readLong(b, p)
	if next < 0 || !d.plainInteger(s, f, v) {
		return -1
	}
	return next
}

// The years that RFC 3339 can write.
const (
	firstMicros = -62135596800 * secondMicros // 0001-01-01
	lastMicros  = 253402300800*secondMicros - 1
)

// plainInteger stores what is an integer in Avro. It is false for what takes
// thought.
func (d *Decoder) plainInteger(s *avroStep, f int, v int64) bool {
	switch s.do {
	case actInt64:
	case actInt32:
		if v != int64(int32(v)) {
			return false
		}
	case actTime:
		if v < firstMicros/s.factor || v > lastMicros/s.factor {
			return false
		}
		v *= s.factor
	case actDate:
		if v < firstMicros/dayMicros || v > lastMicros/dayMicros {
			return false
		}
	case actScaled:
		return d.plainDecimal(f, v, s.factor)
	case actWhole:
		if v < -1<<53 || v > 1<<53 {
			return false
		}
		d.setFloat(f, float64(v))
		return true
	case actEnum:
		return v >= 0 && v < int64(len(s.node.symbols)) && d.plainText(f, s.node.symbols[v])
	}
	d.setInt(f, v)
	return true
}

// plainText stores a string that its field takes as it is.
func (d *Decoder) plainText(f int, v []byte) bool {
	hash, known := d.rows.setKnown(f, v)
	if known && d.plans[f].known { // it was looked at when it came in
		return true
	}
	field := &d.def.Fields[f]
	if field.MaxLength > 0 && len(v) > field.MaxLength || !utf8.Valid(v) || field.Identifier && !identifier(v) {
		return false
	}
	if field.Enum != nil {
		if _, exact, ok := field.Enum.find(v); !ok || !exact {
			return false
		}
	}
	if !known {
		d.rows.setNew(f, v, hash)
	}
	return true
}

// plainFloat stores a float that is a finite number, and not -0.
func (d *Decoder) plainFloat(f int, v float64) bool {
	const infinite = 0x7ff << 52
	u := math.Float64bits(v)
	if u&infinite == infinite || u == 1<<63 {
		return false
	}
	d.setFloat(f, v)
	return true
}

// floatDigits stores the fewest digits that give the float back in a Decimal.
func (d *Decoder) floatDigits(f int, v float64) bool {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return false
	}
	d.avro.scratch = appendFloat(d.avro.scratch[:0], v, 64)
	n, next := scanNumber(d.avro.scratch, 0)
	return next == len(d.avro.scratch) && d.storeDecimal(f, 0, 0, &n) == 0
}

// plainDecimal stores v × factor, unless that is more than the field holds.
func (d *Decoder) plainDecimal(f int, v, factor int64) bool {
	size := uint64(v)
	if v < 0 {
		size = -size
	}
	hi, lo := bits.Mul64(size, uint64(factor))
	if hi != 0 || lo > uint64(d.plans[f].limit) {
		return false
	}
	v *= factor
	d.values[f] = v
	d.rows.SetDecimal(f, v)
	return true
}

// avroDecimal reads a two's-complement big-endian number of up to eight bytes.
func (d *Decoder) avroDecimal(s *avroStep, b []byte, p int) int {
	size, next := int64(s.node.size), p
	if s.node.kind == avroBytes {
		if p < len(b) && b[p] <= 16 && b[p]&1 == 0 { // zigzag of 0 to 8, the sizes that fit
			size, next = int64(b[p]>>1), p+1
		} else if size, next = readLong(b, p); next < 0 {
			return -1
		}
	}
	if size < 0 || size > 8 || size > int64(len(b)-next) {
		return -1
	}
	v := int64(0)
	if size > 0 {
		if len(b)-next >= 8 { // its bytes are the first of eight; the shift back brings the sign
			v = int64(binary.BigEndian.Uint64(b[next:])) >> uint(64-8*size)
		} else {
			v = int64(int8(b[next]))
			for _, ch := range b[next+1 : next+int(size)] {
				v = v<<8 | int64(ch)
			}
		}
	}
	if !d.plainDecimal(int(s.field), v, s.factor) {
		return -1
	}
	return next + int(size)
}
