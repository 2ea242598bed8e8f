package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/query"
)

// LetterGroups are what dead letters can be counted by.
var LetterGroups = []string{"reason", "type", "source", "day"}

// A LetterCount is how many dead letters have the same values of what they are
// counted by.
type LetterCount struct {
	Values      []string // in the order asked for; a missing source is empty
	N           int64
	Replayed    int64     // of them: by Replay, whatever came of it
	First, Last time.Time // publish times
	Sample      string    // id of the newest
}

// CountLetters counts the dead letters of a filter by some of LetterGroups, the
// most frequent first. By nothing it gives one count, or none where there are no
// letters. The filter's Limit and Full do not matter.
func (l *Lake) CountLetters(ctx context.Context, f LetterFilter, by ...string) ([]LetterCount, error) {
	counter, err := NewLetterCounter(by...)
	if err != nil {
		return nil, err
	}
	if counter.Replays, err = l.Replays(ctx); err != nil {
		return nil, err
	}
	f.Full, f.Limit = false, 0
	err = l.streamLetters(ctx, f, func(d deadletter.Letter) bool {
		counter.Add(&d)
		return true
	})
	return counter.Counts(), err
}

// A LetterCounter counts letters as they pass, so that one read serves several
// counts.
type LetterCounter struct {
	Replays map[string]deadletter.ReplayMark // which letters count as replayed, by id; none: none

	by     []string
	groups map[string]*LetterCount
	newest map[string]*deadletter.Letter
}

// NewLetterCounter counts by some of LetterGroups.
func NewLetterCounter(by ...string) (*LetterCounter, error) {
	for _, name := range by {
		if !slices.Contains(LetterGroups, name) {
			return nil, fmt.Errorf("%w: count dead letters by %q: there are %s", query.ErrInvalid, name, strings.Join(LetterGroups, ", "))
		}
	}
	return &LetterCounter{by: by, groups: map[string]*LetterCount{}, newest: map[string]*deadletter.Letter{}}, nil
}

// Add counts a letter, which may be brief.
func (c *LetterCounter) Add(d *deadletter.Letter) {
	values := make([]string, len(c.by))
	for i, name := range c.by {
		values[i] = letterValue(d, name)
	}
	key := fmt.Sprintf("%q", values)
	g := c.groups[key]
	if g == nil {
		g = &LetterCount{Values: values, First: d.PublishedAt, Last: d.PublishedAt}
		c.groups[key] = g
	}
	g.N++
	if _, done := c.Replays[d.ID]; done {
		g.Replayed++
	}
	if d.PublishedAt.Before(g.First) {
		g.First = d.PublishedAt
	}
	if newest := c.newest[key]; newest == nil || olderLetter(newest, d) < 0 {
		kept := deadletter.Letter{ID: d.ID, PublishedAt: d.PublishedAt, MessageID: d.MessageID, RecordIndex: d.RecordIndex}
		c.newest[key], g.Last, g.Sample = &kept, d.PublishedAt, d.ID
	}
}

func letterValue(d *deadletter.Letter, group string) string {
	switch group {
	case "reason":
		return string(d.Reason)
	case "type":
		return d.DataType
	case "source":
		return d.Attributes["source"]
	}
	return d.PublishedAt.UTC().Format(time.DateOnly)
}

// Counts gives the counts so far, the most frequent first.
func (c *LetterCounter) Counts() []LetterCount {
	all := make([]LetterCount, 0, len(c.groups))
	for _, g := range c.groups {
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b LetterCount) int { return cmp.Or(cmp.Compare(b.N, a.N), slices.Compare(a.Values, b.Values)) })
	return all
}
