package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/sink"
)

// maxSample is how many messages of a batch the latency is measured of.
const maxSample = 100

// Flushes makes the observer of a program's pipelines: it records each flush, and
// traces it.
//
// A batch's flush continues the trace of the first of its messages that brought
// one (publisher → ingest → flush → store create) and links to those of up to
// seven more. The ingest span lasts from publication until durable.
func Flushes() pipeline.Observer {
	m := meter()
	return &flushing{
		tracer: otel.Tracer(scope),
		age:    batchAge.histogram(m), time: flushTime.histogram(m), latency: latency.histogram(m),
		rows: flushRows.histogram(m), bytes: flushBytes.histogram(m), files: flushFiles.histogram(m),
	}
}

type flushing struct {
	tracer                                 trace.Tracer
	age, time, latency, rows, bytes, files metric.Float64Histogram
}

// Traces implements pipeline.Observer: without an exporter nobody follows messages.
func (f *flushing) Traces() bool {
	_, off := otel.GetTracerProvider().(noop.TracerProvider)
	return !off
}

// Flush implements pipeline.Observer.
func (f *flushing) Flush(ctx context.Context, log *zap.Logger, b *batching.Batch) pipeline.Flush {
	began := time.Now()
	dataType := attribute.String(labelType, b.Key.Type)
	f.age.Record(ctx, max(0, began.Sub(b.Opened).Seconds()), metric.WithAttributes(dataType))
	ctx, spans := f.start(ctx, b, dataType)
	return pipeline.Flush{Context: ctx, Log: With(ctx, log), Done: func(written []sink.Written, err error) {
		f.record(ctx, b, dataType, began, written, err)
		spans.end(err)
	}}
}

func (f *flushing) record(ctx context.Context, b *batching.Batch, dataType attribute.KeyValue, began time.Time, written []sink.Written, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	now := time.Now()
	f.time.Record(ctx, now.Sub(began).Seconds(), metric.WithAttributes(dataType, attribute.String(labelOutcome, outcome)))
	if err != nil {
		return
	}
	attrs := metric.WithAttributes(dataType)
	var bytes int64
	for _, w := range written {
		bytes += w.Bytes
	}
	f.rows.Record(ctx, float64(b.Rows.Len()), attrs)
	f.bytes.Record(ctx, float64(bytes), attrs)
	f.files.Record(ctx, float64(len(written)), attrs)
	for i := range min(b.Messages(), maxSample) {
		at := i
		if n := b.Messages(); n > maxSample {
			at = i * (n - 1) / (maxSample - 1) // the first, the last, and evenly between
		}
		if published := b.Origin(at).Published; published != 0 {
			f.latency.Record(ctx, max(0, now.Sub(time.UnixMicro(published)).Seconds()), attrs)
		}
	}
}

// spans are those of one flush.
type spans []trace.Span

func (s spans) end(err error) {
	for _, span := range s {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// start begins the spans of a flush: its own is the parent of what follows.
func (f *flushing) start(ctx context.Context, b *batching.Batch, dataType attribute.KeyValue) (context.Context, spans) {
	publishers := publishers(b.Traced())
	var all spans
	var links []trace.Link
	for i, p := range publishers {
		if i == 0 {
			var first trace.Span
			ctx, first = f.ingest(ctx, p, dataType, nil)
			all = append(all, first)
			continue
		}
		links = append(links, trace.Link{SpanContext: p.span})
	}
	ctx, flush := f.tracer.Start(ctx, "flush "+b.Key.Type, trace.WithLinks(links...), trace.WithAttributes(dataType,
		attribute.String("partition", b.Key.String()), attribute.String(labelCause, b.Sealed.String()),
		attribute.Int("rows", b.Rows.Len()), attribute.Int("messages", b.Messages())))
	for _, p := range publishers[min(1, len(publishers)):] {
		_, other := f.ingest(context.WithoutCancel(ctx), p, dataType, &trace.Link{SpanContext: flush.SpanContext()})
		all = append(all, other)
	}
	return ctx, append(spans{flush}, all...)
}

// ingest begins the span of one message, whose parent is its publisher's.
func (f *flushing) ingest(ctx context.Context, p publisher, dataType attribute.KeyValue, flush *trace.Link) (context.Context, trace.Span) {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(dataType, attribute.String("messaging.system", "gcp_pubsub"))}
	if !p.published.IsZero() {
		options = append(options, trace.WithTimestamp(p.published))
	}
	if flush != nil {
		options = append(options, trace.WithLinks(*flush))
	}
	return f.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, p.span), "ingest "+dataType.Value.AsString(), options...)
}

// A publisher is the span that a message was published in.
type publisher struct {
	span      trace.SpanContext
	published time.Time
}

// publishers reads the traces that messages brought; what is no trace is none.
func publishers(traced []batching.Origin) []publisher {
	var all []publisher
	for _, o := range traced {
		carrier := propagation.MapCarrier{"traceparent": o.Trace}
		span := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
		if !span.IsValid() {
			continue
		}
		p := publisher{span: span}
		if o.Published != 0 {
			p.published = time.UnixMicro(o.Published)
		}
		all = append(all, p)
	}
	return all
}
