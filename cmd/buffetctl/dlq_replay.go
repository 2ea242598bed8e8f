package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/schema"
)

type dlqReplayCommand struct {
	config.Store
	letterFilter
	IDs    []string          `arg:"" optional:"" help:"These letters alone: ids, or the beginnings of some."`
	DryRun bool              `help:"Judge the letters by today's definitions and say what would happen; publish and note nothing."`
	Again  bool              `help:"Also letters that have been replayed before. It adds no row."`
	All    bool              `help:"Also letters that today's definitions would reject again; each becomes a dead letter of its own."`
	Level  map[string]string `env:"LEVELS" mapsep:"," placeholder:"TYPE=LEVEL" help:"Validation levels that the ingestors run with, for the judging: STRICT, STANDARD (default) or LENIENT."`
}

// Help implements kong's detailed help.
func (c *dlqReplayCommand) Help() string {
	return `Rejected records go through the topic <topic>-replay back to the ingestors, which have to run with --replay,
and become rows under the id, position and publish time of their first delivery. Whatever comes twice is a row once.
A letter that was replayed is left out the next time; one that is rejected again is a new letter.

  buffetctl dlq replay --type market_data --since 7d --dry-run
  buffetctl dlq replay --type market_data --since 7d`
}

// Run implements the command.
func (c *dlqReplayCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	f, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	levels := map[string]schema.Level{}
	for dataType, name := range c.Level {
		if levels[dataType], err = config.ParseLevel(name); err != nil {
			return config.Usagef("--level %s=%s: %w", dataType, name, err)
		}
	}
	if len(c.IDs) > 0 && f.String() != "all" {
		return config.Usagef("letters by their ids, or by --reason, --type, --source and times: give one of them")
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		r, err := lake.Replay(ctx, ingest.ReplayConfig{
			Project: c.Project, Filter: f, IDs: c.IDs, Level: levels, DryRun: c.DryRun, Again: c.Again, All: c.All,
		})
		if r.Chosen > 0 || err == nil {
			replayText(std.out, &r, c.DryRun)
		}
		return usage(err)
	})
}

// replayText is the report for people.
func replayText(w io.Writer, r *ingest.ReplayReport, dry bool) {
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	if r.Chosen == 0 {
		say("no such dead letters")
		return
	}
	say("%d dead letters", r.Chosen)
	if dry {
		say("  %6d would be replayed, in %d messages", r.Replayed, r.Messages)
	} else {
		say("  %6d replayed, in %d messages (run %s)", r.Replayed, r.Messages, r.Run)
	}
	if r.Unjudged > 0 {
		say("         of them %d not judged before: they name a schema of Pub/Sub's", r.Unjudged)
	}
	if r.Before > 0 {
		say("  %6d left out: replayed before (--again replays them once more)", r.Before)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Rejected)) {
		say("  %6d rejected again by today's definitions: %s, such as %s", r.Rejected[reason], reason, short(r.Samples[string(reason)]))
	}
	for _, why := range slices.Sorted(maps.Keys(r.Impossible)) {
		say("  %6d cannot be replayed: %s, such as %s", r.Impossible[why], clean(why), short(r.Samples[why]))
	}
	switch {
	case dry && r.Replayed > 0:
		say("Nothing was published. The same without --dry-run replays them.")
	case !dry && r.Replayed > 0:
		say("They are rows once the ingestors (--replay) have flushed. What is rejected again is a new letter: buffetctl dlq ls --open")
	}
}

// short is as much of an id as a table shows.
func short(id string) string { return clean(id[:min(len(id), shownID)]) }
