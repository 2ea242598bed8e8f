package ingest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/telemetry"
)

// A bucket is one store as the lake uses it, from the caller down:
//
//	what callers see (measured) ─▶ retries ─▶ breaker ─▶ each try (measured) ─▶ the store
//
// The breaker is below the retries, so that it sees every try and, when open, ends
// the tries of all.
type bucket struct {
	objstore.Store
	raw     objstore.Store // without the wrappers
	retry   objstore.RetryPolicy
	breaker *objstore.Breaker
	close   func() error
}

// openBucket opens the store that setting names and puts the wrappers around it;
// use is what it is to the lake: data, archive, backup, temp.
func openBucket(ctx context.Context, c Config, setting, use string) (*bucket, error) {
	c.Bucket = setting
	store, closeStore, err := openStore(ctx, c)
	if err != nil {
		return nil, err
	}
	breaker := objstore.Break(telemetry.Tries(store, use), objstore.BreakerPolicy{
		Name: fmt.Sprintf("the %s bucket %s", use, setting), OpenFor: c.BreakerOpen, Probe: writable, OnChange: logChange(c.Log, setting),
	})
	if err := telemetry.ObserveBreaker(use, breaker); err != nil {
		return nil, errors.Join(err, closeStore())
	}
	policy := objstore.RetryPolicy{Attempts: c.RetryAttempts, Timeout: c.Timeout}
	retried := objstore.Retry(breaker, policy)
	return &bucket{Store: telemetry.Store(retried, use), raw: store, retry: policy, breaker: breaker, close: closeStore}, nil
}

func logChange(log *zap.Logger, bucket string) func(from, to objstore.State, last error) {
	return func(from, to objstore.State, last error) {
		fields := []zap.Field{zap.String("bucket", bucket), zap.Stringer("from", from), zap.Stringer("to", to), zap.Error(last)}
		switch {
		case to == objstore.Closed:
			log.Info("breaker: the store answers again", fields...)
		case from == objstore.Closed:
			log.Error("breaker: the store does not answer; it is left alone but for a try now and then", fields...)
		default:
			log.Debug("breaker", fields...)
		}
	}
}

// writeCheck is an object that says only that the lake can be written to.
const writeCheck = "metadata/write-check"

// writable asks s whether this account may create objects, which a listing does not
// tell. The object is created once; "exists" is the same answer.
func writable(ctx context.Context, s objstore.Store) error {
	_, err := s.Create(ctx, writeCheck, []byte("Ingestors try to create this object, to see whether they may. It holds nothing.\n"), nil)
	if errors.Is(err, objstore.ErrExist) {
		return nil
	}
	return err
}

// checkWritable says at the start what would otherwise be found out with the first
// messages held.
func (l *Lake) checkWritable(ctx context.Context) error {
	if err := writable(ctx, l.store); err != nil {
		return fmt.Errorf("lake %s: the account this runs as must be able to create objects in it (roles/storage.objectCreator): %w", l.name, err)
	}
	return nil
}

// Ready says whether the lake's store answers, else since when it does not, and why.
func (l *Lake) Ready() error { return l.data.breaker.Err() }

// A side is one of the buckets beside the lake's own, opened at first use.
type side struct {
	use, flag, variable string
	setting             string

	mu     sync.Mutex
	opened *bucket
}

// Archive is where consumed raw files go; an error names the setting that is missing.
func (l *Lake) Archive() (objstore.Store, error) { return l.open(&l.archive) }

// Backup is where backups go; an error names the setting that is missing.
func (l *Lake) Backup() (objstore.Store, error) { return l.open(&l.backup) }

// Temp is where large merges spill; an error names the setting that is missing. Its
// objects may vanish after a day.
func (l *Lake) Temp() (objstore.Store, error) { return l.open(&l.temp) }

func (l *Lake) sides(c Config) {
	l.config = c
	l.archive = side{use: "archive", flag: "--archive-bucket", variable: "GCS_ARCHIVE_BUCKET", setting: c.Archive}
	l.backup = side{use: "backup", flag: "--backup-bucket", variable: "GCS_BACKUP_BUCKET", setting: c.Backup}
	l.temp = side{use: "temp", flag: "--temp-bucket", variable: "GCS_TEMP_BUCKET", setting: c.Temp}
}

// open opens a bucket beside the lake's. It sends nothing. None has a default: a
// copy that is to outlive the lake must not be put, unasked, where the lake is.
func (l *Lake) open(s *side) (objstore.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil {
		return s.opened, nil
	}
	if s.setting == "" {
		return nil, config.Usagef("no %s bucket: set %s or %s to a bucket's name, gs://name or file:///directory", s.use, s.flag, s.variable)
	}
	if within(l.name, s.setting) || within(s.setting, l.name) {
		return nil, config.Usagef("%s %s: it overlaps the data bucket %s; what is removed there would be removed here", s.flag, s.setting, l.name)
	}
	b, err := openBucket(context.Background(), l.config, s.setting, s.use)
	if err != nil {
		return nil, fmt.Errorf("open %s bucket %s: %w", s.use, s.setting, err)
	}
	s.opened = b
	return b, nil
}

// within says whether bucket setting inner is, or is in, outer.
func within(outer, inner string) bool {
	o, localO, errO := localDirectory(outer)
	i, localI, errI := localDirectory(inner)
	switch {
	case errO != nil || errI != nil || localO != localI:
		return false
	case !localO:
		return bucketName(outer) == bucketName(inner)
	}
	rel, err := filepath.Rel(o, i)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// bucketName is a bucket's name without gs://.
func bucketName(setting string) string {
	return strings.TrimSuffix(strings.TrimPrefix(setting, "gs://"), "/")
}

// Close releases the connections to the lake's store and to those beside it.
func (l *Lake) Close() error {
	err := l.data.close()
	for _, s := range []*side{&l.archive, &l.backup, &l.temp} {
		s.mu.Lock()
		if s.opened != nil {
			err = errors.Join(err, s.opened.close())
			s.opened = nil
		}
		s.mu.Unlock()
	}
	return err
}
