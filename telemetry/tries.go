package telemetry

import (
	"context"
	"iter"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/buffetbot/ingest/objstore"
)

// Tries makes a store that counts the tries of each operation that a Store of the
// same process began: those beyond the first are retries. Its place is
// innermost, where each call is one request.
func Tries(store objstore.Store, name string) objstore.Store {
	s := &tried{store: store, name: name, retries: storeRetries.counter(meter())}
	for _, what := range []string{"list", "stat", "read", "create", "replace", "remove"} {
		s.retries.Add(context.Background(), 0, s.labels(what)) // so that the first retry is seen as a change
	}
	return s
}

func (s *tried) labels(what string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String(labelStore, s.name), attribute.String(labelOp, what))
}

type tried struct {
	store   objstore.Store
	name    string
	retries metric.Int64Counter
}

// try counts one. What a wrapper does besides, such as comparing after an unknown
// outcome, is another operation than the one that began, and no try of it.
func (s *tried) try(ctx context.Context, what string) {
	o, ok := ctx.Value(operationKey{}).(*operation)
	if !ok || o.what != what || o.tries.Add(1) == 1 {
		return
	}
	s.retries.Add(ctx, 1, s.labels(what))
	if o.span != nil {
		o.span.AddEvent("retry")
	}
}

// List implements objstore.Reader.
func (s *tried) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		s.try(ctx, "list")
		s.store.List(ctx, prefix, after)(yield)
	}
}

// Stat implements objstore.Reader.
func (s *tried) Stat(ctx context.Context, name string) (objstore.Object, error) {
	s.try(ctx, "stat")
	return s.store.Stat(ctx, name)
}

// Read implements objstore.Reader.
func (s *tried) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	s.try(ctx, "read")
	return s.store.Read(ctx, name, off, n)
}

// Create implements objstore.Writer.
func (s *tried) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	s.try(ctx, "create")
	return s.store.Create(ctx, name, data, metadata)
}

// Replace implements objstore.Writer.
func (s *tried) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	s.try(ctx, "replace")
	return s.store.Replace(ctx, name, data, metadata, match)
}

// Remove implements objstore.Remover.
func (s *tried) Remove(ctx context.Context, name string, match objstore.Generation) error {
	s.try(ctx, "remove")
	return s.store.Remove(ctx, name, match)
}
