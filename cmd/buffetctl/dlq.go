package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/query"
)

type dlqCommand struct {
	Ls dlqLsCommand `cmd:"" help:"List dead letters."`
}

type dlqLsCommand struct {
	config.Store
	Reason string        `help:"Only this reason code."`
	Type   string        `help:"Only records meant for this data type."`
	Since  time.Duration `help:"Only those published within this time, such as 24h."`
	Limit  int64         `default:"100" help:"At most so many (0: all)."`
	Format string        `enum:"table,csv,json" default:"table" help:"Output: ${enum}."`
}

// letterColumns are what a person needs to know first.
var letterColumns = []string{"dl_id", "published_at", "data_type", "reason", "field", "value", "explanation", "message_id", "record_index"}

// Run implements the command.
func (c *dlqLsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	q := query.DataQuery{DataType: "dead_letters", Columns: letterColumns, Limit: c.Limit}
	if c.Type != "" {
		q.Symbols = []string{c.Type}
	}
	if c.Reason != "" {
		q.Where = fmt.Sprintf("reason = '%s'", strings.ReplaceAll(c.Reason, "'", "''"))
	}
	if c.Since > 0 {
		q.From = time.Now().Add(-c.Since)
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		return show(ctx, lake, q, c.Format, false, std)
	})
}
