package schema

import (
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
	limits  []int64 // of Decimal fields: the largest unscaled value
	program *program
	version []byte // the definition's, for _schema_version

	required  []uint64 // fields that must have a value
	defaulted []uint64 // fields that have defaults
	totals    [][coercions]int64

	// The open message.
	message   *Message
	data      []byte // up to the end of what may be read; offsets are those of message.Data
	rows      *Columns
	id        []byte
	idEntry   int32 // of id in the rows' dictionary, or -1
	published int64
	rejected  []Rejection

	// The open record.
	seen    []uint64 // fields whose name has come
	from    []int32  // where a field's value starts in data
	to      []int32  // and ends
	via     []int32  // the slot it came by
	values  []int64  // the row of numbers that rules compare
	flags   int64
	coerced []coerced
	failure failure

	others   dictionary // names of unknown fields and of nested objects
	objectID uint32     // of the nested object met last
	scratch  []byte     // an unescaped string
	stack    []frame    // of skip
	key      []byte
	day      cachedDay
}

// A slot is one name that a record may use for a field.
type slot struct {
	field  int32
	quoted string // the name in quotes and its colon
}

// NewDecoder compiles the definition for a level.
func (d *Definition) NewDecoder(level Level) *Decoder {
	program, _ := compileRules(d) // Parse has reported what is wrong
	dec := &Decoder{
		def: d, level: level, program: program,
		names:     map[string]int32{},
		version:   []byte(d.Version.String()),
		limits:    make([]int64, len(d.Fields)),
		required:  make([]uint64, d.words),
		defaulted: make([]uint64, d.words),
		seen:      make([]uint64, d.words),
		from:      make([]int32, len(d.Fields)),
		to:        make([]int32, len(d.Fields)),
		via:       make([]int32, len(d.Fields)),
		totals:    make([][coercions]int64, d.Own+1),
		values:    append(make([]int64, len(d.Fields)), program.constants...),
	}
	for i := range d.Fields[:d.Own] {
		dec.compile(i)
	}
	dec.next = make([]int32, len(dec.slots)+1)
	for i := range dec.next { // at first, the order of the definition
		dec.next[i] = int32(i % len(dec.slots))
	}
	return dec
}

func (d *Decoder) compile(field int) {
	f := &d.def.Fields[field]
	for _, name := range append([]string{f.Name}, f.Aliases...) {
		d.names[name] = int32(len(d.slots))
		d.slots = append(d.slots, slot{int32(field), `"` + name + `":`})
	}
	if f.Required {
		d.required[field/64] |= 1 << (field % 64)
	}
	if len(f.Defaults) > 0 {
		d.defaulted[field/64] |= 1 << (field % 64)
	}
	if f.Kind == Decimal {
		d.limits[field] = int64(pow10[f.Precision] - 1)
	}
}

// Decode appends the message's good records to rows and returns the rejected
// ones, in a slice that the next call reuses. Every record of the message is one
// or the other; a message that cannot be taken apart is one rejection with all
// of its bytes.
func (d *Decoder) Decode(m *Message, rows *Columns) []Rejection {
	d.message, d.rows = m, rows
	d.data, d.rejected = m.Data, d.rejected[:0]
	d.idEntry, d.failure = -1, failure{}
	d.coerced = d.coerced[:0]
	d.forgetNames()
	var bad string
	d.id, d.published, bad = appendIdentity(d.id[:0], m)
	for _, p := range d.program.published {
		d.values[p.slot] = d.published + p.plus
	}
	lines, ok := d.accept(bad)
	first := -1
	if ok {
		first = d.mark()
	}
	switch {
	case first < 0:
		d.reject(0, 0, len(m.Data))
	case lines:
		d.lines(first, 0)
	default:
		d.document(first)
	}
	d.message, d.rows, d.data = nil, nil, nil
	return d.rejected
}

// accept judges the message by its attributes. lines is true where they say that
// every line is a record.
func (d *Decoder) accept(badAttribute string) (lines, ok bool) {
	if len(d.data) > MaxMessageBytes {
		return false, d.refuse(TooLarge, "", "")
	}
	a := d.message.Attributes
	if len(a) == 0 {
		return false, true
	}
	if badAttribute != "" {
		return false, d.refuse(BadAttribute, badAttribute, a[badAttribute])
	}
	if v := a["content_encoding"]; v != "" && v != "identity" {
		return false, d.refuse(UnsupportedEncoding, "content_encoding", v)
	}
	lines, ok = contentType(a["content_type"])
	if !ok {
		return false, d.refuse(UnsupportedContentType, "content_type", a["content_type"])
	}
	if v := a["googclient_schemaencoding"]; v != "" && v != "JSON" {
		return false, d.refuse(UnsupportedContentType, "googclient_schemaencoding", v)
	}
	if v, given := a["schema_version"]; given && !d.judges(v) {
		return false, d.refuse(UnknownSchemaVersion, "schema_version", v)
	}
	if v := a["message_type"]; d.def.foreign[v] != "" {
		return false, d.refuse(WrongDataType, "message_type", v)
	}
	return lines, true
}

// refuse sets the failure of a whole message, for the sake of an attribute.
func (d *Decoder) refuse(reason Reason, attribute, value string) bool {
	d.failure = failure{reason: reason, field: -1, attribute: attribute, text: value}
	return false
}

// contentType reports whether this decoder reads the type, and whether it is one
// record a line.
func contentType(v string) (lines, ok bool) {
	switch v {
	case "", "application/json":
		return false, true
	case "application/x-ndjson":
		return true, true
	}
	media, _, err := mime.ParseMediaType(v) // upper case, parameters
	if err != nil {
		return false, false
	}
	switch media {
	case "application/json", "text/json":
		return false, true
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return true, true
	}
	return false, false
}

// judges reports whether the definition can judge records of a version: its own,
// or an older one of the same major version, whose fields are all here.
func (d *Decoder) judges(version string) bool {
	if strings.TrimPrefix(version, "v") == string(d.version[1:]) {
		return true
	}
	v, err := ParseVersion(version)
	return err == nil && v.Major == d.def.Version.Major && v.Compare(d.def.Version) < 0
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
