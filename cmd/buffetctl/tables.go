package main

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/partition"
)

type tablesCommand struct {
	config.Store
	Types []string `arg:"" optional:"" help:"Data types (default: all)."`
	listing
}

// Problems implements the check of config.Parse.
func (c *tablesCommand) Problems() []error { return c.Store.Problems() }

// Run implements the command.
func (c *tablesCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		if _, err := lake.CheckTypes(c.Types); err != nil {
			return &config.UsageError{Err: err}
		}
		tables, err := lake.Tables(ctx, c.Types)
		if err != nil {
			return err
		}
		return c.print(std, tables, time.Now())
	})
}

func (c *tablesCommand) print(std streams, tables []ingest.TableInfo, now time.Time) error {
	g := newGrid(c.Format, column{"data_type", words}, column{"state", words}, column{"version", number}, column{"partitions", number},
		column{"files", number}, column{"rows", number}, column{"bytes", size}, column{"first_day", words}, column{"last_day", words},
		column{"schema_version", words}, column{"raw_waiting", number}, column{"raw_bytes", size}, column{"raw_oldest_age", elapsed})
	unreadable, empty := 0, true
	for _, t := range tables {
		row := []any{t.Type, state(t), nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil}
		if t.Exists {
			row[2], row[3], row[4], row[5], row[6] = t.Version, t.Partitions, t.Files, t.Rows, t.Bytes
		}
		if t.Partitions > 0 {
			row[7], row[8], row[9] = t.First.String(), t.Last.String(), t.SchemaVersion
		}
		if t.Err == nil {
			row[10], row[11] = t.Debt.Objects, t.Debt.Bytes
		}
		if t.Debt.Objects > 0 {
			row[12] = max(now.Sub(t.Debt.Oldest), 0)
		}
		g.row(row...)
		if t.Err != nil {
			unreadable++
			fmt.Fprintf(std.diagnostics, "%s: %v\n", t.Type, t.Err)
		}
		empty = empty && t.Err == nil && !t.Exists && t.Debt.Objects == 0
	}
	if err := g.write(std.out); err != nil {
		return err
	}
	if empty {
		c.note(std, "There is nothing in this lake yet: run an ingestor (ingestor --help), or see buffetctl demo.")
	}
	if unreadable > 0 {
		return fmt.Errorf("%d of %d tables cannot be read", unreadable, len(tables))
	}
	return nil
}

// state is what there is of a data type, in a word.
func state(t ingest.TableInfo) string {
	switch {
	case t.Err != nil:
		return "unreadable"
	case t.Exists:
		return "table"
	case t.Debt.Objects > 0:
		return "raw only"
	}
	return "none"
}

// A typeArgument names one data type of a lake.
type typeArgument struct {
	config.Store
	Type string `arg:"" help:"Data type, such as market_data."`
}

// with opens the lake and makes sure that it knows the data type.
func (a typeArgument) with(ctx context.Context, log *zap.Logger, f func(*ingest.Lake) error) error {
	return withLake(ctx, a.Store, log, func(lake *ingest.Lake) error {
		if _, err := lake.CheckTypes([]string{a.Type}); err != nil {
			return &config.UsageError{Err: err}
		}
		return f(lake)
	})
}

// none says why there is nothing to list.
func (a typeArgument) none(std streams, l listing) {
	l.note(std, "There is no table of %s with rows yet: run compactor --once; rows that wait for it show in buffetctl tables.", a.Type)
}

type historyCommand struct {
	typeArgument
	bounded
}

// Problems implements the check of config.Parse.
func (c *historyCommand) Problems() []error {
	return append(c.Store.Problems(), c.bounded.Problems()...)
}

// Run implements the command.
func (c *historyCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		versions, err := lake.History(ctx, c.Type, c.Limit)
		if err != nil {
			return err
		}
		g := newGrid(c.Format, column{"version", number}, column{"timestamp", instant}, column{"operation", words},
			column{"files_added", number}, column{"files_removed", number}, column{"raw_objects", number}, column{"raw_rows", number},
			column{"duplicates_removed", number}, column{"by", words})
		for _, v := range versions {
			g.row(v.Version.Version, v.Time, v.Operation, v.Added, v.Removed, v.Consumed, v.Rows, v.Duplicates, v.Engine)
		}
		if err := g.write(std.out); err != nil {
			return err
		}
		switch n := len(versions); {
		case n == 0:
			c.none(std, c.listing)
		case versions[n-1].Version.Version > 0 && n == c.Limit:
			c.note(std, "the newest %d versions; --limit 0 shows all that the log keeps", n)
		}
		return nil
	})
}

