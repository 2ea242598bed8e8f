package sweep

import (
	"fmt"
	"strings"
	"sync"
)

// A Report is what a run did.
type Report struct{ Tables []TableReport }

// A TableReport is what a run did to one table.
type TableReport struct {
	Type   string
	DryRun bool // nothing was done; the counts say what would have been

	Archived    Sum // raw objects
	Raw         Sum // raw objects deleted
	Removed     Sum // processed objects deleted that the table no longer holds
	Orphans     Sum // processed objects deleted that no version names
	Log         Sum // entries and checkpoints deleted
	Forgotten   int // marks of raw objects that are gone, left out of a new checkpoint
	Fence       int64
	FenceWanted bool // an old orphan waits for a fence
	Kept        []Kept
	Err         error

	gone []string // marks that can be forgotten
}

// A Sum counts objects and their bytes.
type Sum struct {
	Objects int
	Bytes   int64
}

// A Kept is an object that should go and stays.
type Kept struct{ Name, Reason string }

var counting sync.Mutex // of every report: an addition now and then

func (r *TableReport) count(s *Sum, bytes int64) {
	counting.Lock()
	defer counting.Unlock()
	s.Objects++
	s.Bytes += bytes
}

func (r *TableReport) keep(name, reason string) {
	counting.Lock()
	defer counting.Unlock()
	r.Kept = append(r.Kept, Kept{name, reason})
}

// Nothing tells whether there was nothing to do.
func (r *TableReport) Nothing() bool {
	return r.Archived.Objects+r.Raw.Objects+r.Removed.Objects+r.Orphans.Objects+r.Log.Objects+r.Forgotten+len(r.Kept) == 0 && r.Fence == 0 && !r.FenceWanted
}

// String is the report for people.
func (r Report) String() string {
	var b strings.Builder
	for i := range r.Tables {
		t := &r.Tables[i]
		if t.Err != nil {
			fmt.Fprintf(&b, "%s: %v\n", t.Type, t.Err)
		}
		if t.Nothing() {
			continue
		}
		verb := "swept"
		if t.DryRun {
			verb = "would sweep"
		}
		fmt.Fprintf(&b, "%s: %s %d raw objects (%d archived), %d removed files, %d orphans, %d log objects; %d bytes\n", t.Type, verb,
			t.Raw.Objects, t.Archived.Objects, t.Removed.Objects, t.Orphans.Objects, t.Log.Objects,
			t.Raw.Bytes+t.Removed.Bytes+t.Orphans.Bytes+t.Log.Bytes)
		if t.Fence > 0 {
			fmt.Fprintf(&b, "  fence at version %d\n", t.Fence)
		} else if t.FenceWanted {
			fmt.Fprintln(&b, "  an old orphan waits for a fence")
		}
		for _, k := range t.Kept {
			fmt.Fprintf(&b, "  kept %s: %s\n", k.Name, k.Reason)
		}
	}
	return b.String()
}
