package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// A collector receives OTLP over gRPC.
type collector struct {
	traces.UnimplementedTraceServiceServer
	addr string

	mu      sync.Mutex
	names   map[string]bool // of metrics
	spans   []*v1.Span
	service string
}

type metricsService struct {
	metrics.UnimplementedMetricsServiceServer
	*collector
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, s := &collector{addr: l.Addr().String(), names: map[string]bool{}}, grpc.NewServer()
	traces.RegisterTraceServiceServer(s, c)
	metrics.RegisterMetricsServiceServer(s, metricsService{collector: c})
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { s.Stop(); serving.Wait() })
	return c
}

func (c *collector) Export(_ context.Context, r *traces.ExportTraceServiceRequest) (*traces.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				c.service = a.Value.GetStringValue()
			}
		}
		for _, s := range rs.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
	return &traces.ExportTraceServiceResponse{}, nil
}

func (c metricsService) Export(_ context.Context, r *metrics.ExportMetricsServiceRequest) (*metrics.ExportMetricsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rm := range r.ResourceMetrics {
		for _, s := range rm.ScopeMetrics {
			for _, m := range s.Metrics {
				c.names[m.Name] = true
			}
		}
	}
	return &metrics.ExportMetricsServiceResponse{}, nil
}

// named gives the spans of a name, in the order they ended.
func (c *collector) named(name string) (all []*v1.Span) {
	for _, s := range c.spans {
		if s.Name == name {
			all = append(all, s)
		}
	}
	return all
}

func traceparent(i byte, flags string) string {
	return fmt.Sprintf("00-%032x-%016x-%s", i, 0xff00+int(i), flags)
}

// TestTracesGoOn: publisher → ingest → flush → store create, in one trace.
func TestTracesGoOn(t *testing.T) {
	c := startCollector(t)
	tel := started(t, Config{Service: "ingestor"}, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+c.addr, "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	messages := trades(40, time.Minute, nil)
	for i := range messages {
		switch {
		case i == 0: // not recorded by its publisher
			messages[i].Attributes = map[string]string{"googclient_traceparent": traceparent(200, "00")}
		case i == 1:
			messages[i].Attributes = map[string]string{"googclient_traceparent": strings.Repeat("z", 54) + "1"}
		case i < 15:
			messages[i].Attributes = map[string]string{"googclient_traceparent": traceparent(byte(i), "01")}
		}
	}
	_, run := observedRun(t, observedStore(objstore.NewMem()), &feed{messages: messages}, nop())
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.service != "ingestor" {
		t.Errorf("service.name = %q", c.service)
	}
	for _, name := range []string{"ingest.messages.acked", "ingest.flush.duration", "store.operations", "go.goroutine.count"} {
		if !c.names[name] {
			t.Errorf("the collector has no %s", name)
		}
	}
	flushes, uploads, ingests := c.named("flush market_data"), c.named("store create"), c.named("ingest market_data")
	if len(flushes) != 1 || len(uploads) != 1 || len(ingests) != 7 || len(c.spans) != 9 {
		t.Fatalf("%d flushes, %d uploads, %d ingests, %d spans; want 1, 1, 7 (of 8 followed one is no trace), 9", len(flushes), len(uploads), len(ingests), len(c.spans))
	}
	flush := flushes[0]
	first := ingests[slices.IndexFunc(ingests, func(s *v1.Span) bool { return bytes.Equal(s.SpanId, flush.ParentSpanId) })]
	if first.TraceId[15] != 2 || first.ParentSpanId[7] != 2 || first.ParentSpanId[6] != 0xff {
		t.Errorf("the flush continues trace %x, span %x; want the first message's, 2", first.TraceId, first.ParentSpanId)
	}
	if !bytes.Equal(flush.TraceId, first.TraceId) || !bytes.Equal(uploads[0].TraceId, first.TraceId) || !bytes.Equal(uploads[0].ParentSpanId, flush.SpanId) {
		t.Errorf("flush in trace %x, upload in %x under %x", flush.TraceId, uploads[0].TraceId, uploads[0].ParentSpanId)
	}
	if took := first.EndTimeUnixNano - first.StartTimeUnixNano; took < uint64(time.Minute) {
		t.Errorf("the ingest span lasts %v, want from publication until durable", time.Duration(took))
	}
	if len(flush.Links) != 6 {
		t.Errorf("the flush links to %d publishers, want 6", len(flush.Links))
	}
	for _, s := range ingests {
		if s != first && (len(s.Links) != 1 || !bytes.Equal(s.Links[0].SpanId, flush.SpanId) || s.ParentSpanId[6] != 0xff) {
			t.Errorf("ingest span %v does not link to the flush", s)
		}
	}
}

func TestFailedFlushesLookSo(t *testing.T) {
	c := startCollector(t)
	tel := started(t, Config{}, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+c.addr, "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_TRACES_SAMPLER", "always_on")
	var out bytes.Buffer
	log, _ := NewLogger(&out, "json", "warn")
	_, run := observedRun(t, observedStore(&objtest.Faults{Store: objstore.NewMem(), Times: 3}), &feed{messages: trades(3, 0, nil)}, log)
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flush market_data", "store create"} {
		spans := c.named(name)
		if len(spans) != 2 || spans[0].Status.GetCode() != v1.Status_STATUS_CODE_ERROR || spans[1].Status.GetCode() != v1.Status_STATUS_CODE_UNSET {
			t.Fatalf("spans %s = %v, want one that failed and one that did not", name, spans)
		}
	}
	if want := fmt.Sprintf(`"trace_id":"%x"`, c.named("flush market_data")[0].TraceId); !strings.Contains(out.String(), want) {
		t.Errorf("log %s lacks %s", out.String(), want)
	}
	if n := len(c.named("store create")[0].Events); n != 2 {
		t.Errorf("%d retries in the span of the upload, want 2", n)
	}
}

