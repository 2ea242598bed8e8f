package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// Replays is where it is noted which letters have been replayed: objects that are
// made once and never changed, beside the letters, which are not touched.
const Replays = "metadata/replays/"

// A ReplayNote is one such object: letters of one run that the broker has.
type ReplayNote struct {
	Run     string    `json:"run"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`     // who, as far as a program knows
	Filter  string    `json:"filter"` // which letters were asked for
	Letters []string  `json:"letters"`
}

// A ReplayMark says when a letter was last replayed, and by which run.
type ReplayMark struct {
	Run, By string
	At      time.Time
}

// Note keeps a note, the n-th of its run. It may be called again.
func (note *ReplayNote) Note(ctx context.Context, w objstore.Writer, n int) error {
	body, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("note replays: %w", err)
	}
	name := fmt.Sprintf("%s%s-%06d.json", Replays, note.Run, n)
	if _, err := w.Create(ctx, name, body, nil); err != nil && !errors.Is(err, objstore.ErrExist) {
		return fmt.Errorf("note replays: %w", err)
	}
	return nil
}

// Replayed are the letters that have been replayed, by id.
func Replayed(ctx context.Context, r objstore.Reader) (map[string]ReplayMark, error) {
	all := map[string]ReplayMark{}
	for o, err := range r.List(ctx, Replays, "") {
		if err != nil {
			return nil, fmt.Errorf("list replays under %s: %w", Replays, err)
		}
		body, err := r.Read(ctx, o.Name, 0, -1)
		if err != nil {
			return nil, fmt.Errorf("read replays: %w", err)
		}
		var note ReplayNote
		if err := json.Unmarshal(body, &note); err != nil {
			return nil, fmt.Errorf("read replays %s: %w", o.Name, err)
		}
		for _, id := range note.Letters {
			if have, ok := all[id]; !ok || have.At.Before(note.At) {
				all[id] = ReplayMark{Run: note.Run, By: note.By, At: note.At}
			}
		}
	}
	return all, nil
}
