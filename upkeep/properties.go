package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A Property is one of a table's.
type Property struct {
	Name, Value, Means string
}

// The names of properties that can be set.
const (
	propRetain     = "delta.deletedFileRetentionDuration"
	propLogRetain  = "delta.logRetentionDuration"
	propCheckpoint = "delta.checkpointInterval"
)

// Properties are those of a table.
func Properties(ctx context.Context, s objstore.ReadWriter, dataType string) ([]Property, error) {
	at, err := partition.OpenTable(s, dataType, nil).Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load table %s: %w", dataType, err)
	}
	return properties(at.Properties()), nil
}

func properties(p partition.Properties) []Property {
	return []Property{
		{propRetain, p.Retain.String(), "how long files that the table no longer holds stay: time travel and long queries; the sweeper keeps to it, or to its --retain where that is longer"},
		{propLogRetain, p.LogRetain.String(), "how long the log's past stays; the sweeper keeps to it, or to its --log-retain where that is longer"},
		{propCheckpoint, strconv.FormatInt(p.CheckpointEvery, 10), "versions between checkpoints of the log; every writer keeps to it"},
	}
}

// ErrProperty: a property is unknown, or a value is not one of its.
var ErrProperty = errors.New("property")

// ParseProperties reads name=value of each.
func ParseProperties(given []string) (partition.Properties, error) {
	var p partition.Properties
	seen := map[string]bool{}
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		if !ok || seen[name] {
			return p, fmt.Errorf("%w %q: want name=value, each name once", ErrProperty, g)
		}
		seen[name] = true
		var err error
		switch name {
		case propRetain:
			p.Retain, err = interval(value)
		case propLogRetain:
			p.LogRetain, err = interval(value)
		case propCheckpoint:
			p.CheckpointEvery, err = strconv.ParseInt(value, 10, 64)
			if err == nil && (p.CheckpointEvery < 1 || p.CheckpointEvery > 1000) {
				err = errors.New("want from 1 to 1000 versions")
			}
		default:
			err = fmt.Errorf("not known; there are %s", strings.Join([]string{propRetain, propLogRetain, propCheckpoint}, ", "))
		}
		if err != nil {
			return p, fmt.Errorf("%w %s=%s: %w", ErrProperty, name, value, err)
		}
	}
	return p, nil
}

// interval reads 168h, 7d, "interval 7 days".
func interval(s string) (time.Duration, error) {
	text := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s), "interval ")))
	if n, unit, ok := strings.Cut(text, " "); ok {
		short, known := map[string]string{"day": "d", "hour": "h", "week": "w"}[strings.TrimSuffix(unit, "s")]
		if !known {
			return 0, errors.New("want such as 168h, 7d or interval 7 days")
		}
		text = n + short
	}
	for suffix, hours := range map[string]int{"d": 24, "w": 168} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			days, err := strconv.Atoi(n)
			if err != nil || days < 0 || days > 36500 {
				return 0, errors.New("want such as 168h, 7d or interval 7 days")
			}
			text = strconv.Itoa(days*hours) + "h"
		}
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, errors.New("want such as 168h, 7d or interval 7 days")
	case d < time.Hour || d > 36500*24*time.Hour:
		return 0, errors.New("an hour is the least, a hundred years the most")
	case d%time.Second != 0:
		return 0, errors.New("want whole seconds")
	}
	return d, nil
}

// SetProperties sets what is not zero in p, in a version of the table's own, and
// records who did. It gives the version: the present one where nothing changes. A
// plan that was made before is abandoned (P5) and made again.
func SetProperties(ctx context.Context, s objstore.ReadWriter, dataType string, p partition.Properties, by, reason string, now time.Time) (int64, error) {
	table := partition.OpenTable(s, dataType, nil)
	for try := 1; ; try++ {
		at, err := table.Load(ctx)
		if err != nil {
			return -1, fmt.Errorf("load table %s: %w", dataType, err)
		}
		is := at.Properties()
		if p.Or(is) == is {
			return at.Version, nil
		}
		next, err := table.Commit(ctx, at, partition.Change{Operation: "SET TBLPROPERTIES", Properties: p, Metrics: map[string]string{"by": by}})
		if errors.Is(err, partition.ErrConflict) && try < eraseTries {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("set properties of %s: %w", dataType, err)
		}
		changed := slices.DeleteFunc(properties(next.Properties()), func(n Property) bool { return slices.Contains(properties(is), n) })
		r, err := begin(ctx, s, Record{At: now, Action: "set properties", Type: dataType, By: by, Reason: reason}, map[string]any{"from": properties(is), "set": changed})
		if err == nil {
			err = end(ctx, s, r, fmt.Sprintf("version %d", next.Version), nil, time.Now())
		}
		return next.Version, err
	}
}
