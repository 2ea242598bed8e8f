package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/telemetry"
)

type backupCommand struct {
	Make   backupMakeCommand   `cmd:"" default:"withargs" help:"Make a backup (the default)."`
	Ls     backupLsCommand     `cmd:"" help:"The backups that there are, newest first."`
	Verify backupVerifyCommand `cmd:"" help:"Check backups against their bucket; exit code 1 if something is missing or damaged."`
	Prune  backupPruneCommand  `cmd:"" help:"Remove old backups, and objects that no backup names any more."`
}

// Help implements kong's detailed help.
func (c *backupCommand) Help() string {
	return `A backup holds each table at the version that it has now, the raw files that are not compacted yet, dead letters,
definitions, marks and audits. What an earlier backup has is not copied again. It may run beside everything else.

  buffetctl backup --data-bucket my-lake --backup-bucket my-backups
  buffetctl backup ls
  buffetctl backup verify --deep
  buffetctl backup prune --keep 30d --dry-run
  buffetctl restore --mend            # and see buffetctl restore --help`
}

// backups are the problems of a command about backups: every command needs the bucket of backups.
func backups(s *config.Store) []error {
	all := s.Problems()
	if s.BackupBucket == "" {
		all = append(all, errors.New("no backup bucket: set --backup-bucket or GCS_BACKUP_BUCKET to a bucket's name, gs://name or file:///directory"))
	}
	return all
}

type backupMakeCommand struct {
	config.Store
	Type []string `placeholder:"TYPE,…" help:"Data types to back up (default: all). What is beside tables is always in it."`
}

// Problems implements the check of config.Parse.
func (c *backupMakeCommand) Problems() []error { return backups(&c.Store) }

// Run implements the command.
func (c *backupMakeCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		types, err := lake.CheckTypes(c.Type)
		if err != nil {
			return config.Usagef("--type: %w", err)
		}
		b, err := lake.Backuper()
		if err != nil {
			return err
		}
		b.Progress = backupProgress(std.diagnostics)
		m, err := b.Run(ctx, types)
		if m != nil {
			printBackup(std.out, m)
		}
		return err
	})
}

func printBackup(w io.Writer, m *backup.Manifest) {
	fmt.Fprintf(w, "backup %s: %d objects, %s; copied %d, %s\n", m.ID, m.Objects, config.Bytes(m.Bytes).Human(), m.Copied, config.Bytes(m.CopiedBytes).Human())
	for _, t := range m.Tables {
		if t.Version < 0 {
			fmt.Fprintf(w, "  %s: no table yet, %d raw files\n", t.Type, t.Raw)
			continue
		}
		fmt.Fprintf(w, "  %s version %d: %d rows in %d files, %d raw files that wait\n", t.Type, t.Version, t.Rows, t.Files, t.Raw)
	}
	for _, l := range m.LeftOut {
		fmt.Fprintf(w, "  NOT in it: %s: %s\n", l.Type, l.Reason)
	}
}

type backupLsCommand struct {
	config.Store
	listing
	Type []string `placeholder:"TYPE,…" help:"Only tables of these data types."`
}

// Problems implements the check of config.Parse.
func (c *backupLsCommand) Problems() []error { return backups(&c.Store) }

// Run implements the command.
func (c *backupLsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		vault, err := lake.Backup()
		if err != nil {
			return err
		}
		all, damaged := backup.All(ctx, vault)
		slices.Reverse(all)
		g := newGrid(c.Format, column{"backup", words}, column{"began", instant}, column{"data_type", words}, column{"version", number},
			column{"version_made", instant}, column{"rows", number}, column{"files", number}, column{"bytes", size},
			column{"raw_waiting", number}, column{"copied_bytes_of_backup", size}, column{"left_out", words})
		shown := 0
		for _, m := range all {
			for _, t := range m.Tables {
				if len(c.Type) > 0 && !slices.Contains(c.Type, t.Type) {
					continue
				}
				var version, made any = t.Version, t.Time
				if t.Version < 0 {
					version, made = nil, nil
				}
				g.row(m.ID, m.Began, t.Type, version, made, t.Rows, t.Files, t.Bytes, t.Raw, m.CopiedBytes, nil)
				shown++
			}
			for _, l := range m.LeftOut {
				g.row(m.ID, m.Began, l.Type, nil, nil, nil, nil, nil, nil, m.CopiedBytes, l.Reason)
				shown++
			}
		}
		if err := g.write(std.out); err != nil {
			return err
		}
		if shown == 0 && damaged == nil {
			c.note(std, "There is no backup yet: buffetctl backup makes one.")
		}
		return damaged
	})
}

