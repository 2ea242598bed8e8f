package ingest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/telemetry"
)

// A fleet is the pipelines of an ingestor by data type. It grows while the
// ingestor runs; none is ever taken out.
type fleet struct {
	mu        sync.Mutex
	order     []string
	pipelines map[string]*pipeline.Pipeline
}

func newFleet() *fleet { return &fleet{pipelines: map[string]*pipeline.Pipeline{}} }

func (f *fleet) add(dataType string, p *pipeline.Pipeline) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order, f.pipelines[dataType] = append(f.order, dataType), p
}

// types are the data types in the order they came.
func (f *fleet) types() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order)
}

// pipeline is the data type's, or nil.
func (f *fleet) pipeline(dataType string) *pipeline.Pipeline {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pipelines[dataType]
}

func (f *fleet) all() map[string]*pipeline.Pipeline {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.pipelines)
}

// A refresher keeps a running ingestor at the lake's newest definitions: it lets
// the pipelines switch to them, and starts those of new data types where the
// ingestor works on all. Whatever fails in it stops no pipeline: the definitions
// of before stay, and the next look tries again.
type refresher struct {
	lake     *Lake
	config   IngestConfig
	ingestor *Ingestor
	asked    chan struct{} // has a value when somebody wants a look before the time
	adopted  *schema.Registry
	count    func(outcome string)
}

// betweenAsked is the least time between two looks that messages ask for.
const betweenAsked = 2 * time.Second

func newRefresher(l *Lake, c IngestConfig, i *Ingestor) *refresher {
	if c.Ingest.SchemaRefresh <= 0 {
		c.Ingest.SchemaRefresh = time.Minute // of one who filled in the settings by hand
	}
	return &refresher{lake: l, config: c, ingestor: i, asked: make(chan struct{}, 1), adopted: l.Registry(), count: telemetry.Refreshes()}
}

// ask wants a look soon. It never blocks.
func (r *refresher) ask() {
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// run looks again and again until ctx ends, and returns when the pipelines that it
// has started have drained. The error is theirs.
func (r *refresher) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	newcomers := pool.New().WithErrors()
	start := func(dataType string, p *pipeline.Pipeline) {
		newcomers.Go(func() error {
			defer stop() // one that ends before its time ends the run, as any other does
			return named(dataType, p.Run)(ctx)
		})
	}
	tick := time.NewTicker(r.config.Ingest.SchemaRefresh)
	defer tick.Stop()
	for r.wait(ctx, tick.C) {
		r.look(ctx, start)
	}
	return newcomers.Wait()
}

// wait waits for the next look; false means that there is none.
func (r *refresher) wait(ctx context.Context, tick <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-tick:
		return true
	case <-r.asked:
	}
	select { // at most one a while, however many ask
	case <-ctx.Done():
		return false
	case <-time.After(betweenAsked):
	}
	select { // who asked meanwhile is answered by this look
	case <-r.asked:
	default:
	}
	return true
}

// look reads the definitions and takes up what is new.
func (r *refresher) look(ctx context.Context, start func(string, *pipeline.Pipeline)) {
	_, err := r.lake.Refresh(ctx)
	if err == nil {
		err = r.adopt(ctx, r.lake.Registry(), start)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.count("failed")
		r.ingestor.log.Error("new definitions are not taken up; those of before stay, and the next look tries again",
			zap.Duration("in", r.config.Ingest.SchemaRefresh), zap.Error(err))
		return
	}
	r.count("ok")
}

// adopt brings the fleet to a registry. What it did not manage is tried again at
// the next look.
func (r *refresher) adopt(ctx context.Context, to *schema.Registry, start func(string, *pipeline.Pipeline)) error {
	if to == r.adopted {
		return nil
	}
	var failed error
	for _, dataType := range to.Types() {
		def, _ := to.Latest(dataType)
		p := r.ingestor.fleet.pipeline(dataType)
		switch {
		case p != nil && p.Definition() != def:
			newDecoder, err := decoders(def, r.config, r.ingestor.broker.schemas)
			if err != nil {
				failed = fmt.Errorf("switch %s to %s: %w", dataType, def.Version, err)
				continue
			}
			p.Switch(def, newDecoder)
		case p == nil && len(r.config.Types) == 0:
			if err := r.enlist(ctx, def, start); err != nil {
				failed = fmt.Errorf("begin to ingest %s: %w", dataType, err)
			}
		}
	}
	if failed == nil {
		r.adopted = to
	}
	return failed
}

// enlist starts the pipeline of a new data type.
func (r *refresher) enlist(ctx context.Context, def *schema.Definition, start func(string, *pipeline.Pipeline)) error {
	i := r.ingestor
	p, err := i.pipeline(ctx, r.lake, r.config, def, nil)
	if err != nil {
		return err
	}
	if i.drain != nil {
		if err := i.drainToo(ctx, r.lake, r.config, i.drain, def); err != nil {
			return err
		}
	}
	i.fleet.add(def.Name, p)
	start(def.Name, p)
	i.log.Info("a new data type is ingested", zap.String("type", def.Name), zap.Stringer("schema", def.Version), zap.String("from", def.Origin))
	return nil
}
