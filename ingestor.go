package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/pipeline/quarantine"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sink"
	"github.com/buffetbot/ingest/telemetry"
)

// deadLetters is the data type that rejected records become.
const deadLetters = "dead_letters"

// An IngestConfig says what an ingestor receives and how it batches.
type IngestConfig struct {
	Project  string
	Endpoint string   // host:port of an emulator; empty: PUBSUB_EMULATOR_HOST, else Google Cloud
	Types    []string // data types; none: all of the registry
	Broker   config.Broker
	Ingest   config.Ingest
}

// An Ingestor takes messages of several data types into one lake, a pipeline
// each, under one memory budget.
type Ingestor struct {
	fleet     *fleet
	parts     parts
	refresher *refresher
	idle      time.Duration
	lag       time.Duration // how long the last dead letters may take through an embedded broker
	broker    *broker
	drain     *confluence // nil without the dead letters' pipeline
	log       *zap.Logger
	health    health
}

// NewIngestor connects to the broker and makes sure that every subscription is
// there. It starts nothing; Run does.
func (l *Lake) NewIngestor(ctx context.Context, c IngestConfig) (*Ingestor, error) {
	types, err := l.CheckTypes(c.Types)
	if err != nil {
		return nil, config.Usagef("--types: %w", err)
	}
	if err := l.checkKeys(c); err != nil {
		return nil, &config.UsageError{Err: err}
	}
	if err := l.checkWritable(ctx); err != nil {
		return nil, err
	}
	b, err := dial(ctx, c, l.config.Account)
	if err != nil {
		return nil, err
	}
	if b.schemas, err = b.client.Revisions(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	i := &Ingestor{fleet: newFleet(), idle: c.Ingest.IdleExit, broker: b, log: l.log}
	i.refresher = newRefresher(l, c, i)
	if c.Broker.Embedded {
		i.lag = c.Ingest.DrainDeadline
	}
	if err := errors.Join(i.wire(ctx, l, c, types), i.observe()); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return i, nil
}

// checkKeys refuses settings for data types that do not exist.
func (l *Lake) checkKeys(c IngestConfig) error {
	var all []error
	for flag, names := range map[string][]string{"--subscription": slices.Collect(maps.Keys(c.Broker.Subscription)), "--level": slices.Collect(maps.Keys(c.Ingest.Level))} {
		for _, name := range names {
			if _, err := l.CheckTypes([]string{name}); err != nil {
				all = append(all, fmt.Errorf("%s: %w", flag, err))
			}
		}
	}
	return errors.Join(all...)
}

// wire makes a pipeline of every data type:
//
//	subscription ─▶ decoder ─▶ batches ─▶ sink ─▶ raw/
//	                   └─▶ dead-letters topic
func (i *Ingestor) wire(ctx context.Context, l *Lake, c IngestConfig, types []string) error {
	writer, err := newWriter()
	if err != nil {
		return err
	}
	i.parts = parts{
		budget: batching.NewBudget(int64(c.Ingest.MemoryBudget)), observer: telemetry.Flushes(),
		files: sink.New(l.store, sink.Config{Writer: writer, OwnFileRows: c.Ingest.OwnFileRows}),
	}
	i.health.budget = i.parts.budget
	if i.parts.quarantine, err = openQuarantine(c.Ingest.StateDir, l.log); err != nil {
		return err
	}
	if i.parts.letters, err = i.broker.deadLetterTopic(ctx, c); err != nil {
		return err
	}
	for _, dataType := range types {
		def, _ := l.Registry().Latest(dataType)
		p, err := i.pipeline(ctx, l, c, def, types)
		if err != nil {
			return err
		}
		i.fleet.add(dataType, p)
	}
	return nil
}

// parts are what all pipelines of an ingestor share.
type parts struct {
	budget   *batching.Budget
	observer pipeline.Observer
	files    *sink.Sink
	letters  deadletter.Publisher

	quarantine *quarantine.Journal // nil: there is no place for it
}

// openQuarantine opens the journal of messages in hand. A directory that was asked for has
// to be there; without the usual one the ingestor does without.
func openQuarantine(dir string, log *zap.Logger) (*quarantine.Journal, error) {
	asked := dir != ""
	if !asked {
		cache, err := os.UserCacheDir()
		if err != nil {
			log.Warn("no --state-dir, and no cache directory: a message that kills the process is delivered again until the subscription gives it up", zap.Error(err))
			return nil, nil
		}
		dir = filepath.Join(cache, "buffetbot-ingest")
	}
	j, err := quarantine.Open(dir)
	switch {
	case err != nil && asked:
		return nil, config.Usagef("--state-dir: %w", err)
	case err != nil:
		log.Warn("no --state-dir, and the cache directory cannot be used: a message that kills the process is delivered again until the subscription gives it up", zap.Error(err))
		return nil, nil
	}
	if n := j.Suspects(); n > 0 {
		log.Warn("a process ended while it decoded messages: they are decoded alone this time", zap.Int("messages", n), zap.String("state_dir", dir))
	}
	return j, nil
}

// pipeline makes the pipeline of one data type. The dead letters' one drains what
// the broker gave up on of types, too.
func (i *Ingestor) pipeline(ctx context.Context, l *Lake, c IngestConfig, def *schema.Definition, types []string) (*pipeline.Pipeline, error) {
	source, err := i.broker.subscription(ctx, c, def)
	if err != nil {
		return nil, err
	}
	if c.Broker.Replay && def.Name != deadLetters {
		if source, err = i.broker.withReplays(ctx, l, c, def, source); err != nil {
			return nil, err
		}
	}
	decoders, err := decoders(def, c, i.broker.schemas)
	if err != nil {
		return nil, err
	}
	wiring := pipeline.Config{
		Definition: def, NewDecoder: decoders, Source: source, Sink: i.parts.files,
		DeadLetters: i.parts.letters, Payloads: l.store,
		Policy: batching.Policy{Rows: c.Ingest.FlushRows, Bytes: int64(c.Ingest.FlushBytes), Age: c.Ingest.FlushAge},
		Budget: i.parts.budget, Drain: c.Ingest.DrainDeadline, Log: l.log, Observer: i.parts.observer,
		Quarantine: i.parts.quarantine, Gate: l.data.breaker, HoldFor: c.Ingest.HoldFor,
		UnknownAge: c.Ingest.UnknownAge, Refresh: i.refresher.ask,
	}
	if def.Name == deadLetters {
		wiring.Quarantine = nil
		wiring.DeadLetters = nil // no letters about letters: what cannot be stored is handed back
		if i.drain, err = i.drainOf(ctx, l, c, source, types); err != nil {
			return nil, err
		}
		wiring.Source = i.drain
	}
	return pipeline.New(wiring), nil
}

// decoders makes the decoders of one data type, one for each worker.
func decoders(def *schema.Definition, c IngestConfig, revisions schema.Revisions) (func() pipeline.Decoder, error) {
	if def.Name == deadLetters {
		if _, err := deadletter.NewDecoder(def); err != nil {
			return nil, err
		}
		return func() pipeline.Decoder { d, _ := deadletter.NewDecoder(def); return d }, nil
	}
	level := schema.Standard
	if name := c.Ingest.Level[def.Name]; name != "" {
		var err error
		if level, err = config.ParseLevel(name); err != nil {
			return nil, config.Usagef("--level %s: %w", def.Name, err)
		}
	}
	return func() pipeline.Decoder { return def.NewDecoder(level, schema.WithRevisions(revisions)) }, nil
}

// newWriter makes the writer part of object names: new at each start, so that
// two runs never share a name.
func newWriter() (string, error) {
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("writer id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// Run takes messages until ctx ends or, with an idle exit, until nothing has
// arrived for that long and everything is durable. It returns when all is
// drained; an error means that something was handed back to the broker. An outage of
// the store is no error: intake pauses until it is over.
//
// The dead letters' own pipeline ends last: the others still feed it while they
// drain.
func (i *Ingestor) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer i.health.begin(ctx)()
	lettersCtx, stopLetters := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLetters()

	feeders := pool.New().WithContext(ctx).WithCancelOnError()
	last := pool.New().WithErrors()
	types := i.fleet.types()
	for _, dataType := range types {
		p := i.fleet.pipeline(dataType)
		if dataType == deadLetters {
			last.Go(func() error {
				err := named(dataType, p.Run)(lettersCtx)
				if err != nil {
					stop()
				}
				return err
			})
			continue
		}
		feeders.Go(named(dataType, p.Run))
	}
	feeders.Go(i.refresher.run)
	watcher := pool.New()
	watcher.Go(func() { i.watch(ctx, stop) })
	last.Go(func() error {
		err := feeders.Wait() // the refresher's, at least, lasts as long as the run
		stop()
		i.settle(lettersCtx)
		stopLetters()
		return err
	})
	err := last.Wait()
	watcher.Wait()
	return errors.Join(err, i.broker.close(), i.parts.quarantine.Close())
}

func named(dataType string, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := run(ctx); err != nil {
			return fmt.Errorf("ingest %s: %w", dataType, err)
		}
		return nil
	}
}

// watch ends the run once every pipeline has been idle for long enough.
func (i *Ingestor) watch(ctx context.Context, stop func()) {
	if i.idle == 0 {
		return
	}
	tick := time.NewTicker(max(min(i.idle/4, time.Second), time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if i.quiet(i.idle) {
				i.log.Info("idle: nothing has arrived and everything is durable", zap.Duration("for", i.idle))
				stop()
				return
			}
		}
	}
}

func (i *Ingestor) quiet(d time.Duration) bool {
	for _, p := range i.fleet.all() {
		if p.Idle() < d {
			return false
		}
	}
	return true
}

// settle waits, with an embedded broker, until the dead letters that were
// published have come back: it keeps nothing beyond the process.
func (i *Ingestor) settle(ctx context.Context) {
	if i.lag == 0 || i.fleet.pipeline(deadLetters) == nil {
		return
	}
	deadline := time.After(i.lag)
	for i.lettersUnderWay() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-deadline:
			i.log.Warn("dead letters are still under way in the embedded broker, which forgets them", zap.Int64("dead_letters", i.lettersUnderWay()))
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// lettersUnderWay is how many dead letters were published and have not arrived.
func (i *Ingestor) lettersUnderWay() int64 {
	var published int64
	for _, p := range i.fleet.all() {
		published += p.Stats().Letters
	}
	s := i.fleet.pipeline(deadLetters).Stats()
	return published - (s.Received - s.Nacked - i.drain.adopted.Load()) // what was handed back comes again
}

// Report says what the ingestor has done since it was made.
func (i *Ingestor) Report() IngestReport {
	r := IngestReport{Types: i.fleet.types(), Stats: map[string]pipeline.Stats{}}
	for dataType, p := range i.fleet.all() {
		r.Stats[dataType] = p.Stats()
	}
	return r
}

// An IngestReport is what an ingestor has done, by data type.
type IngestReport struct {
	Types []string
	Stats map[string]pipeline.Stats
}

// String is the report for people, a line for each data type.
func (r IngestReport) String() string {
	var b strings.Builder
	for _, dataType := range r.Types {
		s := r.Stats[dataType]
		fmt.Fprintf(&b, "\n  %-13s %6d messages %8d rows in %3d files (%s)", dataType, s.Received, s.FlushedRows, s.Files, config.Bytes(s.FlushedBytes).Human())
		if n := s.RejectedTotal(); n > 0 {
			fmt.Fprintf(&b, ", %d rejected: %s", n, reasons(s.Rejected))
		}
		if n := coerced(s); n > 0 {
			fmt.Fprintf(&b, ", %d values coerced", n)
		}
		if s.Nacked > 0 {
			fmt.Fprintf(&b, ", %d messages handed back", s.Nacked)
		}
	}
	return b.String()
}

func coerced(s pipeline.Stats) (n int64) {
	for _, k := range s.Coercions {
		n += k
	}
	return n
}

func reasons(counts map[schema.Reason]int64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return strings.Join(parts, ", ")
}
