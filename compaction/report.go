package compaction

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/buffetbot/ingest/partition"
)

// A Report tells what a run did.
type Report struct {
	Tables []TableReport
}

// A TableReport tells what a run did to one table.
type TableReport struct {
	Type       string
	From       int64             // the version planned on; -1: there was no table
	Version    int64             // the version that the run left; -1: there is no table
	Commits    int               // versions that the run made, apart from the table's creation
	Rebases    int               // how often a plan was carried over to a version that another writer made first
	Waiting    int               // raw objects left for a later run: too young, too few, held, or in another's hands
	Partitions []PartitionReport // of the groups of the plan, in its order
	Left       *Debt             // what the plan listed and no version has consumed now; nil: not known, or nobody observes
	Err        error             // what stopped the table, nil if nothing did
}

// An Outcome says how a group ended.
type Outcome string

// The outcomes.
const (
	Committed Outcome = "committed" // its raw objects are consumed, its files merged
	Skipped   Outcome = "skipped"   // no raw object of it is readable
	Dropped   Outcome = "dropped"   // an input was gone: to be planned again
	Abandoned Outcome = "abandoned" // the table moved on, or stopped: to be planned again
	Leased    Outcome = "leased"    // another compactor was at it, or had done it: Why says which
	Failed    Outcome = "failed"    // Err of the partition or of the table says why
)

// A PartitionReport tells how one group ended. The figures are what was found and
// made; only an outcome of Committed made them so.
type PartitionReport struct {
	Key        partition.Key
	Outcome    Outcome
	Why        string // the plan's reason
	Version    int64  // the version that holds the result, where Committed
	RawFiles   int    // raw objects consumed
	RowsIn     int64  // their rows
	RowsOut    int64  // live rows afterwards
	Duplicates int64  // rows left out because of their identity
	Conflicts  int64  // those of them that differ from the row that stayed
	BytesIn    int64  // read: raw objects and live files
	BytesOut   int64  // written
	Added      int    // files named by the commit
	Removed    int    // files that are no longer live
	Unreadable []Unreadable
	Err        error // why it Failed or was Dropped
}

// An Unreadable raw object was left where it is.
type Unreadable struct {
	Name   string
	Reason string
}

func reportOf(g Group) PartitionReport { return PartitionReport{Key: g.Key, Why: g.Why} }

// failure is what the run has to call an error.
func (t TableReport) failure() error {
	errs := []error{t.Err}
	for _, p := range t.Partitions {
		if p.Outcome == Failed && p.Err != nil {
			errs = append(errs, fmt.Errorf("compact %s: %w", p.Key, p.Err))
		}
	}
	return errors.Join(errs...)
}

// counts are the figures of several partitions together.
type counts struct {
	rawFiles, added, removed               int
	rowsIn, rowsOut, duplicates, conflicts int64
	bytesIn, bytesOut                      int64
}

func (n *counts) add(p PartitionReport) {
	n.rawFiles, n.added, n.removed = n.rawFiles+p.RawFiles, n.added+p.Added, n.removed+p.Removed
	n.rowsIn, n.rowsOut = n.rowsIn+p.RowsIn, n.rowsOut+p.RowsOut
	n.duplicates, n.conflicts = n.duplicates+p.Duplicates, n.conflicts+p.Conflicts
	n.bytesIn, n.bytesOut = n.bytesIn+p.BytesIn, n.bytesOut+p.BytesOut
}

// Troubled tells whether anything was left undone that a person or a later run
// has to look at: unreadable raw objects, lost races, inputs gone, errors.
func (r Report) Troubled() bool {
	for _, t := range r.Tables {
		if t.Err != nil {
			return true
		}
		for _, p := range t.Partitions {
			if p.Outcome != Committed && p.Outcome != Leased || len(p.Unreadable) > 0 {
				return true
			}
		}
	}
	return false
}

// String is the report for a terminal.
func (r Report) String() string {
	var b strings.Builder
	for _, t := range r.Tables {
		b.WriteString(t.String())
	}
	return b.String()
}

// String is the table's part of the report.
func (t TableReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", t.Type, t.headline())
	if len(t.Partitions) > 0 {
		t.table(&b)
	}
	for _, p := range t.Partitions {
		for _, u := range p.Unreadable {
			fmt.Fprintf(&b, "  left in place: %s\n", u.Reason)
		}
		if p.Err != nil {
			fmt.Fprintf(&b, "  %s %s: %v\n", p.Outcome, p.Key.Day, p.Err)
		}
	}
	if t.Err != nil {
		fmt.Fprintf(&b, "  stopped: %v\n", t.Err)
	}
	return b.String()
}

func (t TableReport) headline() string {
	var parts []string
	switch {
	case t.Version < 0:
		parts = append(parts, "no table yet")
	case t.Version == t.From:
		parts = append(parts, fmt.Sprintf("version %d, unchanged", t.Version))
	case t.From < 0:
		parts = append(parts, fmt.Sprintf("new table, version %d", t.Version))
	default:
		parts = append(parts, fmt.Sprintf("version %d to %d", t.From, t.Version))
	}
	if t.Commits > 0 {
		parts = append(parts, count(t.Commits, "commit"))
	}
	if t.Waiting > 0 {
		parts = append(parts, count(t.Waiting, "raw object")+" waiting")
	}
	return strings.Join(parts, ", ")
}

func (t TableReport) table(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "day\traw\trows in\tduplicates\tconflicts\tlive rows\tfiles\tread\twritten\toutcome\t")
	var all counts
	for _, p := range t.Partitions {
		all.add(p)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t+%d -%d\t%s\t%s\t%s\t\n", p.Key.Day, p.RawFiles, p.RowsIn, p.Duplicates,
			p.Conflicts, p.RowsOut, p.Added, p.Removed, size(p.BytesIn), size(p.BytesOut), p.Outcome)
	}
	if len(t.Partitions) > 1 {
		fmt.Fprintf(w, "together\t%d\t%d\t%d\t%d\t%d\t+%d -%d\t%s\t%s\t\t\n", all.rawFiles, all.rowsIn, all.duplicates,
			all.conflicts, all.rowsOut, all.added, all.removed, size(all.bytesIn), size(all.bytesOut))
	}
	_ = w.Flush() // a strings.Builder takes everything
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
