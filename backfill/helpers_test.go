package backfill

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// bars is a small definition, with a field of every kind of cell.
const bars = `{"type":"record","name":"bars","bb.version":"1.0.0","bb.topic":"bars","bb.category":"bar","bb.symbol":"symbol","bb.event_time":"timestamp","fields":[
 {"name":"symbol","type":"string"},
 {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":18,"scale":8}],"default":null},
 {"name":"volume","type":["null","long"],"default":null},
 {"name":"beta","type":["null","double"],"default":null},
 {"name":"halted","type":["null","boolean"],"default":null},
 {"name":"note","type":["null","string"],"default":null,"aliases":["remark"]}
]}`

func definition(t testing.TB) *schema.Definition {
	t.Helper()
	d, err := schema.Parse([]byte(bars))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// store writes a file and gives its name.
func store(t testing.TB, name, content string) string {
	t.Helper()
	full := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return full
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

func inputs(t testing.TB, names ...string) []Input {
	t.Helper()
	all, err := Files(names...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A broker keeps what is sent to it, and may fail.
type broker struct {
	mu       sync.Mutex
	messages map[string]string // event_id -> data
	times    map[string]bool   // published_at
	sent     int

	failAt  int  // the number of the Send that fails, from 0; -1: none
	lost    bool // it has the message all the same
	changed []string
}

var errBroker = errors.New("broker is down")

func newBroker() *broker {
	return &broker{messages: map[string]string{}, times: map[string]bool{}, failAt: -1}
}

func (b *broker) Send(_ context.Context, topic string, m *schema.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	number := b.sent
	b.sent++
	if number == b.failAt && !b.lost {
		return errBroker
	}
	id := topic + "/" + m.Attributes["event_id"]
	if had, there := b.messages[id]; there && had != string(m.Data) {
		b.changed = append(b.changed, id)
	}
	b.messages[id] = string(m.Data)
	b.times[m.Attributes["published_at"]] = true
	if number == b.failAt {
		return errBroker
	}
	return nil
}

// rows decodes all that the broker has: records by identity.
func (b *broker) rows(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for id, data := range b.messages {
		for i, text := range bytes.Split([]byte(data), []byte("\n")) {
			all[fmt.Sprintf("%s %d", id, i)] = string(text)
		}
	}
	return all
}

// job is a job of these files, with a checkpoint of its own.
func job(t testing.TB, to *broker, files ...string) *Job {
	t.Helper()
	return &Job{
		Settings:    Settings{Definition: definition(t), BatchRows: 3},
		Inputs:      inputs(t, files...),
		Destination: "test",
		Publisher:   to,
		Checkpoint:  filepath.Join(t.TempDir(), "checkpoint.json"),
		Now:         func() time.Time { return time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC) },
	}
}

// texts are the records of one file, as they are published.
func texts(t testing.TB, s Settings, content string) (all []string, broken int) {
	t.Helper()
	j := &Job{Settings: s, Inputs: inputs(t, store(t, "file", content))}
	if j.Definition == nil {
		j.Definition = definition(t)
	}
	p, err := j.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = p.each(t.Context(), position{}, func(b *batch, _ position, _ int64) error {
		for _, line := range bytes.Split(b.data, []byte("\n")) {
			all = append(all, string(line))
		}
		broken += len(b.broken)
		if len(b.lines) != bytes.Count(b.data, []byte("\n"))+1 || !slices.IsSorted(b.lines) {
			t.Errorf("lines %v of %d bytes", b.lines, len(b.data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, broken
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
