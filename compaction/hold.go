package compaction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// HoldsPrefix is where holds are: metadata/holds/<type>/<day>.json.
const HoldsPrefix = "metadata/holds/"

// A Hold keeps compactors from a partition, for as long as an operator wants: its
// raw objects stay raw, its files as they are. Readers of the lake are not
// concerned. It keeps to a wish and guards no promise: a run that planned before it
// may still commit.
type Hold struct {
	Key     partition.Key `json:"-"`
	Reason  string        `json:"reason"`
	By      string        `json:"by"`
	Since   time.Time     `json:"since"`
	Lifted  *time.Time    `json:"lifted,omitempty"` // it no longer holds
	LiftBy  string        `json:"lifted_by,omitempty"`
	Trouble error         `json:"-"` // why it cannot be read: it holds all the same
}

func (h Hold) String() string {
	if h.Trouble != nil {
		return "held, by a note that cannot be read: " + h.Trouble.Error()
	}
	return fmt.Sprintf("held by %s since %s: %s", h.By, h.Since.UTC().Format(time.RFC3339), h.Reason)
}

func holdName(key partition.Key) string {
	return HoldsPrefix + key.Type + "/" + key.Day.String() + ".json"
}

// ErrNoHold: there is no hold to lift.
var ErrNoHold = errors.New("it is not held")

// PlaceHold puts a hold on a partition, or gives the one that is there another
// reason.
func PlaceHold(ctx context.Context, s objstore.ReadWriter, h Hold) error {
	if strings.TrimSpace(h.Reason) == "" {
		return errors.New("a hold needs a reason, for whoever comes next")
	}
	h.Lifted, h.LiftBy = nil, ""
	return writeNote(ctx, s, holdName(h.Key), h)
}

// LiftHold lets compactors at a partition again. ErrNoHold: nothing kept them.
func LiftHold(ctx context.Context, s objstore.ReadWriter, key partition.Key, by string, now time.Time) error {
	holds, err := Holds(ctx, s, key.Type)
	if err != nil {
		return err
	}
	h, ok := holds[key.Day]
	if !ok {
		return fmt.Errorf("%s: %w", key, ErrNoHold)
	}
	h.Lifted, h.LiftBy = &now, by
	return writeNote(ctx, s, holdName(key), h)
}

// Holds are those of a data type that hold. One whose object cannot be read holds
// too: what an operator wanted is not known, and nothing is lost by waiting.
func Holds(ctx context.Context, r objstore.Reader, dataType string) (map[partition.Day]Hold, error) {
	holds := map[partition.Day]Hold{}
	for o, err := range r.List(ctx, HoldsPrefix+dataType+"/", "") {
		if err != nil {
			return nil, fmt.Errorf("list holds: %w", err)
		}
		day, err := partition.ParseDay(strings.TrimSuffix(path.Base(o.Name), ".json"))
		if err != nil {
			continue // not a hold's name
		}
		h, err := readNote[Hold](ctx, r, o.Name)
		if errors.Is(err, objstore.ErrNotExist) {
			continue
		}
		h.Key, h.Trouble = partition.Key{Type: dataType, Day: day}, err
		if h.Lifted == nil || err != nil {
			holds[day] = h
		}
	}
	return holds, nil
}

// writeNote makes or replaces a small JSON object.
func writeNote(ctx context.Context, s objstore.Writer, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if _, err := s.Replace(ctx, name, append(data, '\n'), nil, objstore.Any); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func readNote[T any](ctx context.Context, r objstore.Reader, name string) (v T, err error) {
	data, err := r.Read(ctx, name, 0, -1)
	if err != nil {
		return v, fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("read %s: %w", name, err)
	}
	return v, nil
}
