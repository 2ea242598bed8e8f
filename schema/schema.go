// Package schema knows what a valid row is.
//
// A definition is an Avro schema file with logical types, aliases and defaults,
// plus properties of ours (all starting with "bb."). From it come the fields, the
// decoder, the Arrow and Delta schemas and the documentation; nothing about a
// data type is written anywhere else.
//
// What always holds:
//
//   - decoding is a pure function of the message (bytes, attributes, id, publish
//     time) and the definition: no clock, host or arrival order takes part, so a
//     redelivered message gives the same rows, the same verdicts, the same
//     partition and the same identities;
//   - every record of a message ends as exactly one row or one Rejection;
//   - a value is stored exactly as it was sent, or its coercion is counted, or
//     the record is rejected; nothing is altered silently;
//   - no input panics.
//
// Package schema does not know about batches, files, partitions' names or
// brokers. It starts no goroutines.
package schema

import "time"

// A Message is what a broker delivered, as far as decoding needs it.
type Message struct {
	ID          string            // the broker's message id, unique within the topic
	Data        []byte            // the payload; the decoder keeps no reference to it after Decode returns
	Attributes  map[string]string // never written to
	PublishTime time.Time         // the broker's publish time
	OrderingKey string

	// Only says that Data is the text of one record out of the message, the one at
	// position Index, and not the message: that is how a dead letter comes again.
	Only  bool
	Index int32 // 0 without Only
}

// A Kind is the storage type of a column.
type Kind uint8

// The kinds, with the Arrow type each is stored as.
const (
	String    Kind = iota + 1 // Dictionary<int32, utf8>
	Binary                    // binary
	Bool                      // bool
	Int32                     // int32
	Int64                     // int64
	Float64                   // float64
	Decimal                   // decimal128(precision <= 18, scale)
	Timestamp                 // timestamp[us, UTC]
	Date                      // date32
)

// System columns follow the definition's own fields in every row, in this order.
const (
	ColID            = "_id"             // String: "m:<message id>" or "e:<event_id>"
	ColIndex         = "_index"          // Int32: the record's position in its message
	ColPublishedAt   = "_published_at"   // Timestamp
	ColSchemaVersion = "_schema_version" // String: the revision the row was judged by
	ColFlags         = "_flags"          // Int64: bit set of flagging rules
	ColSupersededAt  = "_superseded_at"  // Timestamp, only where a natural key is declared: null in the current row of a key
)

// A Level says how forgiving validation is.
type Level uint8

// The levels. The zero Level is Standard.
const (
	Standard Level = iota // lossless coercions, each counted
	Strict                // nothing coerced, unknown fields rejected
	Lenient               // lossy coercions and nulled optional fields, each counted
)
