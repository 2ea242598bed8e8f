package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
)

// A TableInfo is one data type's table as it is now, and what waits to come into
// it.
type TableInfo struct {
	Type          string
	Exists        bool  // a compactor has made the table
	Version       int64 // -1 where there is no table
	Committed     time.Time
	Partitions    int
	Files         int
	Rows, Bytes   int64
	First, Last   partition.Day // of the partitions, where there are any
	SchemaVersion string        // the newest among the files' rows
	Debt          Debt
	Err           error // why the table cannot be read; the other fields, but Type and Debt's, are zero then
}

// A Debt is raw objects that no version of the table has taken in yet. Readers of
// the lake see their rows; other engines do not.
type Debt struct {
	Objects int
	Bytes   int64
	Oldest  time.Time // when the first of them was made; zero without any
}

const tablesAtOnce = 4

// Tables describes the tables of data types, or of all in the registry where
// types is empty. A table that cannot be read has Err set and stops no other.
func (l *Lake) Tables(ctx context.Context, types []string) ([]TableInfo, error) {
	types, err := l.CheckTypes(types)
	if err != nil {
		return nil, err
	}
	all := make([]TableInfo, len(types))
	p := pool.New().WithMaxGoroutines(tablesAtOnce)
	for i, dataType := range types {
		p.Go(func() { all[i] = l.table(ctx, dataType) })
	}
	p.Wait()
	return all, ctx.Err()
}

func (l *Lake) table(ctx context.Context, dataType string) TableInfo {
	info := TableInfo{Type: dataType, Version: -1}
	raw, err := partition.ListRaw(ctx, l.store, dataType) // before the snapshot (P14)
	if err != nil {
		info.Err = err
		return info
	}
	s, err := partition.OpenTable(l.store, dataType, nil).Load(ctx)
	if errors.Is(err, partition.ErrNoTable) {
		info.Debt = debtOf(raw, nil)
		return info
	}
	if err != nil {
		info.Err = err
		return info
	}
	info.Exists, info.Version, info.Committed, info.Debt = true, s.Version, s.Time, debtOf(raw, s)
	keys := s.Partitions()
	if info.Partitions = len(keys); len(keys) > 0 {
		info.First, info.Last = keys[0].Day, keys[len(keys)-1].Day
	}
	for _, key := range keys {
		m := partition.ManifestOf(s, key)
		info.Files, info.Rows, info.Bytes = info.Files+m.FileCount, info.Rows+m.Rows, info.Bytes+m.Bytes
		info.SchemaVersion = newest(info.SchemaVersion, m.SchemaVersion)
	}
	return info
}

// newest is the newer of two schema versions.
func newest(a, b string) string {
	va, errA := schema.ParseVersion(a)
	vb, errB := schema.ParseVersion(b)
	if errA != nil || errB == nil && vb.Compare(va) > 0 {
		return b
	}
	return a
}

// debtOf counts the raw objects that a snapshot (nil: none) has not taken in.
func debtOf(raw []partition.RawFile, s *partition.Snapshot) Debt {
	var d Debt
	for _, f := range raw {
		if s != nil && s.Consumed(f.Name) {
			continue
		}
		d.Objects++
		d.Bytes += f.Object.Size
		if d.Oldest.IsZero() || f.Object.Created.Before(d.Oldest) {
			d.Oldest = f.Object.Created
		}
	}
	return d
}

// A VersionInfo is one version of a table, for people.
type VersionInfo struct {
	partition.Version
	Rows       int64 // rows of the raw objects it took in
	Duplicates int64 // of them, and of those that met them, removed as duplicates
}

// History lists a table's versions that are still in its log, newest first, at
// most limit (0: all). Without a table there are none.
func (l *Lake) History(ctx context.Context, dataType string, limit int) ([]VersionInfo, error) {
	if _, err := l.CheckTypes([]string{dataType}); err != nil {
		return nil, err
	}
	versions, err := partition.OpenTable(l.store, dataType, nil).History(ctx, limit)
	if err != nil {
		return nil, err
	}
	all := make([]VersionInfo, len(versions))
	for i, v := range versions {
		all[i] = VersionInfo{Version: v, Rows: metric(v, "numRawRows"), Duplicates: metric(v, "numDuplicates")}
	}
	return all, nil
}

