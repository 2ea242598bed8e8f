package partition

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A Snapshot is a table at one version. It never changes.
type Snapshot struct {
	Type    string
	Version int64
	Time    time.Time // when the version was made, by the store's clock (P8)

	ID           string // of the table
	SchemaString string // Delta's, see schema.Definition.DeltaSchemaString
	Txns         map[string]Txn

	meta       metaDataAction
	protocol   protocolAction
	files      []File // by key, then path
	tombstones map[string]Tombstone
	checkpoint int64 // the highest version known to have one, -1: none
}

// A Txn is a mark kept for ever: a consumed raw object under its full name,
// "fence" (P2), "erase" (P7), "erase/" and a day, or what another version of this program put there.
type Txn struct {
	AppID   string
	Version int64
	Updated time.Time // when the log object that set it was made, by the store's clock (P8)
}

// A Tombstone is a file that is no longer live and may still be read by those
// who hold an older snapshot.
type Tombstone struct {
	Path    string
	Key     Key
	Size    int64
	Removed time.Time // when the log object that removed it was made, by the store's clock (P8)
}

// ObjectName is the full name of the removed file's object.
func (t Tombstone) ObjectName() string { return TableRoot(t.Key.Type) + t.Path }

func emptySnapshot(dataType string) *Snapshot {
	return &Snapshot{Type: dataType, Version: -1, checkpoint: -1}
}

// Files are the live files of the partitions pred picks (nil: all), by
// partition, then path.
func (s *Snapshot) Files(pred func(Key) bool) []File {
	if pred == nil {
		return slices.Clone(s.files)
	}
	var picked []File
	for _, k := range s.Partitions() {
		if pred(k) {
			picked = append(picked, s.Partition(k)...)
		}
	}
	return picked
}

// Partition is the partition's live files by path. The caller must not change it.
func (s *Snapshot) Partition(k Key) []File {
	from, _ := sort.Find(len(s.files), func(i int) int { return k.Compare(s.files[i].Key) })
	end := from
	for end < len(s.files) && s.files[end].Key == k {
		end++
	}
	return s.files[from:end:end]
}

// Partitions are the keys that have live files, in order.
func (s *Snapshot) Partitions() []Key {
	var keys []Key
	for i := range s.files {
		if k := s.files[i].Key; len(keys) == 0 || keys[len(keys)-1] != k {
			keys = append(keys, k)
		}
	}
	return keys
}

// Live finds a live file by its path.
func (s *Snapshot) Live(path string) (File, bool) {
	k, ok := keyOfPath(s.Type, path)
	if !ok {
		return File{}, false
	}
	files := s.Partition(k)
	i, ok := slices.BinarySearchFunc(files, path, func(f File, p string) int { return cmp.Compare(f.Path, p) })
	if !ok {
		return File{}, false
	}
	return files[i], true
}

// Tombstones are the removed files that are still kept track of, by path.
func (s *Snapshot) Tombstones() []Tombstone {
	return slices.SortedFunc(maps.Values(s.tombstones), func(a, b Tombstone) int { return cmp.Compare(a.Path, b.Path) })
}

// Tombstone finds a removed file by its path.
func (s *Snapshot) Tombstone(path string) (Tombstone, bool) {
	t, ok := s.tombstones[path]
	return t, ok
}

// Consumed tells whether the rows of a raw object are in the table already. A
// mark only saves work: that an object has none does not say its rows are new
// (P13).
func (s *Snapshot) Consumed(rawName string) bool {
	_, ok := s.Txns[rawName]
	return ok
}

// Fence is the version of the last fence (P2), -1 without one.
func (s *Snapshot) Fence() int64 {
	if t, ok := s.Txns[FenceMark]; ok {
		return t.Version
	}
	return -1
}

// Erased is the version of the last commit that took rows away for good (P7), -1
// without one.
func (s *Snapshot) Erased() int64 {
	if t, ok := s.Txns[EraseMark]; ok {
		return t.Version
	}
	return -1
}

