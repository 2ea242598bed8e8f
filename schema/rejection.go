package schema

// A Reason is the code of a rejection. The list is closed: dashboards, replays
// and alerts are written against it, so a code is never renamed or reused.
type Reason string

// Reasons that concern the whole message.
const (
	EmptyPayload           Reason = "empty_payload"            // no bytes, or white space only
	NullPayload            Reason = "null_payload"             // the payload is null
	EmptyArray             Reason = "empty_array"              // the payload is []
	TooLarge               Reason = "too_large"                // over MaxMessageBytes
	UnsupportedContentType Reason = "unsupported_content_type" // content_type names a format this decoder does not read
	UnsupportedEncoding    Reason = "unsupported_encoding"     // content_encoding names a compression this decoder does not read
	CorruptEncoding        Reason = "corrupt_encoding"         // content_encoding lies, or the compressed bytes are damaged or cut off
	DecompressionBomb      Reason = "decompression_bomb"       // inflates beyond MaxInflatedBytes or MaxInflation
	UnknownSchemaVersion   Reason = "unknown_schema_version"   // neither schema_version nor googclient_schemarevisionid names what this definition can judge by
	WrongDataType          Reason = "wrong_data_type"          // the message says it is of another data type
	BadAttribute           Reason = "bad_attribute"            // an attribute that takes part in the identity cannot be read
)

// Reasons that concern the text of a record.
const (
	JSONSyntax    Reason = "json_syntax"     // not JSON
	AvroSyntax    Reason = "avro_syntax"     // not Avro binary, or cut off
	ArrowSyntax   Reason = "arrow_syntax"    // not an Arrow IPC stream, or cut off
	ByteOrderMark Reason = "byte_order_mark" // U+FEFF before the JSON
	InvalidUTF8   Reason = "invalid_utf8"    // bytes that are not UTF-8
	LoneSurrogate Reason = "lone_surrogate"  // \ud800 to \udfff without its other half
	TooDeep       Reason = "too_deep"        // nested deeper than MaxDepth
	DuplicateKey  Reason = "duplicate_key"   // a name twice, or a field under two of its names with different values
	TrailingData  Reason = "trailing_data"   // something after the end of the record
	NotAnObject   Reason = "not_an_object"   // a record that is not a JSON object
)

// Reasons that concern one value.
const (
	MissingRequired    Reason = "missing_required"    // absent or null, without a default
	TypeMismatch       Reason = "type_mismatch"       // a value of another type
	NotFinite          Reason = "not_finite"          // NaN or Infinity where null is not allowed
	NumberOverflow     Reason = "number_overflow"     // outside the range of the field's type
	DecimalPrecision   Reason = "decimal_precision"   // rounding to the scale would change the value by more than one part in a million
	FractionalInteger  Reason = "fractional_integer"  // an integer with a fraction
	BadTimestamp       Reason = "bad_timestamp"       // not a date or time in any accepted form
	AmbiguousTimestamp Reason = "ambiguous_timestamp" // a number that could be an epoch time in several units
	DateHasTime        Reason = "date_has_time"       // a date with a time of day other than midnight UTC
	EventTimeWindow    Reason = "event_time_window"   // event time outside the definition's window
	BadCharacters      Reason = "bad_characters"      // control, bidirectional or zero-width characters in an identifier
	TooLong            Reason = "too_long"            // over the field's length
	NotInEnum          Reason = "not_in_enum"         // not one of the values the field may take
	BadBinary          Reason = "bad_binary"          // not base64
	RuleBroken         Reason = "rule_broken"         // a rejecting rule of the definition
	UnknownField       Reason = "unknown_field"       // level STRICT: a name the definition does not have
	NotCanonical       Reason = "not_canonical"       // level STRICT: a value that needs a coercion
)

// A Rejection is the verdict on a record that cannot be accepted.
type Rejection struct {
	Index       int32 // the record's position in the message
	Reason      Reason
	Field       string // "" where no field is to blame
	Value       string // the value as it was sent, at most MaxValueBytes of it, valid UTF-8
	Explanation string // for people; names record, field, offset and value
	Offset      int    // of the trouble, in bytes from the start of Message.Data once inflated; of a rendered record, from its own start
	Record      []byte // the record's original bytes; aliases Message.Data or is a copy
	Rendered    bool   // Record is the record as JSON: what came is binary, and its bytes mean nothing without the message
}

// Limits of the decoder.
const (
	MaxMessageBytes  = 10 << 20 // a payload over this is rejected whole, unread
	MaxInflatedBytes = 64 << 20 // what a compressed payload may grow to
	MaxInflation     = 200      // times its size that a compressed payload may grow to, beyond a first MiB
	MaxDepth         = 32       // nesting of a record, the record itself included
	MaxValueBytes    = 256      // of Rejection.Value
)
