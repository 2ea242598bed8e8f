package deadletter

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// definitions are market_data as it is, and one that takes prices below zero.
func definitions(t *testing.T) (strict, mended *schema.Definition) {
	t.Helper()
	r, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	strict, _ = r.Latest("market_data")
	mended, err = schema.Parse([]byte(strings.NewReplacer(`"bb.version": "1.2.0"`, `"bb.version": "1.3.0"`,
		`"when": "price <= 0", "severity": "reject"`, `"when": "price <= 0", "severity": "flag", "bit": 20`).Replace(strict.Avro())))
	if err != nil {
		t.Fatal(err)
	}
	return strict, mended
}

// verdicts are what a definition makes of a message: identities of rows by symbol,
// and letters by id.
func verdicts(def *schema.Definition, m *schema.Message) (rows map[string]string, letters map[string]*Letter) {
	rows, letters = map[string]string{}, map[string]*Letter{}
	columns := schema.NewColumns(def)
	var original *Original
	for _, r := range def.NewDecoder(schema.Standard).Decode(m, columns) {
		l := New(def, m, &r)
		if r.Rendered {
			original, _ = NewOriginal(def, m)
			l.Refer(original)
		}
		letters[l.ID] = l
	}
	rec := columns.Record()
	at := func(name string, row int) string {
		return rec.Column(rec.Schema().FieldIndices(name)[0]).ValueStr(row)
	}
	for row := range int(rec.NumRows()) {
		rows[at("symbol", row)] = strings.Join([]string{at(schema.ColID, row), at(schema.ColIndex, row), at(schema.ColPublishedAt, row), at("price", row), at("data_source", row)}, " ")
	}
	return rows, letters
}

// A record that is replayed becomes the row that it would have been if it had been
// accepted at first: same id, position, publish time and values; and under the old
// definition it is the same letter. Whatever it came in.
func TestAReplayIsTheMessageThatWas(t *testing.T) {
	strict, mended := definitions(t)
	record := func(symbol string, price int) string {
		return fmt.Sprintf(`{"symbol":%q,"timestamp":"2020-04-20T18:30:00Z","price":%d,"data_source":"x"}`, symbol, price)
	}
	lines := record("A", 1) + "\n" + record("B", -2) + "\n" + record("C", 3) + "\n" + record("D", -4)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(lines))
	z.Close()
	many := map[string]string{"source": "s"}
	for i := range 95 {
		many[fmt.Sprintf("z%02d", i)] = "v"
	}
	for name, m := range map[string]schema.Message{
		"one record":         {Data: []byte(record("A", -1))},
		"a list":             {Data: []byte("[" + record("A", 1) + "," + record("B", -2) + "," + record("C", -3) + "]")},
		"lines, compressed":  {Data: packed.Bytes(), Attributes: map[string]string{"content_encoding": "gzip", "content_type": "application/x-ndjson"}},
		"an event id":        {Data: []byte(lines), Attributes: map[string]string{"event_id": "e", "published_at": "2020-04-21T00:00:00.000001Z", "source": "x"}},
		"an event id alone":  {Data: []byte(lines), Attributes: map[string]string{"event_id": "e"}},
		"too many names":     {Data: []byte(lines), Attributes: many},
		"too large":          {Data: []byte(record("A", -1) + strings.Repeat(" ", 9_500_000))},
		"a list in a list":   {Data: []byte("[" + record("A", -1) + ",[" + record("B", 2) + "]]")},
		"two on a line":      {Data: []byte(record("A", -1) + "\n" + record("B", 2) + record("C", 3))},
		"a version no more":  {Data: []byte(lines), Attributes: map[string]string{"schema_version": "v9.0.0"}},
		"an ordering key":    {Data: []byte(record("A", -1)), OrderingKey: "A"},
		"a bad published_at": {Data: []byte(record("A", -1)), Attributes: map[string]string{"event_id": "e", "published_at": "yesterday"}},
	} {
		t.Run(name, func(t *testing.T) {
			m.ID, m.PublishTime = "17", time.Date(2024, 1, 15, 15, 0, 0, 123456000, time.UTC)
			store := objstore.NewMem()
			_, letters := verdicts(strict, &m)
			if len(letters) == 0 {
				t.Fatal("nothing was rejected")
			}
			want, _ := verdicts(mended, &m)
			before, _ := verdicts(strict, &m)
			got := maps.Clone(before)
			for id, l := range letters {
				replay := throughTheTopic(t, store, l)
				again := replay.Message("market-data")
				rows, _ := verdicts(mended, &again)
				maps.Copy(got, rows)
				rows, same := verdicts(strict, &again)
				if len(rows) > 0 || len(same) != 1 || same[id] == nil || same[id].Reason != l.Reason {
					t.Errorf("judged as before: rows %v, letters %v; want letter %s %s", rows, slices.Collect(maps.Keys(same)), id, l.Reason)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-at first +replayed):\n%s", diff)
			}
		})
	}
}

