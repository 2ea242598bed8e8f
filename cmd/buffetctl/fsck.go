package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/fsck"
	"github.com/buffetbot/ingest/telemetry"
)

type fsckCommand struct {
	config.Store
	config.Types
	Deep   bool   `help:"Read every row too: duplicates, conservation, bounds. Without it: the log, sizes, checksums, manifests."`
	Format string `enum:"text,json" default:"text" help:"Output: ${enum}."`
}

// Run implements the command. A violation is exit code 1; a notice is not.
func (c *fsckCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		types, err := lake.CheckTypes(c.Types.Types)
		if err != nil {
			return config.Usagef("--types: %w", err)
		}
		checker := fsck.Checker{Store: lake.Reader(), Registry: lake.Registry(), Deep: c.Deep, Progress: fsckProgress(std.diagnostics)}
		report, err := checker.Run(ctx, types)
		if err := c.print(std.out, report); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("fsck: %w", err)
		}
		if n := report.Violations(); n > 0 {
			return fmt.Errorf("fsck: %d violations", n)
		}
		return nil
	})
}

func (c *fsckCommand) print(w io.Writer, r fsck.Report) error {
	if c.Format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	what := fmt.Sprintf("%d tables, %d objects", r.Tables, r.Objects)
	if c.Deep {
		what += fmt.Sprintf(", %d partitions, %d rows", r.Partitions, r.Rows)
	}
	_, err := fmt.Fprintf(w, "checked %s: %d violations, %d notices\n", what, r.Violations(), len(r.Findings)-r.Violations())
	return err
}

// fsckProgress draws a bar for each data type where somebody watches.
func fsckProgress(w io.Writer) func(dataType string, done, total int) {
	if !telemetry.Terminal(w) {
		return nil
	}
	bars := map[string]*progressbar.ProgressBar{}
	return func(dataType string, done, total int) {
		if bars[dataType] == nil {
			bars[dataType] = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(dataType),
				progressbar.OptionShowCount(), progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
		}
		_ = bars[dataType].Set(done) // a bar that cannot be drawn is no failure
	}
}
