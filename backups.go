package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
)

// Backuper makes backups of this lake into its backup bucket.
func (l *Lake) Backuper() (*backup.Backup, error) {
	if _, err := l.Backup(); err != nil {
		return nil, err
	}
	vault := l.backup.opened
	return &backup.Backup{Lake: l.store, Vault: vault, Copy: serverCopy(l.data, vault), Name: l.name, Log: l.log}, nil
}

// Restorer brings tables of this lake back from its backup bucket: in place, or, with
// target, into another lake. Raw files that went to the archive bucket after the
// backup come again where one is set.
func (l *Lake) Restorer(target *Lake) (*backup.Restore, error) {
	if _, err := l.Backup(); err != nil {
		return nil, err
	}
	into := l.data
	if target != nil {
		into = target.data
	}
	vault := l.backup.opened
	r := &backup.Restore{
		Vault: vault, Lake: into.Store, InPlace: target == nil, Log: l.log,
		Copy: serverCopy(vault, into), Within: serverCopy(into, into),
	}
	if l.archive.setting == "" {
		return r, nil
	}
	if _, err := l.Archive(); err != nil {
		return nil, err
	}
	r.Archive, r.FromArchive = l.archive.opened, serverCopy(l.archive.opened, into)
	return r, nil
}

// OpenTarget opens a bucket to restore into. A backup or archive bucket of the same
// name is refused.
func (l *Lake) OpenTarget(ctx context.Context, setting string) (*Lake, error) {
	for _, taken := range []string{l.name, l.backup.setting, l.archive.setting} {
		if taken != "" && (within(taken, setting) || within(setting, taken)) {
			return nil, fmt.Errorf("%s: it overlaps %s: choose an empty bucket or directory", setting, taken)
		}
	}
	c := l.config
	c.Bucket, c.Archive, c.Backup, c.Temp = setting, "", "", ""
	return Open(ctx, c)
}

// serverCopy copies within Cloud Storage, without the bytes passing through here; nil
// where one of the two is no bucket of it. Copies are tried again as other
// operations are.
func serverCopy(from, to *bucket) backup.Copy {
	source, ok := from.raw.(*gcp.Bucket)
	target, both := to.raw.(*gcp.Bucket)
	if !ok || !both {
		return nil
	}
	// Whoever copies compares what exists with what was to be made, so a second try may
	// find the first one's object. A large object takes the service a while.
	policy := objstore.RetryPolicy{Attempts: to.retry.Attempts, Timeout: 5 * to.retry.Timeout, Deadline: 30 * time.Minute}
	return func(ctx context.Context, o objstore.Object, name string) (made objstore.Object, err error) {
		err = policy.Do(ctx, func(ctx context.Context) error {
			made, err = target.CopyFrom(ctx, source, o, name)
			return err
		})
		return made, err
	}
}
