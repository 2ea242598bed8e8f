package pipeline

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/schema"
)

// letterbox keeps dead letters as they are published.
type letterbox struct {
	mu      sync.Mutex
	letters []*deadletter.Letter
}

func (b *letterbox) Publish(_ context.Context, m *schema.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters = append(b.letters, deadletter.Parse(m))
	return nil
}

// container is an Avro container of market records, every second without a price.
func container(t *testing.T, n int) []byte {
	t.Helper()
	writer, err := avro.Parse(`{"type":"record","name":"quote","fields":[{"name":"symbol","type":"string"},{"name":"source","type":"string"},
		{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"price","type":["null","double"]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := ocf.NewWriter(&b, writer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		values := map[string]any{"symbol": "A", "source": "x", "timestamp": firstDay.Add(time.Duration(i) * time.Second), "price": 1.5}
		if i%2 == 1 {
			values["price"] = nil
		}
		if err := w.Encode(values); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestTheMessageOfAContainerIsKept: once, for all letters, before the ack; whatever
// operation of the store fails.
func TestTheMessageOfAContainerIsKept(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for k := 0; ; k++ {
			fired := false
			synctest.Test(t, func(t *testing.T) { fired = keepContainer(t, lost, k) })
			if !fired {
				if k < 2 {
					t.Errorf("%d operations of the store only", k)
				}
				break
			}
		}
	}
}

func keepContainer(t *testing.T, lost bool, k int) bool {
	data := container(t, 10)
	b := newBroker([]*message{{Message: schema.Message{ID: "7", Data: data, PublishTime: firstDay.AddDate(1, 0, 0),
		Attributes: map[string]string{"content_type": "application/vnd.apache.avro+ocf", "source": "test"}}}})
	mem, letters := objstore.NewMem(), &letterbox{}
	faults := &objtest.Faults{Store: mem, FailAt: k, Lost: lost}
	kept := func(ctx context.Context) (names []string) {
		for o := range mem.List(ctx, "payloads/", "") {
			names = append(names, o.Name)
		}
		return names
	}
	b.onAck = func(*message) {
		if n := len(kept(context.Background())); n != 1 {
			t.Errorf("acked with %d originals kept, want 1", n)
		}
	}
	until(t, b, func() Config { return config(t, b, faults, letters) })
	if n := len(kept(t.Context())); n != 1 {
		t.Fatalf("%d originals, want 1", n)
	}
	records := map[int32]bool{}
	for _, l := range letters.letters {
		records[l.RecordIndex] = true
		whole, original, err := deadletter.Whole(t.Context(), mem, l)
		if err != nil || original == nil {
			t.Fatalf("original %v, %v", original, err)
		}
		if !bytes.Equal(original.Record, data) || original.Attributes["content_type"] == "" || original.MessageID != "7" {
			t.Errorf("the original differs: %d bytes, want %d", len(original.Record), len(data))
		}
		if whole.Form != deadletter.Rendered || !strings.HasPrefix(string(whole.Record), `{"symbol":"A"`) || whole.Reason != schema.MissingRequired {
			t.Errorf("letter %+v", whole)
		}
	}
	if len(records) != 5 {
		t.Errorf("letters of records %v, want 5", records)
	}
	return faults.Fired()
}

// forgetful is a store that takes no payloads.
type forgetful struct{ objstore.Store }

func (s forgetful) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	if strings.HasPrefix(name, "payloads/") {
		return objstore.Object{}, errTopic
	}
	return s.Store.Create(ctx, name, data, metadata)
}

func TestAMessageWhoseOriginalCannotBeKeptIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker([]*message{{Message: schema.Message{ID: "7", Data: container(t, 2), PublishTime: firstDay.AddDate(1, 0, 0),
			Attributes: map[string]string{"content_type": "application/vnd.apache.avro+ocf"}}}})
		c := config(t, b, forgetful{objstore.NewMem()}, &letterbox{})
		c.Drain = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := New(c)
		if err := p.Run(ctx); err == nil {
			t.Error("Run claims that everything is durable")
		}
		if s := p.Stats(); len(b.acked) != 0 || s.Acked != 0 || s.Nacked == 0 {
			t.Errorf("%d acked, stats %+v", len(b.acked), s)
		}
	})
}