// ErasedDay is the version of the last commit that took a day's rows away for
// good, -1 without one: raw objects consumed before it prove nothing of the day.
func (s *Snapshot) ErasedDay(k Key) int64 {
	if t, ok := s.Txns[EraseMarkOf(k)]; ok {
		return t.Version
	}
	return -1
}

// EraseMarkOf is the mark of a commit that takes all rows of a day away. It is set
// beside EraseMark, which alone decides over plans (P7), and is kept for ever like it.
func EraseMarkOf(k Key) string { return EraseMark + "/" + k.Day.String() }

// notRaw tells marks from the names of raw objects.
func notRaw(mark string) bool {
	return mark == FenceMark || mark == EraseMark || strings.HasPrefix(mark, EraseMark+"/")
}

// SameTable tells whether both are versions of a table with one id, schema,
// protocol and set of properties.
func (s *Snapshot) SameTable(o *Snapshot) bool {
	return s.Type == o.Type && reflect.DeepEqual(s.meta, o.meta) && reflect.DeepEqual(s.protocol, o.protocol)
}

// The marks that are not names of raw objects.
const (
	FenceMark = "fence"
	EraseMark = "erase"
)

// Properties are the table's own, with the defaults for what it does not say.
func (s *Snapshot) Properties() Properties { return propertiesOf(s.meta.Configuration) }

// The names of the properties in the log.
const (
	propRetain     = "delta.deletedFileRetentionDuration"
	propLogRetain  = "delta.logRetentionDuration"
	propCheckpoint = "delta.checkpointInterval"
	propAppendOnly = "delta.appendOnly"
)

func (p Properties) configuration() map[string]string {
	return map[string]string{
		propRetain:     interval(p.Retain),
		propLogRetain:  interval(p.LogRetain),
		propCheckpoint: strconv.FormatInt(p.CheckpointEvery, 10),
	}
}

// given is the configuration without what is zero.
func (p Properties) given() map[string]string {
	config := p.configuration()
	for name, zero := range map[string]bool{propRetain: p.Retain == 0, propLogRetain: p.LogRetain == 0, propCheckpoint: p.CheckpointEvery == 0} {
		if zero {
			delete(config, name)
		}
	}
	return config
}

// interval is a duration in Delta's words.
func interval(d time.Duration) string {
	if d%time.Hour == 0 {
		return "interval " + strconv.FormatInt(int64(d/time.Hour), 10) + " hours"
	}
	return "interval " + strconv.FormatInt(int64(d/time.Second), 10) + " seconds"
}

var units = map[string]time.Duration{
	"week": 7 * 24 * time.Hour, "day": 24 * time.Hour, "hour": time.Hour, "minute": time.Minute,
	"second": time.Second, "millisecond": time.Millisecond,
}

// parseInterval reads "interval 7 days" and the like.
func parseInterval(s string, otherwise time.Duration) time.Duration {
	fields := strings.Fields(strings.ToLower(s))
	if len(fields) < 3 || len(fields)%2 == 0 || fields[0] != "interval" {
		return otherwise
	}
	var sum time.Duration
	for i := 1; i < len(fields); i += 2 {
		n, err := strconv.ParseInt(fields[i], 10, 32)
		unit, ok := units[strings.TrimSuffix(fields[i+1], "s")]
		if err != nil || !ok || n < 0 {
			return otherwise
		}
		sum += time.Duration(n) * unit
	}
	return sum
}

func propertiesOf(config map[string]string) Properties {
	p := defaultProperties
	p.Retain = parseInterval(config[propRetain], p.Retain)
	p.LogRetain = parseInterval(config[propLogRetain], p.LogRetain)
	if n, err := strconv.ParseInt(config[propCheckpoint], 10, 64); err == nil && n > 0 {
		p.CheckpointEvery = n
	}
	return p
}
