package ingest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/schema"
)

func TestLocalDirectory(t *testing.T) {
	for _, tt := range []struct {
		bucket, dir string
		wantErr     bool
	}{
		{bucket: "file:///var/lake", dir: "/var/lake"},
		{bucket: "file:///var/my%20lake/", dir: "/var/my lake"},
		{bucket: "gs://name"},
		{bucket: "name"},
		{bucket: "file://lake", wantErr: true},
		{bucket: "", wantErr: true},
		{bucket: "s3://name", wantErr: true},
	} {
		dir, local, err := localDirectory(tt.bucket)
		if dir != tt.dir || local != (tt.dir != "") && err == nil || (err != nil) != tt.wantErr {
			t.Errorf("localDirectory(%q) = %q, %v, %v", tt.bucket, dir, local, err)
		}
	}
}

// world is a lake in a directory and a broker.
func world(t *testing.T) (*Lake, *embedded.Server) {
	t.Helper()
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	lake, err := Open(t.Context(), Config{Bucket: "file://" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lake.Close() })
	return lake, server
}

func settings(server *embedded.Server) IngestConfig {
	return IngestConfig{
		Project: "test", Endpoint: server.Addr(),
		Broker: config.Broker{Create: true, Embedded: true, DeadLetterTopic: "dead-letters", Streams: 4},
		Ingest: config.Ingest{
			FlushRows: 1000, FlushBytes: 1 << 20, FlushAge: time.Hour, MemoryBudget: 64 << 20, OwnFileRows: 100, DrainDeadline: 30 * time.Second,
		},
	}
}

// A drain makes durable what is held, and the dead letters that only the drain
// publishes come into the lake before the run ends.
func TestDrainKeepsRowsAndDeadLetters(t *testing.T) {
	lake, server := world(t)
	ingestor, err := lake.NewIngestor(t.Context(), settings(server))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPublisher(t.Context(), PublisherConfig{Project: "test", Endpoint: server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	var records []string
	for i := range 16 {
		records = append(records, fmt.Sprintf(`{"symbol":"AAPL","timestamp":"2024-01-15T14:30:00Z","price":%d,"source":"test"}`, i+1))
	}
	for range 300 { // more than the broker delivers before the drain
		records = append(records, `{"symbol":"AAPL","timestamp":"yesterday","price":1,"source":"test"}`)
	}
	if err := p.Publish(t.Context(), "market-data", &schema.Message{Data: []byte(strings.Join(records, "\n"))}); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Close(); n != 1 || err != nil {
		t.Fatalf("published %d, %v", n, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { // stop in the middle: everything received, nothing flushed by age
		for ingestor.Report().Stats["market_data"].Received < 1 {
			time.Sleep(10 * time.Millisecond)
		}
		stop()
	}()
	if err := ingestor.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := lake.Compactor(compaction.Options{}).Run(t.Context(), lake.Registry().Types()); err != nil {
		t.Fatal(err)
	}
	for dataType, want := range map[string]int64{"market_data": 16, "dead_letters": 300} {
		if got, err := lake.CountRows(t.Context(), dataType); got != want || err != nil {
			t.Errorf("%s: %d rows, %v; want %d", dataType, got, err, want)
		}
	}
	reasons, err := lake.CountBy(t.Context(), "dead_letters", "reason")
	if err != nil || len(reasons) != 1 || reasons[0] != (Count{"bad_timestamp", 300}) {
		t.Errorf("reasons = %v, %v", reasons, err)
	}
	days, err := lake.RowsByDay(t.Context(), "market_data")
	if err != nil || len(days) != 1 || days[0] != (Count{"2024-01-15", 16}) {
		t.Errorf("days = %v, %v", days, err)
	}
}

func TestSettingsForUnknownTypesAreRefused(t *testing.T) {
	lake, server := world(t)
	c := settings(server)
	c.Broker.Subscription = map[string]string{"market": "x"}
	c.Ingest.Level = map[string]string{"options": "STRICT"}
	_, err := lake.NewIngestor(t.Context(), c)
	if config.Exit("test", err) != 2 || !strings.Contains(err.Error(), `"market"`) || !strings.Contains(err.Error(), `"options"`) {
		t.Errorf("error = %v, want a usage error that names both", err)
	}
}
