package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/samples"
	"github.com/buffetbot/ingest/telemetry"
)

type demoCommand struct {
	DataBucket string        `env:"GCS_DATA_BUCKET" placeholder:"BUCKET" help:"Lake to fill (default: file://$PWD/lake); what is in it stays."`
	Idle       time.Duration `default:"3s" help:"How long the ingestor waits for more before it finishes."`
}

// demo is one run of the demonstration.
type demo struct {
	lake *ingest.Lake
	std  streams
	log  *zap.Logger
	idle time.Duration
}

// runID tells one run of the demonstration from another, so that the event_ids
// of two runs differ.
func runID() string { return uuid.NewString()[:8] }

// Run implements the command:
//
//	samples ─▶ embedded Pub/Sub ─▶ ingestor ─▶ raw/ ─▶ compactor ─▶ processed/ ─▶ query
func (c *demoCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	if c.DataBucket == "" {
		dir, err := filepath.Abs("lake")
		if err != nil {
			return err
		}
		c.DataBucket = "file://" + dir
	}
	log = log.WithOptions(zap.IncreaseLevel(zapcore.WarnLevel)) // the demonstration tells its own story
	lake, err := ingest.Open(ctx, ingest.Config{Bucket: c.DataBucket, Log: log})
	if err != nil {
		return err
	}
	defer lake.Close()
	fmt.Fprintf(std.out, "A lake in %s\n\n", c.DataBucket)
	d := demo{lake: lake, std: std, log: log, idle: c.Idle}
	return d.run(ctx)
}

func (d *demo) run(ctx context.Context) error {
	before, err := d.tally(ctx)
	if err != nil {
		return err
	}
	sent := samples.Messages(samples.Demo(runID()))
	if err := d.ingest(ctx, sent); err != nil {
		return err
	}
	report, err := d.compact(ctx)
	if err != nil {
		return err
	}
	after, err := d.tally(ctx)
	if err != nil {
		return err
	}
	if err := d.look(ctx); err != nil {
		return err
	}
	return d.summary(sent, before, after, report)
}

// ingest publishes the samples and runs an ingestor until all is durable.
func (d *demo) ingest(ctx context.Context, sent []samples.Sample) error {
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer server.Close()
	ingestor, err := d.lake.NewIngestor(ctx, ingest.IngestConfig{
		Project: "demo", Endpoint: server.Addr(),
		Broker: config.Broker{Create: true, DeadLetterTopic: "dead-letters", Streams: 8},
		Ingest: config.Ingest{
			FlushRows: 100_000, FlushBytes: 32 << 20, FlushAge: time.Second, MemoryBudget: 256 << 20,
			OwnFileRows: 500, IdleExit: d.idle, DrainDeadline: time.Minute,
		},
	})
	if err != nil {
		return err
	}
	publisher, err := ingest.NewPublisher(ctx, ingest.PublisherConfig{Project: "demo", Endpoint: server.Addr()})
	if err != nil {
		return err
	}
	both := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	both.Go(func(ctx context.Context) error { return d.publish(ctx, publisher, sent) })
	both.Go(ingestor.Run)
	if err := both.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(d.std.out, "Ingested: %s\n", ingestor.Report())
	return nil
}

