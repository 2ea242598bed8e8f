// Command buffetctl is what operators and analysts type: read the lake, look at
// dead letters, publish a few messages, watch the whole thing work.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/telemetry"
)

const description = `Read and operate a BuffetBot lake.

Try it:   buffetctl demo
Then:     buffetctl query --data-bucket file://$PWD/lake --type market_data --symbol AAPL --limit 5`

type cli struct {
	Query      queryCommand      `cmd:"" help:"Read rows: by data type, symbol and dates."`
	Tables     tablesCommand     `cmd:"" help:"What there is: the table of each data type, and what waits to be compacted."`
	History    historyCommand    `cmd:"" help:"The versions of a table, newest first."`
	Partitions partitionsCommand `cmd:"" help:"The days of a table, with the days that are missing between them."`
	Files      filesCommand      `cmd:"" help:"The live files of a table."`

	Table      tableCommand      `cmd:"" help:"Properties of a table: list, set."`
	Hold       holdCommand       `cmd:"" help:"Keep compactors from a day, with a reason."`
	Unhold     unholdCommand     `cmd:"" help:"Let compactors at a day again."`
	Unreadable unreadableCommand `cmd:"" help:"Raw files that compactors cannot read: list, retry."`
	Retain     retainCommand     `cmd:"" help:"Take days away that are older than is to be kept; says what would go unless --yes."`
	Audit      auditCommand      `cmd:"" help:"What was done to the lake on purpose, by whom and why."`

	Config configCommand `cmd:"" help:"Settings: what is in effect, where it comes from, whether it works."`

	DLQ     dlqCommand     `cmd:"" name:"dlq" help:"Dead letters: records that could not be accepted, with the reason."`
	Schema  schemaCommand  `cmd:"" help:"Definitions of data types: list, show, check, evolve."`
	Fsck    fsckCommand    `cmd:"" help:"Check every promise of the layout against the bucket; exit code 1 on a violation."`
	Backup  backupCommand  `cmd:"" help:"Copy the lake into the backup bucket; list, verify and prune backups."`
	Restore restoreCommand `cmd:"" help:"Bring tables back from a backup: mend them, go back to a version, or into an empty bucket."`
	PubSub  pubsubCommand  `cmd:"" name:"pubsub" help:"Run a Pub/Sub server on this machine, durable in a directory, for any Pub/Sub client."`
	Publish publishCommand `cmd:"" help:"Publish messages to a topic, for trying things."`
	Demo    demoCommand    `cmd:"" help:"Show the whole path on this machine: publish, ingest, compact, query."`
	config.Log
}

// streams is what a command reads and writes.
type streams struct {
	in               io.Reader
	out, diagnostics io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(config.Exit("buffetctl", err))
}

func run(ctx context.Context, args []string, std streams) error {
	var c cli
	if len(args) == 0 {
		args = []string{"--help"}
	}
	chosen, err := config.Parse(&c, "buffetctl", description, args, std.out)
	if err != nil {
		return err
	}
	log, err := telemetry.NewLogger(std.diagnostics, c.LogFormat, c.LogLevel)
	if err != nil {
		return config.Usagef("%w", err)
	}
	chosen.BindTo(ctx, (*context.Context)(nil))
	return chosen.Run(std, log)
}

// withLake opens the lake of s for the length of f.
func withLake(ctx context.Context, s config.Store, log *zap.Logger, f func(*ingest.Lake) error) error {
	lake, err := ingest.Open(ctx, ingest.ConfigOf(s, log))
	if err != nil {
		return err
	}
	defer lake.Close()
	return f(lake)
}
