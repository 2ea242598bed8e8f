package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
)

type dlqExportCommand struct {
	config.Store
	letterFilter
	Limit int    `default:"0" help:"At most so many, the newest, held in memory (0: all, as a stream)."`
	Out   string `placeholder:"FILE" help:"Write to this file instead of stdout; it appears once it is whole."`
}

// Run implements the command.
func (c *dlqExportCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	f, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	if c.Limit < 0 {
		return config.Usagef("--limit %d: must not be negative", c.Limit)
	}
	f.Limit, f.Full = c.Limit, true
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		if c.Out == "" {
			return export(ctx, lake, f, std.out, log)
		}
		return toFile(c.Out, func(w io.Writer) error { return export(ctx, lake, f, w, log) })
	})
}

// errPayloads: the export is complete but for the contents of some objects.
var errPayloads = errors.New("payload objects could not be read; their letters were exported as far as they are in the table")

// export writes every letter, following its reference. A payload that cannot be
// read is reported at the end and stops nothing.
func export(ctx context.Context, lake *ingest.Lake, f ingest.LetterFilter, w io.Writer, log *zap.Logger) error {
	out, missing := bufio.NewWriter(w), 0
	for l, err := range lake.Letters(ctx, f) {
		if err != nil {
			return usage(err)
		}
		whole, original, err := lake.LetterContents(ctx, &l)
		if err != nil {
			log.Warn("payload of a dead letter", zap.String("dl_id", l.ID), zap.Error(err))
			whole, missing = &l, missing+1
		}
		s := shown{Letter: whole, original: original, missing: err}
		all, err := s.all()
		if err == nil {
			err = writeJSON(out, all, false)
		}
		if err != nil {
			return fmt.Errorf("export dead letter %s: %w", l.ID, err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export dead letters: %w", err)
	}
	if missing > 0 {
		return fmt.Errorf("export dead letters: %d %w", missing, errPayloads)
	}
	return nil
}

// toFile makes the file at path of what write writes, and only once it is whole.
func toFile(path string, write func(io.Writer) error) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("export dead letters: %w", err)
	}
	defer os.Remove(temp.Name()) // fails once it is renamed
	written := write(temp)
	if written != nil && !errors.Is(written, errPayloads) {
		return errors.Join(written, temp.Close())
	}
	return errors.Join(written, temp.Close(), os.Rename(temp.Name(), path))
}
