package schema

import (
	"encoding/binary"
	"mime"
	"strings"
	"unicode/utf8"
)

// A Decoder turns messages into rows. It is compiled from a definition once and
// reused; it is for one goroutine.
//
// The bytes are read once, from left to right, straight into the columns. A
// record's fields mostly come in the order of the record before it, so after
// each name the one that followed it last time is tried first. Nothing is
// allocated for a row; a rejected record allocates its explanation.
//
// Levels. STANDARD makes lossless coercions and counts each. STRICT makes none
// but those that are part of the definition (aliases, defaults) and rejects
// unknown names. LENIENT also rounds decimals and integers, cuts the time off
// dates, skips a byte-order mark, and makes a bad value of a nullable field null.
type Decoder struct {
	def     *Definition
	level   Level
	names   map[string]int32 // name or alias -> slot
	slots   []slot
	next    []int32 // slot+1 -> the slot that followed it last time
	style   int     // of the members met last
	plans   []plan  // of the definition's own fields
	program *program
	version []byte // the definition's, for _schema_version

	wanted bitset // fields that are required or have defaults
	totals [][coercions]int64

	// The open message.
	message    *Message
	attributes attributes
	data       []byte
	borrowed   bool   // data is not the message's own memory
	rendered   bool   // data is one record rendered as JSON
	guarded    bool   // a panic costs one record, see DecodeGuarded
	space      uint64 // what is white space: in lines a newline is not
	rows       *Columns
	id         []byte
	entries    entries
	published  int64
	rejected   []Rejection

	// The open record.
	seen    bitset  // fields whose name has come
	marks   []mark  // of the fields seen
	values  []int64 // the row of numbers that rules compare
	flags   int64
	coerced []coerced
	counted int // of coerced, those of rows
	failure failure

	others   dictionary // names of unknown fields and of nested objects
	objectID uint32     // of the nested object met last
	scratch  []byte     // an unescaped string
	stack    []frame    // of skip
	key      []byte
	days     [2]cachedDay // of timestamps, of dates
	judged   struct {     // the schema_version met last
		version string
		ok      bool
	}

	inflater inflater
	avro     avroReader
	revised  revised
}

// entries are the numbers that the rows' dictionaries have for what is the same
// in every row of a message, or -1.
type entries struct{ id, version int32 }

var unknownEntries = entries{-1, -1}

// A plan is what decoding a value needs to know of its field, kept small and
// close together.
type plan struct {
	kind     Kind
	required bool
	known    bool // of a String: what its column holds has all been checked
	scale    int32
	limit    int64 // of a Decimal: the largest unscaled value
}

// A mark says where in the data the value of a field starts, and by which of its
// names it came.
type mark struct{ from, via int32 }

// A slot is one name that a record may use for a field.
type slot struct {
	head, headMask uint64 // the first eight bytes of quoted, or fewer
	tail           uint64 // the last eight, where there are more than eight
	quoted         string // the name in quotes and its colon
	keys           [2]key // the same after another member, by style
	field          int32
	word           uint8 // of the bitsets, where the field is
	bit            uint64
	kind           Kind // the field's
	scale          int32
	limit          uint64     // of a Decimal: the largest unscaled value
	unit           [19]uint64 // of a Decimal: what to multiply by, given the digits after the point
}

// The styles in which members are written one after the other.
const (
	compact = iota // ,"name":
	spaced         // , "name": as Python writes them
)

// A key is all that stands between two values: a comma, a name and its colon, in one
// style. Its first bytes are compared as three words.
type key struct {
	words, masks [3]uint64
	n            int
	rest         string // what is longer than that
}

// keyRoom is what must follow for a key to be compared.
const keyRoom = 24

func newKey(text string) key {
	k := key{n: len(text)}
	padded := append([]byte(text), make([]byte, keyRoom)...)
	for i := range k.words {
		k.words[i] = binary.LittleEndian.Uint64(padded[8*i:])
		switch left := k.n - 8*i; {
		case left >= 8:
			k.masks[i] = ^uint64(0)
		case left > 0:
			k.masks[i] = 1<<(8*left) - 1
		}
	}
	if k.n > keyRoom {
		k.rest = text[keyRoom:]
	}
	return k
}

// odd is not 0 where the key does not start as b does.
func (k *key) odd(b *[keyRoom]byte) uint64 {
	first := binary.LittleEndian.Uint64(b[:])&k.masks[0] ^ k.words[0]
	second := binary.LittleEndian.Uint64(b[8:])&k.masks[1] ^ k.words[1]
	third := binary.LittleEndian.Uint64(b[16:])&k.masks[2] ^ k.words[2]
	return first | second | third // in one expression Go would take them from left to right
}