// metric is a count that a commit said of itself, 0 where it did not.
func metric(v partition.Version, name string) int64 {
	n, err := strconv.ParseInt(v.Metrics[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// A PartitionInfo is one day of a table.
type PartitionInfo struct {
	partition.Key
	Files                   int
	Rows, Bytes             int64
	FirstSymbol, LastSymbol string
	Symbols                 int // how many; -1 where they were not counted
	FirstEvent, LastEvent   time.Time
	Fresh                   time.Time // when its newest file was made
	MissingBefore           int       // days without rows between this partition and the one before
}

// Partitions describes the days of a table that have rows, in order. Counting
// symbols reads that column of every file; everything else comes from the log.
// Without a table there are none.
func (l *Lake) Partitions(ctx context.Context, dataType string, countSymbols bool) ([]PartitionInfo, error) {
	s, err := l.snapshot(ctx, dataType)
	if s == nil || err != nil {
		return nil, err
	}
	var all []PartitionInfo
	for i, key := range s.Partitions() {
		p := partitionInfo(key, s.Partition(key))
		if i > 0 {
			p.MissingBefore = int(key.Day-all[i-1].Day) - 1
		}
		if countSymbols {
			if p.Symbols, err = l.symbols(ctx, key, s.Version); err != nil {
				return nil, fmt.Errorf("count symbols of %s: %w", key, err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

func partitionInfo(key partition.Key, files []partition.File) PartitionInfo {
	p := PartitionInfo{Key: key, Files: len(files), Symbols: -1}
	first, last := files[0].FirstEvent, files[0].LastEvent
	p.FirstSymbol, p.LastSymbol = files[0].First, files[0].Last
	for _, f := range files {
		p.Rows, p.Bytes = p.Rows+f.Rows, p.Bytes+f.Size
		first, last = min(first, f.FirstEvent), max(last, f.LastEvent)
		p.FirstSymbol, p.LastSymbol = min(p.FirstSymbol, f.First), max(p.LastSymbol, f.Last)
		if f.Modified.After(p.Fresh) {
			p.Fresh = f.Modified
		}
	}
	p.FirstEvent, p.LastEvent = time.UnixMicro(first).UTC(), time.UnixMicro(last).UTC()
	return p
}

// symbols counts the different symbols of a partition at a version.
func (l *Lake) symbols(ctx context.Context, key partition.Key, version int64) (int, error) {
	def, _ := l.Registry().Latest(key.Type)
	plan, err := l.Query(ctx, query.DataQuery{
		DataType: key.Type, Columns: []string{def.Fields[def.SymbolField].Name},
		From: key.Day.Start(), To: (key.Day + 1).Start(), AsOf: query.AsOf{Version: &version},
	})
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	_, err = plan.Execute(ctx, func(rows arrow.RecordBatch) error {
		values := rows.Column(0)
		for i := range values.Len() {
			seen[values.ValueStr(i)] = true
		}
		return nil
	})
	return len(seen), err
}

// A FileInfo is one live file of a table.
type FileInfo struct {
	partition.File
	Added int64 // version that brought it, -1 where the log no longer says
}

// Files lists the live files of a table, by day, then path; only those of one day
// where day is not nil. Without a table there are none.
func (l *Lake) Files(ctx context.Context, dataType string, day *partition.Day) ([]FileInfo, error) {
	s, err := l.snapshot(ctx, dataType)
	if s == nil || err != nil {
		return nil, err
	}
	versions, err := partition.OpenTable(l.store, dataType, nil).History(ctx, 0)
	if err != nil {
		return nil, err
	}
	added := map[string]int64{}
	for _, v := range versions { // newest first: the oldest is kept
		for _, path := range v.AddedPaths {
			added[path] = v.Version
		}
	}
	var all []FileInfo
	for _, f := range s.Files(func(k partition.Key) bool { return day == nil || k.Day == *day }) {
		info := FileInfo{File: f, Added: -1}
		if v, ok := added[f.Path]; ok {
			info.Added = v
		}
		all = append(all, info)
	}
	return all, nil
}

// snapshot is a table as it is now, nil where there is none.
func (l *Lake) snapshot(ctx context.Context, dataType string) (*partition.Snapshot, error) {
	if _, err := l.CheckTypes([]string{dataType}); err != nil {
		return nil, err
	}
	s, err := partition.OpenTable(l.store, dataType, nil).Load(ctx)
	if errors.Is(err, partition.ErrNoTable) {
		return nil, nil
	}
	return s, err
}
