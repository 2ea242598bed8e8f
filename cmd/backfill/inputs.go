package main

import (
	"context"
	"errors"
	"strings"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/backfill"
	"github.com/buffetbot/ingest/config"
)

// inputs finds the files of --from, here and in buckets. release ends the
// connections to those.
func (s *settings) inputs(ctx context.Context) (all []backfill.Input, release func(), err error) {
	var closers []func() error
	release = func() {
		for _, c := range closers {
			_ = c() // only read
		}
	}
	var problems []error
	for _, from := range s.From {
		rest, remote := strings.CutPrefix(from, "gs://")
		if !remote {
			some, err := backfill.Files(strings.TrimPrefix(from, "file://"))
			all, problems = append(all, some...), append(problems, err)
			continue
		}
		name, pattern, _ := strings.Cut(rest, "/")
		bucket, closeBucket, err := ingest.OpenReader(ctx, ingest.Config{Bucket: "gs://" + name})
		if err != nil {
			problems = append(problems, err)
			continue
		}
		closers = append(closers, closeBucket)
		some, err := backfill.Objects(ctx, bucket, "gs://"+name+"/", pattern)
		all, problems = append(all, some...), append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		release()
		return nil, nil, config.Usagef("--from: %w", err)
	}
	return all, release, nil
}
