package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A Restore brings tables back from a backup.
type Restore struct {
	Vault   objstore.Reader
	Lake    objstore.ReadWriter
	InPlace bool            // the lake is the one that was backed up; else its tables must not exist yet
	Archive objstore.Reader // nil: none; raw files that went there after the backup come again
	Salvage bool            // rows of whole data files that the restored version does not name come again too

	// Copies between the three without the bytes passing through here; nil: they do.
	Copy, Within, FromArchive Copy

	By       string           // who restores, as far as a program knows: for the audit
	Log      *zap.Logger      // nil: silent
	Clock    func() time.Time // nil: time.Now
	Workers  int              // as in Backup
	Memory   int64
	Progress func(Progress)
}

// How a table came back.
type How string

const (
	Nothing  How = "nothing to do"  // all is as the backup has it
	Fresh    How = "made"           // there was no table: the log is the backup's
	Mended   How = "mended"         // missing and damaged objects are back, the table is at its newest version
	Reverted How = "reverted"       // by a new version whose files are those of the old one
	TookOver How = "taken over"     // likewise, above a log that cannot be read
	RawOnly  How = "raw files only" // the backup has no table of the type
)

// A Report is what became of one table.
type Report struct {
	Type    string `json:"data_type"`
	Backup  string `json:"backup"`
	Version int64  `json:"version"`     // that the backup has
	How     How    `json:"how"`         //
	Now     int64  `json:"now_version"` // of the table in the lake

	Whole    int      `json:"whole"`              // objects that were there, as they should be
	Put      int      `json:"put"`                // objects that were missing and are back
	Bytes    int64    `json:"bytes"`              // of objects copied
	Replaced []string `json:"replaced,omitempty"` // objects that were damaged and are whole again

	// Raw objects that the compactor is to consume again, by where they were found.
	FromRaw, FromBackup, FromArchive, Salvaged int

	Warnings []string `json:"warnings,omitempty"`
}

// errNotHere: no backup has an object that is needed.
var errNotHere = errors.New("no backup has it")

// A job is the restore of one table.
type job struct {
	*Restore
	m        *Manifest
	dataType string
	in       Table
	state    *partition.Snapshot // as the backup has it; nil: raw files only
	began    time.Time           // by the lake's store (P8)
	table    *partition.Table

	fromVault, within, fromArchive *ferry

	mu     sync.Mutex
	report Report
	others []*Manifest // every manifest, once somebody asked
	asked  bool
}

// Table brings one table back to the version that the backup has (mend false), or
// mends it, going back no further than it must: then only what is missing or damaged
// is put back, and the table stays at its newest version.
//
// Running it again, after it ended or was killed at any moment, goes on where it was.
func (r *Restore) Table(ctx context.Context, m *Manifest, dataType string, mend bool) (Report, error) {
	j, err := r.job(ctx, m, dataType)
	if err == nil {
		err = j.run(ctx, mend)
	}
	if err != nil {
		err = fmt.Errorf("restore %s from backup %s: %w", dataType, m.ID, err)
	}
	if j == nil {
		return Report{Type: dataType, Backup: m.ID}, err
	}
	slices.Sort(j.report.Replaced)
	return j.report, err
}

func (r *Restore) job(ctx context.Context, m *Manifest, dataType string) (*job, error) {
	in, ok := m.Table(dataType)
	if !ok {
		return nil, fmt.Errorf("the table is not in it: %w", ErrNoBackup)
	}
	j := &job{
		Restore: r, m: m, dataType: dataType, in: in, table: partition.OpenTable(r.Lake, dataType, r.Clock),
		fromVault: newFerry(r.Vault, r.Lake, r.Copy, r.Memory), within: newFerry(r.Lake, r.Lake, r.Within, r.Memory),
		report: Report{Type: dataType, Backup: m.ID, Version: in.Version, Now: -1},
	}
	if r.Archive != nil {
		j.fromArchive = newFerry(r.Archive, r.Lake, r.FromArchive, r.Memory)
	}
	j.table.Warn = func(err error) { j.warn(err) }
	if in.Version < 0 {
		return j, nil
	}
	var err error
	j.state, err = m.Snapshot(ctx, r.Vault, dataType)
	if err != nil {
		return j, fmt.Errorf("%w (try an older backup, and run buffetctl backup verify)", err)
	}
	return j, nil
}

func (j *job) run(ctx context.Context, mend bool) error {
	if err := j.audit(ctx, mend); err != nil {
		return err
	}
	if j.state == nil {
		j.report.How = RawOnly
		return j.putAll(ctx, "raw files", j.m.Under(partition.RawRoot(j.dataType)))
	}
	there, err := j.look(ctx)
	if err != nil {
		return err
	}
	if fresh, why := j.fresh(there); fresh {
		err = j.restoreFresh(ctx, there)
	} else if !j.InPlace {
		return fmt.Errorf("the lake to restore into holds something of %s already: %s; restore into an empty bucket, or in place", j.dataType, why)
	} else {
		err = j.restoreInPlace(ctx, mend)
	}
	if err != nil {
		return err
	}
	return j.summarise(ctx)
}

