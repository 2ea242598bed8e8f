package telemetry

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// disabled is OTEL_SDK_DISABLED, which the SDK leaves to programs.
func disabled() bool {
	return strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")), "true")
}

// asked says whether the environment asks for the export of a signal (METRICS or
// TRACES): the standard's default, a collector on this machine, is not ours.
func asked(signal string) bool {
	for _, name := range []string{"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// metricReader sends metrics where the environment says; nil: nowhere.
func metricReader(ctx context.Context) (metric.Reader, error) {
	// Prometheus is served always, under --listen.
	if !asked("METRICS") || os.Getenv("OTEL_METRICS_EXPORTER") == "prometheus" {
		return nil, nil
	}
	r, err := autoexport.NewMetricReader(ctx)
	if err != nil || autoexport.IsNoneMetricReader(r) {
		return nil, err
	}
	return r, nil
}

// spanExporter sends spans where the environment says; nil: nowhere.
func spanExporter(ctx context.Context) (trace.SpanExporter, error) {
	if !asked("TRACES") {
		return nil, nil
	}
	e, err := autoexport.NewSpanExporter(ctx)
	if err != nil || autoexport.IsNoneSpanExporter(e) {
		return nil, err
	}
	return e, nil
}

// defaultRatio is the share of flushes, and of compaction runs, that are traced
// although no message asks for it.
const defaultRatio = 0.05

// ownRoots is the default sampler of spans without a parent. A request that a
// client library makes by itself (an ack, a lease) is no story of ours.
type ownRoots struct{ trace.Sampler }

// ShouldSample implements trace.Sampler.
func (s ownRoots) ShouldSample(p trace.SamplingParameters) trace.SamplingResult {
	if p.Kind == oteltrace.SpanKindClient {
		return trace.NeverSample().ShouldSample(p)
	}
	return s.Sampler.ShouldSample(p)
}

// complaintEvery is how often OpenTelemetry's own troubles may be logged: a
// collector that is down must not flood the log.
const complaintEvery = time.Minute

// handleErrors sends OpenTelemetry's own errors to the log.
func handleErrors(log *zap.Logger) {
	c := &complaints{log: log, limit: rate.NewLimiter(rate.Every(complaintEvery), 1)}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(c.handle))
	otel.SetLogger(funcr.New(func(_, args string) { c.tell(args) }, funcr.Options{}))
}

// complaints bounds how much is said.
type complaints struct {
	log    *zap.Logger
	limit  *rate.Limiter
	unsaid atomic.Int64
}

func (c *complaints) handle(err error) {
	if err != nil {
		c.tell(err.Error())
	}
}

func (c *complaints) tell(what string) {
	if !c.limit.Allow() {
		c.unsaid.Add(1)
		return
	}
	c.log.Warn("telemetry: metrics or spans are lost, the data is not", zap.String("error", what), zap.Int64("more_of_these", c.unsaid.Swap(0)))
}