func (d *demo) publish(ctx context.Context, p *ingest.Publisher, sent []samples.Sample) error {
	records := 0
	bar := progressbar.DefaultSilent(int64(len(sent)))
	if telemetry.Terminal(d.std.diagnostics) {
		bar = progressbar.NewOptions(len(sent), progressbar.OptionSetWriter(d.std.diagnostics),
			progressbar.OptionSetDescription("publishing"), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	}
	for i := range sent {
		if err := p.Publish(ctx, sent[i].Topic, &sent[i].Message); err != nil {
			return err
		}
		records += sent[i].Records
		_ = bar.Add(1) // a bar that cannot be drawn is no failure
	}
	n, err := p.Close()
	if err != nil {
		return fmt.Errorf("publish samples: %w", err)
	}
	fmt.Fprintf(d.std.out, "Published: %d messages, %d records\n", n, records)
	return nil
}

func (d *demo) compact(ctx context.Context) (compaction.Report, error) {
	report, err := d.lake.Compactor(compaction.Options{}).Run(ctx, d.lake.Registry().Types())
	if err != nil {
		return report, fmt.Errorf("compact: %w", err)
	}
	fmt.Fprintf(d.std.out, "\nCompacted:\n%s", report)
	return report, nil
}

// look runs the queries that a first visitor would.
func (d *demo) look(ctx context.Context) error {
	fmt.Fprint(d.std.out, "\nRows a day:\n")
	for _, dataType := range []string{"market_data", "options_data", "forecasts"} {
		if err := d.chart(ctx, dataType); err != nil {
			return err
		}
	}
	fmt.Fprint(d.std.out, "\nbuffetctl query --type market_data --symbol AAPL --limit 5\n")
	err := show(ctx, d.lake, query.DataQuery{
		DataType: "market_data", Symbols: []string{"AAPL"}, Limit: 5,
		Columns: []string{"symbol", "timestamp", "price", "volume", "bid", "ask", "data_source"},
	}, "table", false, d.std)
	if err != nil {
		return err
	}
	fmt.Fprint(d.std.out, "\nDead letters by reason:\n")
	reasons, err := d.lake.CountBy(ctx, "dead_letters", "reason")
	if err != nil {
		return err
	}
	bars(d.std.out, reasons)
	return nil
}

func (d *demo) chart(ctx context.Context, dataType string) error {
	days, err := d.lake.RowsByDay(ctx, dataType)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.std.out, "  %s\n", dataType)
	bars(d.std.out, days)
	return nil
}

// bars draws counts as a small chart.
func bars(w io.Writer, counts []ingest.Count) {
	const width = 40
	most, label := int64(1), 0
	for _, c := range counts {
		most, label = max(most, c.N), max(label, len(c.Name))
	}
	for _, c := range counts {
		n := int((c.N*width + most - 1) / most)
		fmt.Fprintf(w, "  %-*s %7d %s\n", label, c.Name, c.N, strings.Repeat("█", n))
	}
}

// tally counts the rows of every data type as a reader sees them.
func (d *demo) tally(ctx context.Context) (map[string]int64, error) {
	rows := map[string]int64{}
	for _, dataType := range d.lake.Registry().Types() {
		n, err := d.lake.CountRows(ctx, dataType)
		if err != nil {
			return nil, err
		}
		rows[dataType] = n
	}
	return rows, nil
}

// summary adds up what went in and what came out; a sum that does not hold is an
// error.
func (d *demo) summary(sent []samples.Sample, before, after map[string]int64, report compaction.Report) error {
	published := map[string]int64{}
	var all, dead, repeated int64
	for _, s := range sent {
		published[s.DataType] += int64(s.Records)
		all += int64(s.Records)
		dead += int64(s.Bad)
		repeated += int64(s.Repeated)
	}
	w := d.std.out
	fmt.Fprintf(w, "\n%-14s %10s %10s\n", "", "published", "new rows")
	var rows int64
	for _, dataType := range []string{"market_data", "options_data", "forecasts"} {
		n := after[dataType] - before[dataType]
		rows += n
		fmt.Fprintf(w, "%-14s %10d %10d\n", dataType, published[dataType], n)
	}
	letters := after["dead_letters"] - before["dead_letters"]
	duplicates := all - rows - letters
	fmt.Fprintf(w, "\n%d published = %d rows + %d dead letters + %d duplicates removed\n", all, rows, letters, duplicates)
	var wrong []error
	if removed := removed(report); duplicates != repeated || removed < repeated {
		wrong = append(wrong, fmt.Errorf("%d records were sent twice, %d are missing from the rows, compaction removed %d", repeated, duplicates, removed))
	}
	if letters != dead {
		wrong = append(wrong, fmt.Errorf("%d records are bad, %d dead letters are in the lake", dead, letters))
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("the counts do not add up: %w", err)
	}
	fmt.Fprintf(w, "The counts add up. The lake now holds %d rows; run it again and it holds as many more.\n", sum(after))
	if _, err := os.Stat("bin/buffetctl"); err == nil {
		fmt.Fprintln(w, "Look further: bin/buffetctl query --help")
	}
	return nil
}

// removed is how many duplicates a compaction took out of the samples' types.
func removed(r compaction.Report) (n int64) {
	for _, t := range r.Tables {
		for _, p := range t.Partitions {
			if t.Type != "dead_letters" && p.Outcome == compaction.Committed {
				n += p.Duplicates
			}
		}
	}
	return n
}

func sum(rows map[string]int64) int64 {
	var n int64
	for _, v := range rows {
		n += v
	}
	return n
}
