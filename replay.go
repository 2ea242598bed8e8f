package ingest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/schema"
)

// A ReplayConfig says which dead letters come again, and where to.
type ReplayConfig struct {
	Project  string
	Endpoint string                  // host:port of an emulator; empty: PUBSUB_EMULATOR_HOST, else Google Cloud
	Filter   LetterFilter            // its Limit and Full do not matter
	IDs      []string                // these letters instead, or the beginnings of their ids
	Level    map[string]schema.Level // of the ingestors, by data type, for the judging; Standard
	DryRun   bool                    // publish and note nothing
	Again    bool                    // also those that have been replayed
	All      bool                    // also those that would be rejected again
	By       string                  // who; "": user and host
}

// A ReplayReport is what came of a replay, in letters.
type ReplayReport struct {
	Run      string
	Chosen   int64
	Replayed int64 // the broker has them, and it is noted; in a dry run: would be
	Messages int64 // that carried them: several letters of one binary message share one
	Before   int64 // left out: replayed by an earlier run
	Unjudged int64 // of those replayed: judged by a schema of Pub/Sub's, which was not asked

	Rejected   map[schema.Reason]int64 // left out (or, with All, among the replayed): rejected again by today's definition
	Impossible map[string]int64        // left out: why they cannot come again
	Samples    map[string]string       // for each of these reasons and causes a letter
}

// replayChunk is how many messages are published before it is noted.
const replayChunk = 1000

// ErrNoReplays: no ingestor could receive what would be replayed.
var ErrNoReplays = errors.New("nobody would receive replays")

// Replay lets dead letters come again through <topic>-replay, under the identity
// that their records had: the ids, positions and publish times of the first time.
// It judges each by today's definitions first, and leaves out what would be rejected
// again. It may be called again, after an error or a crash too: what is noted as
// replayed is left out, and what comes twice is a row once.
//
// An error of the broker or the store ends it; the report says how far it came.
func (l *Lake) Replay(ctx context.Context, c ReplayConfig) (ReplayReport, error) {
	run, err := newRun(time.Now())
	if err != nil {
		return ReplayReport{}, err
	}
	r := &replayer{
		lake: l, config: c, judges: map[string]*schema.Decoder{},
		report: ReplayReport{Run: run, Rejected: map[schema.Reason]int64{}, Impossible: map[string]int64{}, Samples: map[string]string{}},
	}
	r.config.By = cmp.Or(c.By, whoami())
	if _, err := l.Refresh(ctx); err != nil {
		return r.report, err
	}
	if r.before, err = l.Replays(ctx); err != nil {
		return r.report, err
	}
	if !c.DryRun {
		if c.Project == "" {
			return r.report, config.Usagef("no project: set --project or GOOGLE_CLOUD_PROJECT (any name with PUBSUB_EMULATOR_HOST), or try --dry-run")
		}
		if r.publisher, err = NewPublisher(ctx, PublisherConfig{Project: c.Project, Endpoint: c.Endpoint, Account: l.config.Account}); err != nil {
			return r.report, err
		}
	}
	err = r.all(ctx)
	if r.publisher != nil {
		_, closeErr := r.publisher.Close()
		err = errors.Join(err, closeErr)
		r.audit(err)
	}
	return r.report, err
}

// newRun names a run: by its time, and so that no two are called the same.
func newRun(now time.Time) (string, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("replay id: %w", err)
	}
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:]), nil
}

// whoami is who runs the program, as far as that can be told.
func whoami() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// A replayer is one run.
type replayer struct {
	lake      *Lake
	config    ReplayConfig
	report    ReplayReport
	before    map[string]deadletter.ReplayMark
	judges    map[string]*schema.Decoder
	publisher *Publisher
	checked   map[string]bool // topics somebody receives replays of

	group   *bundle // letters of one binary message that are met one after the other
	pending []*outgoing
	notes   int
}

// A bundle is letters whose records came in one message, which is kept whole.
type bundle struct {
	ref      string // of the message's object
	original *deadletter.Letter
	letters  []*deadletter.Letter
}

// An outgoing is a replay about to be published, for the sake of some letters.
type outgoing struct {
	replay  *deadletter.Replay
	topic   string
	letters []string
	err     error
}

// all replays every letter that is asked for.
func (r *replayer) all(ctx context.Context) error {
	if len(r.config.IDs) > 0 {
		for _, id := range r.config.IDs {
			letter, err := r.lake.Letter(ctx, id)
			if err == nil {
				err = r.letter(ctx, letter)
			}
			if err != nil {
				return err
			}
		}
		return r.finish(ctx)
	}
	f := r.config.Filter
	f.Limit, f.Full = 0, true
	for letter, err := range r.lake.Letters(ctx, f) {
		if err == nil {
			err = r.letter(ctx, &letter)
		}
		if err != nil {
			return errors.Join(err, r.flush(ctx))
		}
	}
	return r.finish(ctx)
}

func (r *replayer) finish(ctx context.Context) error {
	if err := r.close(ctx); err != nil {
		return err
	}
	return r.flush(ctx)
}

