package samples

import (
	"reflect"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// What a sample says of itself is what the decoder finds.
func TestSamplesKnowTheirVerdicts(t *testing.T) {
	registry, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, s := range Messages(Demo("test")) {
		def, ok := registry.Latest(s.DataType)
		if !ok || def.Topic != s.Topic {
			t.Fatalf("%s on topic %s: not in the registry", s.DataType, s.Topic)
		}
		m := s.Message
		m.ID, m.PublishTime = "1", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		rows := schema.NewColumns(def)
		rejected := def.NewDecoder(schema.Standard).Decode(&m, rows)
		if rows.Len()+len(rejected) != s.Records || len(rejected) != s.Bad {
			t.Errorf("%s %s (%s): %d rows and %d rejections, want %d records of which %d are bad: %.200s %+v",
				s.DataType, s.Why, m.Attributes["content_type"], rows.Len(), len(rejected), s.Records, s.Bad, m.Data, rejected)
		}
		kinds[s.DataType]++
	}
	if len(kinds) != 3 {
		t.Errorf("data types = %v, want all three", kinds)
	}
}

func TestSameSeedSameMessages(t *testing.T) {
	a, b := Messages(Demo("x")), Messages(Demo("x"))
	if !reflect.DeepEqual(a, b) {
		t.Error("two runs differ")
	}
	ids := map[string]bool{}
	for _, s := range a {
		if id := s.Message.Attributes["event_id"]; id != "" && ids[id] != (s.Repeated > 0) {
			t.Errorf("event_id %s: seen before is %v, said to be repeated %d", id, ids[id], s.Repeated)
		} else if id != "" {
			ids[id] = true
		}
	}
	for _, s := range Messages(Demo("y")) {
		if id := s.Message.Attributes["event_id"]; ids[id] {
			t.Errorf("another run uses event_id %s again", id)
		}
	}
}
