package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
)

type dlqStatsCommand struct {
	config.Store
	letterFilter
	By     []string `placeholder:"GROUP,…" help:"Count by these together: reason, type, source, day (default: a report of each; csv and json: by all together)."`
	Format string   `enum:"table,csv,json" default:"table" help:"Output: ${enum}."`
}

// Run implements the command.
func (c *dlqStatsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	f, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		if len(c.By) == 0 && c.Format == "table" {
			return report(ctx, lake, f, std.out)
		}
		by := c.By
		if len(by) == 0 {
			by = ingest.LetterGroups
		}
		counts, err := lake.CountLetters(ctx, f, by...)
		if err != nil {
			return usage(err)
		}
		return writeCounts(std.out, c.Format, by, counts)
	})
}

func writeCounts(w io.Writer, format string, by []string, counts []ingest.LetterCount) error {
	if format == "json" {
		for _, n := range counts {
			line := map[string]any{"count": n.N, "replayed": n.Replayed, "open": n.N - n.Replayed, "first": n.First, "last": n.Last, "sample": n.Sample}
			for i, name := range by {
				line[name] = n.Values[i]
			}
			if err := writeJSON(w, line, false); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, len(counts))
	for i, n := range counts {
		rows[i] = append(slices.Clone(n.Values), strconv.FormatInt(n.N, 10), n.First.Format(time.RFC3339), n.Last.Format(time.RFC3339), n.Sample,
			strconv.FormatInt(n.N-n.Replayed, 10), strconv.FormatInt(n.Replayed, 10))
	}
	if format == "csv" {
		return writeCSV(w, append(slices.Clone(by), "count", "first", "last", "sample", "open", "replayed"), rows)
	}
	var columns []letterColumn
	for _, name := range by {
		columns = append(columns, letterColumn{strings.ToUpper(name), 26})
	}
	for _, row := range rows {
		sample := &row[len(row)-3]
		*sample = (*sample)[:min(len(*sample), shownID)]
	}
	return writeTable(w, append(columns, letterColumn{"COUNT", 0}, letterColumn{"FIRST", 0}, letterColumn{"LAST", 0}, letterColumn{"SAMPLE", shownID}, letterColumn{"OPEN", 0}, letterColumn{"REPLAYED", 0}), rows, width(w))
}

// shownGroups is how many lines of a chart there are; days are many, and the last
// ones matter.
const shownGroups = 14

// report counts by each group in one read.
func report(ctx context.Context, lake *ingest.Lake, f ingest.LetterFilter, w io.Writer) error {
	replays, err := lake.Replays(ctx)
	if err != nil {
		return err
	}
	counters := map[string]*ingest.LetterCounter{}
	for _, name := range append([]string{""}, ingest.LetterGroups...) {
		var by []string
		if name != "" {
			by = []string{name}
		}
		c, err := ingest.NewLetterCounter(by...)
		if err != nil {
			return err
		}
		c.Replays, counters[name] = replays, c
	}
	for l, err := range lake.Letters(ctx, f) {
		if err != nil {
			return usage(err)
		}
		for _, c := range counters {
			c.Add(&l)
		}
	}
	total := counters[""].Counts()
	if len(total) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	state := ""
	if n := total[0].Replayed; n > 0 {
		state = fmt.Sprintf(" (%d open, %d replayed)", total[0].N-n, n)
	}
	fmt.Fprintf(w, "%d dead letters%s, published %s to %s\n", total[0].N, state, total[0].First.Format(time.DateTime), total[0].Last.Format(time.DateTime))
	for _, name := range ingest.LetterGroups {
		if err := chart(w, name, counters[name].Counts(), total[0].Replayed > 0); err != nil {
			return err
		}
	}
	return nil
}

// chart draws counts: days in their order, everything else by size. Reasons come
// with a letter to look at, and where some have been replayed all with how many are open.
func chart(w io.Writer, name string, counts []ingest.LetterCount, replayed bool) error {
	most := counts[0].N
	if name == "day" {
		slices.SortFunc(counts, func(a, b ingest.LetterCount) int { return strings.Compare(b.Values[0], a.Values[0]) })
	}
	hidden := counts[min(len(counts), shownGroups):]
	var rows [][]string
	for _, n := range counts[:len(counts)-len(hidden)] {
		label := n.Values[0]
		if label == "" {
			label = "(none)"
		}
		row := []string{"  " + label, strconv.FormatInt(n.N, 10), bar(n.N, most)}
		if name == "reason" {
			row = append(row, n.Last.Format(time.DateTime), n.Sample[:min(len(n.Sample), shownID)])
		}
		if replayed {
			row = append(row, strconv.FormatInt(n.N-n.Replayed, 10))
		}
		rows = append(rows, row)
	}
	columns := []letterColumn{{"by " + name, 30}, {"", 0}, {"", barWidth}}
	if name == "reason" {
		columns = append(columns, letterColumn{"last published", 0}, letterColumn{"such as", shownID})
	}
	if replayed {
		columns = append(columns, letterColumn{"open", 0})
	}
	fmt.Fprintln(w)
	if err := writeTable(w, columns, rows, width(w)); err != nil {
		return err
	}
	if len(hidden) > 0 {
		rest := int64(0)
		for _, n := range hidden {
			rest += n.N
		}
		fmt.Fprintf(w, "  … and %d more with %d dead letters (--by %s)\n", len(hidden), rest, name)
	}
	return nil
}

const barWidth = 30

// bar is n as a bar, the longest for most.
func bar(n, most int64) string { return strings.Repeat("█", max(1, int(n*barWidth/most))) }
