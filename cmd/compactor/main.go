// Command compactor merges the lake's small raw files into the Delta tables
// under processed/, proves that no row was lost, and commits.
//
//	list raw → load the table → plan → merge, sort, deduplicate → verify → upload → commit
//
// It may run beside ingestors, readers and other compactors, be killed at any
// moment and run again: the same rows give the same table.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/memory"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/sweep"
	"github.com/buffetbot/ingest/telemetry"
)

const description = `Merge the lake's small raw files into sorted, deduplicated Delta tables under processed/.

Example:  compactor --data-bucket file:///var/lake --once
          compactor --data-bucket my-bucket --interval 5m`

type settings struct{ config.CompactorSettings }

func main() {
	ctx := config.Signals("compactor")
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(config.Exit("compactor", err))
}

func run(ctx context.Context, args []string, out, diagnostics io.Writer) error {
	var s settings
	if _, err := config.Parse(&s, "compactor", description, args, out); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(diagnostics, s.LogFormat, s.LogLevel)
	if err != nil {
		return config.Usagef("%w", err)
	}
	t, err := telemetry.Start(ctx, telemetry.Config{Service: "compactor", Listen: s.Listen.Listen, Pprof: s.Pprof, Log: log})
	if errors.Is(err, telemetry.ErrSetting) {
		return config.Usagef("%w", err)
	}
	if err != nil {
		return err
	}
	defer t.ShutdownLogged(ctx)
	memory.Limit(log, s.Held())
	lake, err := ingest.Open(ctx, ingest.ConfigOf(s.Store, log))
	if err != nil && s.Interval > 0 {
		return config.Started(ctx, log, err)
	}
	if err != nil {
		return err
	}
	defer lake.Close()
	types, err := lake.CheckTypes(s.Types.Types)
	if err != nil {
		return config.Usagef("--types: %w", err)
	}
	c := lake.Compactor(compaction.Options{
		MinRawAge: s.MinRawAge, TargetFileSize: int64(s.TargetFileSize), MemoryBudget: int64(s.Compact.MemoryBudget),
		Policy: compaction.Policy{
			Share: s.RewriteShare, Floor: int64(s.RewriteFloor), MaxWait: s.MaxRawWait, SealAfter: s.SealAfter, LateWait: s.LateWait,
		},
		RetryAfter: s.RetryAfter, Leasing: leasing(s.Compact), TempDir: s.Compact.TempDir,
		Properties: partition.Properties{Retain: s.Retain, LogRetain: s.LogRetain},
	})
	sweeper, err := lake.Sweeper(sweep.Options{Grace: s.Grace, Retain: s.Retain, LogRetain: s.LogRetain, OrphanAge: s.OrphanAge, DryRun: s.Plan})
	if err != nil {
		return err
	}
	if s.Plan {
		err := printPlan(ctx, c, types, out)
		if s.Sweep {
			err = errors.Join(err, runSweep(ctx, sweeper, types, out))
		}
		return err
	}
	c.Progress = progress(diagnostics)
	if c.Observer, err = telemetry.Compactions(); err != nil {
		return err
	}
	t.Check("compactor", func() error { return ready(ctx, nil) })
	t.Check("lake", lake.Ready)
	for {
		types = refresh(ctx, lake, c, s.Types.Types, types, log)
		report, err := c.Run(ctx, types)
		fmt.Fprint(out, report)
		if s.Sweep && ctx.Err() == nil {
			err = errors.Join(err, runSweep(ctx, sweeper, types, out))
		}
		t.Check("compactor", func() error { return ready(ctx, err) })
		if s.Interval == 0 {
			return err
		}
		if ctx.Err() != nil {
			// The ordinary end of a service. What a run has not committed never was.
			log.Info("asked to end during a run; the next one plans again what it had not committed", zap.NamedError("left", err))
			return nil
		}
		if err != nil {
			log.Error("compaction failed; the next run tries again", zap.Error(err), zap.Duration("in", s.Interval))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.Interval):
		}
	}
}

// refresh takes up the definitions that were added to the lake since the last run,
// and gives the data types to work on. Where they cannot be read, those of before
// serve once more.
func refresh(ctx context.Context, lake *ingest.Lake, c *compaction.Compactor, named, before []string, log *zap.Logger) []string {
	_, err := lake.Refresh(ctx)
	types, checkErr := lake.CheckTypes(named)
	if err := errors.Join(err, checkErr); err != nil {
		log.Error("new definitions are not taken up; those of before stay, and the next run tries again", zap.Error(err))
		return before
	}
	c.Registry = lake.Registry()
	return types
}

func runSweep(ctx context.Context, s *sweep.Sweeper, types []string, out io.Writer) error {
	report, err := s.Run(ctx, types)
	fmt.Fprint(out, report)
	return err
}

// ready says why a compactor between two runs is of no use, if it is not.
func ready(ctx context.Context, last error) error {
	if ctx.Err() != nil {
		return errors.New("stopping")
	}
	if last != nil {
		return fmt.Errorf("the last run failed: %w", last)
	}
	return nil
}

// leasing names this process to other compactors, unlike any other.
func leasing(s config.Compact) compaction.Leasing {
	if s.LeaseFor == 0 {
		return compaction.Leasing{}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "compactor"
	}
	return compaction.Leasing{Owner: fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString()[:8]), For: s.LeaseFor, Floor: int64(s.LeaseFloor)}
}

// printPlan says of each day what would be done, or why nothing is, and what it
// comes to.
func printPlan(ctx context.Context, c *compaction.Compactor, types []string, out io.Writer) error {
	groups, err := c.Plan(ctx, types)
	todo, left := 0, 0
	var read, raw int64
	fewer := 0
	for _, g := range groups {
		fmt.Fprintln(out, g)
		if g.Left != "" {
			left++
			continue
		}
		todo++
		read, raw, fewer = read+g.Cost.RawBytes+g.Cost.LiveBytes, raw+g.Cost.RawBytes, fewer+g.Cost.Fewer
	}
	if err != nil {
		return err
	}
	if todo+left == 0 {
		fmt.Fprintln(out, "nothing to do: every raw file is compacted")
		return nil
	}
	fmt.Fprintf(out, "together: %d partitions to merge, reading and writing about %s for %s new, %d files fewer; %d left alone\n",
		todo, config.Bytes(read).Human(), config.Bytes(raw).Human(), fewer, left)
	return nil
}

// progress draws a bar for each data type where somebody watches.
func progress(w io.Writer) func(dataType string, done, total int) {
	if !telemetry.Terminal(w) {
		return nil
	}
	bars := map[string]*progressbar.ProgressBar{}
	return func(dataType string, done, total int) {
		bar := bars[dataType]
		if bar == nil || done < int(bar.State().CurrentNum) {
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(dataType),
				progressbar.OptionShowCount(), progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
			bars[dataType] = bar
		}
		_ = bar.Set(done) // a bar that cannot be drawn is no failure
	}
}
