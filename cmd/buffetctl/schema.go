package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/schema"
)

type schemaCommand struct {
	Ls     schemaLsCommand     `cmd:"" help:"List data types and the versions of their definitions."`
	Show   schemaShowCommand   `cmd:"" help:"Print a definition, or the schema it gives to Pub/Sub, BigQuery or Delta."`
	Check  schemaCheckCommand  `cmd:"" help:"Say whether a definition could follow the newest version; change nothing."`
	Evolve schemaEvolveCommand `cmd:"" help:"Add a definition to the lake: the next version, or a new data type."`
	Docs   schemaDocsCommand   `cmd:"" help:"Print what a definition means, for people: fields, rules, flags."`
}

type schemaLsCommand struct{ config.Store }

// Run implements the command.
func (c *schemaLsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "DATA TYPE\tVERSION\tTOPIC\tFIELDS\tRULES\tFROM")
		for _, dataType := range lake.Registry().Types() {
			for _, d := range lake.Registry().Versions(dataType) {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", d.Name, d.Version, d.Topic, d.Own, len(d.Rules), d.Origin)
			}
		}
		return w.Flush()
	})
}

// A definitionArgument names a definition: a data type, and a version where the
// newest is not meant.
type definitionArgument struct {
	Definition string `arg:"" placeholder:"TYPE[@VERSION]" help:"Data type, and the version where the newest is not meant: market_data@v1.2.0."`
}

func (a definitionArgument) find(r *schema.Registry) (*schema.Definition, error) {
	name, version, pinned := strings.Cut(a.Definition, "@")
	if !pinned {
		if d, ok := r.Latest(name); ok {
			return d, nil
		}
		return nil, config.Usagef("data type %q: not in the registry; there are %s", name, strings.Join(r.Types(), ", "))
	}
	v, err := schema.ParseVersion(version)
	if err != nil {
		return nil, &config.UsageError{Err: err}
	}
	if d, ok := r.Lookup(name, v); ok {
		return d, nil
	}
	return nil, config.Usagef("%s: no such version; see buffetctl schema ls", a.Definition)
}

type schemaShowCommand struct {
	config.Store
	definitionArgument
	Format string `enum:"avro,pubsub,bigquery,delta" default:"avro" help:"As what: ${enum}."`
}

// Run implements the command.
func (c *schemaShowCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		d, err := c.find(lake.Registry())
		if err != nil {
			return err
		}
		text := d.Avro()
		switch c.Format {
		case "pubsub":
			text, err = d.PubSubSchema()
		case "bigquery":
			text, err = d.BigQuerySchema()
		case "delta":
			text = d.DeltaSchemaString()
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(std.out, strings.TrimSuffix(text, "\n"))
		return err
	})
}

type schemaDocsCommand struct {
	config.Store
	definitionArgument
}

// Run implements the command.
func (c *schemaDocsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		d, err := c.find(lake.Registry())
		if err != nil {
			return err
		}
		_, err = io.WriteString(std.out, d.Markdown())
		return err
	})
}

// A definitionFile is a definition to be added.
type definitionFile struct {
	File          string `arg:"" help:"The definition: an Avro schema file; - reads standard input."`
	Compatibility string `enum:"BACKWARD,FORWARD,FULL" default:"FULL" help:"Who must not be hurt: publishers of the old version (BACKWARD), readers who know the old version (FORWARD), or both: ${enum}."`
}

func (f *definitionFile) read(in io.Reader) ([]byte, schema.Mode, error) {
	mode, err := schema.ParseMode(f.Compatibility)
	if err != nil {
		return nil, 0, &config.UsageError{Err: err}
	}
	if f.File == "-" {
		avsc, err := io.ReadAll(in)
		return avsc, mode, err
	}
	avsc, err := os.ReadFile(f.File)
	return avsc, mode, err
}

type schemaCheckCommand struct {
	config.Store
	definitionFile
}

// Run implements the command.
func (c *schemaCheckCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	avsc, mode, err := c.read(std.in)
	if err != nil {
		return err
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		d, changes, err := lake.CheckDefinition(avsc, mode)
		printChanges(std.out, changes)
		if err == nil {
			fmt.Fprintf(std.out, "%s %s can be added: buffetctl schema evolve\n", d.Name, d.Version)
		}
		return readable(std, err)
	})
}

type schemaEvolveCommand struct {
	config.Store
	definitionFile
}

// Run implements the command.
func (c *schemaEvolveCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	avsc, mode, err := c.read(std.in)
	if err != nil {
		return err
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		d, changes, err := lake.Evolve(ctx, avsc, mode)
		printChanges(std.out, changes)
		if err == nil {
			fmt.Fprintf(std.out, "%s %s is in the lake as %s%s; running ingestors take it up by themselves\n", d.Name, d.Version, schema.Prefix, d.FileName())
		}
		return readable(std, err)
	})
}

func printChanges(w io.Writer, changes []schema.Change) {
	for _, c := range changes {
		if !c.Breaks {
			fmt.Fprintln(w, " ", c)
		}
	}
}

// readable prints the breaking changes a line each, which the one line of an
// error has no room for.
func readable(std streams, err error) error {
	var bad *schema.IncompatibleError
	if !errors.As(err, &bad) {
		return err
	}
	for _, c := range bad.Breaking {
		fmt.Fprintln(std.diagnostics, " ", c)
	}
	return fmt.Errorf("%s %s cannot follow %s: %d breaking changes", bad.Type, bad.To, bad.From, len(bad.Breaking))
}
