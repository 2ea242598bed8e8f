package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/invariant"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A Violation is a promise of the contract that a table does not keep.
type Violation = invariant.Violation

// A Check looks for violations of the contract in a snapshot of a table. It
// trusts nothing that the merge uses to keep the contract: it reads the objects
// and takes identities for what the contract says they are.
type Check struct {
	Store      objstore.Reader
	Definition *schema.Definition
	Snapshot   *partition.Snapshot
	Raw        []partition.RawFile // a listing from before the snapshot

	// Complete: no raw object was ever deleted or revived, so that the rows
	// consumed are those of the objects listed.
	Complete bool
}

// All checks C2, C3, C5 and K4. The error is that of the store; a partition that
// could not be read is in the violations of C5 alone.
func (c Check) All(ctx context.Context) ([]Violation, error) {
	var found []Violation
	for _, key := range c.keys() {
		live, bad, err := c.References(ctx, key)
		found = append(found, bad...)
		if err != nil {
			return found, err
		}
		if len(bad) > 0 {
			continue
		}
		found = append(found, c.Unique(key, live)...)
		found = append(found, c.Superseded(key, live)...)
		bad, err = c.Conservation(ctx, key, live)
		found = append(found, bad...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

func (c Check) keys() []partition.Key {
	keys := c.Snapshot.Partitions()
	for _, r := range c.Raw {
		keys = append(keys, r.Key)
	}
	slices.SortFunc(keys, partition.Key.Compare)
	return slices.Compact(keys)
}

// References checks C5: every live file exists with the recorded size, checksum,
// rows and row-set hash, and its rows are of its day. It returns the files' rows.
func (c Check) References(ctx context.Context, key partition.Key) ([]arrow.RecordBatch, []Violation, error) {
	var recs []arrow.RecordBatch
	var found []Violation
	for _, f := range c.Snapshot.Partition(key) {
		data, err := c.Store.Read(ctx, f.ObjectName(), 0, -1)
		if err != nil && !errors.Is(err, objstore.ErrNotExist) {
			return nil, found, fmt.Errorf("check %s: %w", f.Path, err)
		}
		rec, bad := c.reference(ctx, f, data, err)
		if bad != "" {
			found = append(found, invariant.Broken("C5", key.String(), "%s: %s", f.Path, bad))
		}
		recs = append(recs, rec)
	}
	return recs, found, nil
}

func (c Check) reference(ctx context.Context, f partition.File, data []byte, missing error) (rec arrow.RecordBatch, bad string) {
	if missing != nil {
		return nil, "it does not exist"
	}
	if int64(len(data)) != f.Size || objstore.Checksum(data) != f.CRC32C {
		return nil, fmt.Sprintf("%d bytes with checksum %08x, recorded are %d with %08x", len(data), objstore.Checksum(data), f.Size, f.CRC32C)
	}
	rec, holds, err := decode(ctx, f.Path, data, c.Definition, f.Key.Day)
	if err != nil {
		return nil, err.Error()
	}
	if want := (total{f.Rows, f.Hash}); holds != want {
		return nil, fmt.Sprintf("%s, recorded are %s", holds, want)
	}
	return rec, ""
}

// Unique checks C2: an identity is in at most one row of the live files.
func (c Check) Unique(key partition.Key, live []arrow.RecordBatch) []Violation {
	_, found := invariant.Unique(key.String(), c.identities(live)...)
	return found
}

func (c Check) identities(live []arrow.RecordBatch) [][]string {
	files := make([][]string, len(live))
	for i, rec := range live {
		files[i] = Identities(rec, c.Definition)
	}
	return files
}

// Conservation checks C3: the live rows are the distinct identities of the raw
// objects consumed, and with the duplicates counted they are all of their rows.
// What raw objects that are gone held is not known: the live rows may be more. What
// was consumed before its day was taken away for good (P7) went with the day.
func (c Check) Conservation(ctx context.Context, key partition.Key, live []arrow.RecordBatch) ([]Violation, error) {
	alive, _ := invariant.Unique(key.String(), c.identities(live)...)
	kept := int64(0)
	for _, rec := range live {
		kept += rec.NumRows()
	}
	for _, f := range c.Snapshot.Partition(key) {
		kept += f.Duplicates
	}
	var found []Violation
	rows, distinct, erased := int64(0), map[string]bool{}, c.Snapshot.ErasedDay(key)
	for _, r := range c.Raw {
		mark, consumed := c.Snapshot.Txns[r.Name]
		if r.Key != key || !consumed || mark.Version <= erased {
			continue
		}
		ids, err := c.identitiesOf(ctx, r.Name)
		if err != nil {
			return found, err
		}
		rows += int64(len(ids))
		for _, id := range ids {
			distinct[id] = true
		}
		found = append(found, invariant.Present(key.String(), alive, invariant.Consumed{Name: r.Name, IDs: ids})...)
	}
	found = append(found, invariant.Counted(key.String(), rows, kept, c.Complete)...)
	if c.Complete && len(distinct) != len(alive) {
		found = append(found, invariant.Broken("C3", key.String(), "%d identities consumed, %d live", len(distinct), len(alive)))
	}
	return found, nil
}

func (c Check) identitiesOf(ctx context.Context, name string) ([]string, error) {
	data, err := c.Store.Read(ctx, name, 0, -1)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", name, err)
	}
	f, err := columnar.OpenBytes(name, data)
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", name, err)
	}
	rec, err := f.Read(ctx, c.Definition, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", name, err)
	}
	return Identities(rec, c.Definition), nil
}

// Identities are invariant.Identities.
func Identities(rec arrow.RecordBatch, def *schema.Definition) []string {
	return invariant.Identities(rec, def)
}

// decode turns an object's bytes into rows, and checks them against what the
// object says of itself.
func decode(ctx context.Context, name string, data []byte, def *schema.Definition, day partition.Day) (arrow.RecordBatch, total, error) {
	f, err := columnar.OpenBytes(name, data)
	if err != nil {
		return nil, total{}, err
	}
	says, err := f.Summary()
	if err == nil {
		err = understood(says, def)
	}
	if err != nil {
		return nil, total{}, err
	}
	rec, err := f.Read(ctx, def, nil, nil)
	if err != nil {
		return nil, total{}, err
	}
	var holds total
	for _, h := range columnar.RowHashes(rec, nil) {
		holds.add(total{1, h})
	}
	if want := (total{says.Rows, says.Hash}); holds != want {
		return nil, total{}, fmt.Errorf("%s: its footer says %s, it holds %s", name, want, holds)
	}
	return rec, holds, inDay(rec, def, day)
}

// inDay makes sure that every row is one of the partition: a reader who asks for
// its true day would never find it here.
func inDay(rec arrow.RecordBatch, def *schema.Definition, day partition.Day) error {
	column := rec.Column(def.TimeField)
	for i := range column.Len() {
		if column.IsNull(i) {
			return fmt.Errorf("row %d has no %s", i, def.Fields[def.TimeField].Name)
		}
		var at partition.Day
		switch c := column.(type) {
		case *array.Timestamp:
			at = partition.DayOf(int64(c.Value(i)))
		case *array.Date32:
			at = partition.Day(c.Value(i))
		}
		if at != day {
			return fmt.Errorf("row %d is of %s, not of %s", i, at, day)
		}
	}
	return nil
}
