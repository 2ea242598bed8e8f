package partition

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// A File is what the log says of one data object.
type File struct {
	Path  string // relative to the table's root, not URI-encoded
	Key   Key
	Size  int64
	Rows  int64
	Stats string // JSON, see Stats

	CRC32C        uint32
	Hash          columnar.SetHash // of the rows
	Duplicates    int64            // rows removed as duplicates so far, from this file's rows and those it replaced
	First, Last   string           // the range of symbols
	FirstEvent    int64            // earliest event time, µs since the epoch
	LastEvent     int64            // latest event time
	SchemaVersion string           // the newest among the rows
	Whole         bool             // made of all rows that its day had then: with its equals, the day's final form

	Modified time.Time // when the object was made, to the millisecond
}

// ObjectName is the full name of the file's object.
func (f File) ObjectName() string { return TableRoot(f.Key.Type) + f.Path }

// PlannedOn is the file under the name that its bytes have if they were planned
// on another version (P1). No object of that name is made.
func (f File) PlannedOn(version int64) (File, error) {
	if _, err := ParseProcessedName(f.ObjectName()); err != nil {
		return f, err
	}
	upTo := strings.LastIndex(f.Path, plannedMark)
	f.Path = f.Path[:upTo] + plannedMark + strconv.FormatInt(version, 10) + nameEnd
	return f, nil
}

// Describe is the File of an encoded object: data under name, holding the rows
// of rec, which are sorted and not none. Duplicates and Modified are left to the
// caller.
func Describe(name ProcessedName, data []byte, sum columnar.Summary, rec arrow.RecordBatch, def *schema.Definition) File {
	f := describe(name, sum, StatsOf(rec, def))
	f.Size, f.CRC32C = int64(len(data)), objstore.Checksum(data)
	f.First, f.Last = symbolsOf(rec, def)
	return f
}

// DescribeWritten is the File of an object that a union wrote, whose bytes have a
// checksum. Duplicates and Modified are left to the caller.
func DescribeWritten(name ProcessedName, w columnar.Written, crc uint32, def *schema.Definition) File {
	f := describe(name, w.Summary, RangeStats(w.Columns, w.Rows, def))
	f.Size, f.CRC32C = w.Bytes, crc
	f.First, f.Last = w.First, w.Last
	return f
}

func describe(name ProcessedName, sum columnar.Summary, stats Stats) File {
	return File{
		Path:          name.Path(),
		Key:           name.Key,
		Rows:          sum.Rows,
		Stats:         stats.JSON(),
		Hash:          sum.Hash,
		FirstEvent:    sum.First,
		LastEvent:     sum.Last,
		SchemaVersion: sum.SchemaVersion,
	}
}

// The tags of an add action, all of which our files have, but for the last.
const (
	tagRows          = "bb.rows"
	tagCRC32C        = "bb.crc32c"     // 8 hexadecimal digits
	tagHash          = "bb.rowSetHash" // 32 hexadecimal digits
	tagDuplicates    = "bb.duplicates"
	tagSymbols       = "bb.symbols"    // as in names, of any length
	tagFirstEvent    = "bb.firstEvent" // µs since the epoch
	tagLastEvent     = "bb.lastEvent"
	tagSchemaVersion = "bb.schemaVersion"
	tagWhole         = "bb.whole" // "1", or absent
)

func (f *File) tags() map[string]string {
	tags := map[string]string{
		tagRows:          strconv.FormatInt(f.Rows, 10),
		tagCRC32C:        fmt.Sprintf("%08x", f.CRC32C),
		tagHash:          f.Hash.String(),
		tagDuplicates:    strconv.FormatInt(f.Duplicates, 10),
		tagSymbols:       symbolRange(f.First, f.Last, escape),
		tagFirstEvent:    strconv.FormatInt(f.FirstEvent, 10),
		tagLastEvent:     strconv.FormatInt(f.LastEvent, 10),
		tagSchemaVersion: f.SchemaVersion,
	}
	if f.Whole {
		tags[tagWhole] = "1"
	}
	return tags
}

