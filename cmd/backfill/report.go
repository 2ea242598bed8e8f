package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/backfill"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/telemetry"
)

func printSummary(out io.Writer, job *backfill.Job, s backfill.Summary) {
	if s.AlreadyDone {
		fmt.Fprintf(out, "already done: %d records in %d messages, by %s; --again publishes them again (and adds nothing)\n",
			s.Before.Rows, s.Before.Messages, s.Checkpoint)
		return
	}
	fmt.Fprintf(out, "published %d records in %d messages (%s) from %d files (%s) in %v\n",
		s.Rows, s.Messages, config.Bytes(s.Bytes).Human(), s.Files, config.Bytes(s.FileBytes).Human(), s.Took.Round(time.Millisecond))
	if s.Before.Rows > 0 {
		fmt.Fprintf(out, "  %d records in %d messages were published before, by the checkpoint: %d in all\n",
			s.Before.Rows, s.Before.Messages, s.Before.Rows+s.Rows)
	}
	if n := s.Before.Broken + s.Broken; n > 0 {
		fmt.Fprintf(out, "  %d records cannot be taken apart and become dead letters; the log names the first of them\n", n)
	}
	printRepeated(out, s.Repeated)
	fmt.Fprintf(out, "  data type %s %s, publish time %s, checkpoint %s\n",
		job.Definition.Name, job.Definition.Version, s.PublishedAt.Format(time.RFC3339Nano), s.Checkpoint)
}

func printRepeated(out io.Writer, names []string) {
	for _, name := range names {
		fmt.Fprintf(out, "  left out %s: another file has the same content\n", name)
	}
}

func printVerdict(out io.Writer, level string, v backfill.Verdict) {
	fmt.Fprintf(out, "checked %d records from %d files (%s) at level %s in %v: %d would be rows, %d dead letters; nothing was published\n",
		v.Rows, v.Files, config.Bytes(v.FileBytes).Human(), level, v.Took.Round(time.Millisecond), v.Accepted, v.Rows-v.Accepted)
	printRepeated(out, v.Repeated)
	for _, reason := range v.Reasons() {
		fmt.Fprintf(out, "  %8d %s\n", v.Rejected[reason], reason)
		for _, e := range v.Examples {
			if e.Reason == reason {
				fmt.Fprintf(out, "           %s:%d: field %q, value %q: %s\n", e.File, e.Line, e.Field, e.Value, e.Explanation)
			}
		}
	}
	for _, c := range v.Coercions {
		fmt.Fprintf(out, "  %8d %s: %s\n", c.N, c.Kind, c.Field)
	}
}

// How often progress is logged where nobody watches.
const logEvery = 10 * time.Second

// progress draws a bar for each step where somebody watches, and logs a line now
// and then elsewhere.
func progress(w io.Writer, log *zap.Logger) func(backfill.Progress) {
	if telemetry.Terminal(w) {
		return bars(w)
	}
	last := time.Now()
	return func(p backfill.Progress) {
		if now := time.Now(); now.Sub(last) >= logEvery {
			last = now
			log.Info(p.Step, zap.Int64("bytes", p.Done), zap.Int64("of", p.Total), zap.Int64("records", p.Rows), zap.Int64("messages", p.Messages))
		}
	}
}

func bars(w io.Writer) func(backfill.Progress) {
	var bar *progressbar.ProgressBar
	step := ""
	return func(p backfill.Progress) {
		if p.Step != step {
			if bar != nil {
				_ = bar.Finish() // a bar that cannot be drawn is no failure
			}
			step = p.Step
			bar = progressbar.NewOptions64(max(p.Total, 1), progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(step),
				progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
		}
		_ = bar.Set64(min(p.Done, max(p.Total, 1)))
	}
}
