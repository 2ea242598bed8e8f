// Package ingest is the face of the BuffetBot ingestion pipeline: open a lake,
// fill it from Pub/Sub, compact it, read it.
//
//	lake, err := ingest.Open(ctx, ingest.Config{Bucket: "file:///var/lake"})
//	if err != nil { … }
//	defer lake.Close()
//	plan, err := lake.Query(ctx, query.DataQuery{DataType: "market_data", Symbols: []string{"AAPL"}})
//	result, err := plan.Execute(ctx, func(rows arrow.RecordBatch) error { … })
//
// A Lake is one bucket (or local directory) in the layout of docs/format.md and
// the registry that its rows are judged by. What holds for the rows stands in
// docs/contract.md.
//
// Package ingest decides nothing itself: it wires the rooms below it, so that
// the commands, the demonstration and other programs wire them alike.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sweep"
)

// A Config says where a lake is and how to reach it. Zero fields mean defaults.
type Config struct {
	Bucket        string        // name, gs://name, or file:///directory
	Archive       string        // the same, for consumed raw files; none: Lake.Archive gives an error
	Backup        string        // the same, for backups
	Temp          string        // the same, for what large merges spill
	KMSKey        string        // encrypts every object written
	Account       string        // service account to act as, towards buckets and Pub/Sub; none: the ambient one
	Connections   int           // to the store at once; 50
	RetryAttempts int           // tries of one store operation; 3
	Timeout       time.Duration // of one try; 60s
	BreakerOpen   time.Duration // how long a store that does not answer is left alone before one operation may try; 10s
	Log           *zap.Logger   // nil: silent
}

// ConfigOf is the Config that the settings of a program amount to.
func ConfigOf(s config.Store, log *zap.Logger) Config {
	return Config{
		Bucket: s.DataBucket, Archive: s.ArchiveBucket, Backup: s.BackupBucket, Temp: s.TempBucket,
		KMSKey: s.KMSKey, Account: s.ServiceAccount, Connections: s.Connections, RetryAttempts: s.RetryAttempts,
		Timeout: time.Duration(s.Timeout) * time.Second, BreakerOpen: s.BreakerOpen, Log: log,
	}
}

// A Lake is an open lake. It may be used by several goroutines.
type Lake struct {
	store    objstore.Store
	registry atomic.Pointer[schema.Registry]
	log      *zap.Logger
	name     string
	config   Config
	data     *bucket

	archive, backup, temp side

	tidy compaction.Tidy // what compactions of this process left in order
}

// ErrUnreachable says that the lake's store did not answer when it was opened.
var ErrUnreachable = errors.New("the lake cannot be reached")

// Open opens the lake at c.Bucket and makes sure that its store answers. A local
// directory is made where it does not exist; a bucket must exist.
func Open(ctx context.Context, c Config) (*Lake, error) {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	data, err := openBucket(ctx, c, c.Bucket, "data")
	if err != nil {
		return nil, fmt.Errorf("open lake %s: %w", c.Bucket, err)
	}
	l := &Lake{store: data, log: c.Log, name: c.Bucket, data: data}
	l.sides(c)
	if err := l.reach(ctx); err != nil {
		return nil, errors.Join(err, data.close())
	}
	if _, err := l.Refresh(ctx); err != nil {
		return nil, errors.Join(err, data.close())
	}
	return l, nil
}

// reach asks the store one small question.
func (l *Lake) reach(ctx context.Context) error {
	for _, err := range l.store.List(ctx, "metadata/", "") {
		if err != nil {
			return fmt.Errorf("open lake %s: %w: %w (check the bucket's name, STORAGE_EMULATOR_HOST and credentials)", l.name, ErrUnreachable, err)
		}
		break
	}
	return nil
}

