package compaction

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/buffetbot/ingest/partition"
)

// A Group is one partition's share of a plan: raw objects, to be merged with all
// live files of the partition. All of them, because a row may be the duplicate
// of any of theirs (P13).
type Group struct {
	Key  partition.Key
	Raw  []partition.RawFile // in ascending order of names
	Live []partition.File    // in ascending order of paths
	Why  string              // for people
	Cost Cost
}

// A Cost is what has to be read for a group.
type Cost struct {
	RawBytes, LiveBytes int64
	RawRows             int64 // as far as the listing tells
	Untold              int64 // bytes of the raw objects whose rows the listing does not tell
	LiveRows            int64
}

// bytes is all that is read.
func (c Cost) bytes() int64 { return c.RawBytes + c.LiveBytes }

// String is the group as a line of a plan.
func (g Group) String() string {
	return fmt.Sprintf("%s: %s; reads %s", g.Key, g.Why, size(g.Cost.bytes()))
}

// Plan says which raw objects are to be merged, one group a partition, in order
// of keys. A partition without a raw object that is new to the snapshot (nil:
// there is no table yet) and old enough is left alone.
func Plan(raw []partition.RawFile, s *partition.Snapshot, o Options) []Group {
	fresh := map[partition.Key][]partition.RawFile{}
	for _, r := range raw {
		if !consumed(s, r) && oldEnough(r, o) {
			fresh[r.Key] = append(fresh[r.Key], r)
		}
	}
	groups := make([]Group, 0, len(fresh))
	for key, files := range fresh {
		groups = append(groups, newGroup(key, files, s, o.Now))
	}
	slices.SortFunc(groups, func(a, b Group) int { return a.Key.Compare(b.Key) })
	return groups
}

func newGroup(key partition.Key, raw []partition.RawFile, s *partition.Snapshot, now time.Time) Group {
	slices.SortFunc(raw, func(a, b partition.RawFile) int { return cmp.Compare(a.Name, b.Name) })
	g := Group{Key: key, Raw: raw}
	if s != nil {
		g.Live = slices.Clone(s.Partition(key))
		slices.SortFunc(g.Live, func(a, b partition.File) int { return cmp.Compare(a.Path, b.Path) })
	}
	for _, r := range g.Raw {
		g.Cost.RawBytes += r.Object.Size
		if r.Summary != nil {
			g.Cost.RawRows += r.Summary.Rows
		} else {
			g.Cost.Untold += r.Object.Size
		}
	}
	for _, f := range g.Live {
		g.Cost.LiveBytes += f.Size
		g.Cost.LiveRows += f.Rows
	}
	g.Why = g.why(now)
	return g
}

func (g Group) why(now time.Time) string {
	why := fmt.Sprintf("%s (%s)", count(len(g.Raw), "new raw object"), size(g.Cost.RawBytes))
	if oldest := oldest(g.Raw); !oldest.IsZero() && !now.IsZero() {
		why += fmt.Sprintf(", the oldest of %s ago", now.Sub(oldest).Round(time.Second))
	}
	if len(g.Live) == 0 {
		return why + ", nothing live yet"
	}
	return why + fmt.Sprintf(", to join %s (%s, %d rows)", count(len(g.Live), "live file"), size(g.Cost.LiveBytes), g.Cost.LiveRows)
}

func oldest(raw []partition.RawFile) time.Time {
	var t time.Time
	for _, r := range raw {
		if t.IsZero() || r.Object.Created.Before(t) {
			t = r.Object.Created
		}
	}
	return t
}

func consumed(s *partition.Snapshot, r partition.RawFile) bool {
	return s != nil && s.Consumed(r.Name)
}

// oldEnough goes by the age that the store gives (P8). It only saves work.
func oldEnough(r partition.RawFile, o Options) bool {
	return o.MinRawAge <= 0 || o.Now.Sub(r.Object.Created) >= o.MinRawAge
}

func unconsumed(raw []partition.RawFile, s *partition.Snapshot) int {
	n := 0
	for _, r := range raw {
		if !consumed(s, r) {
			n++
		}
	}
	return n
}

// batches cuts groups into commits' worths.
func batches(groups []Group, o Options) [][]Group {
	var all [][]Group
	start, files, bytes := 0, 0, int64(0)
	for i, g := range groups {
		files += len(g.Raw)
		bytes += g.Cost.bytes()
		full := i-start >= o.MaxCommitGroups || files > o.MaxCommitRawFiles || bytes > o.MaxCommitBytes
		if full && i > start {
			all = append(all, groups[start:i])
			start, files, bytes = i, len(g.Raw), g.Cost.bytes()
		}
	}
	if start < len(groups) {
		all = append(all, groups[start:])
	}
	return all
}
