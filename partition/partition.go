// Package partition says which objects make up a table, one day at a time.
//
// A partition is one data type on one UTC day of event time. A table is all
// partitions of a data type. Data objects are immutable, and the table's log is
// the only authority on which of them are live:
//
//   - a data object is durable before a commit names it;
//   - a commit creates the next numbered log object, which must not exist yet, so
//     that of any number of racing writers exactly one wins and the others get
//     ErrConflict;
//   - a commit whose outcome is unknown is never taken for a failed one;
//   - every fact that allows a deletion is permanent: ages are those the store
//     gave the log's objects, and marks are kept in every checkpoint;
//   - statistics never narrow: a bound is as wide as the rows or it is absent;
//   - what this package does not understand in a log it refuses, with the object
//     and the feature named.
//
// The log is a Delta Lake log (reader version 1, writer version 2, no table
// features), so that other engines read the tables. That they never write to
// them is a condition of everything above.
//
// The rules of the log are numbered P1 to P14 and cited where they are kept.
//
// Package partition deletes nothing, reads no rows and starts no goroutine that
// outlives a call.
package partition

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

const microsPerDay = 24 * 60 * 60 * 1e6

// A Day is a UTC day: days since 1970-01-01.
type Day int32

// DayOf is the day of an event time in microseconds since the epoch. A time
// beyond the days that exist belongs to the first or last of them.
func DayOf(micros int64) Day {
	days := micros / microsPerDay
	if micros%microsPerDay < 0 {
		days--
	}
	return Day(min(max(days, math.MinInt32), math.MaxInt32))
}

// ParseDay reads "2024-01-15".
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("day %q: want a date as in 2024-01-15", s)
	}
	return DayOf(t.UnixMicro()), nil
}

// Date is the day in the calendar.
func (d Day) Date() (year int, month time.Month, day int) { return d.Start().Date() }

// Start is the day's first instant.
func (d Day) Start() time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }

// String is the day as in "2024-01-15".
func (d Day) String() string { return d.Start().Format(time.DateOnly) }

// Path is the day as folders: "year=2024/month=01/day=15".
func (d Day) Path() string { return d.Start().Format("year=2006/month=01/day=02") }

// compact is the day as it stands in names: "20240115".
func (d Day) compact() string { return d.Start().Format("20060102") }

func parseLayout(layout, s string) (Day, bool) {
	t, err := time.Parse(layout, s)
	return DayOf(t.UnixMicro()), err == nil
}

// A Key names a partition.
type Key struct {
	Type string // the data type
	Day  Day
}

// ParseKey reads "market_data/2024-01-15".
func ParseKey(s string) (Key, error) {
	dataType, day, _ := strings.Cut(s, "/")
	if dataType == "" {
		return Key{}, fmt.Errorf("partition %q: no data type", s)
	}
	d, err := ParseDay(day)
	if err != nil {
		return Key{}, fmt.Errorf("partition %q: %w", s, err)
	}
	return Key{dataType, d}, nil
}

// String is the key as in "market_data/2024-01-15".
func (k Key) String() string { return k.Type + "/" + k.Day.String() }

// Compare orders keys by data type, then by day.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Type, o.Type), cmp.Compare(k.Day, o.Day))
}

// RawPrefix is what the names of the partition's raw objects start with.
func (k Key) RawPrefix() string { return RawRoot(k.Type) + k.Day.Path() + "/" }

// ProcessedPrefix is what the names of the partition's processed objects start
// with.
func (k Key) ProcessedPrefix() string { return TableRoot(k.Type) + k.Day.Path() + "/" }

// ManifestName is the object that summarises the partition.
func (k Key) ManifestName() string {
	return "metadata/" + k.Type + "/" + k.Day.Path() + "/manifest.json"
}

// RawRoot is what the names of all raw objects of a data type start with.
func RawRoot(dataType string) string { return "raw/" + dataType + "/" }

// TableRoot is what the names of all objects of a data type's table start with;
// paths in the log are relative to it.
func TableRoot(dataType string) string { return "processed/" + dataType + "/" }

// keyOfPath reads the key off the folders of a path relative to a table's or a
// data type's root. Any spelling of the numbers will do.
func keyOfPath(dataType, path string) (Key, bool) {
	parts := strings.Split(path, "/")
	if len(parts) < 4 {
		return Key{}, false
	}
	d, ok := parseLayout("year=2006/month=1/day=2", strings.Join(parts[:3], "/"))
	return Key{dataType, d}, ok
}
