package deadletter

import "github.com/buffetbot/ingest/schema"

// A ReasonHelp says what a reason code means and what to do about it.
type ReasonHelp struct {
	Reason  schema.Reason
	Meaning string
	Next    string
}

// Help gives the help of a reason; ok is false for a code that is none of ours,
// which a letter from elsewhere may carry.
func Help(reason schema.Reason) (help ReasonHelp, ok bool) {
	for _, h := range Reasons {
		if h.Reason == reason {
			return h, true
		}
	}
	return ReasonHelp{Reason: reason, Meaning: "not a reason code of this pipeline",
		Next: "Find out who publishes on the dead-letter topic; only ingestors should."}, false
}

// Reasons are all reason codes, those of the whole message first.
var Reasons = []ReasonHelp{
	{schema.EmptyPayload, "the message has no bytes, or white space only", "Mend the publisher: it sends messages before it has a record. Nothing can be recovered from the message itself."},
	{schema.NullPayload, "the payload is the JSON value null", "Mend the publisher: it serializes a missing object. Nothing can be recovered from the message itself."},
	{schema.EmptyArray, "the payload is an empty JSON array", "Let the publisher skip empty batches. There is nothing to recover."},
	{schema.TooLarge, "the payload is over 10 MiB and was not read", "Let the publisher send smaller batches; split the payload and publish the parts again."},
	{schema.UnsupportedContentType, "attribute content_type names a format that the ingestor does not read", "Correct the attribute, or send one of the formats that the documentation lists."},
	{schema.UnsupportedEncoding, "attribute content_encoding names a compression that the ingestor does not read", "Send gzip, zstd, or no compression, and say so in the attribute."},
	{schema.CorruptEncoding, "the payload is not what content_encoding says, or is damaged or cut off", "Check the publisher's compression and whether it closes the compressor before it sends; publish again from the source."},
	{schema.DecompressionBomb, "the payload inflates beyond what is allowed", "Find out who published it. If it is genuine, send smaller batches."},
	{schema.UnknownSchemaVersion, "attribute schema_version names a version, or googclient_schemarevisionid a revision of a Pub/Sub schema, by which this ingestor cannot judge; a newer version than any known, and a revision that cannot be had, was waited for, for --unknown-schema-age", "schema_version: add the definition (buffetctl schema evolve), deploy ingestors that know the version, or correct the publisher's attribute. googclient_schemarevisionid: see that the schema and its revision exist, are Avro, and that the ingestor's account has pubsub.schemas.get. Then replay the letters (buffetctl dlq replay)."},
	{schema.WrongDataType, "the message says that it is of another data type than its topic's", "Point the publisher to the right topic and publish again there."},
	{schema.BadAttribute, "an attribute that takes part in the identity (event_id, published_at) cannot be read", "Correct the attribute's form in the publisher: published_at is RFC 3339 and not in the future."},

	{schema.JSONSyntax, "the text is not JSON", "Look where the explanation points: often a text that was cut off, single quotes, or NaN in a place that takes none. Mend the publisher's serializer."},
	{schema.AvroSyntax, "the bytes are not Avro of the schema named, or are cut off", "Check that the publisher writes with the schema it names, and that nothing cuts or re-encodes the bytes."},
	{schema.ArrowSyntax, "the bytes are not an Arrow IPC stream, or are cut off", "Check that the publisher closes the stream before it sends, and sends the stream format and not the file format."},
	{schema.ByteOrderMark, "there is a byte order mark before the JSON", "Let the publisher write UTF-8 without a byte order mark."},
	{schema.InvalidUTF8, "the text holds bytes that are not UTF-8", "Let the publisher encode as UTF-8; the text is probably Latin-1 or Windows-1252."},
	{schema.LoneSurrogate, "the text holds half of a surrogate pair", "A string was cut in the middle of a character, or built from UTF-16 units. Mend the publisher."},
	{schema.TooDeep, "the record is nested too deeply", "The record has a structure that no definition knows. Find out what the publisher sends."},
	{schema.DuplicateKey, "a name stands twice in the record, or a field under two of its names with different values", "Decide which value is right and let the publisher send the field once."},
	{schema.TrailingData, "something follows the end of the record", "Two records without a line break between them, or a text that was appended to. Mend the publisher's framing."},
	{schema.NotAnObject, "the record is JSON, but not an object", "Let the publisher send objects, with names for the values."},

	{schema.MissingRequired, "a required field is absent or null", "Find out why the source had no value. A record without it says nothing; if the field may be absent, the definition needs a new version."},
	{schema.TypeMismatch, "the value is of another type than the field", "Compare the value with the definition (buffetctl schema show). If the source changed its type, mend the publisher."},
	{schema.NotFinite, "the value is NaN or infinite where null is not allowed", "Let the publisher leave out records without a value, or find out why the source computes none."},
	{schema.NumberOverflow, "the number is outside the range of the field's type", "Check the unit the source sends (cents for dollars, for instance). If the value is right, the field needs a wider type in a new major version."},
	{schema.DecimalPrecision, "rounding the number to the field's scale would change it by more than one part in a million", "If digits that small matter, the field needs a finer scale in a new version; if not, let the publisher round."},
	{schema.FractionalInteger, "an integer field has a fraction", "Check what the source means by the fraction; let the publisher round, if it may."},
	{schema.BadTimestamp, "the value is not a date or time in any accepted form", "Let the publisher send RFC 3339 with an offset."},
	{schema.AmbiguousTimestamp, "the number could be an epoch time in several units", "Let the publisher send RFC 3339, or epoch times whose unit the number tells."},
	{schema.DateHasTime, "a date has a time of day other than midnight UTC", "Let the publisher send the date alone; mind the time zone it converts from."},
	{schema.EventTimeWindow, "the event time is outside the definition's window", "Look for a wrong unit or a default such as 1970-01-01 or 0001-01-01. If the time is right, the definition needs a wider window."},
	{schema.BadCharacters, "an identifier holds control, bidirectional or zero-width characters", "Such characters make two identifiers look alike. Let the publisher strip them; find out where they come from."},
	{schema.TooLong, "the text is over the field's length", "Look at the value: often two fields run together. If it is right, the definition needs a longer limit."},
	{schema.NotInEnum, "the value is not one of those the field may take", "A new value of the source needs a new version of the definition; a misspelt one, a mended publisher."},
	{schema.BadBinary, "the text of a binary field is not base64", "Let the publisher encode as standard base64."},
	{schema.RuleBroken, "a rule of the definition is broken", "The explanation names the rule and the values. Check the source: often two fields changed places, or one is stale."},
	{schema.UnknownField, "level STRICT: the definition does not have the field", "Add the field in a new version of the definition, or run the type at level STANDARD, which drops and counts it."},
	{schema.NotCanonical, "level STRICT: the value would need a coercion", "Let the publisher send the field's own type, or run the type at level STANDARD, which coerces what loses nothing."},

	{Panic, "decoding the message panicked", "This is a defect of the ingestor, and the message is needed to find it: keep the letter and report it with its --raw bytes. Other messages are not affected."},
	{Quarantined, "the process died three times while it decoded the message, which was not decoded again", "This is a defect of the ingestor or of its memory limit: look at how the processes ended (killed for want of memory, a fatal error in the log) at the times of the deliveries. Keep the letter, and replay it when the cause is mended."},
	{Undelivered, "the broker gave up delivering the message", "Something kept the message from being acknowledged again and again: look for restarts of the ingestors, out of memory, or an outage of the store at that time. The message itself was never judged and may be good."},
	{Foreign, "the message on the dead-letter topic is not one of this pipeline's dead letters", "Find out who published it: only ingestors should have the right to publish there."},
}
