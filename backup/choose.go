package backup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// A Choice says which backup of a table is meant. The zero Choice means the newest.
type Choice struct {
	ID      string    // of the backup
	Version *int64    // of the table
	At      time.Time // the newest backup that had begun by then
}

// Choose finds the newest backup that has a table and is what is chosen.
func Choose(ctx context.Context, vault objstore.Reader, dataType string, c Choice) (*Manifest, error) {
	if c.ID != "" {
		m, err := Open(ctx, vault, c.ID)
		if err != nil {
			return nil, err
		}
		if t, ok := m.Table(dataType); !ok || c.Version != nil && t.Version != *c.Version {
			return nil, fmt.Errorf("backup %s has no %s%s: %w", c.ID, dataType, c.at(), ErrNoBackup)
		}
		return m, nil
	}
	found, err := List(ctx, vault)
	if err != nil {
		return nil, err
	}
	slices.Reverse(found)
	var have []string
	var damaged error
	for _, o := range found {
		m, err := read(ctx, vault, o)
		if err != nil {
			damaged = err // an older one will do; it is told where none does
			continue
		}
		t, ok := m.Table(dataType)
		if !ok || !c.At.IsZero() && m.Began.After(c.At) {
			continue
		}
		if c.Version == nil || t.Version == *c.Version {
			return m, nil
		}
		if version := fmt.Sprint(t.Version); !slices.Contains(have, version) && len(have) < 10 {
			have = append(have, version)
		}
	}
	switch {
	case len(have) > 0:
		err = fmt.Errorf("no backup has %s%s; there are the versions %s (buffetctl backup ls): %w", dataType, c.at(), strings.Join(have, ", "), ErrNoBackup)
	default:
		err = fmt.Errorf("no backup has %s%s (buffetctl backup ls shows those that there are): %w", dataType, c.at(), ErrNoBackup)
	}
	if damaged != nil {
		err = fmt.Errorf("%w; one could not be read: %w", err, damaged)
	}
	return nil, err
}

func (c Choice) at() string {
	text := ""
	if c.Version != nil {
		text += fmt.Sprintf(" at version %d", *c.Version)
	}
	if !c.At.IsZero() {
		text += " that had begun by " + c.At.UTC().Format(time.RFC3339)
	}
	return text
}
