package deadletter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// ReplaySuffix makes the name of the topic on which a topic's dead letters come
// again. Who may publish there says under which identity rows are kept, so that
// operators alone should.
const ReplaySuffix = "-replay"

// The attributes of a replay beside those of the letter that it carries.
const (
	attrReplay        = "replay"         // the run's name
	attrReplayRecords = "replay_records" // of a message that comes again for the sake of some of its records
)

// MaxReplayRecords is how many records a replay of a message may be for.
const MaxReplayRecords = 90 // as text within the 1,024 bytes of an attribute

// A Replay is a dead letter that comes again, as if its message had just been
// delivered for the first time.
type Replay struct {
	Run    string  // which run of a replay sent it
	Letter *Letter // whole; of a Rendered one the message that it came in, with the letter's id and reason

	// Records are the positions of the records in a message that are meant, where it
	// comes again for these alone; nil: all. The others have had their verdict: they are
	// judged again and become the rows and letters that they are.
	Records []int32
}

// NewReplay is the replay of a whole letter and, where it is Rendered, of the
// message that it came in, for the sake of these records of it. The error says why
// a letter cannot come again.
func NewReplay(run string, l, original *Letter, records []int32) (*Replay, error) {
	again := *l
	switch {
	case l.Reason == Foreign || l.DataType == UnknownType:
		return nil, fmt.Errorf("nobody knows which topic its message was for")
	case l.Form == Rendered && original == nil:
		return nil, fmt.Errorf("the message that it came in is not kept")
	case l.Form == Rendered:
		again.Form, again.Record, again.Attributes, again.OrderingKey = WholeMessage, original.Record, original.Attributes, original.OrderingKey
		again.PayloadRef = ""
		if len(records) == 0 || len(records) > MaxReplayRecords {
			return nil, fmt.Errorf("%d of its records: want 1 to %d", len(records), MaxReplayRecords)
		}
	case l.Form != WholeMessage && l.Form != OneRecord:
		return nil, fmt.Errorf("it does not say whether its bytes are the message or a record out of it (data_form %q)", l.Form)
	default:
		records = nil
	}
	// What it was blamed for says nothing to the next judge, and makes room.
	again.Field, again.Value, again.Explanation, again.Attempt = "", "", "", 0
	return &Replay{Run: run, Letter: &again, Records: records}, nil
}

// Publishable is the replay as a message for <topic>-replay. What does not fit into
// one is in an object that it refers to: the letter's own, or one that this makes,
// once.
func (r *Replay) Publishable(ctx context.Context, w objstore.Writer) (*schema.Message, error) {
	m, fits := r.Letter.Message()
	m.Attributes[attrReplay] = r.Run
	if r.Records != nil {
		texts := make([]string, len(r.Records))
		for i, n := range r.Records {
			texts[i] = strconv.Itoa(int(n))
		}
		m.Attributes[attrReplayRecords] = strings.Join(texts, ",")
	}
	switch {
	case fits:
		delete(m.Attributes, attrPayloadRef)
	case r.Letter.PayloadRef == "":
		name, body, err := r.Letter.payload()
		if err != nil {
			return nil, fmt.Errorf("replay dead letter %s: encode payload: %w", r.Letter.ID, err)
		}
		if err := (&Writer{Payloads: w}).create(ctx, name, body); err != nil {
			return nil, fmt.Errorf("replay dead letter %s: write payload: %w", r.Letter.ID, err)
		}
		m.Attributes[attrPayloadRef] = name
	}
	return m, nil
}

// ParseReplay reads a message of the topic <topic>-replay. It is nil for a message
// that is no dead letter: somebody published a record there by hand. An error is
// one of the store that holds what did not fit into the message.
func ParseReplay(ctx context.Context, store objstore.Reader, m *schema.Message) (*Replay, error) {
	run := m.Attributes[attrReplay]
	if run == "" || m.Attributes[attrID] == "" || m.Attributes[attrReason] == "" {
		return nil, nil
	}
	r := &Replay{Run: valid(run), Letter: Parse(m)}
	if r.Letter.PayloadRef != "" {
		whole, _, err := Whole(ctx, store, r.Letter)
		if err != nil {
			return nil, err
		}
		r.Letter = whole
	}
	for text := range strings.SplitSeq(m.Attributes[attrReplayRecords], ",") {
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			r.Records = append(r.Records, int32(n))
		}
	}
	return r, nil
}

// Message is what was rejected, under the identity that it had then: to be judged
// as if it had never been. topic is that of its data type. A message that the broker
// gave up on has the id that it got there: its own is not known.
func (r *Replay) Message(topic string) schema.Message {
	l := r.Letter
	m := schema.Message{ID: l.MessageID, Data: l.Record, Attributes: l.Attributes, PublishTime: l.PublishedAt, OrderingKey: l.OrderingKey}
	if l.Reason == Undelivered {
		m.ID = topic + UndeliveredSuffix + "/" + l.MessageID
	}
	if l.Form == OneRecord {
		m.Only, m.Index = true, l.RecordIndex
		m.Attributes = maps.Clone(l.Attributes)
		delete(m.Attributes, "content_encoding") // the record has been inflated
	}
	return m
}

// Mark makes another letter of one about a record that was replayed and rejected
// again: the first is done with, this one is open. Its id is a function of run and
// record, so that a replay that is delivered twice leaves one letter.
func (r *Replay) Mark(l *Letter) {
	if r.Records != nil && !slices.Contains(r.Records, l.RecordIndex) {
		return // its letter is there, and open
	}
	l.ID = makeID(l.DataType, "r:"+r.Run+"/"+l.ID, l.RecordIndex, l.PublishedAt.UnixMicro())
	l.Explanation = fmt.Sprintf("replayed (run %s), and rejected again: %s", r.Run, l.Explanation)
}

// ByHand is a message that somebody published on a topic's replay topic and that is
// no dead letter: an ordinary one, whose id cannot meet one of the topic itself.
func ByHand(topic string, m *schema.Message) schema.Message {
	hand := *m
	hand.ID = topic + ReplaySuffix + "/" + m.ID
	return hand
}