// audit notes in the lake what is about to be done to it. The note's time is the
// store's.
func (j *job) audit(ctx context.Context, mend bool) error {
	unique := make([]byte, 8)
	if _, err := rand.Read(unique); err != nil {
		return err
	}
	note, err := json.Marshal(map[string]any{
		"action": "restore", "data_type": j.dataType, "backup": j.m.ID, "version": j.in.Version,
		"mend": mend, "in_place": j.InPlace, "salvage": j.Salvage, "by": j.By,
	})
	if err != nil {
		return err
	}
	o, err := j.Lake.Create(ctx, "metadata/audit/restore-"+j.dataType+"-"+j.m.ID+"-"+hex.EncodeToString(unique)+".json", append(note, '\n'), nil)
	if err != nil {
		return fmt.Errorf("note the restore in the lake: %w", err)
	}
	j.began = o.Created
	return nil
}

// summarise writes what is derived from the log, and tells.
func (j *job) summarise(ctx context.Context) error {
	s, err := j.table.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the restored table: %w", err)
	}
	j.report.Now = s.Version
	if err := partition.WriteManifests(ctx, j.Lake, s, nil); err != nil {
		j.warn(fmt.Errorf("summaries of days could not be written, the next compaction does it: %w", err))
	}
	j.log().Info("restored", zap.String("type", j.dataType), zap.String("backup", j.m.ID), zap.Int64("from_version", j.in.Version),
		zap.String("how", string(j.report.How)), zap.Int64("version", j.report.Now), zap.Int("put", j.report.Put), zap.Int("replaced", len(j.report.Replaced)))
	return nil
}

func (j *job) warn(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Warnings = append(j.report.Warnings, err.Error())
	j.log().Warn("restore", zap.Error(err))
}

func (r *Restore) log() *zap.Logger {
	if r.Log == nil {
		return zap.NewNop()
	}
	return r.Log
}

// What there is of a table before a restore.
type there struct {
	log  map[string]objstore.Object
	data map[string]objstore.Object // under year=, full names
}

func (j *job) look(ctx context.Context) (t there, err error) {
	t = there{map[string]objstore.Object{}, map[string]objstore.Object{}}
	prefix := partition.TableRoot(j.dataType)
	for o, err := range j.Lake.List(ctx, prefix, "") {
		if err != nil {
			return t, fmt.Errorf("look what is there: %w", err)
		}
		rest := strings.TrimPrefix(o.Name, prefix)
		switch {
		case strings.HasPrefix(rest, "year="):
			t.data[o.Name] = o
		case strings.HasPrefix(rest, "_delta_log/") && rest[len("_delta_log/"):] != "_last_checkpoint":
			t.log[o.Name] = o
		}
	}
	return t, nil
}

// fresh tells whether there is nothing of the table but what an earlier run of the
// same restore may have put there.
func (j *job) fresh(t there) (fresh bool, why string) {
	base := j.logOrder()
	if n := len(base); n > 0 {
		if _, done := t.log[base[n-1].Name]; done && j.InPlace {
			return false, "" // there is a log to begin with: see what it says
		}
	}
	for _, o := range []map[string]objstore.Object{t.log, t.data} {
		for name, object := range o {
			e, ok := j.m.Entry(name)
			if !ok || e.Size != object.Size || object.HasCRC32C && e.CRC32C != object.CRC32C {
				return false, name
			}
		}
	}
	return true, ""
}

// each works on things, several at once, and stops at the first error.
func each[T any](ctx context.Context, workers int, things []T, work func(context.Context, T) error) error {
	if workers <= 0 {
		workers = defaultWorkers()
	}
	p := pool.New().WithMaxGoroutines(workers).WithContext(ctx).WithCancelOnError().WithFirstError()
	for _, thing := range things {
		p.Go(func(ctx context.Context) error { return work(ctx, thing) })
	}
	return p.Wait()
}

