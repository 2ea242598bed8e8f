package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/buffetbot/ingest/partition"
)

// revert makes a new version whose live files are those of the backup's.
//
// A file that is live in both versions stays as it is: nobody has an eye on it. One
// that the head no longer has gets the name that its bytes have when planned on the
// head (P1): under its old name a sweeper may be about to delete it. The commit
// counts as an erasure (P7), so that no plan of before survives it.
func (j *job) revert(ctx context.Context, raw []partition.RawFile, head *partition.Snapshot) error {
	for try := 1; ; try++ {
		err := j.revertOn(ctx, raw, head)
		if !errors.Is(err, partition.ErrConflict) && !errors.Is(err, partition.ErrGhost) || try == revertTries {
			return err
		}
		if raw, head, err = j.load(ctx); err != nil {
			return err
		}
	}
}

func (j *job) revertOn(ctx context.Context, raw []partition.RawFile, head *partition.Snapshot) error {
	j.report.FromRaw, j.report.FromBackup, j.report.FromArchive, j.report.Salvaged = 0, 0, 0, 0
	var both, back []partition.File
	c := partition.Change{Operation: partition.Restore}
	for _, f := range j.state.Files(nil) {
		live, ok := head.Live(f.Path)
		switch {
		case !ok:
			back = append(back, f)
		case live.Duplicates != f.Duplicates:
			c.Add = append(c.Add, f)
			both = append(both, f)
		default:
			both = append(both, f)
		}
	}
	var dropped []partition.File
	for _, f := range head.Files(nil) {
		if _, ok := j.state.Live(f.Path); !ok && !j.isBack(&back, f) {
			dropped = append(dropped, f)
		}
	}
	c.Remove = dropped
	again := again{raw: raw, head: head, dropped: dropped}
	c.TakenBack = again.takenBack(j.state)
	if err := j.mendFiles(ctx, both); err != nil {
		return err
	}
	if err := j.mendRaw(ctx, raw, head); err != nil {
		return err
	}
	if len(back)+len(c.Add)+len(c.Remove)+len(c.TakenBack) == 0 {
		j.report.How = Nothing
		if j.report.Put+len(j.report.Replaced) > 0 {
			j.report.How = Mended
		}
		return nil
	}
	for _, f := range back {
		named, err := j.putUnder(ctx, f, head.Version)
		if err != nil {
			return err
		}
		c.Add = append(c.Add, named)
	}
	if err := j.comeAgain(ctx, head.Version, again); err != nil {
		return err
	}
	c.Marks = map[string]int64{partition.EraseMark: head.Version + 1}
	c.Metrics = j.metrics()
	if _, err := j.table.Commit(ctx, head, c); err != nil {
		return err
	}
	j.report.How = Reverted
	return nil
}

// isBack tells whether a live file of the head is one of those that are to come
// back, under the name that an earlier restore gave it.
func (j *job) isBack(back *[]partition.File, f partition.File) bool {
	name, err := partition.ParseProcessedName(f.ObjectName())
	if err != nil {
		return false
	}
	for i, b := range *back {
		again, err := b.PlannedOn(name.Planned)
		if err == nil && again.Path == f.Path && b.CRC32C == f.CRC32C && b.Size == f.Size && b.Duplicates == f.Duplicates {
			*back = append((*back)[:i:i], (*back)[i+1:]...)
			return true
		}
	}
	return false
}

// putUnder puts a file's bytes under the name that they have when planned on a
// version.
func (j *job) putUnder(ctx context.Context, f partition.File, version int64) (partition.File, error) {
	e, ok := j.m.Entry(f.ObjectName())
	if !ok {
		return f, j.hole(f)
	}
	named, err := f.PlannedOn(version)
	if err != nil {
		return f, err
	}
	named.Modified = time.Time{}
	return named, j.put(ctx, e, named.ObjectName())
}

func (j *job) metrics() map[string]string {
	return map[string]string{
		"backup": j.m.ID, "restoredVersion": strconv.FormatInt(j.in.Version, 10),
		"numRawObjectsAgain": strconv.Itoa(j.report.FromRaw + j.report.FromBackup + j.report.FromArchive + j.report.Salvaged),
	}
}

// takeOver is revert where the newest version cannot be read: what it named is not
// known, so nothing is taken to be removed or superfluous. Every data file that the
// restored version does not name stays for the retention, as removed now.
func (j *job) takeOver(ctx context.Context, raw []partition.RawFile) error {
	t, err := j.look(ctx)
	if err != nil {
		return err
	}
	above := j.above(t)
	// A sweeper that has read the table before it was lost may delete what that shows
	// to have been removed for the retention. What was live in the version restored
	// cannot have been, unless the backup is that old.
	inPlace := j.began.Sub(j.in.Time) < j.state.Properties().Retain
	to := partition.Takeover{State: j.state, Above: above}
	live := map[string]bool{}
	for _, f := range j.state.Files(nil) {
		o, there := t.data[f.ObjectName()]
		if there && inPlace {
			if o, err = j.Lake.Stat(ctx, o.Name); err != nil {
				return err
			}
		}
		if there && inPlace && o.Size == f.Size && o.CRC32C == f.CRC32C {
			j.report.Whole++
		} else if f, err = j.putUnder(ctx, f, above); err != nil {
			return err
		}
		live[f.ObjectName()] = true
		to.Files = append(to.Files, f)
	}
	again := again{raw: raw, lost: true}
	for name, o := range t.data {
		if live[name] {
			continue
		}
		parsed, err := partition.ParseProcessedName(name)
		if err != nil {
			j.warn(fmt.Errorf("%s is not named as this program names files; it stays where it is: look at it", name))
			continue
		}
		to.Keep = append(to.Keep, partition.Tombstone{Path: parsed.Path(), Key: parsed.Key, Size: o.Size})
		_, was := j.state.Tombstone(parsed.Path())
		if _, lived := j.state.Live(parsed.Path()); !was && !lived {
			again.unknown = append(again.unknown, o)
		}
	}
	if err := j.mendRaw(ctx, raw, j.state); err != nil {
		return err
	}
	if err := j.comeAgain(ctx, above, again); err != nil {
		return err
	}
	to.Metrics = j.metrics()
	if _, err := j.table.TakeOver(ctx, to); err != nil {
		return err
	}
	j.report.How = TookOver
	return nil
}

// above is a version that the lost log may have reached, as far as names tell.
func (j *job) above(t there) int64 {
	highest := j.in.Version
	for name := range t.log {
		highest = max(highest, number(name))
	}
	for name := range t.data {
		if parsed, err := partition.ParseProcessedName(name); err == nil {
			highest = max(highest, parsed.Planned)
		}
	}
	return highest
}
