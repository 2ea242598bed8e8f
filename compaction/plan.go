package compaction

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/buffetbot/ingest/partition"
)

// A Group is one partition's share of a plan: raw objects, to be merged with those
// live files that may hold a row's duplicate (P13), and with what else the policy
// takes along.
type Group struct {
	Key   partition.Key
	Raw   []partition.RawFile // in ascending order of names; none where files alone are merged
	Live  []partition.File    // all of the partition, in ascending order of paths: what a rebase compares (P5)
	Merge []partition.File    // those of them to be merged, as far as the plan can tell; in their order
	Why   string              // for people
	Left  string              // why nothing is done now, for people; "": it is
	Cost  Cost

	Late     bool     // the day was in its final form before
	Final    bool     // the day is given its final form: all of its files are merged
	Unmarked bool     // files do not say yet which rows are superseded: all of the day's are merged
	Waited   bool     // the raw objects have waited as long as the policy lets them
	Small    []string // paths in Merge that no new row needs: small files taken along
	Listed   int      // new raw objects left out because they could not be read, and are not to be tried yet
}

// A Cost is what has to be read for a group, and what comes of it.
type Cost struct {
	RawBytes, LiveBytes int64 // LiveBytes: of the files to be merged
	RawRows             int64 // as far as the listing tells
	Untold              int64 // bytes of the raw objects whose rows the listing does not tell
	LiveRows            int64
	Fewer               int // objects that readers no longer have to open: raw objects and live files less those that come of them
}

// bytes is all that is read, and about what is written: duplicates apart, what
// comes of it is as large.
func (c Cost) bytes() int64 { return c.RawBytes + c.LiveBytes }

// rows are those read, as far as they are known.
func (c Cost) rows() string {
	n := fmt.Sprintf("%d rows", c.RawRows+c.LiveRows)
	if c.Untold > 0 {
		return n + " and those of " + size(c.Untold)
	}
	return n
}

// amplification is the bytes written for each new one; 0 where nothing is new.
func (c Cost) amplification() float64 {
	if c.RawBytes == 0 {
		return 0
	}
	return float64(c.bytes()) / float64(c.RawBytes)
}

// String is the group as a line of a plan.
func (g Group) String() string {
	line := fmt.Sprintf("%s: %s", g.Key, g.Why)
	if g.Left != "" {
		return line + "; left alone: " + g.Left
	}
	line += fmt.Sprintf("; reads and writes about %s (%s)", size(g.Cost.bytes()), g.Cost.rows())
	if a := g.Cost.amplification(); a > 0 {
		line += fmt.Sprintf(", %.1f bytes for each new one", a)
	}
	return line + fmt.Sprintf("; %s fewer", count(g.Cost.Fewer, "file"))
}

// Facts are what a plan goes by beside the table and its raw objects. All of them
// save effort or keep to an operator's wish; none is needed for correctness.
type Facts struct {
	Holds      map[partition.Day]Hold
	Leases     map[partition.Day]Lease
	Unreadable map[string]Unread // by the raw object's name
}

// Plan says which raw objects and live files are to be merged, one group a
// partition, in order of keys. A partition without a raw object that is new to the
// snapshot (nil: there is no table yet) and old enough is left alone, but for what
// the policy says.
func Plan(raw []partition.RawFile, s *partition.Snapshot, o Options) []Group {
	return todo(Explain(raw, s, o, Facts{}))
}

// todo are the groups that are not left alone.
func todo(groups []Group) []Group {
	return slices.DeleteFunc(groups, func(g Group) bool { return g.Left != "" })
}

// Explain is Plan with the groups that are left alone, and with what else is known.
// It is a function of what it is given.
func Explain(raw []partition.RawFile, s *partition.Snapshot, o Options, facts Facts) []Group {
	fresh := map[partition.Key]*Group{}
	group := func(key partition.Key) *Group {
		if fresh[key] == nil {
			fresh[key] = &Group{Key: key}
		}
		return fresh[key]
	}
	for _, r := range raw {
		if consumed(s, r) || !oldEnough(r, o) {
			continue
		}
		g := group(r.Key)
		if u, bad := facts.Unreadable[r.Name]; bad && !u.due(r, o) {
			g.Listed++
			continue
		}
		g.Raw = append(g.Raw, r)
	}
	if s != nil && (o.Policy.on() || o.corrects) {
		for _, key := range s.Partitions() {
			if live := s.Partition(key); o.Policy.on() && mayBeSealed(live) || o.corrects && unmarked(live) {
				group(key)
			}
		}
	}
	groups := make([]Group, 0, len(fresh))
	for _, g := range fresh {
		if g.fill(s, o, facts) {
			groups = append(groups, *g)
		}
	}
	slices.SortFunc(groups, func(a, b Group) int { return a.Key.Compare(b.Key) })
	return groups
}

