package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
)

type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Print the settings in effect and where each comes from; then see whether what they name is there."`
	Show  configShowCommand  `cmd:"" help:"Print the settings in effect and where each comes from."`
}

// inspected is the settings of other programs, as they would run with the same
// environment, files and flags.
type inspected struct {
	config.Store
	For   string   `enum:"ingestor,compactor,backfill,all" default:"all" help:"Whose settings: ${enum}. all is a whole deployment."`
	Flags []string `arg:"" optional:"" help:"After --: more flags, as the program named by --for would be started with."`

	programs []program
}

// A program is what one program would run with.
type program struct {
	name     string
	settings []config.Setting
	values   any
}

// ProblemsIn gathers what is wrong with the programs' settings, once each, and
// replaces the check of this command's own.
func (c *inspected) ProblemsIn(ctx *kong.Context) []error {
	names := []string{c.For}
	if c.For == "all" {
		names = []string{"ingestor", "compactor", "backfill"}
		if len(c.Flags) > 0 {
			return []error{fmt.Errorf("%s: flags of one program; say which with --for", strings.Join(c.Flags, " "))}
		}
	}
	c.programs = nil
	seen := map[string]bool{}
	var all []error
	add := func(problems []error) {
		for _, err := range problems {
			key := err.Error()
			if strings.HasPrefix(key, "no ") { // "no project: …" is said once, whoever needs it
				key, _, _ = strings.Cut(key, ":")
			}
			if !seen[key] {
				seen[key] = true
				all = append(all, err)
			}
		}
	}
	for _, name := range names {
		settings, values, err := config.Effective(name, append(config.Given(ctx, name), c.Flags...))
		c.programs = append(c.programs, program{name, settings, values})
		if s, ok := values.(*config.IngestorSettings); ok && c.For == "all" && s.DataBucket != "" {
			add(s.Missing())
		}
		add(config.Problems(err))
	}
	return all
}

// print lists the settings; those that are the same in several programs once.
func (c *inspected) print(std streams) error {
	type row struct{ flag, value, source string }
	var rows []row
	users := map[row][]string{}
	for _, p := range c.programs {
		for _, s := range p.settings {
			r := row{"--" + s.Flag, s.Value, s.Source}
			if users[r] == nil {
				rows = append(rows, r)
			}
			users[r] = append(users[r], p.name)
		}
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tFROM\tPROGRAMS")
	for _, r := range rows {
		value := printable(r.value)
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.flag, value, printable(r.source), strings.Join(users[r], ", "))
	}
	return w.Flush()
}

// printable keeps a value from disturbing the table or the terminal.
func printable(s string) string {
	quoted := fmt.Sprintf("%q", s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}

type configShowCommand struct{ inspected }

// Run implements the command.
func (c *configShowCommand) Run(std streams) error { return c.print(std) }

type configCheckCommand struct {
	inspected
	Write bool `help:"Also create an object in the temp bucket, read it and remove it."`
}

// Run implements the command.
func (c *configCheckCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	if err := c.print(std); err != nil {
		return err
	}
	fmt.Fprintln(std.out)
	findings := ingest.Check(ctx, c.needs(log))
	failed := 0
	for _, f := range findings {
		verdict, text := "ok", f.Detail
		switch {
		case f.Err != nil:
			verdict, text = "problem", strings.ReplaceAll(f.Err.Error(), "\n", "; ")
			failed++
		case f.Unknown:
			verdict = "unknown"
		}
		fmt.Fprintf(std.out, "%-8s %s: %s\n", verdict, f.Subject, text)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(findings))
	}
	return nil
}

// needs is what the programs need together.
func (c *configCheckCommand) needs(log *zap.Logger) ingest.CheckConfig {
	need := ingest.CheckConfig{Write: c.Write}
	for _, p := range c.programs {
		switch s := p.values.(type) {
		case *config.IngestorSettings:
			need.Config, need.Project, need.Broker, need.Types = ingest.ConfigOf(s.Store, log), s.Project, s.Broker, s.Types.Types
			need.Subscriptions = !s.Embedded && !s.Create
		case *config.CompactorSettings:
			if need.Bucket == "" {
				need.Config, need.Types = ingest.ConfigOf(s.Store, log), s.Types.Types
			}
		case *config.BackfillSettings:
			need.Topics = !s.DryRun && !s.Create
			if need.Project == "" {
				need.Project, need.Types = s.Project, []string{s.Type}
			}
		}
	}
	return need
}
