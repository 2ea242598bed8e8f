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
			line := map[string]any{"count": n.N, "first": n.First, "last": n.Last, "sample": n.Sample}
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
		rows[i] = append(slices.Clone(n.Values), strconv.FormatInt(n.N, 10), n.First.Format(time.RFC3339), n.Last.Format(time.RFC3339), n.Sample)
	}
	if format == "csv" {
		return writeCSV(w, append(slices.Clone(by), "count", "first", "last", "sample"), rows)
	}
	var columns []letterColumn
	for _, name := range by {
		columns = append(columns, letterColumn{strings.ToUpper(name), 26})
	}
	for _, row := range rows {
		row[len(row)-1] = row[len(row)-1][:min(len(row[len(row)-1]), shownID)]
	}
	return writeTable(w, append(columns, letterColumn{"COUNT", 0}, letterColumn{"FIRST", 0}, letterColumn{"LAST", 0}, letterColumn{"SAMPLE", shownID}), rows, width(w))
}

// shownGroups is how many lines of a chart there are; days are many, and the last
// ones matter.
const shownGroups = 14

// report counts by each group in one read.
func report(ctx context.Context, lake *ingest.Lake, f ingest.LetterFilter, w io.Writer) error {
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
		counters[name] = c
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
	fmt.Fprintf(w, "%d dead letters, published %s to %s\n", total[0].N, total[0].First.Format(time.DateTime), total[0].Last.Format(time.DateTime))
	for _, name := range ingest.LetterGroups {
		if err := chart(w, name, counters[name].Counts()); err != nil {
			return err
		}
	}
	return nil
}

// chart draws counts: days in their order, everything else by size. Reasons come
// with a letter to look at.
func chart(w io.Writer, name string, counts []ingest.LetterCount) error {
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
		rows = append(rows, row)
	}
	columns := []letterColumn{{"by " + name, 30}, {"", 0}, {"", barWidth}}
	if name == "reason" {
		columns = append(columns, letterColumn{"last published", 0}, letterColumn{"such as", shownID})
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
