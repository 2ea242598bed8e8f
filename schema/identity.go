package schema

import (
	"time"
	"unicode/utf8"
)

// Identity is what makes a message's rows the same rows when they come again:
// "e:" and the producer's event_id, or "m:" and the broker's message id; and the
// publish time in microseconds. The attribute published_at takes the publish
// time's place only beside an event_id: it is how a backfill keeps one publish
// time over several runs. The prefixes keep a forged event_id from meeting a
// message id.
func Identity(m *Message) (id string, publishedAtMicros int64) {
	a := readAttributes(m.Attributes)
	b, at, _ := appendIdentity(nil, m, &a)
	return string(b), at
}

// appendIdentity is Identity into a buffer; bad names the attribute that cannot
// be honoured.
func appendIdentity(dst []byte, m *Message, a *attributes) (id []byte, at int64, bad string) {
	at = m.PublishTime.UnixMicro()
	if a.eventID == "" { // an empty one would make all such messages one
		return appendMessageID(dst, m), at, ""
	}
	id = append(append(dst, "e:"...), a.eventID...)
	if !utf8.ValidString(a.eventID) {
		return id, at, "event_id"
	}
	if !a.hasPublishedAt {
		return id, at, ""
	}
	t, err := time.Parse(time.RFC3339Nano, a.publishedAt)
	if err != nil || t.Year() < 1900 || t.After(m.PublishTime.Add(24*time.Hour)) {
		return id, at, "published_at"
	}
	return id, t.UnixMicro(), ""
}

// appendMessageID is appendIdentity of a message without attributes.
func appendMessageID(dst []byte, m *Message) []byte { return append(append(dst, "m:"...), m.ID...) }

// attributes are those of a message that decide anything.
type attributes struct {
	contentType, contentEncoding, schemaEncoding string
	schemaName, schemaRevision                   string
	schemaVersion, messageType                   string
	eventID, publishedAt                         string
	hasVersion, hasPublishedAt                   bool
}

// readAttributes looks at each attribute once: a message has few, and asking for
// each by its name costs more than a small record.
func readAttributes(all map[string]string) (a attributes) {
	if len(all) == 1 { // the one that is mostly there
		if value, ok := all["content_type"]; ok {
			a.contentType = value
			return a
		}
	}
	for name, value := range all {
		switch name {
		case "content_type":
			a.contentType = value
		case "content_encoding":
			a.contentEncoding = value
		case "googclient_schemaencoding":
			a.schemaEncoding = value
		case "googclient_schemaname":
			a.schemaName = value
		case AttributeRevision:
			a.schemaRevision = value
		case "schema_version":
			a.schemaVersion, a.hasVersion = value, true
		case "message_type":
			a.messageType = value
		case "event_id":
			a.eventID = value
		case "published_at":
			a.publishedAt, a.hasPublishedAt = value, true
		}
	}
	return a
}
