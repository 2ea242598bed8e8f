package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A Backup copies a lake into a bucket of backups.
type Backup struct {
	Lake     objstore.Reader
	Vault    objstore.ReadWriter // the bucket of backups
	Copy     Copy                // from the lake to the bucket of backups; nil: the bytes pass through here
	Name     string              // of the lake, for people
	Log      *zap.Logger         // nil: silent
	Clock    func() time.Time    // nil: time.Now; names the backup, and nothing is decided by it
	Workers  int                 // 8, or twice the processors: objects at once
	Memory   int64               // 512 MiB: of objects that pass through here at once
	Progress func(Progress)      // nil: nobody; called by several goroutines, one at a time
}

func (b *Backup) log() *zap.Logger {
	if b.Log == nil {
		return zap.NewNop()
	}
	return b.Log
}

// A run is one backup in the making.
type run struct {
	*Backup
	id      string
	began   time.Time
	known   *known
	ferry   *ferry
	entries []Entry
	copied  count
}

// Run backs the tables of the data types up, each at the version it has now, with
// what the lake holds beside tables. ErrIncomplete: there is a backup, and the
// manifest says which tables are not in it and why. Any other error: there is none;
// what was copied is there for the next run.
func (b *Backup) Run(ctx context.Context, types []string) (*Manifest, error) {
	r, err := b.begin(ctx, types)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	m := &Manifest{ID: r.id, Lake: b.Name, Began: r.began}
	for _, dataType := range types {
		t, entries, err := r.table(ctx, dataType)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("backup %s: %s: %w", r.id, dataType, ctx.Err())
		}
		if err != nil {
			r.log().Error("a table is left out of the backup", zap.String("type", dataType), zap.Error(err))
			m.LeftOut = append(m.LeftOut, LeftOut{dataType, err.Error()})
			continue
		}
		if t.Version < 0 && t.Raw == 0 {
			continue // nothing there yet
		}
		m.Tables = append(m.Tables, t)
		r.entries = append(r.entries, entries...)
	}
	// Payloads are made before the letters that refer to them, so they are looked for
	// after the letters' table.
	if err := r.beside(ctx); err != nil {
		return nil, fmt.Errorf("backup %s: %w", r.id, err)
	}
	if err := r.finish(ctx, m); err != nil {
		return nil, fmt.Errorf("backup %s: %w", r.id, err)
	}
	if len(m.LeftOut) > 0 {
		return m, fmt.Errorf("backup %s: %s: %w", r.id, m.LeftOut[0].Reason, ErrIncomplete)
	}
	return m, nil
}

// begin makes the backup's first object, whose time is the store's, and looks at
// what there is.
func (b *Backup) begin(ctx context.Context, types []string) (*run, error) {
	clock := b.Clock
	if clock == nil {
		clock = time.Now
	}
	unique := make([]byte, 4)
	if _, err := rand.Read(unique); err != nil {
		return nil, err
	}
	r := &run{Backup: b, id: clock().UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(unique)}
	o, err := b.Vault.Create(ctx, root+r.id+beganName, []byte("This backup has begun. It is one once manifests/"+r.id+manifestEnd+" is there.\n"), nil)
	if err != nil {
		return nil, fmt.Errorf("write to the bucket of backups: %w", err)
	}
	r.began = o.Created.UTC()
	if r.known, err = b.known(ctx, r.began, types); err != nil {
		return nil, err
	}
	r.ferry = newFerry(b.Lake, b.Vault, b.Copy, b.Memory)
	return r, nil
}

// planTries bounds how often one table is planned.
const planTries = 6

// table copies what one table takes, at the newest version of which every object
// could be had. A file that goes while it is copied, since the table has moved on, is
// no hole: the table is planned again. Where the table has not moved, it is one.
func (r *run) table(ctx context.Context, dataType string) (Table, []Entry, error) {
	last := int64(-2)
	for try := 1; ; try++ {
		p, err := r.plan(ctx, dataType)
		if err != nil {
			return Table{}, nil, err
		}
		entries, err := r.fetch(ctx, "copy "+dataType, p.wants)
		if err == nil {
			err = r.check(ctx, p, entries)
		}
		moved := errors.Is(err, errMoved)
		if !moved || p.table.Version == last || try == planTries {
			if moved {
				err = fmt.Errorf("%s version %d: %w; nothing has changed that explains it: run buffetctl fsck", dataType, p.table.Version, err)
			}
			return p.table, entries, err
		}
		r.log().Info("plan a table again: it moved on while it was copied", zap.String("type", dataType), zap.Int64("version", p.table.Version), zap.Error(err))
		last = p.table.Version
	}
}

// A plan is what one table takes.
type plan struct {
	table    Table
	snapshot *partition.Snapshot // nil: there are raw files only
	wants    []want
}