// letter takes one letter in.
func (r *replayer) letter(ctx context.Context, l *deadletter.Letter) error {
	r.report.Chosen++
	if _, done := r.before[l.ID]; done && !r.config.Again {
		r.report.Before++
		return nil
	}
	if l.Reason == deadletter.Undelivered && !r.named(l) {
		r.impossible(l, "undelivered: rows of it may be in the lake under an id that the broker did not tell; name the reason (--reason undelivered) to replay it all the same")
		return nil
	}
	if r.group != nil && l.Form == deadletter.Rendered && l.PayloadRef == r.group.ref && len(r.group.letters) < deadletter.MaxReplayRecords {
		r.group.letters = append(r.group.letters, l)
		return nil
	}
	whole, original, err := deadletter.Whole(ctx, r.lake.store, l)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.impossible(l, "its payload object cannot be read")
		r.lake.log.Warn("payload of a dead letter", zap.String("dl_id", l.ID), zap.Error(err))
		return nil
	}
	if err := r.close(ctx); err != nil {
		return err
	}
	whole.PayloadRef = l.PayloadRef
	r.group = &bundle{ref: l.PayloadRef, original: original, letters: []*deadletter.Letter{whole}}
	if l.Form != deadletter.Rendered {
		return r.close(ctx)
	}
	return nil
}

// named says whether somebody asked for the letter in particular.
func (r *replayer) named(l *deadletter.Letter) bool {
	if len(r.config.IDs) > 0 {
		return true
	}
	return slices.Contains(r.config.Filter.Reasons, string(l.Reason))
}

func (r *replayer) impossible(l *deadletter.Letter, why string) {
	r.report.Impossible[why]++
	r.report.Samples[why] = l.ID
}

// close judges the open bundle and makes a replay of those of its letters that are
// to come again.
func (r *replayer) close(ctx context.Context) error {
	g := r.group
	if r.group = nil; g == nil {
		return nil
	}
	first := g.letters[0]
	def, known := r.lake.Registry().Latest(first.DataType)
	if !known || def.Name == deadLetters {
		for _, l := range g.letters {
			r.impossible(l, fmt.Sprintf("there is no data type %s", first.DataType))
		}
		return nil
	}
	again, records, err := r.judge(g, def)
	if err != nil {
		for _, l := range g.letters {
			r.impossible(l, err.Error())
		}
		return nil
	}
	if len(again) == 0 {
		return nil
	}
	if err := r.receivable(ctx, def); err != nil {
		return err
	}
	replay, err := deadletter.NewReplay(r.report.Run, first, g.original, records)
	if err != nil {
		return err
	}
	o := &outgoing{replay: replay, topic: def.Topic + deadletter.ReplaySuffix}
	for _, l := range again {
		o.letters = append(o.letters, l.ID)
	}
	if r.pending = append(r.pending, o); len(r.pending) >= replayChunk {
		return r.flush(ctx)
	}
	return nil
}

// receivable sees that a message on the replay topic would be kept for somebody:
// one without a subscription is gone.
func (r *replayer) receivable(ctx context.Context, def *schema.Definition) error {
	if r.config.DryRun || r.checked[def.Topic] {
		return nil
	}
	topic, subscription := def.Topic+deadletter.ReplaySuffix, replaySubscription(def.Topic)
	if err := r.publisher.broker.client.CheckSubscription(ctx, subscription, topic); err != nil {
		return fmt.Errorf("replay %s: %w: start an ingestor with --replay (and --create, or terraform, for %s and %s): %w", def.Name, ErrNoReplays, topic, subscription, err)
	}
	if r.checked == nil {
		r.checked = map[string]bool{}
	}
	r.checked[def.Topic] = true
	return nil
}

// flush publishes what is pending and then notes that. A crash in between lets
// letters be replayed again, which adds nothing.
func (r *replayer) flush(ctx context.Context) error {
	pending := r.pending
	r.pending = nil
	if len(pending) == 0 {
		return nil
	}
	if r.config.DryRun {
		for _, o := range pending {
			r.report.Replayed += int64(len(o.letters))
			r.report.Messages++
		}
		return nil
	}
	workers := pool.New().WithMaxGoroutines(64)
	for _, o := range pending {
		workers.Go(func() {
			m, err := o.replay.Publishable(ctx, r.lake.store)
			if err == nil {
				err = r.publisher.Send(ctx, o.topic, m)
			}
			o.err = err
		})
	}
	workers.Wait()
	note := &deadletter.ReplayNote{Run: r.report.Run, At: time.Now().UTC(), By: r.config.By, Filter: r.config.Filter.String()}
	var failed error
	messages := int64(0)
	for _, o := range pending {
		if o.err != nil {
			failed = cmp.Or(failed, o.err)
			continue
		}
		note.Letters = append(note.Letters, o.letters...)
		messages++
	}
	if messages == 0 {
		return failed
	}
	r.notes++
	if err := note.Note(context.WithoutCancel(ctx), r.lake.store, r.notes); err != nil {
		return errors.Join(failed, err)
	}
	r.report.Replayed += int64(len(note.Letters))
	r.report.Messages += messages
	return failed
}

// audit writes the line that says who replayed what.
func (r *replayer) audit(err error) {
	r.lake.log.Info("audit", zap.String("action", "dlq replay"), zap.String("by", r.config.By), zap.String("lake", r.lake.name), zap.String("run", r.report.Run),
		zap.Stringer("letters", r.config.Filter), zap.Strings("ids", r.config.IDs), zap.Bool("again", r.config.Again), zap.Bool("all", r.config.All),
		zap.Int64("chosen", r.report.Chosen), zap.Int64("replayed", r.report.Replayed), zap.Int64("replayed_before", r.report.Before), zap.Error(err))
}