type backupVerifyCommand struct {
	config.Store
	Backup []string `placeholder:"ID,…" help:"Only these backups (default: the newest; with --all every one)."`
	All    bool     `help:"Every backup."`
	Deep   bool     `help:"Read every object and check its bytes. Without it: the logs, and size and checksum of each object as the store has them."`
	Format string   `enum:"text,json" default:"text" help:"Output: ${enum}."`
}

// Problems implements the check of config.Parse.
func (c *backupVerifyCommand) Problems() []error { return backups(&c.Store) }

// Run implements the command.
func (c *backupVerifyCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		vault, err := lake.Backup()
		if err != nil {
			return err
		}
		chosen, err := c.choose(ctx, vault)
		if err != nil {
			return err
		}
		v := &backup.Verify{Vault: vault, Deep: c.Deep, Progress: backupProgress(std.diagnostics)}
		var found []backup.Finding
		objects, bytes := 0, int64(0)
		for _, m := range chosen {
			bad, err := v.Backup(ctx, m)
			if err != nil {
				return err
			}
			found, objects, bytes = append(found, bad...), objects+m.Objects, bytes+m.Bytes
		}
		if c.Format == "json" {
			e := json.NewEncoder(std.out)
			e.SetIndent("", "  ")
			if err := e.Encode(found); err != nil {
				return err
			}
		} else {
			for _, f := range found {
				fmt.Fprintf(std.out, "DAMAGED %s %s: %s\n", f.Backup, f.Object, f.Text)
			}
			fmt.Fprintf(std.out, "checked %d backups, %d objects, %s: %d findings\n", len(chosen), objects, config.Bytes(bytes).Human(), len(found))
		}
		if len(found) > 0 {
			return fmt.Errorf("%d objects of backups are missing or damaged: make a backup now (what is damaged is copied again), and look who wrote to the bucket", len(found))
		}
		return nil
	})
}

func (c *backupVerifyCommand) choose(ctx context.Context, vault objstore.Reader) ([]*backup.Manifest, error) {
	var chosen []*backup.Manifest
	for _, id := range c.Backup {
		m, err := backup.Open(ctx, vault, id)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, m)
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	all, err := backup.All(ctx, vault)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("there is no backup yet: buffetctl backup makes one")
	}
	if !c.All {
		all = all[len(all)-1:]
	}
	return all, nil
}

type backupPruneCommand struct {
	config.Store
	Keep   age  `required:"" placeholder:"AGE" help:"Keep backups younger than this, such as 30d. The newest stays in any case, and of each table the newest that has it."`
	DryRun bool `help:"Say what would be done; delete nothing."`
}

// Help implements kong's detailed help.
func (c *backupPruneCommand) Help() string {
	return `Removes backups older than --keep, and deletes objects that no backup names any more, three days after the last
one that named them was removed: so run it regularly, such as after each backup. Try --dry-run first. What was pruned, by
whom and when stands in the bucket of backups under audit/. It needs the right to delete there, which no program has by
default.

  buffetctl backup prune --keep 30d --dry-run
  buffetctl backup prune --keep 30d`
}

// Problems implements the check of config.Parse.
func (c *backupPruneCommand) Problems() []error { return backups(&c.Store) }

// Run implements the command.
func (c *backupPruneCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		vault, err := lake.Backup()
		if err != nil {
			return err
		}
		p := &backup.Prune{Vault: vault, Keep: time.Duration(c.Keep), DryRun: c.DryRun, By: whoami(), Log: log}
		r, err := p.Run(ctx)
		verb := "removed"
		if c.DryRun {
			verb = "would remove"
		}
		for _, id := range r.Backups {
			fmt.Fprintf(std.out, "%s backup %s\n", verb, id)
		}
		fmt.Fprintf(std.out, "%d backups stay; %s %d backups and %d objects, %s; %d objects, %s, wait for their grace of %s\n", r.Kept, verb, len(r.Backups),
			r.Objects, config.Bytes(r.Bytes).Human(), r.Waiting, config.Bytes(r.WaitingSum).Human(), backup.Grace)
		return err
	})
}

// whoami is who runs this, as far as a program knows.
func whoami() string {
	host, _ := os.Hostname()
	for _, name := range []string{"USER", "LOGNAME"} {
		if user := os.Getenv(name); user != "" {
			return user + "@" + host
		}
	}
	return fmt.Sprintf("uid %d@%s", os.Getuid(), host)
}

// backupProgress draws a bar for each step where somebody watches.
func backupProgress(w io.Writer) func(backup.Progress) {
	if !telemetry.Terminal(w) {
		return nil
	}
	var bar *progressbar.ProgressBar
	step := ""
	return func(p backup.Progress) {
		if p.Step != step {
			step = p.Step
			bar = progressbar.NewOptions64(p.OfBytes, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(step),
				progressbar.OptionShowBytes(true), progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
		}
		_ = bar.Set64(p.Bytes) // a bar that cannot be drawn is no failure
	}
}
