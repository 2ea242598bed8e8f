package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestLinesAreJSONWhereNobodyWatches(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "auto", "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("unseen")
	log.Info("drained:\u2028every row durable") // line separators must not break a line in two
	line := strings.TrimSpace(out.String())
	if strings.Count(line, "\n") != 0 || strings.Contains(line, "\u2028") {
		t.Errorf("log lines = %q, want one line with U+2028 escaped", line)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatalf("log line %q: %v", line, err)
	}
	if fields["msg"] != "drained:\u2028every row durable" || fields["level"] != "info" || fields["time"] == nil {
		t.Errorf("fields = %v", fields)
	}
}

func TestUnknownLevelIsNamed(t *testing.T) {
	if _, err := NewLogger(&bytes.Buffer{}, "json", "loud"); err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("error = %v, want one that names the level", err)
	}
}
