package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/query"
)

type dlqCommand struct {
	Ls     dlqLsCommand     `cmd:"" help:"List dead letters, the newest first."`
	Show   dlqShowCommand   `cmd:"" help:"Everything about one dead letter, and what to do next."`
	Stats  dlqStatsCommand  `cmd:"" help:"Count dead letters by reason, type, source and day."`
	Export dlqExportCommand `cmd:"" help:"Write whole dead letters, one JSON object a line."`
	Replay dlqReplayCommand `cmd:"" help:"Let dead letters come again, under their first identity, once what was wrong is mended; --dry-run first."`
}

// letterFilter are the flags that choose dead letters.
type letterFilter struct {
	Open   bool     `help:"Only letters that have not been replayed."`
	Reason []string `placeholder:"CODE,…" help:"Only these reason codes."`
	Type   []string `placeholder:"TYPE,…" help:"Only records meant for these data types."`
	Source []string `placeholder:"NAME,…" help:"Only messages whose attribute source is one of these."`
	Since  age      `placeholder:"AGE" help:"Only messages published within this time, such as 90m, 24h or 7d."`
	From   string   `placeholder:"DATE" help:"Published from this day or instant on (2024-01-15, 2024-01-15T14:30:00Z)."`
	To     string   `placeholder:"DATE" help:"Published up to this day, which is included, or up to this instant, which is not."`
}

func (f *letterFilter) filter(now time.Time) (ingest.LetterFilter, error) {
	l := ingest.LetterFilter{Open: f.Open, Reasons: f.Reason, Types: f.Type, Sources: f.Source}
	var err error
	if f.Since > 0 {
		if f.From != "" {
			return l, config.Usagef("--since and --from: give one of them")
		}
		l.From = now.Add(-time.Duration(f.Since))
	}
	if f.From != "" {
		if l.From, err = query.ParseFrom(f.From); err != nil {
			return l, config.Usagef("--from: %w", err)
		}
	}
	if f.To != "" {
		if l.To, err = query.ParseTo(f.To); err != nil {
			return l, config.Usagef("--to: %w", err)
		}
	}
	return l, nil
}

// An age is a duration that may be written in days.
type age time.Duration

// UnmarshalText reads an age.
func (a *age) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n > 0 && n < 36500) {
			return fmt.Errorf("age %q: want such as 90m, 24h or 7d", text)
		}
		*a = age(n * 24 * float64(time.Hour))
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("age %q: want such as 90m, 24h or 7d", text)
	}
	*a = age(d)
	return nil
}

// usage makes wrong usage of a query that is wrong.
func usage(err error) error {
	if errors.Is(err, query.ErrInvalid) {
		return &config.UsageError{Err: err}
	}
	return err
}

type dlqLsCommand struct {
	config.Store
	letterFilter
	Limit  int    `default:"100" help:"At most so many (0: all)."`
	Format string `enum:"table,csv,json" default:"table" help:"Output: ${enum}."`
}

// Run implements the command.
func (c *dlqLsCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	f, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	if c.Limit < 0 {
		return config.Usagef("--limit %d: must not be negative", c.Limit)
	}
	if f.Limit = c.Limit; f.Limit == 0 {
		f.Limit = math.MaxInt // all, and still the newest first
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		var letters []deadletter.Letter
		for l, err := range lake.Letters(ctx, f) {
			if err != nil {
				return usage(err)
			}
			letters = append(letters, l)
		}
		switch c.Format {
		case "json":
			return lettersJSON(std.out, letters)
		case "csv":
			return writeCSV(std.out, letterHeader, letterRows(letters))
		}
		return lettersTable(std.out, letters, c.Limit)
	})
}

func lettersJSON(w io.Writer, letters []deadletter.Letter) error {
	for i := range letters {
		if err := writeJSON(w, letters[i], false); err != nil {
			return err
		}
	}
	return nil
}

var letterHeader = []string{"dl_id", "published_at", "data_type", "reason", "field", "value", "source", "explanation", "topic", "message_id", "record_index", "payload_ref"}

func letterRows(letters []deadletter.Letter) [][]string {
	rows := make([][]string, len(letters))
	for i, l := range letters {
		rows[i] = []string{l.ID, l.PublishedAt.Format(time.RFC3339Nano), l.DataType, string(l.Reason), l.Field, l.Value, l.Attributes["source"],
			l.Explanation, l.Topic, l.MessageID, strconv.Itoa(int(l.RecordIndex)), l.PayloadRef}
	}
	return rows
}

// shownID is how much of an id a table shows; show takes it.
const shownID = 12

// lettersTable leaves out what a narrow terminal has no room for; show has it all.
func lettersTable(w io.Writer, letters []deadletter.Letter, limit int) error {
	total := width(w)
	columns := []letterColumn{{"ID", shownID}, {"PUBLISHED", 19}, {"TYPE", 12}, {"REASON", 19}, {"FIELD", 16}, {"VALUE", 18}}
	if total >= 150 {
		columns = append(columns, letterColumn{"SOURCE", 14})
	}
	if total >= 120 {
		columns = append(columns, letterColumn{"WHY", 0})
	}
	rows := make([][]string, len(letters))
	for i, l := range letters {
		rows[i] = []string{l.ID[:min(len(l.ID), shownID)], l.PublishedAt.Format(time.DateTime), l.DataType, string(l.Reason), l.Field, l.Value}
		if total >= 150 {
			rows[i] = append(rows[i], l.Attributes["source"])
		}
		if total >= 120 {
			rows[i] = append(rows[i], l.Explanation)
		}
	}
	if err := writeTable(w, columns, rows, total); err != nil {
		return err
	}
	more := ""
	if limit > 0 && len(letters) == limit {
		more = "; there may be more (--limit)"
	}
	_, err := fmt.Fprintf(w, "%d dead letters%s. One in full: buffetctl dlq show ID\n", len(letters), more)
	return err
}
