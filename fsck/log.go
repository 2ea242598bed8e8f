package fsck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// log looks at the names in the log alone: above the highest checkpoint no number
// may be missing. It is false where one is.
func (c *check) log(ctx context.Context) (whole bool) {
	prefix := c.root + "_delta_log/"
	checkpoint, entries := int64(-1), []int64{}
	for o, err := range c.Store.List(ctx, prefix, "") {
		if err != nil {
			c.unreadable(prefix, err)
			return false
		}
		c.report.Objects++
		digits, end, _ := strings.Cut(strings.TrimPrefix(o.Name, prefix), ".")
		v, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || len(digits) != 20 {
			continue
		}
		switch end {
		case "json":
			entries = append(entries, v)
		case "checkpoint.parquet":
			checkpoint = v
		}
	}
	want := checkpoint + 1
	for _, v := range entries {
		if v <= checkpoint {
			continue
		}
		if v != want {
			c.report.add("P9", fmt.Sprintf("%s%020d.json", prefix, want), fmt.Sprintf("an entry of the log is missing; %d is there", v),
				"restore it from the backup: no later version can be read without it")
			return false
		}
		want++
	}
	return true
}

// history looks for versions that another program made.
func (c *check) history(ctx context.Context) {
	versions, err := partition.OpenTable(onlyReads{c.Store}, c.def.Name, nil).History(ctx, 0)
	if err != nil {
		c.unreadable(c.root+"_delta_log", err)
		return
	}
	restored := int64(-1) // the version by which what came before was set right
	for _, v := range versions {
		if v.Engine == partition.Engine && v.Operation == partition.Restore {
			restored = max(restored, v.Version)
		}
	}
	for _, v := range versions {
		c.version(v, v.Version < restored)
	}
}

// version looks at one of them. What lies below a restore is the past.
func (c *check) version(v partition.Version, past bool) {
	add, object := c.report.add, fmt.Sprintf("%s version %d", c.def.Name, v.Version)
	if past {
		add = c.report.note
	}
	switch {
	case v.Damaged != nil && past:
		add("P9", object, v.Damaged.Error(), "nothing: the table was restored above it, and the sweep deletes it with the log's past")
	case v.Damaged != nil:
		add("P9", object, v.Damaged.Error(), "versions that need it cannot be read: restore it from the backup (buffetctl restore --mend)")
	case v.Engine != partition.Engine:
		add("P-log", object, fmt.Sprintf("%s wrote to the table (%s)", v.Engine, v.Operation),
			"only compactors write to a table: take the right to write from others, and restore the version before if rows are missing")
	}
}

// manifests compares each manifest with the snapshot it says it was made of, as
// far as the table still has the same files.
func (c *check) manifests(ctx context.Context) {
	for _, key := range c.snapshot.Partitions() {
		name := key.ManifestName()
		data, err := c.Store.Read(ctx, name, 0, -1)
		if errors.Is(err, objstore.ErrNotExist) {
			c.report.note("format", name, "the manifest is missing", "the next compaction writes it")
			continue
		}
		if err != nil {
			c.unreadable(name, err)
			continue
		}
		var is partition.Manifest
		if err := json.Unmarshal(data, &is); err != nil {
			c.report.add("format", name, "the manifest cannot be read: "+err.Error(), "delete it: the next compaction writes it again")
			continue
		}
		want := partition.ManifestOf(c.snapshot, key)
		want.TableVersion, want.CommittedAt = is.TableVersion, is.CommittedAt
		if !reflect.DeepEqual(is, want) {
			c.report.add("format", name, fmt.Sprintf("the manifest says %d rows in %d files, the table has %d in %d", is.Rows, is.FileCount, want.Rows, want.FileCount),
				"delete it: the next compaction writes it again")
		}
	}
}

// readable are the partition's raw files that can be read, the others being
// findings.
func (c *check) readable(ctx context.Context, key partition.Key) []partition.RawFile {
	var good []partition.RawFile
	for _, f := range c.raw {
		if f.Key != key {
			continue
		}
		err := c.readRaw(ctx, f)
		switch {
		case err == nil:
			good = append(good, f)
		case errors.Is(err, objstore.ErrNotExist):
			// swept meanwhile
		case c.snapshot.Consumed(f.Name):
			c.report.note("K1", f.Name, err.Error(), "its rows are in the table; take it away once you know what damaged it")
		default:
			c.report.add("K1", f.Name, err.Error(), "its rows are not in the table: restore the object; compaction leaves it where it is until then")
		}
	}
	return good
}

func (c *check) readRaw(ctx context.Context, f partition.RawFile) error {
	data, err := c.Store.Read(ctx, f.Name, 0, -1)
	if err != nil {
		return err
	}
	if sum := objstore.Checksum(data); f.Object.HasCRC32C && sum != f.Object.CRC32C {
		return fmt.Errorf("its bytes have the checksum %08x, the store recorded %08x", sum, f.Object.CRC32C)
	}
	file, err := columnar.OpenBytes(f.Name, data)
	if err != nil {
		return err
	}
	rec, err := file.Read(ctx, c.def, nil, nil)
	if err != nil {
		return err
	}
	if !c.snapshot.Consumed(f.Name) {
		c.oneVerdict(f.Name, rec)
	}
	sum, err := file.Summary()
	if err != nil {
		return err
	}
	if rec.NumRows() != sum.Rows {
		return fmt.Errorf("it holds %d rows, its footer says %d", rec.NumRows(), sum.Rows)
	}
	return nil
}

// onlyReads is a store that refuses to be written to.
type onlyReads struct{ objstore.Reader }

var errReadOnly = errors.New("a check writes nothing")

func (onlyReads) Create(context.Context, string, []byte, map[string]string) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}

func (onlyReads) Replace(context.Context, string, []byte, map[string]string, objstore.Generation) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}
