package ingest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// looks counts the outcomes of a refresher's looks.
type looks struct {
	mu  sync.Mutex
	all map[string]int
}

func (l *looks) count(outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[outcome]++
}

func (l *looks) of(outcome string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[outcome]
}

// running is an ingestor that runs until the test ends, and what came of its looks.
func running(t *testing.T, lake *Lake, c IngestConfig) (*Ingestor, *looks) {
	t.Helper()
	c.Ingest.FlushAge = 50 * time.Millisecond
	ingestor, err := lake.NewIngestor(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l := &looks{all: map[string]int{}}
	ingestor.refresher.count = l.count
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- ingestor.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ingestor, l
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not there after 20 seconds", what)
		}
	}
}

func vwap(t *testing.T) []byte {
	t.Helper()
	avsc, err := os.ReadFile("examples/definitions/market_data-v1.3.0.avsc")
	if err != nil {
		t.Fatal(err)
	}
	return avsc
}

// versionOf is the version that an ingestor judges a data type by.
func versionOf(i *Ingestor, dataType string) string {
	p := i.fleet.pipeline(dataType)
	if p == nil {
		return ""
	}
	return p.Definition().Version.String()
}

// A definition that cannot be read stops nothing, is told of, and is tried again: when
// it is mended it is taken up. What was there before stays there.
func TestALookThatFails(t *testing.T) {
	lake, server := world(t)
	dir, _, _ := localDirectory(lake.name)
	c := settings(server)
	c.Ingest.SchemaRefresh = 20 * time.Millisecond
	ingestor, looks := running(t, lake, c)
	eventually(t, "a look", func() bool { return looks.of("ok") > 0 })

	name := filepath.Join(dir, "metadata", "schemas", "market_data", "v1.3.0.avsc")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{"{", strings.Replace(string(vwap(t)), `{"name": "volume", "type": ["null", "long"]`, `{"name": "volume", "type": ["null", "double"]`, 1)} {
		failed := looks.of("failed")
		if err := os.WriteFile(name, []byte(broken), 0o644); err != nil {
			t.Fatal(err)
		}
		eventually(t, "looks that fail", func() bool { return looks.of("failed") > failed+2 })
		ok := looks.of("ok")
		if eventually(t, "another", func() bool { return looks.of("failed") > failed+4 }); looks.of("ok") != ok || versionOf(ingestor, "market_data") != "v1.2.0" {
			t.Errorf("with a broken definition %d looks went well, and messages are judged by %s", looks.of("ok")-ok, versionOf(ingestor, "market_data"))
		}
	}
	if err := os.WriteFile(name, vwap(t), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mended definition", func() bool { return versionOf(ingestor, "market_data") == "v1.3.0" })
	other := strings.Replace(string(vwap(t)), "volume-weighted", "weighted", 1) // somebody corrected the object by hand
	if err := os.WriteFile(name, []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other text", func() bool { return ingestor.fleet.pipeline("market_data").Definition().Avro() == other })
	v, _ := schema.ParseVersion("v1.2.0")
	if _, ok := lake.Registry().Lookup("market_data", v); !ok || versionOf(ingestor, "options_data") != "v1.1.0" {
		t.Error("older versions, or other types, are gone")
	}
}

// A message that is ahead asks for a look: nobody waits for the next round.
func TestAMessageAsksForALook(t *testing.T) {
	lake, server := world(t)
	c := settings(server)
	c.Ingest.SchemaRefresh, c.Ingest.UnknownAge = 24*time.Hour, time.Hour
	ingestor, _ := running(t, lake, c)
	operator, err := Open(t.Context(), lake.config)
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	if _, _, err := operator.Evolve(t.Context(), vwap(t), schema.Full); err != nil {
		t.Fatal(err)
	}
	p, err := NewPublisher(t.Context(), PublisherConfig{Project: "test", Endpoint: server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	m := &schema.Message{Data: []byte(`{"symbol":"A","timestamp":"2024-01-15T14:30:00Z","price":1,"source":"t"}`), Attributes: map[string]string{"schema_version": "v1.3.0"}}
	if err := p.Publish(t.Context(), "market-data", m); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the row", func() bool { return ingestor.Report().Stats["market_data"].Acked == 1 })
	if s := ingestor.Report().Stats["market_data"]; s.AckedRows != 1 || s.Postponed == 0 || s.Switches != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A new data type whose subscription is missing is tried again at each look; an
// ingestor that was told its types takes no other.
func TestANewTypeWithoutASubscription(t *testing.T) {
	for _, told := range []bool{false, true} {
		lake, server := world(t)
		p, err := NewPublisher(t.Context(), PublisherConfig{Project: "test", Endpoint: server.Addr(), Create: true})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		c := settings(server)
		c.Broker.Create, c.Ingest.SchemaRefresh = false, 20*time.Millisecond
		if told {
			c.Types = []string{"market_data"}
		}
		ingestor, looks := running(t, lake, c)
		avsc, err := os.ReadFile("examples/definitions/options_chain_summary.avsc")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := lake.Evolve(t.Context(), avsc, schema.Full); err != nil {
			t.Fatal(err)
		}
		if told {
			ok := looks.of("ok")
			eventually(t, "looks", func() bool { return looks.of("ok") > ok+2 })
			if versionOf(ingestor, "options_chain_summary") != "" || looks.of("failed") > 0 {
				t.Errorf("an ingestor of market_data works on %v", ingestor.fleet.types())
			}
			continue
		}
		eventually(t, "looks that fail", func() bool { return looks.of("failed") > 2 })
		if err := p.broker.ensureSource(t.Context(), nil, "options-chain-summary", "options-chain-summary-ingest"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new type", func() bool { return versionOf(ingestor, "options_chain_summary") == "v1.0.0" })
	}
}

// An operator who has not looked for a while cannot add what contradicts a version
// that came meanwhile.
func TestEvolveGoesByWhatTheLakeHas(t *testing.T) {
	lake, _ := world(t)
	stale, err := Open(t.Context(), lake.config)
	if err != nil {
		t.Fatal(err)
	}
	defer stale.Close()
	if _, _, err := lake.Evolve(t.Context(), vwap(t), schema.Full); err != nil {
		t.Fatal(err)
	}
	next := strings.NewReplacer(`"bb.version": "1.3.0"`, `"bb.version": "1.4.0"`).Replace(string(vwap(t)))
	bad := strings.Replace(next, `"name": "vwap", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}]`, `"name": "vwap", "type": ["null", "double"]`, 1)
	if bad == next {
		t.Fatal("the field is written in another way")
	}
	if _, _, err := stale.Evolve(t.Context(), []byte(bad), schema.Full); err == nil || !strings.Contains(err.Error(), "field vwap") {
		t.Errorf("a change of a field that came meanwhile: %v", err)
	}
	if _, err := lake.Refresh(t.Context()); err != nil {
		t.Errorf("the lake's definitions contradict each other: %v", err)
	}
}
