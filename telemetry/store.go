package telemetry

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/buffetbot/ingest/objstore"
)

// Store makes a store that records each operation, under the store's name (data,
// archive, …), and starts a span for it where its caller has one that is
// recorded. Its place is outermost: it sees what callers see. Tries, around
// the innermost, counts the retries.
func Store(store objstore.Store, name string) objstore.Store {
	m := meter()
	return &observed{
		store: store, name: name, tracer: otel.Tracer(scope),
		ops: storeOps.counter(m), time: storeTime.histogram(m), bytes: storeBytes.counter(m),
	}
}

type observed struct {
	store  objstore.Store
	name   string
	tracer trace.Tracer
	ops    metric.Int64Counter
	time   metric.Float64Histogram
	bytes  metric.Int64Counter
}

// An operation is one that is under way.
type operation struct {
	*observed
	ctx   context.Context
	what  string
	tries atomic.Int64
	began time.Time
	span  trace.Span // nil: none
}

type operationKey struct{}

// begin starts the record of an operation. The context it gives is for the store.
func (s *observed) begin(ctx context.Context, what, object string) (context.Context, *operation) {
	o := &operation{observed: s, what: what, began: time.Now()}
	if trace.SpanFromContext(ctx).IsRecording() {
		ctx, o.span = s.tracer.Start(ctx, "store "+what, trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String(labelStore, s.name), attribute.String("object", object)))
	}
	o.ctx = context.WithValue(ctx, operationKey{}, o)
	return o.ctx, o
}

// end records the operation; took is less than the time since begin where the
// caller's own time is in between.
func (o *operation) end(err error, way string, bytes int64, took time.Duration) {
	outcome := outcomeOf(err)
	attrs := metric.WithAttributes(attribute.String(labelStore, o.name), attribute.String(labelOp, o.what), attribute.String(labelOutcome, outcome))
	o.ops.Add(o.ctx, 1, attrs)
	o.time.Record(o.ctx, took.Seconds(), attrs)
	if err == nil && way != "" {
		o.bytes.Add(o.ctx, bytes, metric.WithAttributes(attribute.String(labelStore, o.name), attribute.String(labelWay, way)))
	}
	if o.span == nil {
		return
	}
	o.span.SetAttributes(attribute.String(labelOutcome, outcome), attribute.Int64("bytes", bytes), attribute.Int64("tries", o.tries.Load()))
	if err != nil {
		o.span.SetStatus(codes.Error, err.Error())
	}
	o.span.End()
}

func (o *operation) took() time.Duration { return time.Since(o.began) }

// outcomeOf is the label of an error.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, objstore.ErrExist):
		return "exists"
	case errors.Is(err, objstore.ErrNotExist):
		return "not_exist"
	case errors.Is(err, objstore.ErrPrecondition):
		return "precondition"
	case errors.Is(err, objstore.ErrName):
		return "bad_name"
	case errors.Is(err, objstore.ErrRefused):
		return "refused"
	case errors.Is(err, objstore.ErrOpen):
		return "breaker_open"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "failed"
}

// List implements objstore.Reader. The time its reader takes does not count.
func (s *observed) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		ctx, op := s.begin(ctx, "list", prefix)
		var failed error
		var theirs time.Duration
		defer func() { op.end(failed, "", 0, op.took()-theirs) }()
		for o, err := range s.store.List(ctx, prefix, after) {
			failed = err
			handed := time.Now()
			more := yield(o, err)
			theirs += time.Since(handed)
			if !more {
				return
			}
		}
	}
}

// Stat implements objstore.Reader.
func (s *observed) Stat(ctx context.Context, name string) (objstore.Object, error) {
	ctx, op := s.begin(ctx, "stat", name)
	o, err := s.store.Stat(ctx, name)
	op.end(err, "", 0, op.took())
	return o, err
}

// Read implements objstore.Reader.
func (s *observed) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	ctx, op := s.begin(ctx, "read", name)
	data, err := s.store.Read(ctx, name, off, n)
	op.end(err, "read", int64(len(data)), op.took())
	return data, err
}

// Create implements objstore.Writer.
func (s *observed) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	ctx, op := s.begin(ctx, "create", name)
	o, err := s.store.Create(ctx, name, data, metadata)
	op.end(err, "written", int64(len(data)), op.took())
	return o, err
}

// Replace implements objstore.Writer.
func (s *observed) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	ctx, op := s.begin(ctx, "replace", name)
	o, err := s.store.Replace(ctx, name, data, metadata, match)
	op.end(err, "written", int64(len(data)), op.took())
	return o, err
}

// Remove implements objstore.Remover.
func (s *observed) Remove(ctx context.Context, name string, match objstore.Generation) error {
	ctx, op := s.begin(ctx, "remove", name)
	err := s.store.Remove(ctx, name, match)
	op.end(err, "", 0, op.took())
	return err
}
