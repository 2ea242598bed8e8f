// Package telemetry tells operators how a program is doing: log lines, metrics,
// traces, health and readiness.
//
//	counts of pipelines ─┐                 ┌─▶ /metrics (Prometheus)
//	flushes, store, runs ┴─▶ OpenTelemetry ┴─▶ a collector (OTLP), where one is named
//	checks ─────────────────────────────────▶ /healthz, /readyz
//
// What always holds:
//
//   - telemetry reads outcomes, it never decides them: no step waits for a metric,
//     a span, a collector or a scrape, and none fails because of one;
//   - nothing is recorded for a row or a message: counts are read where they are
//     kept, when somebody collects, and the rest is recorded for a flush, a store
//     operation or a compaction;
//   - labels are few: data types, outcomes, reasons, the names of stores; never a
//     symbol, an object or a message;
//   - a collector that is down costs at most the queue of spans, a log line now
//     and then, and a few seconds at the end.
//
// A log line is for a moment that matters to an operator (start, flush failure,
// drain, summary), never for a message.
package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sourcegraph/conc/pool"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// A Config says whose telemetry it is and where it is served.
type Config struct {
	Service string      // service.name: ingestor, compactor, …
	Listen  string      // host:port of /healthz, /readyz and /metrics; empty: nowhere
	Pprof   bool        // serve /debug/pprof/ too
	Log     *zap.Logger // nil: none
}

// scope names the code that measures, in what is exported.
const scope = "github.com/buffetbot/ingest"

// shutdownTimeout bounds the end: what a collector has not taken by then is lost.
const shutdownTimeout = 4 * time.Second

// A Telemetry is the telemetry of one running program.
type Telemetry struct {
	log      *zap.Logger
	registry *prometheus.Registry
	server   *server
	checks   checks
	closers  []func(context.Context) error
}

// ErrSetting is in the error of a Start that an OTEL_* variable's value ended.
var ErrSetting = errors.New("wrong setting")

// Start sets up the process's meters and tracers, and serves health, readiness
// and metrics where c.Listen says so. The standard OTEL_* variables are honoured;
// without them nothing leaves the process but what is scraped. Until the first
// Check is registered the program is not ready. The caller calls Shutdown.
//
// An error is a wrong setting or an address that is taken; a collector that
// cannot be reached is none.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	t := &Telemetry{log: c.Log, registry: prometheus.NewRegistry()}
	t.Check(c.Service, func() error { return errStarting })
	handleErrors(c.Log)
	if err := t.provide(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: %w", err), t.Shutdown(ctx))
	}
	if c.Listen != "" {
		var err error
		if t.server, err = serve(c.Listen, t.mux(c.Pprof), c.Log); err != nil {
			return nil, errors.Join(err, t.Shutdown(ctx))
		}
	}
	return t, nil
}

// provide sets the process's providers of meters and tracers.
func (t *Telemetry) provide(ctx context.Context, c Config) error {
	if disabled() {
		c.Log.Info("metrics and traces are off: OTEL_SDK_DISABLED")
		otel.SetMeterProvider(noopmetric.NewMeterProvider())
		otel.SetTracerProvider(nooptrace.NewTracerProvider())
		return nil
	}
	who, err := identity(ctx, c.Service)
	if err != nil {
		return err
	}
	if err := t.meters(ctx, who); err != nil {
		return err
	}
	return t.tracers(ctx, who)
}

func (t *Telemetry) meters(ctx context.Context, who *resource.Resource) error {
	scraped, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("exporter of /metrics: %w", err)
	}
	options := []metric.Option{metric.WithResource(who), metric.WithReader(scraped)}
	pushed, err := metricReader(ctx)
	if err != nil {
		return fmt.Errorf("%w: metrics exporter (OTEL_METRICS_EXPORTER, OTEL_EXPORTER_OTLP_…): %w", ErrSetting, err)
	}
	if pushed != nil {
		options = append(options, metric.WithReader(pushed))
	}
	provider := metric.NewMeterProvider(options...)
	t.closers = append(t.closers, provider.Shutdown)
	otel.SetMeterProvider(provider)
	if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
		return fmt.Errorf("metrics of the Go runtime: %w", err)
	}
	return nil
}

func (t *Telemetry) tracers(ctx context.Context, who *resource.Resource) error {
	exporter, err := spanExporter(ctx)
	if err != nil {
		return fmt.Errorf("%w: traces exporter (OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_…): %w", ErrSetting, err)
	}
	if exporter == nil {
		otel.SetTracerProvider(nooptrace.NewTracerProvider())
		return nil
	}
	options := []trace.TracerProviderOption{trace.WithResource(who), trace.WithBatcher(exporter)}
	if os.Getenv("OTEL_TRACES_SAMPLER") == "" {
		options = append(options, trace.WithSampler(trace.ParentBased(ownRoots{trace.TraceIDRatioBased(defaultRatio)})))
	}
	provider := trace.NewTracerProvider(options...)
	t.closers = append(t.closers, func(ctx context.Context) error {
		err := provider.Shutdown(ctx)
		if err != nil { // it waits for an export under way, and leaves it alone when ctx ends
			err = errors.Join(err, exporter.Shutdown(ctx))
		}
		return err
	})
	otel.SetTracerProvider(provider)
	return nil
}

// identity is who measures. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
func identity(ctx context.Context, service string) (*resource.Resource, error) {
	r, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", service),
		attribute.String("service.version", Version()),
		attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("%w: resource attributes (OTEL_RESOURCE_ATTRIBUTES): %w", ErrSetting, err)
	}
	return r, nil
}

// Version is the program's version: the module's, or the revision that it was
// built from, or "unknown".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return cmp.Or(s.Value, "unknown")
		}
	}
	return "unknown"
}

// Handler serves what is measured, in the format of Prometheus.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}

// Addr is where health and metrics are served, or "".
func (t *Telemetry) Addr() string {
	if t.server == nil {
		return ""
	}
	return t.server.addr
}

// Shutdown sends what is left to the collector, stops serving, and returns within
// a few seconds, also where ctx has ended. An error says what could not be
// sent; it is no reason for a program to fail.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	all := pool.New().WithErrors()
	for _, c := range t.closers {
		all.Go(func() error { return c(ctx) })
	}
	if t.server != nil {
		all.Go(func() error { return t.server.close(ctx) })
	}
	if err := all.Wait(); err != nil {
		return fmt.Errorf("telemetry: shut down: %w", err)
	}
	return nil
}

// ShutdownLogged shuts down and logs what went wrong: for a deferred call.
func (t *Telemetry) ShutdownLogged(ctx context.Context) {
	if err := t.Shutdown(ctx); err != nil {
		t.log.Warn("the last metrics and spans were not all sent", zap.Error(err))
	}
}
