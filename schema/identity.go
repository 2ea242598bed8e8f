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
	b, at, _ := appendIdentity(nil, m)
	return string(b), at
}

// appendIdentity is Identity into a buffer; bad names the attribute that cannot
// be honoured.
func appendIdentity(dst []byte, m *Message) (id []byte, at int64, bad string) {
	at = m.PublishTime.UnixMicro()
	var event string
	if len(m.Attributes) > 0 {
		event = m.Attributes["event_id"]
	}
	if event == "" { // an empty one would make all such messages one
		return append(append(dst, "m:"...), m.ID...), at, ""
	}
	id = append(append(dst, "e:"...), event...)
	if !utf8.ValidString(event) {
		return id, at, "event_id"
	}
	claimed, ok := m.Attributes["published_at"]
	if !ok {
		return id, at, ""
	}
	t, err := time.Parse(time.RFC3339Nano, claimed)
	if err != nil || t.Year() < 1900 || t.After(m.PublishTime.Add(24*time.Hour)) {
		return id, at, "published_at"
	}
	return id, t.UnixMicro(), ""
}
