package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/fsck"
)

type restoreCommand struct {
	config.Store
	Type    []string `placeholder:"TYPE,…" help:"Data types to restore (default: every table of the backup, but with --version just one must be named)."`
	Mend    bool     `help:"Put back what is missing or damaged, and go back no further than that takes: the table stays at its newest version."`
	Version *int64   `placeholder:"N" help:"Go back to this version of the table."`
	At      string   `placeholder:"TIME" help:"Go back to the newest backup that had begun by this time, such as 2024-01-19T14:00:00Z or 2024-01-19."`
	Backup  string   `placeholder:"ID" help:"Take this backup (buffetctl backup ls)."`
	To      string   `placeholder:"BUCKET" help:"Restore into this empty bucket or directory instead, such as file:///var/restored."`
	Salvage bool     `default:"true" negatable:"" help:"Rows of data files that the restored version does not name come again too, through raw/. Without it a row is gone if its raw file is."`
	Check   bool     `default:"true" negatable:"" help:"Run fsck --deep on what was restored."`
}

// Help implements kong's detailed help.
func (c *restoreCommand) Help() string {
	return `Nothing is deleted, and only damaged bytes are overwritten. Killed at any moment and run again, it goes on. Stop the
compactor and the sweeper first where you can; ingestors may go on.

  buffetctl restore --mend                              put back what is missing or damaged
  buffetctl restore --type market_data --version 41     go back, by a new version with the files of the old one
  buffetctl restore --at 2024-01-19T14:00:00Z --to file:///var/restored     beside the lake, to look at

Rows that were acknowledged after the version come again: their raw files, those in the archive bucket (if set) and those of
the backup are compacted again, and a row that is there already stays single. docs/runbooks/restore.md has an example.`
}

// Problems implements the check of config.Parse.
func (c *restoreCommand) Problems() []error {
	all := backups(&c.Store)
	ways := 0
	for _, given := range []bool{c.Mend, c.Version != nil, c.At != "", c.Backup != "" && !c.Mend && c.Version == nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		all = append(all, errors.New("say how far back: one of --mend, --version N, --at TIME, --backup ID"))
	}
	if c.Mend && c.To != "" {
		all = append(all, errors.New("--mend and --to: an empty bucket has nothing to mend; use --backup ID or --at TIME"))
	}
	if c.Version != nil && len(c.Type) != 1 {
		all = append(all, errors.New("--version: name one table with --type, since each has versions of its own"))
	}
	if _, err := c.at(); err != nil {
		all = append(all, fmt.Errorf("--at: %w", err))
	}
	return all
}

func (c *restoreCommand) at() (time.Time, error) {
	if c.At == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, c.At); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: want such as 2024-01-19T14:00:00Z or 2024-01-19", c.At)
}

// Run implements the command.
func (c *restoreCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		into, target := lake, (*ingest.Lake)(nil)
		if c.To != "" {
			var err error
			if target, err = lake.OpenTarget(ctx, c.To); err != nil {
				return err
			}
			defer target.Close()
			into = target
		}
		r, err := lake.Restorer(target)
		if err != nil {
			return err
		}
		r.Salvage, r.By, r.Progress = c.Salvage, whoami(), backupProgress(std.diagnostics)
		chosen, err := c.choose(ctx, r)
		if err != nil {
			return err
		}
		types, err := c.restore(ctx, std.out, r, chosen)
		if err != nil {
			return err
		}
		if !c.Check {
			return nil
		}
		if _, err := into.Refresh(ctx); err != nil { // definitions may have come back
			return err
		}
		return c.fsck(ctx, std, into, types)
	})
}

// A choice is one table and the backup that it comes from.
type choice struct {
	dataType string
	manifest *backup.Manifest
}

