package main

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/upkeep"
)

// why is who does something on purpose, and what for.
type why struct {
	Reason string `placeholder:"TEXT" help:"What for: it is kept with what is done."`
	By     string `placeholder:"NAME" help:"Who (default: user and host)."`
}

type tableCommand struct {
	Ls  tableLsCommand  `cmd:"" help:"The properties of a table."`
	Set tableSetCommand `cmd:"" help:"Set properties of a table, in a version of its own."`
}

type tableLsCommand struct {
	typeArgument
	listing
}

// Problems implements the check of config.Parse.
func (c *tableLsCommand) Problems() []error { return c.Store.Problems() }

// Run implements the command.
func (c *tableLsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		all, err := lake.Properties(ctx, c.Type)
		if err != nil {
			return err
		}
		g := newGrid(c.Format, column{"property", words}, column{"value", words}, column{"means", words})
		for _, p := range all {
			g.row(p.Name, p.Value, p.Means)
		}
		return g.write(std.out)
	})
}

type tableSetCommand struct {
	typeArgument
	Properties []string `arg:"" name:"property" help:"name=value, such as delta.deletedFileRetentionDuration=14d."`
	why
}

// Help implements kong's detailed help.
func (c *tableSetCommand) Help() string {
	return `Durations are such as 168h, 7d or "interval 7 days". It is a version of the table: history shows it, and so does audit ls.
A sweeper raises both durations to its own --retain and --log-retain where these are longer, and never lowers them.

  buffetctl table set market_data delta.deletedFileRetentionDuration=14d delta.checkpointInterval=20`
}

// Problems implements the check of config.Parse.
func (c *tableSetCommand) Problems() []error {
	all := c.Store.Problems()
	if _, err := upkeep.ParseProperties(c.Properties); err != nil {
		all = append(all, err)
	}
	return all
}

// Run implements the command.
func (c *tableSetCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	p, err := upkeep.ParseProperties(c.Properties)
	if err != nil {
		return &config.UsageError{Err: err}
	}
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		version, err := lake.SetProperties(ctx, c.Type, p, c.By, c.Reason)
		if err == nil {
			fmt.Fprintf(std.out, "%s has these properties in version %d\n", c.Type, version)
		}
		return err
	})
}

// dayArgument names a partition.
type dayArgument struct {
	typeArgument
	Day string `arg:"" help:"Day, such as 2024-01-15."`
}

// Problems implements the check of config.Parse.
func (c *dayArgument) Problems() []error {
	all := c.Store.Problems()
	if _, err := partition.ParseDay(c.Day); err != nil {
		all = append(all, err)
	}
	return all
}

func (c *dayArgument) key() partition.Key {
	day, _ := partition.ParseDay(c.Day) // Problems has looked
	return partition.Key{Type: c.Type, Day: day}
}

type holdCommand struct {
	dayArgument
	Reason string `required:"" placeholder:"TEXT" help:"What for: partitions, and compactor --plan, show it."`
	By     string `placeholder:"NAME" help:"Who (default: user and host)."`
}

// Run implements the command.
func (c *holdCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		if err := lake.Hold(ctx, c.key(), c.Reason, c.By); err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%s is held: no compactor that starts from now on touches it, until buffetctl unhold %s %s\n", c.key(), c.Type, c.Day)
		return nil
	})
}

type unholdCommand struct {
	dayArgument
	By string `placeholder:"NAME" help:"Who (default: user and host)."`
}

// Run implements the command.
func (c *unholdCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		if err := lake.Unhold(ctx, c.key(), c.By); err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%s is held no longer; the next compaction takes it up\n", c.key())
		return nil
	})
}

type unreadableCommand struct {
	Ls    unreadableLsCommand    `cmd:"" help:"Raw files that compactors could not read, why, and when they are tried again."`
	Retry unreadableRetryCommand `cmd:"" help:"Let the next compaction try them."`
}

type unreadableLsCommand struct {
	typeArgument
	listing
}

// Problems implements the check of config.Parse.
func (c *unreadableLsCommand) Problems() []error { return c.Store.Problems() }

// Run implements the command.
func (c *unreadableLsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		all, err := lake.Unreadable(ctx, c.Type)
		if err != nil {
			return err
		}
		g := newGrid(c.Format, column{"object", words}, column{"bytes", size}, column{"first_tried", instant}, column{"tries", number},
			column{"next_try", instant}, column{"reason", words})
		for _, u := range all {
			g.row(u.Name, u.Size, u.First, u.Tries, u.Next, u.Reason)
		}
		if err := g.write(std.out); err != nil {
			return err
		}
		if len(all) == 0 {
			c.note(std, "Every raw file of %s that was tried could be read.", c.Type)
		}
		return nil
	})
}

type unreadableRetryCommand struct {
	typeArgument
	Object string `arg:"" optional:"" help:"Name of one raw file (default: all that are unreadable)."`
}

// Problems implements the check of config.Parse.
func (c *unreadableRetryCommand) Problems() []error { return c.Store.Problems() }

