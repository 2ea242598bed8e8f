package schema

import (
	"strings"

	"github.com/twmb/avro"
)

// A topic with a Pub/Sub schema says of each message, in attributes of the
// service's own, which revision of which schema it was checked against, and in
// which of Avro's two encodings it is. That revision is then the writer's schema:
// the definition judges what it says, whatever the schema is called.

// Revisions knows the schemas of Pub/Sub.
type Revisions interface {
	// Revision gives the Avro schema that is revision id of the schema name
	// ("projects/P/schemas/S"): always the same text. After an error the message is
	// not judged: the revision is unknown, is not Avro, or cannot be had now. It may be
	// called by several goroutines at once.
	Revision(name, id string) (avsc string, err error)
}

// An Option is a choice for a decoder.
type Option func(*Decoder)

// WithRevisions decodes messages that name a revision of a Pub/Sub schema
// (googclient_schemaname, googclient_schemarevisionid, googclient_schemaencoding)
// by that revision, in Avro binary or Avro's JSON. Without it BINARY is taken for the
// definition's own Avro, and JSON for plain JSON.
func WithRevisions(r Revisions) Option { return func(d *Decoder) { d.revised.from = r } }

// AttributeRevision is the attribute that a rejection blames where the revision
// of a message's Pub/Sub schema cannot be had.
const AttributeRevision = "googclient_schemarevisionid"

// A revised is what a decoder knows of revisions.
type revised struct {
	from    Revisions
	avsc    string                  // the open message's; "" for none
	tagged  map[string]*taggedCodec // by avsc
	scratch []byte
}

// A taggedCodec reads Avro's JSON of one schema.
type taggedCodec struct {
	schema *avro.Schema
	err    error
}

// revise finds the schema of the revision that the open message names, if it
// names one. It is false where that cannot be had; the failure is set then.
func (d *Decoder) revise() bool {
	d.revised.avsc = ""
	a := &d.attributes
	if d.revised.from == nil || a.schemaRevision == "" || a.schemaEncoding == "" {
		return true
	}
	avsc, err := d.revised.from.Revision(a.schemaName, a.schemaRevision)
	if err != nil {
		d.refuse(UnknownSchemaVersion, AttributeRevision, a.schemaRevision)
		d.failure.detail = err.Error()
		return false
	}
	d.revised.avsc = avsc
	return true
}

// taggedJSON decodes a payload that is one record in Avro's JSON: values of
// unions name their branch, and bytes are characters. It becomes Avro binary,
// which then is decoded as if it had come.
func (d *Decoder) taggedJSON() {
	first := d.mark()
	if first >= 0 {
		first = skipSpace(d.data, first, d.space)
	}
	switch {
	case first < 0:
	case first == len(d.data):
		d.fail(EmptyPayload, -1, 0, "")
	case d.wholeObject(first) && d.toBinary(first):
		sent := d.data
		d.data, d.borrowed = d.revised.scratch, true
		d.datum()
		d.data = sent
		return
	}
	d.reject(0, 0, len(d.data))
}

// wholeObject reports whether there is one JSON object at p and nothing after it,
// within the bounds of a record. The failure is set where not.
func (d *Decoder) wholeObject(p int) bool {
	object := d.data[p] == '{'
	next := d.skip(p)
	d.coerced = d.coerced[:d.counted] // what it met is judged with the record
	switch {
	case next < 0:
		return false
	case skipSpace(d.data, next, d.space) < len(d.data):
		d.fail(TrailingData, -1, next, "")
		return false
	case !object:
		d.fail(NotAnObject, -1, p, "")
		return false
	}
	return true
}

// toBinary puts the Avro binary of the JSON at p in the scratch. The failure is
// set where that is none of the schema.
func (d *Decoder) toBinary(p int) bool {
	c := d.codec(d.revised.avsc)
	err := c.err
	if err == nil {
		var v any
		if err = c.schema.DecodeJSON(d.data[p:], &v); err == nil {
			d.revised.scratch, err = c.schema.AppendEncode(d.revised.scratch[:0], v)
		}
	}
	if err != nil {
		d.fail(AvroSyntax, -1, p, err.Error())
		return false
	}
	return true
}

// codec compiles a schema, or finds it compiled.
func (d *Decoder) codec(avsc string) *taggedCodec {
	if c := d.revised.tagged[avsc]; c != nil {
		return c
	}
	if d.revised.tagged == nil || len(d.revised.tagged) >= maxPlans {
		d.revised.tagged = map[string]*taggedCodec{}
	}
	c := &taggedCodec{}
	c.schema, c.err = avro.Parse(avsc)
	d.revised.tagged[strings.Clone(avsc)] = c
	return c
}