// choose finds the backup of each table before anything is touched.
func (c *restoreCommand) choose(ctx context.Context, r *backup.Restore) ([]choice, error) {
	at, err := c.at()
	if err != nil {
		return nil, config.Usagef("--at: %w", err)
	}
	types := c.Type
	if len(types) == 0 {
		all, err := backup.All(ctx, r.Vault)
		if len(all) == 0 {
			return nil, errors.Join(fmt.Errorf("%s: %w", c.BackupBucket, backup.ErrNoBackup), err)
		}
		seen := map[string]bool{}
		for _, m := range all {
			for _, t := range m.Tables {
				if !seen[t.Type] && (c.Backup == "" || m.ID == c.Backup) && (at.IsZero() || !m.Began.After(at)) {
					seen[t.Type] = true
					types = append(types, t.Type)
				}
			}
		}
		if len(types) == 0 {
			return nil, fmt.Errorf("no backup is of that time or of that id (buffetctl backup ls): %w", backup.ErrNoBackup)
		}
	}
	var chosen []choice
	for _, dataType := range types {
		m, err := backup.Choose(ctx, r.Vault, dataType, backup.Choice{ID: c.Backup, Version: c.Version, At: at})
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, choice{dataType, m})
	}
	return chosen, nil
}

// restore restores table by table. One that fails stops no other.
func (c *restoreCommand) restore(ctx context.Context, w io.Writer, r *backup.Restore, chosen []choice) (types []string, err error) {
	var failed []error
	beside := map[string]bool{}
	for _, one := range chosen {
		if !beside[one.manifest.ID] {
			// Definitions first: what reads the tables needs them.
			if _, err := r.Beside(ctx, one.manifest); err != nil {
				failed = append(failed, err)
			}
			beside[one.manifest.ID] = true
		}
		report, err := r.Table(ctx, one.manifest, one.dataType, c.Mend)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		printRestore(w, report)
		types = append(types, one.dataType)
	}
	return types, errors.Join(failed...)
}

func printRestore(w io.Writer, r backup.Report) {
	fmt.Fprintf(w, "%s: %s", r.Type, r.How)
	switch r.How {
	case backup.Reverted, backup.TookOver:
		fmt.Fprintf(w, ": version %d has the files of version %d (backup %s)", r.Now, r.Version, r.Backup)
	case backup.Fresh:
		fmt.Fprintf(w, ": version %d (backup %s)", r.Now, r.Backup)
	default:
		fmt.Fprintf(w, ": version %d", r.Now)
	}
	fmt.Fprintf(w, "; %d objects were whole, %d put back, %d replaced, %s copied\n", r.Whole, r.Put, len(r.Replaced), config.Bytes(r.Bytes).Human())
	for _, name := range r.Replaced {
		fmt.Fprintf(w, "  replaced %s, which was damaged\n", name)
	}
	if n := r.FromRaw + r.FromBackup + r.FromArchive + r.Salvaged; n > 0 {
		fmt.Fprintf(w, "  %d raw files come again at the next compaction: %d from raw/, %d from the backup, %d from the archive, %d out of data files\n",
			n, r.FromRaw, r.FromBackup, r.FromArchive, r.Salvaged)
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(w, "  note: %s\n", text)
	}
}

// fsck sees that what was restored keeps every promise.
func (c *restoreCommand) fsck(ctx context.Context, std streams, lake *ingest.Lake, types []string) error {
	checker := fsck.Checker{Store: lake.Reader(), Registry: lake.Registry(), Deep: true, Progress: fsckProgress(std.diagnostics)}
	report, err := checker.Run(ctx, types)
	if err != nil {
		return fmt.Errorf("check what was restored: %w", err)
	}
	for _, f := range report.Findings {
		if !f.Notice {
			fmt.Fprintln(std.out, f)
		}
	}
	fmt.Fprintf(std.out, "fsck --deep: %d rows, %d violations\n", report.Rows, report.Violations())
	if n := report.Violations(); n > 0 {
		return fmt.Errorf("restored, and fsck finds %d violations: each says what to do", n)
	}
	return nil
}