func newSlot(field int, f *Field, name string) slot {
	s := slot{field: int32(field), word: uint8(field / 64), bit: 1 << (field % 64), quoted: `"` + name + `":`, kind: f.Kind, scale: f.Scale, limit: pow10[f.Precision] - 1}
	for point := range int(f.Scale) + 1 {
		s.unit[point] = pow10[int(f.Scale)-point]
	}
	s.keys = [2]key{compact: newKey("," + s.quoted), spaced: newKey(", " + s.quoted + " ")}
	padded := append([]byte(s.quoted), make([]byte, 8)...)
	s.head, s.headMask = binary.LittleEndian.Uint64(padded), ^uint64(0)
	if n := len(s.quoted); n < 8 {
		s.headMask = 1<<(8*n) - 1
	} else {
		s.tail = binary.LittleEndian.Uint64(padded[n-8:])
	}
	return s
}

// matches reports whether b starts with the name, its quotes and its colon. It
// may miss one at the very end of b.
func (s *slot) matches(b []byte) bool {
	n := len(s.quoted)
	if len(b) < n+8 || binary.LittleEndian.Uint64(b)&s.headMask != s.head {
		return false
	}
	if n <= 8 {
		return true
	}
	return binary.LittleEndian.Uint64(b[n-8:]) == s.tail && (n <= 16 || string(b[8:n-8]) == s.quoted[8:n-8])
}

// NewDecoder compiles the definition for a level.
func (d *Definition) NewDecoder(level Level, options ...Option) *Decoder {
	program, _ := compileRules(d) // Parse has reported what is wrong
	dec := &Decoder{
		def: d, level: level, program: program,
		names:   map[string]int32{},
		version: []byte(d.Version.String()),
		plans:   make([]plan, d.Own),
		marks:   make([]mark, d.Own),
		totals:  make([][coercions]int64, d.Own+1),
		values:  make([]int64, max(quickSlots, len(d.Fields)+len(program.constants))),
	}
	copy(dec.values[len(d.Fields):], program.constants)
	for i := range d.Fields[:d.Own] {
		dec.compile(i)
	}
	for i := range dec.days { // a date, and not ten bytes that are none
		copy(dec.days[i].text[:], "1970-01-01")
	}
	dec.next = make([]int32, len(dec.slots)+1)
	for i := range dec.next { // at first, the order of the definition
		dec.next[i] = int32(i % len(dec.slots))
	}
	for _, o := range options {
		o(dec)
	}
	return dec
}

func (d *Decoder) compile(field int) {
	f := &d.def.Fields[field]
	for _, name := range append([]string{f.Name}, f.Aliases...) {
		d.names[name] = int32(len(d.slots))
		d.slots = append(d.slots, newSlot(field, f, name))
	}
	if f.Required || len(f.Defaults) > 0 {
		d.wanted.add(field)
	}
	d.plans[field] = plan{kind: f.Kind, required: f.Required, known: true, scale: f.Scale, limit: int64(pow10[f.Precision] - 1)}
	for i := range f.Defaults {
		if f.Defaults[i].Source == FromSchemaVersion && (f.Enum != nil || f.MaxLength > 0 && len(d.version) > f.MaxLength) {
			d.plans[field].known = false // the default is stored unchecked
		}
	}
}

// Decode appends the message's good records to rows and returns the rejected
// ones, in a slice that the next call reuses. Every record of the message is one
// or the other; a message that cannot be taken apart is one rejection with all
// of its bytes.
func (d *Decoder) Decode(m *Message, rows *Columns) []Rejection {
	d.message, d.rows = m, rows
	d.data, d.rejected = m.Data, d.rejected[:0]
	d.borrowed, d.rendered = false, false
	d.entries = unknownEntries
	if d.failure.reason != "" {
		d.failure = failure{}
	}
	d.space = documentSpace
	d.coerced = d.coerced[:d.counted]
	d.forgetNames()
	var bad string
	plain := len(m.Attributes) == 0
	if plain {
		d.id, d.published = appendMessageID(d.id[:0], m), m.PublishTime.UnixMicro()
	} else {
		d.attributes = readAttributes(m.Attributes)
		d.id, d.published, bad = appendIdentity(d.id[:0], m, &d.attributes)
	}
	for _, p := range d.program.published {
		d.values[p.slot] = d.published + p.plus
	}
	form, ok := jsonDocument, true
	if !plain || len(d.data) > MaxMessageBytes {
		form, ok = d.accept(bad)
	}
	switch {
	case ok && form == jsonDocument && !m.Only && len(d.data) > 0 && d.data[0] == '{': // what most are
		d.objects(0)
	case ok:
		d.payload(form)
	default:
		d.reject(0, 0, len(d.data))
	}
	d.message, d.rows, d.data = nil, nil, nil
	if !plain {
		d.attributes = attributes{}
	}
	d.inflater.rest()
	return d.rejected
}