// plan lists the raw files first and loads the table second (P14): a row that was
// acknowledged before is in a raw file of the listing, or live in the version.
func (r *run) plan(ctx context.Context, dataType string) (*plan, error) {
	p := &plan{table: Table{Type: dataType, Version: -1}}
	raw, err := partition.ListRaw(ctx, r.Lake, dataType)
	if err != nil {
		return nil, err
	}
	s, past, err := partition.OpenTable(onlyReads{r.Lake}, dataType, nil).LoadWithPast(ctx)
	if err != nil && !errors.Is(err, partition.ErrNoTable) {
		return nil, fmt.Errorf("%w (mend it: buffetctl restore --mend --type %s)", err, dataType)
	}
	if err == nil {
		p.of(s, past)
	}
	for _, f := range raw {
		if s != nil && s.Consumed(f.Name) {
			continue
		}
		p.wants = append(p.wants, wantOf(f.Object))
		p.table.Raw++
		p.table.RawBytes += f.Object.Size
	}
	return p, nil
}

func (p *plan) of(s *partition.Snapshot, past partition.Past) {
	p.snapshot = s
	p.table.ID, p.table.Version, p.table.Time = s.ID, s.Version, s.Time.UTC()
	for _, o := range past.Needed() {
		w := wantOf(o)
		made := o.Created.UTC()
		w.made = &made
		p.wants = append(p.wants, w)
	}
	for _, f := range s.Files(nil) {
		p.wants = append(p.wants, want{name: f.ObjectName(), size: f.Size, crc: f.CRC32C, sure: true, promised: true})
		p.table.Files++
		p.table.Rows += f.Rows
		p.table.Bytes += f.Size
	}
}

// check reads the table out of the backup, as a restore will.
func (r *run) check(ctx context.Context, p *plan, entries []Entry) error {
	if p.snapshot == nil {
		return nil
	}
	m := &Manifest{ID: r.id, Entries: entries, Made: r.began}
	if _, err := m.encode(); err != nil { // sorts
		return err
	}
	s, err := m.Snapshot(ctx, r.Vault, p.table.Type)
	if err != nil {
		return fmt.Errorf("read the table back: %w", err)
	}
	if s.Version != p.snapshot.Version || s.ID != p.snapshot.ID || !sameFiles(s.Files(nil), p.snapshot.Files(nil)) {
		return fmt.Errorf("the log in the backup is not the one that was read: %w", errMoved)
	}
	for _, f := range s.Files(nil) {
		if e, ok := m.Entry(f.ObjectName()); !ok || e.Size != f.Size || e.CRC32C != f.CRC32C {
			return fmt.Errorf("%s is not in the backup as version %d has it", f.ObjectName(), s.Version)
		}
	}
	return nil
}

func sameFiles(a, b []partition.File) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Path != b[i].Path || a[i].Size != b[i].Size || a[i].CRC32C != b[i].CRC32C || a[i].Duplicates != b[i].Duplicates {
			return false
		}
	}
	return true
}

// beside copies what the lake holds beside tables.
func (r *run) beside(ctx context.Context) error {
	var wants []want
	for _, prefix := range []string{"metadata/", "payloads/"} {
		for o, err := range r.Lake.List(ctx, prefix, "") {
			if err != nil {
				return fmt.Errorf("list %s: %w", prefix, err)
			}
			if !derived(o.Name) {
				w := wantOf(o)
				w.loose = true
				wants = append(wants, w)
			}
		}
	}
	entries, err := r.fetch(ctx, "copy definitions and payloads", wants)
	r.entries = append(r.entries, entries...)
	return err
}

// derived tells whether an object under metadata/ can be made again, or means
// something only while a program runs.
func derived(name string) bool {
	for _, end := range []string{"/manifest.json", "/sweep.json"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return name == "metadata/write-check" || strings.HasPrefix(name, "metadata/leases/")
}

// finish writes the manifest (B1: in time, or not at all).
func (r *run) finish(ctx context.Context, m *Manifest) error {
	o, err := r.Vault.Create(ctx, root+r.id+copiedName, []byte("Everything is copied; the manifest comes next.\n"), nil)
	if err != nil {
		return err
	}
	if took := o.Created.Sub(r.began); took > MaxDuration {
		return fmt.Errorf("it took %v, and may take %v: what it relies on could have been pruned meanwhile; run it again: what it has copied is taken over", took.Round(time.Minute), MaxDuration)
	}
	m.Entries, m.Copied, m.CopiedBytes = r.entries, r.copied.objects, r.copied.bytes
	data, err := m.encode()
	if err != nil {
		return err
	}
	name := manifestRoot + r.id + manifestEnd
	made, err := r.Vault.Create(ctx, name, data, nil)
	if err != nil {
		there, failed := r.Vault.Read(ctx, name, 0, -1)
		if failed != nil || objstore.Checksum(there) != objstore.Checksum(data) {
			return fmt.Errorf("write the manifest: %w", err)
		}
		if made, failed = r.Vault.Stat(ctx, name); failed != nil {
			return fmt.Errorf("write the manifest: %w", err)
		}
	}
	if m.Made = made.Created; m.Made.Sub(r.began) > lateAfter {
		return fmt.Errorf("its manifest was made too late, %v after it began, and does not count: run it again", m.Made.Sub(r.began).Round(time.Minute))
	}
	return nil
}
