package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
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

func TestLinesCarryTheTrace(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	With(trace.ContextWithSpanContext(t.Context(), span), log).Info("flushed")
	if !strings.Contains(out.String(), `"trace_id":"01000000000000000000000000000000","span_id":"0200000000000000"`) {
		t.Errorf("line = %s", out.String())
	}
	if With(t.Context(), log) != log {
		t.Error("a log without a span is another log")
	}
}

// A collector that is down for an hour costs a line a minute.
func TestComplaintsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.WarnLevel)
		handleErrors(zap.New(core))
		for range 3600 {
			otel.Handle(errors.New("connection refused"))
			time.Sleep(time.Second)
		}
		if n := lines.Len(); n < 59 || n > 61 {
			t.Errorf("%d lines in an hour, want one a minute", n)
		}
		last := lines.All()[lines.Len()-1].ContextMap()
		if last["error"] != "connection refused" || last["more_of_these"] != int64(59) {
			t.Errorf("the last line says %v", last)
		}
	})
}