// payload takes a message apart that is of a known form.
func (d *Decoder) payload(form form) {
	switch form {
	case avroDatum:
		d.datum()
		return
	case avroJSON:
		d.taggedJSON()
		return
	case avroContainer:
		d.container()
		return
	case arrowStream:
		d.stream()
		return
	}
	switch first := d.mark(); {
	case first < 0:
		d.reject(0, 0, len(d.data))
	case d.message.Only:
		d.only(first)
	case form == jsonLines:
		d.lines(first, 0)
	default:
		d.document(first)
	}
}

// A form is what the bytes of a payload are, once they are inflated.
type form uint8

const (
	jsonDocument form = iota + 1 // an object, an array of objects, or objects on lines
	jsonLines                    // one record a line
	avroDatum
	avroContainer
	arrowStream
	avroJSON // one record, as Avro writes JSON
)

// accept judges the message by its attributes, inflates it, and says what form
// its payload is in.
func (d *Decoder) accept(badAttribute string) (form, bool) {
	if len(d.data) > MaxMessageBytes {
		return 0, d.refuse(TooLarge, "", "")
	}
	if len(d.message.Attributes) == 0 {
		return jsonDocument, true
	}
	a := &d.attributes
	if badAttribute != "" {
		return 0, d.refuse(BadAttribute, badAttribute, d.message.Attributes[badAttribute])
	}
	form := contentForm(a.contentType)
	if form == 0 {
		return 0, d.refuse(UnsupportedContentType, "content_type", a.contentType)
	}
	if !d.revise() {
		return 0, false
	}
	switch a.schemaEncoding {
	case "":
	case "JSON":
		if d.revised.avsc != "" {
			form = avroJSON
		}
	case "BINARY":
		form = avroDatum
	default:
		return 0, d.refuse(UnsupportedContentType, "googclient_schemaencoding", a.schemaEncoding)
	}
	if a.hasVersion && !d.judges(a.schemaVersion) {
		return 0, d.refuse(UnknownSchemaVersion, "schema_version", a.schemaVersion)
	}
	if a.messageType != "" && d.def.foreign[a.messageType] != "" {
		return 0, d.refuse(WrongDataType, "message_type", a.messageType)
	}
	return form, d.inflate(a.contentEncoding)
}

// refuse sets the failure of a whole message, for the sake of an attribute.
func (d *Decoder) refuse(reason Reason, attribute, value string) bool {
	d.failure = failure{reason: reason, field: -1, attribute: attribute, text: value}
	return false
}

// contentForm is the form that a content type names, or 0.
func contentForm(v string) form {
	switch v { // as they mostly are written
	case "", "application/json":
		return jsonDocument
	case "application/x-ndjson":
		return jsonLines
	case "avro/binary":
		return avroDatum
	}
	media, _, err := mime.ParseMediaType(v) // upper case, parameters
	if err != nil {
		return 0
	}
	return contentForms[media]
}

var contentForms = map[string]form{
	"application/json": jsonDocument, "text/json": jsonDocument,
	"application/x-ndjson": jsonLines, "application/ndjson": jsonLines, "application/jsonl": jsonLines, "application/x-jsonlines": jsonLines,
	"avro/binary": avroDatum, "application/vnd.apache.avro+binary": avroDatum,
	"application/vnd.apache.avro+ocf": avroContainer, "application/vnd.apache.avro": avroContainer,
	"application/vnd.apache.arrow.stream": arrowStream,
}

// judges reports whether the definition can judge records of a version: its own,
// or an older one of the same major version, whose fields are all here.
func (d *Decoder) judges(version string) bool {
	if d.judged.version == version { // neighbours mostly say the same
		return d.judged.ok
	}
	v, err := ParseVersion(version)
	d.judged.version = strings.Clone(version)
	d.judged.ok = err == nil && v.Major == d.def.Version.Major && v.Compare(d.def.Version) <= 0
	return d.judged.ok
}

// A failure is why a record is rejected, before it is put into words.
type failure struct {
	reason    Reason
	field     int // or -1
	at        int // offset in the message
	detail    string
	attribute string // of a refused message
	text      string // its value
	lossy     bool   // the value is bad, not the text: LENIENT may make it null
}

// fail sets the failure and returns -1, which every parser hands on.
func (d *Decoder) fail(reason Reason, field, at int, detail string) int {
	d.failure = failure{reason: reason, field: field, at: at, detail: detail}
	return -1
}

// failValue is fail for a well-formed value that the field cannot take.
func (d *Decoder) failValue(reason Reason, field, at int, detail string) int {
	d.fail(reason, field, at, detail)
	d.failure.lossy = true
	return -1
}

// bounded is at most MaxValueBytes of s, as valid UTF-8.
func bounded(s string) string {
	if len(s) > MaxValueBytes {
		cut := MaxValueBytes
		for cut > MaxValueBytes-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > MaxValueBytes { // each replacement is longer than what it replaces
		return bounded(s)
	}
	return strings.Clone(s)
}