// putAll puts objects of the backup where they belong.
func (j *job) putAll(ctx context.Context, what string, entries []Entry) error {
	progress := Progress{Step: "restore " + j.dataType + ": " + what, OfObjects: len(entries)}
	for _, e := range entries {
		progress.OfBytes += e.Size
	}
	return each(ctx, j.Workers, entries, func(ctx context.Context, e Entry) error {
		if err := j.put(ctx, e, e.Name); err != nil {
			return err
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		progress.Objects++
		progress.Bytes += e.Size
		if j.Progress != nil {
			j.Progress(progress)
		}
		return nil
	})
}

// put makes sure that the lake has an object of the backup under a name. One that
// is there with other bytes is damaged, since a name in the lake has one content for
// ever (C6); in place it is replaced, at the very generation that was looked at.
func (j *job) put(ctx context.Context, e Entry, name string) error {
	o, err := j.Lake.Stat(ctx, name)
	switch {
	case err == nil && o.Size == e.Size && o.CRC32C == e.CRC32C:
		j.mu.Lock()
		j.report.Whole++
		j.mu.Unlock()
		return nil
	case err == nil && !j.InPlace:
		return fmt.Errorf("%w: the lake to restore into has other bytes there: choose an empty bucket", badObject(name, o.Size, o.CRC32C, e.Size, e.CRC32C))
	case err == nil:
		return j.replace(ctx, e, o)
	case !errors.Is(err, objstore.ErrNotExist):
		return err
	}
	from, err := j.source(ctx, e)
	if err != nil {
		return err
	}
	if err := j.fromVault.carry(ctx, from, name); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Put++
	j.report.Bytes += e.Size
	return nil
}

// replace puts the right bytes in place of damaged ones.
func (j *job) replace(ctx context.Context, e Entry, damaged objstore.Object) error {
	from, err := j.source(ctx, e)
	if err != nil {
		return err
	}
	data, done, err := j.fromVault.read(ctx, from)
	if err != nil {
		return err
	}
	defer done()
	if _, err := j.Lake.Replace(ctx, damaged.Name, data, from.Metadata, damaged.Generation); err != nil {
		return fmt.Errorf("replace the damaged %s: %w (overwriting takes the right to delete: docs/runbooks/restore.md)", damaged.Name, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Replaced = append(j.report.Replaced, damaged.Name)
	j.report.Bytes += e.Size
	return nil
}

// source is the object of a backup that has an entry's bytes: of this one or, where
// that is damaged, of another.
func (j *job) source(ctx context.Context, e Entry) (objstore.Object, error) {
	o, err := holds(ctx, j.Vault, e)
	if err == nil || !errors.Is(err, ErrDamaged) {
		return o, err
	}
	for _, m := range j.allManifests(ctx) {
		if again, ok := m.Entry(e.Name); ok && again.In != e.In && again.content(e) {
			if o, failed := holds(ctx, j.Vault, again); failed == nil {
				return o, nil
			}
		}
	}
	return objstore.Object{}, err
}

// holds looks at the object of an entry.
func holds(ctx context.Context, vault objstore.Reader, e Entry) (objstore.Object, error) {
	o, err := vault.Stat(ctx, e.Object())
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return o, fmt.Errorf("%s is gone: %w", e.Object(), ErrDamaged)
	case err != nil:
		return o, err
	case o.Size != e.Size || o.CRC32C != e.CRC32C:
		return o, fmt.Errorf("%w: %w", badObject(e.Object(), o.Size, o.CRC32C, e.Size, e.CRC32C), ErrDamaged)
	}
	return o, nil
}

// allManifests are those of every backup, newest first.
func (j *job) allManifests(ctx context.Context) []*Manifest {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.asked {
		all, err := All(ctx, j.Vault)
		if err != nil {
			j.log().Warn("not every manifest can be read", zap.Error(err))
		}
		slices.Reverse(all)
		j.others, j.asked = all, true
	}
	return j.others
}

// find looks in every backup for an object of the lake with a content.
func (j *job) find(ctx context.Context, name string, size int64, crc uint32) (Entry, error) {
	want := Entry{Name: name, Size: size, CRC32C: crc}
	if e, ok := j.m.Entry(name); ok && e.content(want) {
		return e, nil
	}
	for _, m := range j.allManifests(ctx) {
		if e, ok := m.Entry(name); ok && e.content(want) {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("%s (%d bytes, checksum %08x): %w", name, size, crc, errNotHere)
}

// Beside puts back what the backup has beside tables (definitions, marks, audits,
// payloads of dead letters) and the lake lacks. What is there stays as it is.
func (r *Restore) Beside(ctx context.Context, m *Manifest) (put int, err error) {
	j := &job{Restore: r, m: m, fromVault: newFerry(r.Vault, r.Lake, r.Copy, r.Memory)}
	entries := slices.Concat(m.Under("metadata/"), m.Under("payloads/"))
	err = each(ctx, r.Workers, entries, func(ctx context.Context, e Entry) error {
		_, err := r.Lake.Stat(ctx, e.Name)
		if errors.Is(err, objstore.ErrNotExist) {
			err = j.put(ctx, e, e.Name)
		}
		return err
	})
	if err != nil {
		return j.report.Put, fmt.Errorf("restore what is beside the tables from backup %s: %w", m.ID, err)
	}
	return j.report.Put, nil
}
