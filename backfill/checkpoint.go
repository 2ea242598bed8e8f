package backfill

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A position is how much of a job the broker has: all files before File, and the
// first Batches batches of that one.
type position struct {
	File    int `json:"file"`
	Batches int `json:"batches"`
}

// A checkpoint is what a run leaves for the next one.
type checkpoint struct {
	Version     int       `json:"version"` // of this format: 1
	Job         string    `json:"job"`     // what is published where: prepared.digest
	About       string    `json:"about"`   // the same for people
	PublishedAt time.Time `json:"published_at"`
	Position    position  `json:"position"`
	Totals      Totals    `json:"totals"`
	Finished    bool      `json:"finished"`
	Sum         string    `json:"sum"` // hash of the rest: a damaged position would skip records in silence
}

// ErrCheckpoint is in the error of a checkpoint that cannot be used. Nothing was
// published.
var ErrCheckpoint = errors.New("checkpoint")

const startOver = "delete it, or name another with --checkpoint, to publish everything again: what is in the lake already is not added twice"

// load reads the job's checkpoint, or makes the first.
func (p *prepared) load() (checkpoint, error) {
	now := p.Now
	data, err := os.ReadFile(p.Checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		at := p.PublishedAt
		if at.IsZero() {
			at = now()
		}
		return checkpoint{Version: 1, Job: p.digest, About: p.describe(), PublishedAt: at.UTC().Truncate(time.Microsecond)}, nil
	}
	if err != nil {
		return checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := parseCheckpoint(data)
	if err != nil {
		return c, fmt.Errorf("%w %s: %w: %s", ErrCheckpoint, p.Checkpoint, err, startOver)
	}
	if c.Job != p.digest {
		return c, fmt.Errorf("%w %s: it is of another job (%s); this one is %s, and its files' contents, mapping, batch settings or destination differ: %s",
			ErrCheckpoint, p.Checkpoint, c.About, p.describe(), startOver)
	}
	if at := p.PublishedAt.UTC().Truncate(time.Microsecond); !p.PublishedAt.IsZero() && !at.Equal(c.PublishedAt) {
		return c, fmt.Errorf("%w %s: it was begun with --published-at %s, not %s: leave the flag out to go on, or %s",
			ErrCheckpoint, p.Checkpoint, c.PublishedAt.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), startOver)
	}
	return c, nil
}

func parseCheckpoint(data []byte) (c checkpoint, err error) {
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("not readable: %w", err)
	}
	if c.Version != 1 {
		return c, fmt.Errorf("version %d; this program knows version 1", c.Version)
	}
	if c.Sum != c.sum() {
		return c, errors.New("damaged: its sum is not that of its content")
	}
	return c, nil
}

func (c checkpoint) sum() string {
	c.Sum = ""
	data, _ := json.Marshal(c) // plain fields always marshal
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:8])
}

// save replaces the file name by c, durably: after a crash there is the old one
// or the new one.
func (c checkpoint) save(name string) error {
	c.Sum = c.sum()
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(name, append(data, '\n')); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

func replace(name string, data []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