type partitionsCommand struct {
	typeArgument
	bounded
	Symbols bool `help:"Count the symbols of each day; reads that column of every file."`
}

// Problems implements the check of config.Parse.
func (c *partitionsCommand) Problems() []error {
	return append(c.Store.Problems(), c.bounded.Problems()...)
}

// Run implements the command.
func (c *partitionsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		days, err := lake.Partitions(ctx, c.Type, c.Symbols)
		if err != nil {
			return err
		}
		holds, err := lake.Holds(ctx, c.Type)
		if err != nil {
			return err
		}
		return c.print(std, days, holds)
	})
}

// print shows the latest days.
func (c *partitionsCommand) print(std streams, days []ingest.PartitionInfo, holds map[partition.Day]compaction.Hold) error {
	g := newGrid(c.Format, column{"day", words}, column{"files", number}, column{"rows", number}, column{"bytes", size},
		column{"symbols", number}, column{"first_symbol", words}, column{"last_symbol", words},
		column{"first_event", instant}, column{"last_event", instant}, column{"newest_file", instant},
		column{"missing_days_before", number}, column{"missing", words},
		column{"held", words})
	shown := c.cut(len(days))
	for _, d := range days[len(days)-shown:] {
		var symbols, missing, which, held any
		if h, ok := holds[d.Day]; ok {
			held = h.String()
		}
		if d.Symbols >= 0 {
			symbols = d.Symbols
		}
		if d.MissingBefore > 0 {
			missing, which = d.MissingBefore, gap(d.Day, d.MissingBefore)
		}
		g.row(d.Day.String(), d.Files, d.Rows, d.Bytes, symbols, d.FirstSymbol, d.LastSymbol, d.FirstEvent, d.LastEvent, d.Fresh, missing, which, held)
	}
	if err := g.write(std.out); err != nil {
		return err
	}
	if len(days) == 0 {
		c.none(std, c.listing)
	}
	c.more(std, shown, len(days), "days")
	return nil
}

// gap names the n days before day, which have no rows.
func gap(day partition.Day, n int) string {
	first, last := day-partition.Day(n), day-1
	text := first.String()
	if n > 1 {
		text += " to " + last.String()
	}
	for d := first; d <= last; d++ {
		if w := d.Start().Weekday(); w != time.Saturday && w != time.Sunday {
			return text
		}
	}
	return text + " (weekend)"
}

type filesCommand struct {
	typeArgument
	bounded
	Day string `placeholder:"DATE" help:"Only files of this day, such as 2024-01-15."`
}

// Problems implements the check of config.Parse.
func (c *filesCommand) Problems() []error {
	all := append(c.Store.Problems(), c.bounded.Problems()...)
	if _, err := c.day(); err != nil {
		all = append(all, fmt.Errorf("--day: %w", err))
	}
	return all
}

func (c *filesCommand) day() (*partition.Day, error) {
	if c.Day == "" {
		return nil, nil
	}
	d, err := partition.ParseDay(c.Day)
	return &d, err
}

// Run implements the command.
func (c *filesCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	day, err := c.day()
	if err != nil {
		return config.Usagef("--day: %w", err)
	}
	return c.with(ctx, log, func(lake *ingest.Lake) error {
		files, err := lake.Files(ctx, c.Type, day)
		if err != nil {
			return err
		}
		return c.print(std, files)
	})
}

func (c *filesCommand) print(std streams, files []ingest.FileInfo) error {
	g := newGrid(c.Format, column{"path", words}, column{"rows", number}, column{"bytes", size}, column{"first_symbol", words},
		column{"last_symbol", words}, column{"first_event", instant}, column{"last_event", instant}, column{"schema_version", words},
		column{"version_added", number})
	shown := c.cut(len(files))
	for _, f := range files[:shown] {
		var added any
		if f.Added >= 0 {
			added = f.Added
		}
		path := f.ObjectName()
		g.row(path, f.Rows, f.Size, f.First, f.Last, time.UnixMicro(f.FirstEvent), time.UnixMicro(f.LastEvent), f.SchemaVersion, added)
	}
	if err := g.write(std.out); err != nil {
		return err
	}
	switch {
	case len(files) == 0 && c.Day != "":
		c.note(std, "No file of %s is of %s; see buffetctl partitions %s.", c.Type, c.Day, c.Type)
	case len(files) == 0:
		c.none(std, c.listing)
	}
	c.more(std, shown, len(files), "files")
	return nil
}
