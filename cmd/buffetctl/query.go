package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/query"
)

type queryCommand struct {
	config.Store
	Type       string   `required:"" help:"Data type, such as market_data."`
	Symbol     []string `help:"Only these symbols."`
	From       string   `placeholder:"DATE" help:"From this day or instant on (2024-01-15, 2024-01-15T14:30:00Z)."`
	To         string   `placeholder:"DATE" help:"Up to this day, which is included, or up to this instant, which is not."`
	Where      string   `placeholder:"PREDICATE" help:"A predicate, such as: price > 150.25 and volume is not null."`
	Columns    []string `help:"Only these columns, in this order."`
	Limit      int64    `help:"At most so many rows (0: all)."`
	AsOf       string   `placeholder:"VERSION|TIME" help:"The table as it was: the rows that compaction had taken in at a version (42) or by an instant, as far back as the log reaches (compactor --log-retain). For what had been published by then, see --known-at."`
	KnownAt    string   `placeholder:"TIME" help:"What was known: rows published by this day or instant and, where rows correct each other, not superseded by then. Reaches back as far as the rows do, raw ones included. With --as-of: what that version tells of it."`
	Superseded bool     `help:"Also rows that a later row of their natural key superseded (_superseded_at says when); by default only the current ones."`
	Format     string   `enum:"table,csv,json,parquet,arrow" default:"table" help:"Output: ${enum}."`
	Explain    bool     `help:"Print what is read, what is left out and why, instead of the rows."`
}

// Run implements the command.
func (c *queryCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		return show(ctx, lake, q, c.Format, c.Explain, std)
	})
}

func (c *queryCommand) query() (query.DataQuery, error) {
	q := query.DataQuery{DataType: c.Type, Symbols: c.Symbol, Columns: c.Columns, Where: c.Where, Limit: c.Limit, Superseded: c.Superseded}
	var err error
	if c.From != "" {
		if q.From, err = query.ParseFrom(c.From); err != nil {
			return q, config.Usagef("--from: %w", err)
		}
	}
	if c.To != "" {
		if q.To, err = query.ParseTo(c.To); err != nil {
			return q, config.Usagef("--to: %w", err)
		}
	}
	if c.AsOf != "" {
		if q.AsOf, err = query.ParseAsOf(c.AsOf); err != nil {
			return q, config.Usagef("--as-of: %w", err)
		}
	}
	if c.KnownAt != "" {
		if q.KnownAt, err = query.ParseKnownAt(c.KnownAt); err != nil {
			return q, config.Usagef("--known-at: %w", err)
		}
	}
	if c.Limit < 0 {
		return q, config.Usagef("--limit %d: must not be negative", c.Limit)
	}
	return q, nil
}

// show runs a query and writes its rows, or its explanation, to std.out.
func show(ctx context.Context, lake *ingest.Lake, q query.DataQuery, format string, explain bool, std streams) error {
	start := time.Now()
	plan, err := lake.Query(ctx, q)
	if errors.Is(err, query.ErrInvalid) {
		return &config.UsageError{Err: err}
	}
	if err != nil {
		return err
	}
	if explain {
		return plan.Explain(std.out)
	}
	w, err := query.NewWriter(format, std.out, plan.Schema())
	if err != nil {
		return err
	}
	result, err := plan.Execute(ctx, w.Write)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if format == "table" {
		count(std.out, result, time.Since(start))
	}
	return nil
}

func count(w io.Writer, r query.Result, took time.Duration) {
	fmt.Fprintf(w, "%d rows, %d files, %s read, %v\n", r.Rows, r.Files, config.Bytes(r.Bytes).Human(), took.Round(time.Millisecond))
}