// readTags is the other way round. A file without them is not one of ours: its
// bytes and rows could not be verified.
func (f *File) readTags(tags map[string]string) error {
	var bad []error
	number := func(key string, base, bits int) int64 {
		n, err := strconv.ParseUint(tags[key], base, bits)
		if base == 10 {
			var signed int64
			signed, err = strconv.ParseInt(tags[key], base, bits)
			n = uint64(signed)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("tag %s is %q", key, tags[key]))
		}
		return int64(n)
	}
	f.Rows = number(tagRows, 10, 64)
	f.CRC32C = uint32(number(tagCRC32C, 16, 32))
	f.Duplicates = number(tagDuplicates, 10, 64)
	f.FirstEvent = number(tagFirstEvent, 10, 64)
	f.LastEvent = number(tagLastEvent, 10, 64)
	f.SchemaVersion = tags[tagSchemaVersion]
	f.Whole = tags[tagWhole] == "1"
	var err error
	if f.Hash, err = columnar.ParseSetHash(tags[tagHash]); err != nil {
		bad = append(bad, fmt.Errorf("tag %s: %w", tagHash, err))
	}
	first, last, two := strings.Cut(tags[tagSymbols], rangeMark)
	if !two {
		last = first
	}
	if f.First, err = unescape(first); err == nil {
		f.Last, err = unescape(last)
	}
	if err != nil {
		bad = append(bad, fmt.Errorf("tag %s: %w", tagSymbols, err))
	}
	return errors.Join(bad...)
}

// check says what is wrong with a file as a part of a table.
func (f *File) check(dataType string) error {
	switch {
	case f.Key.Type != dataType:
		return fmt.Errorf("file %q: of data type %q", f.Path, f.Key.Type)
	case f.Size < 0 || f.Rows < 0 || f.Duplicates < 0:
		return fmt.Errorf("file %q: %d bytes, %d rows, %d duplicates", f.Path, f.Size, f.Rows, f.Duplicates)
	}
	if key, ok := keyOfPath(f.Key.Type, f.Path); !ok || key != f.Key {
		return fmt.Errorf("file %q: not in the folder of %s", f.Path, f.Key)
	}
	return checkPath(f.Path)
}

// checkPath keeps a log from naming what is not below the table.
func checkPath(p string) error {
	if p == "" || path.IsAbs(p) || path.Clean(p) != p || strings.HasPrefix(p, "../") || strings.HasPrefix(p, "_") {
		return fmt.Errorf("file %q: not a path of a table's file", p)
	}
	return nil
}

// encodePath is the path as the log has it: a URI reference.
func encodePath(p string) string { return (&url.URL{Path: p}).EscapedPath() }

func decodePath(uri string) (string, error) {
	p, err := url.PathUnescape(uri)
	if err != nil {
		return "", fmt.Errorf("path %q: %w", uri, err)
	}
	return p, checkPath(p)
}

// partitionValues are the day in the words of the log: decimal, without padding.
func (k Key) partitionValues() map[string]string {
	y, m, d := k.Day.Date()
	return map[string]string{"year": strconv.Itoa(y), "month": strconv.Itoa(int(m)), "day": strconv.Itoa(d)}
}

func keyOfValues(dataType string, values map[string]string) (Key, error) {
	n := [3]int{}
	for i, column := range schema.PartitionColumns {
		v, err := strconv.Atoi(values[column])
		if err != nil {
			return Key{}, fmt.Errorf("partition value %s is %q", column, values[column])
		}
		n[i] = v
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], 0, 0, 0, 0, time.UTC)
	if t.Year() != n[0] || int(t.Month()) != n[1] || t.Day() != n[2] || n[0] < 0 || n[0] > 9999 {
		return Key{}, fmt.Errorf("partition %d-%d-%d: no such day", n[0], n[1], n[2])
	}
	return Key{dataType, DayOf(t.UnixMicro())}, nil
}
