package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/schema"
)

// hostile is what a letter may hold to command a terminal, turn text around, or
// run in a spreadsheet.
const hostile = "\x1b[2J\x1b]0;pwned\x07\u202egnp.exe\u009b31m\r\n=cmd()"

// lettersLake is a lake with dead letters that came the real way.
func lettersLake(t *testing.T) string {
	t.Helper()
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	bucket := "file://" + t.TempDir()
	lake, err := ingest.Open(t.Context(), ingest.Config{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	defer lake.Close()
	ingestor, err := lake.NewIngestor(t.Context(), ingest.IngestConfig{
		Project: "test", Endpoint: server.Addr(),
		Broker: config.Broker{Create: true, Embedded: true, DeadLetterTopic: "dead-letters", Streams: 2},
		Ingest: config.Ingest{FlushRows: 1000, FlushBytes: 1 << 20, FlushAge: 100 * time.Millisecond, MemoryBudget: 64 << 20,
			OwnFileRows: 100, DrainDeadline: 30 * time.Second, IdleExit: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ingest.NewPublisher(t.Context(), ingest.PublisherConfig{Project: "test", Endpoint: server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	many := map[string]string{"event_id": "many", "published_at": "2024-01-18T10:00:00Z"}
	for i := range 98 {
		many[fmt.Sprintf("a%02d", i)] = "v"
	}
	quoted, _ := json.Marshal(hostile)
	for _, m := range []struct {
		topic, data string
		attrs       map[string]string
	}{
		{"market-data", `{"symbol":"AAPL","timestamp":"yesterday","price":1.5,"data_source":"x"}`, map[string]string{"event_id": "alias", "source": "=evil()", "published_at": "2024-01-15T10:00:00Z"}},
		{"market-data", `{"symbol":"AAPL","timestamp":` + string(quoted) + `,"price":1.5,"data_source":"x"}`, map[string]string{"event_id": "hostile", "source": hostile, hostile: "k", "published_at": "2024-01-16T10:00:00Z"}},
		{"market-data", hostile, map[string]string{"event_id": "text", "published_at": "2024-01-17T10:00:00Z"}},
		{"dead-letters", "\x00\xff\x1b[2J", map[string]string{"dl_id": "e\x1b[2Jvil", "reason": hostile, "explanation": "+" + hostile, "event_id": "stranger", "published_at": "2024-01-14T10:00:00Z"}},
		{"market-data", `{"symbol":"AAPL","timestamp":"2024-01-15T14:00:00Z","data_source":"x"}`, many},
	} {
		if err := p.Publish(t.Context(), m.topic, &schema.Message{Data: []byte(m.data), Attributes: m.attrs}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ingestor.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return bucket
}

// dlq runs a command and gives what it wrote.
func dlq(t *testing.T, bucket string, args ...string) (string, error) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	err := run(t.Context(), append([]string{"dlq"}, append(args, "--data-bucket", bucket)...), streams{nil, &out, &diagnostics})
	return out.String(), err
}

// harmless fails for anything that a terminal acts on.
func harmless(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8", what)
	}
	for _, r := range text {
		if r < ' ' && r != '\n' || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Fatalf("%s holds %U:\n%q", what, r, text)
		}
	}
}

func TestDeadLetterCommands(t *testing.T) {
	bucket := lettersLake(t)
	t.Setenv("COLUMNS", "125")
	ids := map[string]string{} // by event_id
	out, err := dlq(t, bucket, "export")
	if err != nil {
		t.Fatal(err)
	}
	harmless(t, "export", out)
	for line := range strings.Lines(out) {
		var l struct {
			ID         string            `json:"dl_id"`
			Attributes map[string]string `json:"attributes"`
			Data       *string           `json:"data"`
			Base64     []byte            `json:"data_base64"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		id := l.Attributes["event_id"]
		if id == "" {
			id = "stranger"
			if string(l.Base64) != "\x00\xff\x1b[2J" {
				t.Errorf("the stranger's bytes are %q", l.Base64)
			}
		}
		ids[id] = l.ID
		if id == "many" && len(l.Attributes) != 100 {
			t.Errorf("%d attributes, want those of the payload object too", len(l.Attributes))
		}
		if id == "text" && *l.Data != hostile {
			t.Errorf("data %q", *l.Data)
		}
	}
	if len(ids) != 5 {
		t.Fatalf("exported %v", ids)
	}
	for _, tt := range []struct {
		name string
		args []string
		want []string // in this order
		not  []string
	}{
		{"ls, the newest first", []string{"ls"}, []string{"ID ", ids["many"][:12], ids["text"][:12], ids["hostile"][:12], ids["alias"][:12], `e\x1b[2J`, "5 dead letters."}, nil},
		{"ls with a limit", []string{"ls", "--limit", "1"}, []string{ids["many"][:12], "there may be more"}, []string{ids["text"][:12]}},
		{"ls of a reason", []string{"ls", "--reason", "bad_timestamp"}, []string{ids["hostile"][:12], ids["alias"][:12]}, []string{ids["text"][:12]}},
		{"ls of a source", []string{"ls", "--source", "=evil()"}, []string{ids["alias"][:12], "1 dead"}, nil},
		{"ls of days", []string{"ls", "--from", "2024-01-16", "--to", "2024-01-17"}, []string{ids["text"][:12], ids["hostile"][:12]}, []string{ids["many"][:12], ids["alias"][:12]}},
		{"ls of today", []string{"ls", "--since", "1d"}, []string{"0 dead letters"}, nil},
		{"ls as JSON", []string{"ls", "--format", "json", "--limit", "0"}, []string{ids["many"], ids["alias"]}, nil},
		{"show", []string{"show", ids["alias"][:10]}, []string{"bad_timestamp: ", "timestamp", "market_data v1.2.0", "2024-01-15T10:00:00Z", "market-data", "source = =evil()", `▶   "timestamp": "yesterday"`, "RFC 3339", "--raw"}, nil},
		{"show what is missing", []string{"show", ids["many"]}, []string{"payloads/dead_letters/", "a97 = v", "▶   (no price)"}, nil},
		{"show hostile JSON", []string{"show", ids["hostile"]}, []string{`▶   "timestamp": "`}, nil},
		{"show hostile text", []string{"show", ids["text"]}, []string{"00000000  1b 5b"}, nil},
		{"show a stranger", []string{"show", ids["stranger"]}, []string{`e\x1b[2Jvil`, "not a reason code", "00 ff 1b"}, nil},
		{"show as JSON", []string{"show", ids["many"], "--format", "json"}, []string{`"a97": "v"`, `"data": "{`, `"payload_ref"`}, nil},
		{"stats", []string{"stats"}, []string{"5 dead letters", "by reason", "bad_timestamp", "2  ███", ids["hostile"][:12], "by type", "market_data", "by source", "(none)", "by day", "2024-01-18", "2024-01-14"}, nil},
		{"stats by day and type", []string{"stats", "--by", "day,type"}, []string{"DAY", "2024-01-14", "unknown"}, nil},
		{"stats as CSV", []string{"stats", "--format", "csv"}, []string{"reason,type,source,day,count,first,last,sample", "'=evil()"}, []string{",=evil"}},
		{"stats as JSON", []string{"stats", "--format", "json", "--by", "type", "--type", "unknown"}, []string{`"count":1`, `"type":"unknown"`}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := dlq(t, bucket, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(tt.name, "CSV") { // data for programs: as it is, but for formulas
				harmless(t, "output", out)
			}
			at := 0
			for _, want := range tt.want {
				i := strings.Index(out[at:], want)
				if i < 0 {
					t.Fatalf("%q is not there, or not in order:\n%s", want, out)
				}
				at += i
			}
			for _, not := range tt.not {
				if strings.Contains(out, not) {
					t.Errorf("%q is there:\n%s", not, out)
				}
			}
			if tt.args[0] == "ls" && !strings.Contains(tt.name, "JSON") {
				for line := range strings.Lines(out) {
					if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 125 {
						t.Errorf("a line of %d columns: %s", n, line)
					}
				}
			}
		})
	}
	t.Run("the exact bytes", func(t *testing.T) {
		for id, want := range map[string]string{"text": hostile, "stranger": "\x00\xff\x1b[2J"} {
			if out, err := dlq(t, bucket, "show", ids[id], "--raw"); err != nil || out != want {
				t.Errorf("%q, %v; want %q", out, err, want)
			}
		}
	})
	t.Run("a formula in CSV", func(t *testing.T) {
		out, err := dlq(t, bucket, "ls", "--format", "csv")
		if err != nil || !strings.Contains(out, ",'=evil(),") {
			t.Errorf("%v:\n%s", err, out)
		}
	})
	t.Run("to a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "letters.ndjson")
		if out, err := dlq(t, bucket, "export", "--out", path, "--reason", "bad_timestamp"); err != nil || out != "" {
			t.Fatalf("%q, %v", out, err)
		}
		text, err := os.ReadFile(path)
		if err != nil || bytes.Count(text, []byte("\n")) != 2 {
			t.Errorf("%s, %v", text, err)
		}
		if all, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(all) != 1 {
			t.Errorf("left behind: %v", all)
		}
	})
	t.Run("wrong usage", func(t *testing.T) {
		for _, args := range [][]string{{"ls", "--limit", "-1"}, {"ls", "--since", "7x"}, {"ls", "--since", "0d"}, {"ls", "--since", "1h", "--from", "2024-01-01"}, {"ls", "--from", "soon"},
			{"stats", "--by", "colour"}, {"show", ids["text"], "--raw", "--format", "json"}, {"show"}} {
			if _, err := dlq(t, bucket, args...); config.Exit("test", err) != 2 {
				t.Errorf("%v: %v, want a usage error", args, err)
			}
		}
		if _, err := dlq(t, bucket, "show", "nonsense"); config.Exit("test", err) != 1 || !strings.Contains(err.Error(), "no such dead letter") {
			t.Errorf("an unknown id: %v", err)
		}
	})
	t.Run("a payload that has gone", func(t *testing.T) {
		dir := filepath.Join(strings.TrimPrefix(bucket, "file://"), "payloads")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if out, err := dlq(t, bucket, "show", ids["many"]); err != nil || !strings.Contains(out, "the payload cannot be read") || !strings.Contains(out, `"symbol": "AAPL"`) {
			t.Errorf("%v:\n%s", err, out)
		}
		if _, err := dlq(t, bucket, "show", ids["many"], "--raw"); err == nil {
			t.Error("--raw claims to have everything")
		}
		out, err := dlq(t, bucket, "export")
		if config.Exit("test", err) != 1 || strings.Count(out, "\n") != 5 || !strings.Contains(out, "payload_error") {
			t.Errorf("export: %v, %d lines", err, strings.Count(out, "\n"))
		}
	})
}

func TestLongRecordsAreCutAroundTheMark(t *testing.T) {
	lines := make([]string, 1000)
	for i := range lines {
		lines[i] = fmt.Sprint("line ", i)
	}
	var b strings.Builder
	writeLines(&b, lines, 700)
	out := b.String()
	for _, want := range []string{"    line 199\n    … 497 lines …\n    line 697\n", "  ▶ line 700\n", "    line 703\n    … 296 lines more (--raw)\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out[len(out)-300:])
		}
	}
}

func TestTheFieldToBlameIsMarked(t *testing.T) {
	r, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := r.Latest("market_data")
	for _, tt := range []struct {
		name, field, record string
		reason              schema.Reason
		def                 *schema.Definition
		want                string // the marked line; "": none
	}{
		{"its own name", "price", `{"symbol":"A","price":"x"}`, schema.TypeMismatch, def, `"price": "x"`},
		{"an alias", "data_source", `{"symbol":"A","source":5}`, schema.TypeMismatch, def, `"source": 5`},
		{"an alias of nobody knows what", "data_source", `{"source":5}`, schema.TypeMismatch, nil, ""},
		{"a field of the same name further in", "price", `{"a":{"price":1},"price":2}`, schema.TypeMismatch, def, `"price": 2`},
		{"absent", "price", `{"symbol":"A"}`, schema.MissingRequired, def, "(no price)"},
		{"nothing to blame", "", `{"symbol":"A"}`, schema.TooDeep, def, ""},
		{"a value like a field", "price", `{"symbol":"price"}`, schema.TypeMismatch, def, ""},
		{"no JSON", "price", `{"price":`, schema.JSONSyntax, def, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := shown{Letter: &deadletter.Letter{Field: tt.field, Reason: tt.reason, Record: []byte(tt.record)}, def: tt.def}
			_, after, marked := strings.Cut(s.text(), "  ▶   ")
			line, _, _ := strings.Cut(after, "\n")
			if strings.TrimSuffix(line, ",") != tt.want || marked != (tt.want != "") {
				t.Errorf("marked %q, want %q in\n%s", line, tt.want, s.text())
			}
		})
	}
}
