package compaction

import (
	"slices"

	"github.com/buffetbot/ingest/partition"
)

// marked tells whether the live files that were merged say of their rows whether
// they are superseded. Files from before a natural key was declared do not, and are
// written again although their rows stay.
func (m *merge) marked() bool {
	if m.def.Superseded() < 0 {
		return true
	}
	for _, f := range m.group.Live {
		merged := slices.ContainsFunc(m.inputs, func(in input) bool { return in.name == f.ObjectName() })
		if merged && !f.TellsSuperseded() {
			return false
		}
	}
	return true
}

// unmarked tells whether one of the files is from before a natural key was declared.
func unmarked(files []partition.File) bool {
	return slices.ContainsFunc(files, func(f partition.File) bool { return !f.TellsSuperseded() })
}

// mark makes the group one that writes all of its day's files again, now: external
// engines take rows that are not marked for current.
func (g *Group) mark() {
	g.Merge, g.Final, g.Left, g.Unmarked = g.Live, true, "", true
}

// mayBeSealed tells whether a day without new rows can need its final form.
func mayBeSealed(files []partition.File) bool {
	return len(files) > 1 && slices.ContainsFunc(files, func(f partition.File) bool { return !f.Whole })
}
