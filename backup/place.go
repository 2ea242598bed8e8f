package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// revertTries bounds how often a revert follows a head that moves on.
const revertTries = 8

// restoreInPlace mends or reverts a table that is there.
func (j *job) restoreInPlace(ctx context.Context, mend bool) error {
	raw, head, err := j.load(ctx)
	if err != nil && !recoverable(err) {
		return err
	}
	if err != nil && !errors.Is(err, partition.ErrNoTable) || err == nil && head.Version < j.in.Version {
		if failed := j.mendLog(ctx, err != nil); failed != nil {
			return failed
		}
		if raw, head, err = j.load(ctx); err != nil && !recoverable(err) {
			return err
		}
	}
	if err == nil {
		err = j.cut(ctx, head)
	}
	if err != nil && mend {
		return fmt.Errorf("its log cannot be mended from this backup: %w; go back to version %d: --version %d instead of --mend", err, j.in.Version, j.in.Version)
	}
	if err != nil {
		return j.takeOver(ctx, raw)
	}
	if head.ID != j.in.ID {
		return fmt.Errorf("the table that is there is another one (%s, the backup has %s): restore into an empty bucket", head.ID, j.in.ID)
	}
	if mend {
		return j.mend(ctx, raw, head)
	}
	return j.revert(ctx, raw, head)
}

// cut says whether the log certainly went further than its head: files are there that
// were planned on later versions.
func (j *job) cut(ctx context.Context, head *partition.Snapshot) error {
	t, err := j.look(ctx)
	if err != nil {
		return err
	}
	for name := range t.data {
		if parsed, err := partition.ParseProcessedName(name); err == nil && parsed.Planned > head.Version {
			return fmt.Errorf("the log ends at version %d, and %s was planned on version %d: %w", head.Version, name, parsed.Planned, partition.ErrDamaged)
		}
	}
	return nil
}

// recoverable tells whether a log that could not be read is what a restore is for.
func recoverable(err error) bool {
	var foreign *partition.ErrForeign
	var unsupported *partition.ErrUnsupported
	return errors.Is(err, partition.ErrDamaged) || errors.Is(err, partition.ErrNoTable) || errors.As(err, &foreign) || errors.As(err, &unsupported)
}

// load lists the raw files first (P14).
func (j *job) load(ctx context.Context) ([]partition.RawFile, *partition.Snapshot, error) {
	raw, err := partition.ListRaw(ctx, j.Lake, j.dataType)
	if err != nil {
		return nil, nil, err
	}
	head, err := j.table.Load(ctx)
	return raw, head, err
}