// fill completes a group, and tells whether there is anything to say of it.
func (g *Group) fill(s *partition.Snapshot, o Options, facts Facts) bool {
	slices.SortFunc(g.Raw, func(a, b partition.RawFile) int { return cmp.Compare(a.Name, b.Name) })
	if s != nil {
		g.Live = slices.Clone(s.Partition(g.Key))
		slices.SortFunc(g.Live, func(a, b partition.File) int { return cmp.Compare(a.Path, b.Path) })
	}
	choose(g, o.withDefaults())
	if o.corrects && unmarked(g.Live) {
		g.mark()
	}
	if len(g.Raw) == 0 && len(g.Merge) == 0 && g.Left == "" {
		if g.Listed == 0 {
			return false
		}
		g.Left = "they are tried again later, see buffetctl unreadable ls " + g.Key.Type
	}
	g.cost(o.withDefaults())
	g.Why = g.why(o.Now)
	if hold, held := facts.Holds[g.Key.Day]; held {
		g.Left = hold.String()
	} else if lease, taken := facts.Leases[g.Key.Day]; taken && g.Left == "" {
		g.Left = lease.String()
	}
	return true
}

func (g *Group) cost(o Options) {
	g.Cost = Cost{}
	for _, r := range g.Raw {
		g.Cost.RawBytes += r.Object.Size
		if r.Summary != nil {
			g.Cost.RawRows += r.Summary.Rows
		} else {
			g.Cost.Untold += r.Object.Size
		}
	}
	for _, f := range g.Merge {
		g.Cost.LiveBytes += f.Size
		g.Cost.LiveRows += f.Rows
	}
	made := int((g.Cost.bytes() + o.TargetFileSize - 1) / o.TargetFileSize)
	g.Cost.Fewer = max(len(g.Raw)+len(g.Merge)-max(made, 1), 0)
}

func (g Group) why(now time.Time) string {
	var parts []string
	if len(g.Raw) > 0 {
		parts = append(parts, g.new(now)...)
	}
	if g.Listed > 0 {
		parts = append(parts, count(g.Listed, "unreadable raw object"))
	}
	switch {
	case len(g.Live) == 0:
		parts = append(parts, "nothing live yet")
	case len(g.Merge) == 0 && len(g.Raw) > 0 && g.Left == "":
		parts = append(parts, "beside "+count(len(g.Live), "live file")+" with other symbols or times")
	case g.Unmarked:
		parts = append(parts, "to say which rows are superseded, in "+g.live())
	case len(g.Merge) > 0 && len(g.Raw) == 0:
		parts = append(parts, "the day is over: its final form, of "+g.live())
	case len(g.Merge) > 0:
		parts = append(parts, "to join "+g.live())
	}
	if n := len(g.Small); n > 0 {
		parts = append(parts, count(n, "small file")+" of them taken along")
	}
	if n := len(g.Live) - len(g.Merge); n > 0 && len(g.Merge) > 0 {
		parts = append(parts, count(n, "other")+" left as they are")
	}
	return strings.Join(parts, ", ")
}

// new is what there is to say about the raw objects.
func (g Group) new(now time.Time) []string {
	first := fmt.Sprintf("%s (%s)", count(len(g.Raw), "new raw object"), size(g.Cost.RawBytes))
	if g.Late {
		first = "late data on a sealed day: " + first
	}
	parts := []string{first}
	if oldest := oldest(g.Raw); !oldest.IsZero() && !now.IsZero() {
		parts = append(parts, fmt.Sprintf("the oldest of %s ago", now.Sub(oldest).Round(time.Second)))
	}
	if g.Waited {
		parts = append(parts, "which have waited long enough")
	}
	return parts
}

func (g Group) live() string {
	return fmt.Sprintf("%s (%s, %d rows)", count(len(g.Merge), "live file"), size(g.Cost.LiveBytes), g.Cost.LiveRows)
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
