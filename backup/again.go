package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// again says what is to be consumed again after a table went back.
//
// Rows that were acknowledged after the restored version are in raw files that it
// has not consumed, as long as these are left: under raw/, in the archive, in the
// backup. Their marks are taken back, and they come again under new names: under the
// old ones a sweeper that has read the table before may be about to delete them
// (P12). A row that comes twice or is live already is left out by its identity.
type again struct {
	raw     []partition.RawFile
	head    *partition.Snapshot // nil: there is none, or it cannot be read
	dropped []partition.File    // live in the head and no longer
	unknown []objstore.Object   // data files that a lost log may have named
	lost    bool                // the head cannot be read: whatever is unmarked may have been consumed
}

// takenBack are the listed raw objects that the head has consumed and the restored
// version has not.
func (a again) takenBack(state *partition.Snapshot) []string {
	var names []string
	for _, f := range a.raw {
		if a.head.Consumed(f.Name) && !state.Consumed(f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// archiveSlack is how far the clocks of two stores may differ.
const archiveSlack = time.Hour

// comeAgain makes the raw files that are to be consumed again. version is the head's,
// so that two restores give them different names and the same one, run again, gives
// them the same.
func (j *job) comeAgain(ctx context.Context, version int64, a again) error {
	listed := map[string]bool{}
	for _, f := range a.raw {
		listed[f.Name] = true
		if j.state.Consumed(f.Name) || !a.lost && (a.head == nil || !a.head.Consumed(f.Name)) {
			continue
		}
		if err := j.reissueListed(ctx, f, version); err != nil {
			return err
		}
	}
	if a.head != nil || a.lost {
		for _, e := range j.m.Under(partition.RawRoot(j.dataType)) {
			if listed[e.Name] || a.head != nil && !a.head.Consumed(e.Name) {
				continue // there, or put back by mendRaw
			}
			if err := j.put(ctx, e, rawAgain(e.Name, e.CRC32C, version)); err != nil {
				return err
			}
			j.report.FromBackup++
		}
	}
	if err := j.fromTheArchive(ctx, version, listed); err != nil {
		return err
	}
	if !j.Salvage {
		return nil
	}
	return j.salvage(ctx, version, a)
}

// reissueListed copies a raw file to a new name. Where its bytes are damaged the
// backup may have them whole.
func (j *job) reissueListed(ctx context.Context, f partition.RawFile, version int64) error {
	o, err := j.Lake.Stat(ctx, f.Name)
	if errors.Is(err, objstore.ErrNotExist) {
		return fmt.Errorf("%s went while the table was restored: stop the sweeper and run it again: %w", f.Name, partition.ErrConflict)
	}
	if err != nil {
		return err
	}
	j.report.FromRaw++
	if e, ok := j.m.Entry(f.Name); ok && (e.Size != o.Size || e.CRC32C != o.CRC32C) {
		return errors.Join(j.put(ctx, e, rawAgain(f.Name, e.CRC32C, version)), j.put(ctx, e, f.Name))
	}
	return j.within.carry(ctx, o, rawAgain(f.Name, o.CRC32C, version))
}

// fromTheArchive takes what the sweeper archived after the restored version.
func (j *job) fromTheArchive(ctx context.Context, version int64, listed map[string]bool) error {
	if j.Archive == nil {
		return nil
	}
	for o, err := range j.Archive.List(ctx, partition.RawRoot(j.dataType), "") {
		if err != nil {
			return fmt.Errorf("list the archive: %w", err)
		}
		if o.Created.Before(j.in.Time.Add(-archiveSlack)) || j.state.Consumed(o.Name) || listed[o.Name] {
			continue
		}
		if _, inBackup := j.m.Entry(o.Name); inBackup {
			continue // it comes from there
		}
		if o, err = j.Archive.Stat(ctx, o.Name); err != nil {
			return err
		}
		if err := j.fromArchive.carry(ctx, o, rawAgain(o.Name, o.CRC32C, version)); err != nil {
			return err
		}
		j.report.FromArchive++
	}
	return nil
}

// salvage makes raw files of whole data files that the restored version does not
// name: a data file has all columns of a raw one. So no row is lost whose raw file is
// gone.
func (j *job) salvage(ctx context.Context, version int64, a again) error {
	for _, f := range a.dropped {
		a.unknown = append(a.unknown, objstore.Object{Name: f.ObjectName()})
	}
	for _, o := range a.unknown {
		name, err := partition.ParseProcessedName(o.Name)
		if err != nil {
			continue
		}
		data, err := j.Lake.Read(ctx, o.Name, 0, -1)
		if errors.Is(err, objstore.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		// The name has a hash of the bytes: it vouches for them without a log.
		if sha := sha256.Sum256(data); len(name.Hash) < 32 || !strings.HasPrefix(hex.EncodeToString(sha[:]), name.Hash) {
			j.warn(fmt.Errorf("%s is damaged: its rows do not come from it", o.Name))
			continue
		}
		o, err := j.Lake.Stat(ctx, o.Name)
		if err != nil {
			return err
		}
		if err := j.within.carry(ctx, o, salvagedName(name, o.CRC32C, version)); err != nil {
			return err
		}
		j.report.Salvaged++
	}
	return nil
}

// rawAgain is the name under which a raw file comes again.
func rawAgain(name string, crc uint32, version int64) string {
	if parsed, err := partition.ParseName(name); err == nil {
		parsed.Writer, parsed.Seq = writer(name, crc, version), 1
		return parsed.String()
	}
	// Whatever its last part says, its folder makes it a raw file.
	at := strings.LastIndexByte(name, '/') + 1
	return name[:at] + writer(name, crc, version) + ".parquet"
}

func salvagedName(name partition.ProcessedName, crc uint32, version int64) string {
	return partition.RawName{
		Key: name.Key, Category: name.Category, Multi: true, Major: name.Major,
		Time: name.Day.Start().UnixMicro(), Writer: writer(name.String(), crc, version), Seq: 1,
	}.String()
}

// writer stands for a source and a restore in a raw file's name.
func writer(source string, crc uint32, version int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %08x %d", source, crc, version))
	return "restored" + hex.EncodeToString(sum[:8])
}
