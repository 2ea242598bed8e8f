// Command ingestor takes messages from Pub/Sub into the lake's raw files.
//
//	subscriptions ─▶ validate ─▶ micro-batches ─▶ raw/*.parquet, then ack
//	                    └─▶ dead letters
//
// SIGTERM drains: it stops taking messages, makes durable what it holds, acks,
// and ends with 0. A second SIGTERM ends at once; what was not acknowledged is
// delivered again.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/memory"
	"github.com/buffetbot/ingest/telemetry"
)

const description = `Take messages from Google Cloud Pub/Sub into a lake: validated, in micro-batches, as snappy Parquet.
A message is acknowledged once every row of it is durable; a record that cannot be accepted becomes a dead letter.

Example:  ingestor --project my-project --data-bucket my-lake
          ingestor --embedded --data-bucket file:///var/lake --idle-exit 10s`

type settings struct{ config.IngestorSettings }

func main() {
	ctx := config.Signals("ingestor")
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(config.Exit("ingestor", err))
}

func run(ctx context.Context, args []string, out, diagnostics io.Writer) error {
	var s settings
	if _, err := config.Parse(&s, "ingestor", description, args, out); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(diagnostics, s.LogFormat, s.LogLevel)
	if err != nil {
		return config.Usagef("%w", err)
	}
	t, err := telemetry.Start(ctx, telemetry.Config{Service: "ingestor", Listen: s.Listen.Listen, Pprof: s.Pprof, Log: log})
	if errors.Is(err, telemetry.ErrSetting) {
		return config.Usagef("%w", err)
	}
	if err != nil {
		return err
	}
	defer t.ShutdownLogged(ctx)
	memory.Limit(log, s.Held())
	lake, err := ingest.Open(ctx, ingest.ConfigOf(s.Store, log))
	if err != nil {
		return config.Started(ctx, log, err)
	}
	defer lake.Close()
	c := ingest.IngestConfig{Project: s.Project, Types: s.Types.Types, Broker: s.Broker, Ingest: s.Ingest}
	if s.Embedded {
		dir := cmp.Or(s.EmbeddedDir, ingest.EmbeddedDir(s.DataBucket))
		server, err := embedded.Open(embedded.Config{Addr: s.EmbeddedAddr, Dir: dir, Log: log})
		if err != nil {
			return err
		}
		defer server.Close()
		c.Endpoint, c.Broker.Create = server.Addr(), true
		if c.Project == "" {
			c.Project = "local"
		}
		log.Info("embedded Pub/Sub: export PUBSUB_EMULATOR_HOST="+server.Addr(), zap.String("project", c.Project), zap.String("directory", dir))
	}
	ingestor, err := lake.NewIngestor(ctx, c)
	if err != nil {
		return config.Started(ctx, log, err)
	}
	t.Check("ingestor", ingestor.Ready)
	log.Info("ingesting", zap.String("lake", s.DataBucket), zap.String("project", c.Project))
	err = ingestor.Run(ctx)
	fmt.Fprintf(out, "ingested%s\n", ingestor.Report())
	return err
}
