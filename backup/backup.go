// Package backup copies lakes into a bucket of backups, and back.
//
// A backup is a manifest, which names every object that it takes to read each
// table at one version, with size and checksum, and the objects themselves, of
// which most lie in the folders of earlier backups:
//
//	backups/<id>/began                    made first; the store's time of the beginning
//	backups/<id>/objects/<lake's name>    what no earlier backup had
//	manifests/<id>.jsonl.gz               made last; without it there is no backup
//	pruned/<id>.jsonl.gz                  the manifest of a backup that was pruned
//	audit/prune-<time>-<id>.json          what was pruned
//
// What always holds:
//
//   - a backup that has a manifest is whole: each object that it names was there,
//     with the size and checksum named, when the manifest was made; a table that
//     could not be had whole is left out by name, and never in part;
//   - a table in a backup is the table at one version, as a reader sees it (P14,
//     P9), with every raw object that this version has not consumed: rows that were
//     acknowledged before the backup began are in it;
//   - a name in the bucket of backups is used once (its folder is that of one run),
//     and objects are deleted by Prune alone, when no manifest names them, and a
//     grace longer than any backup may take after the last one did: whatever is
//     paused, killed or run twice, no backup relies on an object that goes (B1);
//   - a restore makes data objects durable before the log names them, overwrites
//     only objects whose bytes are not those that the log promises, and deletes
//     nothing; rows that were acknowledged come again, and each is there once,
//     because the identities decide (C2).
//
// Backups run beside ingestors, compactors and sweepers. Restores into a lake that
// is there run beside ingestors; compactors and sweepers should rest, and do no
// harm if they do not.
//
// What it does not do: it keeps no log of the lake's versions in between, and it
// does not bring back what was published after the backup and was lost with the
// lake; that is the broker's, which can deliver it again.
package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// The layout.
const (
	root         = "backups/"
	manifestRoot = "manifests/"
	prunedRoot   = "pruned/"
	auditRoot    = "audit/"
	beganName    = "/began"
	copiedName   = "/copied"
	objectsPart  = "/objects/"
	manifestEnd  = ".jsonl.gz"
)

// B1: what a run may rely on, and for how long.
const (
	// MaxDuration is how long a backup may take, from its beginning to its manifest,
	// and how old the objects of a backup that died may be for the next to take them
	// over. By the store's clock.
	MaxDuration = 24 * time.Hour

	// lateAfter is how long after its beginning a backup's manifest may be made, since
	// a request may be sent in time and arrive late. One made later does not count,
	// whoever reads it.
	lateAfter = 2 * MaxDuration

	// Grace is how long objects stay that no manifest names: longer than it takes until
	// no manifest can come any more that names them.
	Grace = 3 * MaxDuration
)

// Sentinels for callers who branch.
var (
	// ErrNoBackup: there is no such backup.
	ErrNoBackup = errors.New("there is no such backup")

	// ErrDamaged: an object of the backup is missing, or is not what the manifest
	// says. Another backup may have it.
	ErrDamaged = errors.New("damaged backup")

	// ErrIncomplete: the backup was made, and some tables are not in it.
	ErrIncomplete = errors.New("not every table could be backed up")

	errLate  = errors.New("made too late")
	errMoved = errors.New("the lake moved on while it was copied") // plan again
)

// A Copy copies an object from one store to another name, perhaps in another
// store, without its bytes passing through here: from at the generation given, to a
// name that must not exist (objstore.ErrExist). Where it is nil objects are read and
// written.
type Copy func(ctx context.Context, from objstore.Object, to string) (objstore.Object, error)

// A Progress is how far a run has come.
type Progress struct {
	Step                string // "copy market_data"
	Objects, OfObjects  int
	Bytes, OfBytes      int64
	Skipped, SkippedSum int64 // objects and bytes that were there already
}

func badObject(name string, size int64, crc uint32, wantSize int64, wantCRC uint32) error {
	return fmt.Errorf("%s: %d bytes with checksum %08x, want %d with %08x", name, size, crc, wantSize, wantCRC)
}
