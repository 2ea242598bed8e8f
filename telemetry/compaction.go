package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/compaction"
)

// Compactions makes the observer of a program's compactors: spans of runs and
// their steps, figures of each table, and what the last run left behind.
func Compactions() (compaction.Observer, error) {
	m := meter()
	c := &compacting{
		tracer: otel.Tracer(scope), left: map[string]compaction.Debt{},
		runs: runs.counter(m), time: runTime.histogram(m), partitions: partitions.counter(m), rows: compactedRows.counter(m),
		duplicates: duplicates.counter(m), conflicts: conflicts.counter(m), files: compactedFiles.counter(m),
		bytes: compactedBytes.counter(m), unreadable: unreadable.counter(m),
	}
	files, bytes, oldest := debtFiles.read(m), debtBytes.read(m), debtAge.gauge(m)
	_, err := m.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for dataType, d := range c.left {
			attrs := metric.WithAttributes(attribute.String(labelType, dataType))
			to.ObserveInt64(files, int64(d.Files), attrs)
			to.ObserveInt64(bytes, d.Bytes, attrs)
			to.ObserveFloat64(oldest, age(d.Oldest), attrs)
		}
		return nil
	}, files, bytes, oldest)
	if err != nil {
		return nil, fmt.Errorf("observe compaction: %w", err)
	}
	return c, nil
}

type compacting struct {
	tracer                                                                  trace.Tracer
	runs, partitions, rows, duplicates, conflicts, files, bytes, unreadable metric.Int64Counter
	time                                                                    metric.Float64Histogram

	mu   sync.Mutex
	left map[string]compaction.Debt // by data type
}

// Step implements compaction.Observer.
func (c *compacting) Step(ctx context.Context, log *zap.Logger, step, what string) (context.Context, *zap.Logger, func(error)) {
	ctx, span := c.tracer.Start(ctx, "compaction "+step, trace.WithAttributes(attribute.String("of", what)))
	return ctx, With(ctx, log), func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Table implements compaction.Observer.
func (c *compacting) Table(r compaction.TableReport, took time.Duration) {
	ctx, dataType, outcome := context.Background(), attribute.String(labelType, r.Type), attribute.String(labelOutcome, runOutcome(r))
	c.runs.Add(ctx, 1, metric.WithAttributes(dataType, outcome))
	c.time.Record(ctx, took.Seconds(), metric.WithAttributes(dataType, outcome))
	for _, p := range r.Partitions {
		c.partitions.Add(ctx, 1, metric.WithAttributes(dataType, attribute.String(labelOutcome, string(p.Outcome))))
		c.unreadable.Add(ctx, int64(len(p.Unreadable)), metric.WithAttributes(dataType))
		if p.Outcome == compaction.Committed {
			c.committed(ctx, dataType, p)
		}
	}
	if r.Left != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.left[r.Type] = *r.Left
	}
}

func (c *compacting) committed(ctx context.Context, dataType attribute.KeyValue, p compaction.PartitionReport) {
	way := func(name string) metric.AddOption {
		return metric.WithAttributes(dataType, attribute.String(labelWay, name))
	}
	c.rows.Add(ctx, p.RowsIn, way("in"))
	c.rows.Add(ctx, p.RowsOut, way("out"))
	c.duplicates.Add(ctx, p.Duplicates, metric.WithAttributes(dataType))
	c.conflicts.Add(ctx, p.Conflicts, metric.WithAttributes(dataType))
	c.files.Add(ctx, int64(p.RawFiles), way("consumed"))
	c.files.Add(ctx, int64(p.Added), way("added"))
	c.files.Add(ctx, int64(p.Removed), way("removed"))
	c.bytes.Add(ctx, p.BytesIn, way("read"))
	c.bytes.Add(ctx, p.BytesOut, way("written"))
}

// runOutcome is how the run over a table went, the worst that happened.
func runOutcome(r compaction.TableReport) string {
	outcome := "ok"
	if len(r.Partitions) == 0 {
		outcome = "idle"
	}
	for _, p := range r.Partitions {
		switch p.Outcome {
		case compaction.Failed:
			return "failed"
		case compaction.Abandoned, compaction.Dropped:
			outcome = "abandoned"
		}
	}
	switch {
	case errors.Is(r.Err, context.Canceled):
		return "canceled"
	case r.Err != nil:
		return "failed"
	}
	return outcome
}