// Run implements the command.
func (c *unreadableRetryCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		n, err := lake.RetryUnreadable(ctx, c.Type, c.Object)
		if err == nil {
			fmt.Fprintf(std.out, "%d raw files are tried again by the next compaction\n", n)
		}
		return err
	})
}

type auditCommand struct {
	Ls auditLsCommand `cmd:"" help:"What was done on purpose: who, when, why, what; oldest first."`
}

type auditLsCommand struct {
	config.Store
	Types []string `arg:"" optional:"" help:"Data types (default: all)."`
	listing
}

// Problems implements the check of config.Parse.
func (c *auditLsCommand) Problems() []error { return c.Store.Problems() }

// Run implements the command.
func (c *auditLsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		if _, err := lake.CheckTypes(c.Types); err != nil {
			return &config.UsageError{Err: err}
		}
		all, err := lake.Audits(ctx)
		g := newGrid(c.Format, column{"at", instant}, column{"action", words}, column{"state", words}, column{"data_type", words},
			column{"by", words}, column{"reason", words}, column{"result", words}, column{"what", words}, column{"id", words})
		wanted := map[string]bool{}
		for _, t := range c.Types {
			wanted[t] = true
		}
		shown := 0
		for _, r := range all {
			if len(wanted) > 0 && !wanted[r.Type] {
				continue
			}
			shown++
			g.row(r.At, r.Action, r.State, r.Type, r.By, r.Reason, r.Result, string(r.What), r.ID)
		}
		if failed := g.write(std.out); failed != nil {
			return failed
		}
		if shown == 0 && err == nil {
			c.note(std, "Nothing was done on purpose yet that is recorded.")
		}
		return err
	})
}

type retainCommand struct {
	typeArgument
	OlderThan age  `required:"" placeholder:"AGE" help:"Days go that ended at least so long ago, such as 1095d."`
	DryRun    bool `help:"Say what would go; change nothing (the default without --yes)."`
	Yes       bool `help:"Do it."`
	Archive   bool `help:"Delete what the archive bucket has of such days, instead of days of the table."`
	why
}

// Help implements kong's detailed help.
func (c *retainCommand) Help() string {
	return `Whole days go, in one version of the table, after a record of who, when, why and what has been made (see audit ls). Their
files stay until the table's retention has passed (see table ls): until then a query --as-of still reads them. A day stays
that is held, or of which raw files are left: compact and sweep first.

  buffetctl retain market_data --older-than 1095d
  buffetctl retain market_data --older-than 1095d --reason "three years are kept" --yes`
}

// Problems implements the check of config.Parse.
func (c *retainCommand) Problems() []error {
	all := c.Store.Problems()
	if c.Yes && c.DryRun {
		all = append(all, fmt.Errorf("--yes and --dry-run: choose one"))
	}
	if c.Yes && c.Reason == "" {
		all = append(all, fmt.Errorf("--yes needs a --reason, for whoever reads the audit"))
	}
	if c.OlderThan > 0 && time.Duration(c.OlderThan) < 24*time.Hour {
		all = append(all, fmt.Errorf("--older-than %v: a day is the least", time.Duration(c.OlderThan)))
	}
	return all
}

// Run implements the command.
func (c *retainCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	r := upkeep.Retention{Type: c.Type, Older: time.Duration(c.OlderThan), By: c.By, Reason: c.Reason}
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		if c.Archive {
			return c.archive(ctx, std, lake, r)
		}
		do := lake.PlanRetention
		if c.Yes {
			do = lake.Retain
		}
		e, err := do(ctx, r)
		c.print(std, e)
		return err
	})
}

func (c *retainCommand) print(std streams, e upkeep.Erasure) {
	var rows, bytes int64
	for _, d := range e.Days {
		if d.Stays != "" {
			fmt.Fprintf(std.out, "%s stays: %s\n", d.Name, d.Stays)
			continue
		}
		fmt.Fprintf(std.out, "%s goes: %d files, %d rows, %s\n", d.Name, d.Files, d.Rows, config.Bytes(d.Bytes).Human())
		rows, bytes = rows+d.Rows, bytes+d.Bytes
	}
	switch n := len(e.Gone()); {
	case n == 0:
		fmt.Fprintln(std.out, "nothing to take away")
	case e.Version >= 0:
		fmt.Fprintf(std.out, "%d days, %d rows, %s are gone in version %d; audit record %s\n", n, rows, config.Bytes(bytes).Human(), e.Version, e.Audit)
	default:
		fmt.Fprintf(std.out, "%d days, %d rows, %s would go; nothing was changed (--yes does it)\n", n, rows, config.Bytes(bytes).Human())
	}
}

func (c *retainCommand) archive(ctx context.Context, std streams, lake *ingest.Lake, r upkeep.Retention) error {
	sum, err := lake.RetainArchive(ctx, r, !c.Yes)
	verb := "would be deleted from the archive; nothing was changed (--yes does it)"
	if c.Yes {
		verb = "are deleted from the archive"
	}
	fmt.Fprintf(std.out, "%d objects, %s %s\n", sum.Objects, config.Bytes(sum.Bytes).Human(), verb)
	return err
}
