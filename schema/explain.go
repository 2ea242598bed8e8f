package schema

import (
	"bytes"
	"fmt"
	"strconv"
)

// reject turns the failure into a rejection of the record data[from:to] and
// clears the open record.
func (d *Decoder) reject(index int32, from, to int) {
	d.rows.Rollback()
	d.coerced = d.coerced[:d.counted]
	d.entries = unknownEntries // the row may have brought them
	f := d.failure
	d.failure = failure{}
	r := Rejection{Index: d.message.Index + index, Reason: f.reason, Offset: f.at, Record: d.data[from:to:to]}
	if d.borrowed {
		r.Record = bytes.Clone(r.Record)
	}
	r.Rendered = d.rendered
	if f.field >= 0 {
		r.Field = d.def.Fields[f.field].Name
	}
	if f.attribute != "" {
		r.Field, r.Value = f.attribute, bounded(f.text)
	} else {
		r.Value = bounded(d.valueAt(f.at, to))
	}
	r.Explanation = explain(&r, &f)
	d.rejected = append(d.rejected, r)
}

// valueAt is the value that starts at an offset, as far as it can be told in a
// text that may be broken, and no longer than is worth showing.
func (d *Decoder) valueAt(at, to int) string {
	all := d.data
	to = min(to, len(all), at+MaxValueBytes+1)
	if at >= to {
		return ""
	}
	quoted, depth := false, 0
	for i := at; i < to; i++ {
		switch ch := all[i]; {
		case quoted && ch == '\\':
			i++
		case ch == '"':
			quoted = !quoted
		case quoted:
		case ch == '{' || ch == '[':
			depth++
		case depth > 0 && (ch == '}' || ch == ']'):
			depth--
		case depth == 0 && (ch == ',' || ch == '}' || ch == ']' || ch <= ' '):
			if i > at {
				return string(all[at:i])
			}
		}
	}
	return string(all[at:to])
}

// sentences say what a reason means. %v is the value.
var sentences = map[Reason]string{
	EmptyPayload:           "the payload has no bytes",
	NullPayload:            "the payload is null",
	EmptyArray:             "the payload is an empty array",
	TooLarge:               "the payload is larger than " + strconv.Itoa(MaxMessageBytes) + " bytes",
	UnsupportedContentType: "this content type cannot be read",
	UnsupportedEncoding:    "this compression cannot be read",
	CorruptEncoding:        "the payload is not what content_encoding says, or is cut off",
	DecompressionBomb:      "the payload grows to more than " + strconv.Itoa(MaxInflatedBytes) + " bytes, or " + strconv.Itoa(MaxInflation) + " times its size",
	UnknownSchemaVersion:   "no definition here can judge this schema version",
	WrongDataType:          "the message says it is of another data type",
	BadAttribute:           "the attribute cannot be read",
	JSONSyntax:             "not JSON",
	AvroSyntax:             "not Avro of the schema it is said to be of",
	ArrowSyntax:            "not an Arrow IPC stream that can be read",
	ByteOrderMark:          "a byte-order mark comes before the JSON",
	InvalidUTF8:            "bytes that are not UTF-8",
	LoneSurrogate:          "half of a surrogate pair",
	TooDeep:                "nested deeper than " + strconv.Itoa(MaxDepth),
	DuplicateKey:           "given twice",
	TrailingData:           "something follows the end of the record",
	NotAnObject:            "a record is a JSON object",
	MissingRequired:        "required, but absent or null",
	TypeMismatch:           "a value of the wrong type",
	NotFinite:              "not a finite number, and null is not allowed",
	NumberOverflow:         "outside the range of the field's type",
	DecimalPrecision:       "rounding to the field's scale would change the value by more than a millionth",
	FractionalInteger:      "an integer with a fraction",
	BadTimestamp:           "not a date or time in an accepted form",
	AmbiguousTimestamp:     "an epoch time below 100000000 could be in several units",
	DateHasTime:            "a date with a time of day other than midnight UTC",
	EventTimeWindow:        "event time outside the window of the definition",
	BadCharacters:          "control, bidirectional or zero-width characters",
	TooLong:                "longer than the field allows",
	NotInEnum:              "not one of the values the field may take",
	BadBinary:              "not base64",
	RuleBroken:             "breaks a rule",
	UnknownField:           "the definition has no such field (STRICT)",
	NotCanonical:           "needs a coercion (STRICT)",
	"panic":                "this program fails on it",
}

// explain puts a rejection into words: record, field, offset, value, why. The
// value is quoted, so that no character of it can act on a terminal or a log.
func explain(r *Rejection, f *failure) string {
	if f.attribute != "" {
		s := fmt.Sprintf("attribute %s %s: %s", f.attribute, quote(r.Value), sentences[r.Reason])
		if f.detail != "" {
			s += ": " + f.detail
		}
		return s
	}
	s := "record " + strconv.Itoa(int(r.Index))
	if r.Field != "" {
		s += ", field " + r.Field
	}
	s += ", offset " + strconv.Itoa(r.Offset)
	if r.Value != "" {
		s += ", value " + quote(r.Value)
	}
	s += ": " + sentences[r.Reason]
	if f.detail != "" {
		s += ": " + f.detail
	}
	return s
}

func quote(s string) string { return strconv.QuoteToASCII(s) }