// mendLog puts back the objects of the log that the backup has and the lake lacks
// or, if the log cannot be read, has damaged. An object that can be read by itself
// is never replaced: it is of another history. Below the highest checkpoint that can
// be read nothing is made, since nobody reads it there (P9, P11).
func (j *job) mendLog(ctx context.Context, broken bool) error {
	t, err := j.look(ctx)
	if err != nil {
		return err
	}
	whole := j.wholeLog(ctx, t)
	if other, _ := history(j.m, whole); other {
		return nil // the backup's log is not this one's: an earlier restore came between
	}
	from := int64(-1) // the highest checkpoint that can be read
	for name := range whole {
		if strings.HasSuffix(name, ".checkpoint.parquet") {
			from = max(from, number(name))
		}
	}
	for _, e := range j.m.Under(partition.TableRoot(j.dataType) + "_delta_log/") {
		o, ok := t.log[e.Name]
		switch {
		case !ok && number(e.Name) <= from:
			continue
		case !ok:
			err = j.put(ctx, e, e.Name)
		case ok && broken && whole[e.Name].Name == "":
			o, err = j.Lake.Stat(ctx, o.Name)
			if err == nil {
				err = j.replace(ctx, e, o)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wholeLog are the objects of the log that can be read by themselves, with the
// checksums of their bytes.
func (j *job) wholeLog(ctx context.Context, t there) map[string]objstore.Object {
	whole := map[string]objstore.Object{}
	for name, o := range t.log {
		data, err := j.Lake.Read(ctx, name, 0, -1)
		if err == nil && j.table.Intact(ctx, name, data) == nil {
			o.Size, o.CRC32C = int64(len(data)), objstore.Checksum(data)
			whole[name] = o
		}
	}
	return whole
}

// history tells whether a backup's log is certainly another than the one that is
// there, or certainly the same as far as both go: by the objects that are in both.
func history(m *Manifest, whole map[string]objstore.Object) (other, same bool) {
	for name, o := range whole {
		e, ok := m.Entry(name)
		if ok && (e.Size != o.Size || e.CRC32C != o.CRC32C) {
			return true, false
		}
		same = same || ok
	}
	return false, same
}

// number is the version of an object of a log, -1 for others.
func number(name string) int64 {
	digits, _, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ".")
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) != 20 {
		return -1
	}
	return v
}

// mend puts back what the newest version names and the lake lacks or has damaged.
func (j *job) mend(ctx context.Context, raw []partition.RawFile, head *partition.Snapshot) error {
	if err := j.mendPast(ctx); err != nil {
		return err
	}
	if err := j.mendFiles(ctx, head.Files(nil)); err != nil {
		return err
	}
	if err := j.mendRaw(ctx, raw, head); err != nil {
		return err
	}
	j.report.How = Nothing
	if j.report.Put+len(j.report.Replaced) > 0 {
		j.report.How = Mended
	}
	return nil
}

// mendPast puts whole entries in place of damaged ones below the highest checkpoint,
// by which older versions are read. What no backup has stays as it is.
func (j *job) mendPast(ctx context.Context) error {
	t, err := j.look(ctx)
	if err != nil {
		return err
	}
	whole := j.wholeLog(ctx, t)
	for name := range t.log {
		if whole[name].Name != "" {
			continue
		}
		for _, m := range j.allManifests(ctx) {
			e, ok := m.Entry(name)
			if _, same := history(m, whole); !ok || !same {
				continue
			}
			o, err := j.Lake.Stat(ctx, name)
			if err == nil {
				err = j.replace(ctx, e, o)
			}
			if err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// mendFiles puts back live files. All that can be put back are, before it says
// which cannot.
func (j *job) mendFiles(ctx context.Context, files []partition.File) error {
	var mu sync.Mutex
	var entries []Entry
	var gone []error
	err := each(ctx, j.Workers, files, func(ctx context.Context, f partition.File) error {
		o, err := j.Lake.Stat(ctx, f.ObjectName())
		if err != nil && !errors.Is(err, objstore.ErrNotExist) {
			return err
		}
		var e Entry
		whole := err == nil && o.Size == f.Size && o.CRC32C == f.CRC32C
		if !whole {
			e, err = j.find(ctx, f.ObjectName(), f.Size, f.CRC32C)
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case whole:
			j.report.Whole++
		case err != nil:
			gone = append(gone, err)
		default:
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := j.putAll(ctx, "missing and damaged files", entries); err != nil {
		return err
	}
	if len(gone) > 0 {
		return fmt.Errorf("%d live files cannot be had again: %w; go back to version %d instead (--version %d): rows whose raw files are left, or are in the archive, come again by themselves",
			len(gone), errors.Join(gone...), j.in.Version, j.in.Version)
	}
	return nil
}

// mendRaw puts back raw files that the table has not consumed. One that is missing
// and has no mark may have been consumed long ago; then it is consumed again as
// duplicates, which changes nothing (P13).
func (j *job) mendRaw(ctx context.Context, raw []partition.RawFile, head *partition.Snapshot) error {
	var entries []Entry
	for _, e := range j.m.Under(partition.RawRoot(j.dataType)) {
		if !head.Consumed(e.Name) {
			entries = append(entries, e)
		}
	}
	for _, f := range raw {
		if _, ok := j.m.Entry(f.Name); ok || head.Consumed(f.Name) {
			continue
		}
		for _, m := range j.allManifests(ctx) {
			if e, ok := m.Entry(f.Name); ok {
				entries = append(entries, e) // another backup can tell whether it is damaged
				break
			}
		}
	}
	return j.putAll(ctx, "raw files", entries)
}

// hole is an error that cannot be: a backup is checked before it has a manifest.
func (j *job) hole(f partition.File) error {
	return fmt.Errorf("version %d names %s, which is not in the backup: %w", j.in.Version, f.ObjectName(), ErrDamaged)
}