// OpenReader opens a bucket for reading, such as one that files of history are
// in; it need not hold a lake. close releases its connections.
func OpenReader(ctx context.Context, c Config) (r objstore.Reader, close func() error, err error) {
	store, close, err := openStore(ctx, c)
	if err != nil {
		return nil, nil, fmt.Errorf("open bucket %s: %w", c.Bucket, err)
	}
	return objstore.Retry(store, objstore.RetryPolicy{Attempts: c.RetryAttempts, Timeout: c.Timeout}), close, nil
}

// openStore opens what a bucket setting names.
func openStore(ctx context.Context, c Config) (objstore.Store, func() error, error) {
	dir, local, err := localDirectory(c.Bucket)
	if err != nil {
		return nil, nil, err
	}
	if local {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, err
		}
		store, err := objstore.OpenDir(dir)
		return store, func() error { return nil }, err
	}
	bucket, err := gcp.OpenBucket(ctx, gcp.StorageConfig{
		Bucket: bucketName(c.Bucket), KMSKeyName: c.KMSKey, MaxConnections: c.Connections, Impersonate: c.Account,
	})
	if err != nil {
		return nil, nil, err
	}
	return bucket, bucket.Close, nil
}

// localDirectory says whether a bucket setting names a directory, and which.
func localDirectory(bucket string) (dir string, local bool, err error) {
	rest, local := strings.CutPrefix(bucket, "file://")
	if !local {
		if bucket == "" || strings.ContainsAny(strings.TrimPrefix(bucket, "gs://"), "\\ :") {
			return "", false, fmt.Errorf("bucket %q: want a bucket's name, gs://name, or file:///directory", bucket)
		}
		return "", false, nil
	}
	dir, err = url.PathUnescape(rest)
	if err != nil || !filepath.IsAbs(dir) {
		return "", false, fmt.Errorf("bucket %q: a local directory is written with its full path, as file:///var/lake", bucket)
	}
	return filepath.Clean(dir), true, nil
}

// EmbeddedDir is where an embedded Pub/Sub server keeps its messages beside a
// local lake; empty where the lake is in a bucket. Its name begins with a point,
// so that whoever reads the lake's files passes it over.
func EmbeddedDir(bucket string) string {
	dir, local, err := localDirectory(bucket)
	if err != nil || !local {
		return ""
	}
	return filepath.Join(dir, ".pubsub")
}

// Registry holds the definitions of the lake's data types: those of the program
// and the lake's own, as of the last Refresh.
func (l *Lake) Registry() *schema.Registry { return l.registry.Load() }

// Reader reads the lake's objects.
func (l *Lake) Reader() objstore.Reader { return l.store }

// Query prepares a read; the plan explains and executes it.
func (l *Lake) Query(ctx context.Context, q query.DataQuery) (*query.Plan, error) {
	return query.Prepare(ctx, l.store, l.Registry(), q, query.Options{})
}

// Compactor makes a compactor of this lake; its Run merges what is there now.
func (l *Lake) Compactor(o compaction.Options) *compaction.Compactor {
	return &compaction.Compactor{Store: l.store, Registry: l.Registry(), Log: l.log, Options: o, Tidy: &l.tidy}
}

// Sweeper makes the deleter of this lake; its Run deletes what is due. Consumed
// raw files go to the archive bucket where one is set.
func (l *Lake) Sweeper(o sweep.Options) (*sweep.Sweeper, error) {
	s := &sweep.Sweeper{Store: l.store, Log: l.log, Options: o}
	if l.archive.setting == "" {
		return s, nil
	}
	archive, err := l.Archive()
	if err != nil {
		return nil, err
	}
	s.Archive = archive
	return s, nil
}

// CheckTypes gives the data types to work on: names, or all of the registry's
// where names is empty. A name that the registry lacks is an error that lists
// those it has.
func (l *Lake) CheckTypes(names []string) ([]string, error) {
	if len(names) == 0 {
		return l.Registry().Types(), nil
	}
	for _, name := range names {
		if _, ok := l.Registry().Latest(name); !ok {
			return nil, fmt.Errorf("data type %q: not in the registry; there are %s", name, strings.Join(l.Registry().Types(), ", "))
		}
	}
	return names, nil
}
