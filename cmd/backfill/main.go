// Command backfill publishes files of history to a data type's topic.
//
//	files ─▶ records ─▶ messages of 500 ─▶ topic ─▶ ingestor, as live data
//
// It may be killed at any moment and run again: it goes on behind what the
// broker has, and what is published twice adds no row to the lake. SIGTERM waits
// for the messages in flight, writes the checkpoint, and ends with 1.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/backfill"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/memory"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/telemetry"
)

const description = `Publish history from CSV, NDJSON and Parquet files to a data type's topic, in messages of many records, for the
ingestor to validate and store as it does live data. Running it again goes on where it ended, and adds nothing that is there.

Example, a look first:

    backfill --from 'history/*.csv.gz' --map timestamp=date --map price=close --set data_source=pystock --dry-run
    backfill --from 'history/*.csv.gz' --map timestamp=date --map price=close --set data_source=pystock --project my-project`

type settings struct{ config.BackfillSettings }

func main() {
	ctx := config.Signals("backfill")
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(config.Exit("backfill", err))
}

func run(ctx context.Context, args []string, out, diagnostics io.Writer) error {
	var s settings
	if _, err := config.Parse(&s, "backfill", description, args, out); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(diagnostics, s.LogFormat, s.LogLevel)
	if err != nil {
		return config.Usagef("%w", err)
	}
	inputs, release, err := s.inputs(ctx)
	if err != nil {
		return err
	}
	defer release()
	registry, err := ingest.Definitions(ctx, ingest.Config{Bucket: s.DataBucket, Log: log})
	if err != nil {
		return err
	}
	job, err := s.job(registry, inputs, log)
	if err != nil {
		return err
	}
	job.Progress = progress(diagnostics, log)
	memory.Limit(log, 0)
	if s.DryRun {
		return s.check(ctx, job, out)
	}
	return s.publish(ctx, registry, job, out)
}

// job is what the settings amount to, without a publisher.
func (s *settings) job(registry *schema.Registry, inputs []backfill.Input, log *zap.Logger) (*backfill.Job, error) {
	def, ok := registry.Latest(s.Type)
	if !ok {
		return nil, config.Usagef("--type %s: not in the registry; there are %s (--data-bucket reads those of a lake, too)", s.Type, strings.Join(registry.Types(), ", "))
	}
	mapped, _ := config.Pairs("map", s.Map) // what can be wrong with these four was reported by Problems
	set, _ := config.Pairs("set", s.Set)
	delimiter, _ := s.DelimiterByte()
	publishedAt, _ := s.PublishTime(time.Now())
	return &backfill.Job{
		Settings: backfill.Settings{
			Definition: def, Format: backfill.Format(s.Format), Map: mapped, Set: set, Null: s.Null, Header: s.Header,
			Delimiter: delimiter, Source: s.Source, BatchRows: s.BatchRows, BatchBytes: int(s.BatchBytes),
		},
		Inputs: inputs, Topic: s.Topic, Destination: destination(s.Project), InFlight: s.InFlight, Rate: s.Rate,
		PublishedAt: publishedAt, Checkpoint: s.Checkpoint, SaveEvery: 250 * time.Millisecond, Again: s.Again, Log: log,
	}, nil
}

// destination tells brokers apart: a checkpoint of one says nothing about
// another.
func destination(project string) string {
	if emulator := os.Getenv("PUBSUB_EMULATOR_HOST"); emulator != "" {
		return project + " at " + emulator
	}
	return project
}

func (s *settings) publish(ctx context.Context, registry *schema.Registry, job *backfill.Job, out io.Writer) error {
	c := ingest.PublisherConfig{Project: s.Project, Create: s.Create, Registry: registry}
	if s.Topic != "" {
		c.Topics = []string{s.Topic}
	}
	publisher, err := ingest.NewPublisher(ctx, c)
	if err != nil {
		return err
	}
	job.Publisher = publisher
	summary, err := job.Run(ctx)
	if summary.Checkpoint != "" && (err == nil || summary.Rows > 0) {
		printSummary(out, job, summary)
	}
	if _, closeErr := publisher.Close(); err == nil {
		err = closeErr
	}
	return explain(err, summary)
}

func (s *settings) check(ctx context.Context, job *backfill.Job, out io.Writer) error {
	level, err := config.ParseLevel(s.Level)
	if err != nil {
		return config.Usagef("--level: %w", err)
	}
	verdict, err := job.Check(ctx, level)
	if err != nil {
		return explain(err, backfill.Summary{})
	}
	printVerdict(out, s.Level, verdict)
	if n := verdict.Rows - verdict.Accepted; n > 0 {
		return fmt.Errorf("dry run: %d of %d records would become dead letters", n, verdict.Rows)
	}
	return nil
}

// explain says what to do about an error of a job.
func explain(err error, s backfill.Summary) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backfill.ErrSettings), errors.Is(err, backfill.ErrCheckpoint), errors.Is(err, backfill.ErrNoInput):
		return config.Usagef("%w", err)
	case s.Checkpoint != "":
		return fmt.Errorf("%w: %d records are published, by %s; run the same command again to go on", err, s.Before.Rows+s.Rows, s.Checkpoint)
	}
	return err
}