// throughTheTopic makes a letter durable, reads it back from its row, and sends its
// replay.
func throughTheTopic(t *testing.T, store objstore.Store, l *Letter) *Replay {
	t.Helper()
	var sent *schema.Message
	w := &Writer{Payloads: store, Topic: publisher(func(m *schema.Message) { sent = m })}
	if err := w.Send(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	sent.PublishTime = time.Now()
	stored := Parse(sent)
	whole, original, err := Whole(t.Context(), store, stored)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReplay("run", whole, original, []int32{l.RecordIndex})
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Publishable(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	size := len(m.Data)
	for name, value := range m.Attributes {
		if size += len(name) + len(value); len(name) > maxKeyBytes || len(value) > maxValueBytes || strings.HasPrefix(name, "goog") {
			t.Errorf("attribute %q of %d bytes cannot be published", name, len(value))
		}
	}
	if len(m.Attributes) > maxAttributes || size > 10_000_000 {
		t.Errorf("%d attributes, %d bytes", len(m.Attributes), size)
	}
	m.ID, m.PublishTime = "99", time.Now()
	again, err := ParseReplay(t.Context(), store, m)
	if err != nil || again == nil {
		t.Fatalf("parsed %v, %v", again, err)
	}
	return again
}

type publisher func(*schema.Message)

func (p publisher) Publish(_ context.Context, m *schema.Message) error {
	p(m)
	return nil
}

// A replay that is rejected again leaves a letter of its own, the same one however
// often it is delivered; letters of the records that were not meant stay what they are.
func TestALetterOfAReplayIsAnother(t *testing.T) {
	strict, _ := definitions(t)
	m := schema.Message{ID: "17", PublishTime: time.Now(), Data: []byte(`{"symbol":"A"}`)}
	_, letters := verdicts(strict, &m)
	for id, l := range letters {
		mark := func(run string, records []int32) *Letter {
			again := *l
			(&Replay{Run: run, Letter: l, Records: records}).Mark(&again)
			return &again
		}
		first, redelivered, other, notMeant := mark("1", nil), mark("1", nil), mark("2", nil), mark("1", []int32{5})
		if first.ID == id || first.ID != redelivered.ID || first.ID == other.ID || notMeant.ID != id || mark("1", []int32{0}).ID == id {
			t.Errorf("ids %s: first %s, redelivered %s, of another run %s, not meant %s", id, first.ID, redelivered.ID, other.ID, notMeant.ID)
		}
		if first.MessageID != l.MessageID || first.RecordIndex != l.RecordIndex || !strings.HasPrefix(first.Explanation, "replayed (run 1)") {
			t.Errorf("letter %+v", first)
		}
	}
}

func TestWhatCannotBeReplayed(t *testing.T) {
	for want, l := range map[string]Letter{
		"nobody knows which topic":         {Reason: Foreign, DataType: UnknownType, Form: WholeMessage},
		"is not kept":                      {Reason: schema.RuleBroken, DataType: "x", Form: Rendered},
		"does not say whether its bytes":   {Reason: schema.RuleBroken, DataType: "x"},
		"nobody knows which topic its mes": {Reason: Undelivered, DataType: UnknownType, Form: WholeMessage},
	} {
		if _, err := NewReplay("run", &l, nil, []int32{0}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", l, err, want)
		}
	}
	if r, err := ParseReplay(t.Context(), objstore.NewMem(), &schema.Message{ID: "1", Attributes: map[string]string{"dl_id": "x", "reason": "y"}}); r != nil || err != nil {
		t.Errorf("a message that is no replay: %v, %v", r, err)
	}
	if _, err := ParseReplay(t.Context(), objstore.NewMem(), &schema.Message{Attributes: map[string]string{"replay": "r", "dl_id": "x", "reason": "y", "payload_ref": "raw/x"}}); err == nil {
		t.Error("an object that is none of ours was read")
	}
}

// Notes are made once, say who and when, and the last one counts.
func TestReplaysAreNoted(t *testing.T) {
	store := objstore.NewMem()
	at := time.Date(2024, 1, 15, 0, 0, 0, 0, time.UTC)
	notes := []*ReplayNote{{Run: "b", At: at.Add(time.Hour), By: "me", Letters: []string{"1", "2"}}, {Run: "a", At: at, By: "you", Letters: []string{"2", "3"}}}
	for _, note := range notes {
		for range 2 { // the answer was lost
			if err := note.Note(t.Context(), store, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := Replayed(t.Context(), store)
	want := map[string]ReplayMark{"1": {"b", "me", at.Add(time.Hour)}, "2": {"b", "me", at.Add(time.Hour)}, "3": {"a", "you", at}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := store.Create(t.Context(), Replays+"c.json", []byte("{"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Replayed(t.Context(), store); err == nil || !strings.Contains(err.Error(), "c.json") {
		t.Errorf("a damaged note: %v", err)
	}
}

// A binary message that does not fit into a message of the replay topic is referred to.
func TestALargeMessageIsReplayedByReference(t *testing.T) {
	store := objstore.NewMem()
	data := bytes.Repeat([]byte("x"), 9_500_000)
	l := &Letter{ID: "1", DataType: "market_data", Reason: schema.RuleBroken, MessageID: "17", RecordIndex: 3, Form: Rendered, Record: []byte("{}"), PayloadRef: payloads + "message-1"}
	r, err := NewReplay("run", l, &Letter{Record: data, Attributes: map[string]string{"content_type": "x"}}, []int32{3, 5})
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Publishable(t.Context(), store)
	if err != nil || len(m.Data) > 0 {
		t.Fatalf("%d bytes, %v", len(m.Data), err)
	}
	m.PublishTime = time.Now()
	again, err := ParseReplay(t.Context(), store, m)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Message("market-data"); !bytes.Equal(got.Data, data) || got.ID != "17" || got.Only || got.Attributes["content_type"] != "x" || !slices.Equal(again.Records, []int32{3, 5}) {
		t.Errorf("message %s of %d bytes, %v, records %v", got.ID, len(got.Data), got.Attributes, again.Records)
	}
}