// TestADeadCollector: nothing is held up by a collector that is down, or that
// takes connections and never answers.
func TestADeadCollector(t *testing.T) {
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, addr := range map[string]string{"refuses": closed.Addr().String(), "never answers": hole.Addr().String()} {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				var out bytes.Buffer
				log, _ := NewLogger(&out, "json", "info")
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+addr)
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
				t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
				t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")     // ms: exports begin at once
				t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "10") // ms
				tel, err := Start(t.Context(), Config{Service: "ingestor", Log: log})
				if err != nil {
					t.Fatal(err)
				}
				f := &feed{messages: trades(20, 0, nil)}
				f.during = func() { scrape(t, tel) }
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				p, run := observedRun(t, observedStore(objstore.NewMem()), f, log)
				if err := run(); err != nil || ctx.Err() != nil || p.Stats().Acked != 21 {
					t.Errorf("Run = %v, %v, %d acked", err, ctx.Err(), p.Stats().Acked)
				}
				began := time.Now()
				err = tel.Shutdown(t.Context())
				if took := time.Since(began); err == nil || took > 2*shutdownTimeout {
					t.Errorf("Shutdown = %v after %v, want an error within %v", err, took, shutdownTimeout)
				}
				if n := strings.Count(out.String(), "metrics or spans are lost"); n > 1 {
					t.Errorf("%d complaints in a moment:\n%s", n, out.String())
				}
			})
		}
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for _, env := range [][2]string{{"OTEL_TRACES_EXPORTER", "pigeon"}, {"OTEL_METRICS_EXPORTER", "pigeon"}, {"OTEL_RESOURCE_ATTRIBUTES", "pigeon"}} {
		t.Run(env[0], func(t *testing.T) {
			t.Setenv(env[0], env[1])
			_, err := Start(t.Context(), Config{Service: "ingestor"})
			if err == nil || !strings.Contains(err.Error(), env[0]) || !strings.Contains(err.Error(), "wrong setting") {
				t.Errorf("Start = %v, want an error that names %s", err, env[0])
			}
		})
	}
}

// Without the standard's variables nothing is sent, whatever the standard's default.
func TestNothingIsSentUnasked(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER"} {
		t.Setenv(name, "")
	}
	r, err := metricReader(t.Context())
	e, err2 := spanExporter(t.Context())
	if r != nil || e != nil || err != nil || err2 != nil {
		t.Errorf("%v %v %v %v", r, e, err, err2)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	r, err = metricReader(t.Context())
	e, err2 = spanExporter(t.Context())
	if r != nil || e != nil || err != nil || err2 != nil {
		t.Errorf("%v %v %v %v", r, e, err, err2)
	}
}
