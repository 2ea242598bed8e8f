package compaction

import "slices"

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
