// Package fsck checks every promise of the lake's layout against the bucket.
//
// What always holds:
//
//   - it reads and changes nothing, so that it may run beside everything else;
//   - it trusts nothing that the writers use to keep the promises: objects are
//     compared with what the log says of them, and rows with what the contract
//     says an identity is;
//   - a finding names the object, the rule and what to do;
//   - one table or partition that cannot be checked is a finding and stops no
//     other.
//
// A quick check lists and reads the log, the objects' sizes and checksums, and
// the manifests. A deep one reads every row as well. What changes while it looks
// can be seen half: a table that is written to is loaded before its objects are
// listed, so that what a finding says was true when it was looked at.
package fsck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/invariant"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A Finding is a promise that is not kept, or something that a person should look
// at.
type Finding struct {
	invariant.Violation
	Notice bool // no promise is broken
}

// String is the finding on one line.
func (f Finding) String() string {
	kind := "VIOLATION"
	if f.Notice {
		kind = "notice"
	}
	return fmt.Sprintf("%s %s %s: %s (%s)", kind, f.Rule, f.Object, f.Text, f.Advice)
}

// A Report is what a check found.
type Report struct {
	Tables, Partitions, Objects int
	Rows                        int64 // read, in a deep check
	Findings                    []Finding
}

// Violations counts the findings that are not mere notices.
func (r *Report) Violations() int {
	n := 0
	for _, f := range r.Findings {
		if !f.Notice {
			n++
		}
	}
	return n
}

// A Checker checks the tables of one bucket.
type Checker struct {
	Store    objstore.Reader
	Registry *schema.Registry
	Deep     bool

	// Progress, where set, is called after each partition: of those of the data
	// type, so many are done.
	Progress func(dataType string, done, total int)
}

// Run checks the tables of the data types. The error is that of the context
// alone: what could not be read is a finding.
func (c *Checker) Run(ctx context.Context, types []string) (Report, error) {
	r := Report{}
	for _, dataType := range types {
		def, ok := c.Registry.Latest(dataType)
		if !ok {
			r.add("registry", dataType, "no definition of that data type", "name one that buffetctl schema ls shows")
			continue
		}
		t := &check{Checker: c, def: def, report: &r, root: partition.TableRoot(dataType)}
		t.run(ctx)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
	}
	return r, nil
}

func (r *Report) add(rule, object, text, advice string) {
	r.Findings = append(r.Findings, Finding{Violation: invariant.Violation{Rule: rule, Object: object, Text: text, Advice: advice}})
}

func (r *Report) note(rule, object, text, advice string) {
	r.Findings = append(r.Findings, Finding{invariant.Violation{Rule: rule, Object: object, Text: text, Advice: advice}, true})
}

// A check is one table's.
type check struct {
	*Checker
	def      *schema.Definition
	report   *Report
	root     string
	raw      []partition.RawFile
	snapshot *partition.Snapshot
	events   *events
	letters  verdicts
}

func (c *check) run(ctx context.Context) {
	var err error
	if c.raw, err = partition.ListRaw(ctx, c.Store, c.def.Name); err != nil {
		c.unreadable("raw/"+c.def.Name, err)
		return
	}
	c.report.Objects += len(c.raw)
	whole := c.log(ctx)
	c.snapshot, err = partition.OpenTable(onlyReads{c.Store}, c.def.Name, nil).Load(ctx)
	switch {
	case errors.Is(err, partition.ErrNoTable):
		return
	case err != nil && !whole:
		return // said already, and why
	case err != nil:
		c.table(err)
		return
	}
	c.report.Tables++
	c.history(ctx)
	c.rawObjects(ctx)
	c.dataObjects(ctx)
	c.manifests(ctx)
	if c.Deep {
		c.rows(ctx)
	}
}

// table reports a log that could not be read.
func (c *check) table(err error) {
	var unsupported *partition.ErrUnsupported
	if errors.As(err, &unsupported) {
		c.report.add("P-log", unsupported.Object, err.Error(), "another program wrote to the table: restore the object, or the table to a version before")
		return
	}
	var foreign *partition.ErrForeign
	if errors.As(err, &foreign) {
		c.report.add("P-log", foreign.Object, err.Error(), "take the right to write from it, and go back to the version before: docs/runbooks/foreign-writer.md")
		return
	}
	c.report.add("P9", c.root+"_delta_log", err.Error(), "look at the object that is named; restore the table to a version before where it is damaged")
}

func (c *check) unreadable(object string, err error) {
	c.report.add("C5", object, err.Error(), "check access and try again")
}

// rawObjects looks at what waits and at what came back.
func (c *check) rawObjects(ctx context.Context) {
	for _, f := range c.raw {
		if _, err := partition.ParseName(f.Name); err != nil {
			c.report.note("format", f.Name, "a raw file that is not named as this program names them: "+err.Error(), "it is compacted all the same; see who wrote it")
		}
		mark, consumed := c.snapshot.Txns[f.Name]
		if consumed && f.Object.Created.After(mark.Updated) {
			advice := "nothing: its rows are in the table, and the sweep deletes it again"
			if mark.Version <= c.snapshot.ErasedDay(f.Key) {
				advice = "nothing: its day was taken away since, its rows do not come back, and the sweep deletes it again"
			}
			c.report.note("P13", f.Name, "a raw file that was consumed before it was made: a delayed upload revived it", advice)
		}
	}
}

// dataObjects compares the live files with the objects, and looks for objects
// that no version names.
func (c *check) dataObjects(ctx context.Context) {
	there := map[string]objstore.Object{}
	for o, err := range c.Store.List(ctx, c.root+"year=", "") {
		if err != nil {
			c.unreadable(c.root, err)
			return
		}
		there[o.Name] = o
		c.report.Objects++
		c.orphan(o)
	}
	for _, f := range c.snapshot.Files(nil) {
		o, ok := there[f.ObjectName()]
		if !ok {
			c.report.add("C5", f.ObjectName(), fmt.Sprintf("a live file does not exist; version %d names it with %d rows", c.snapshot.Version, f.Rows),
				"restore it from the backup, or compact its day again from the archive")
			continue
		}
		c.statistics(f)
		if !o.HasCRC32C {
			if described, err := c.Store.Stat(ctx, o.Name); err == nil {
				o = described
			}
		}
		if o.Size != f.Size || o.HasCRC32C && o.CRC32C != f.CRC32C {
			c.report.add("C5", o.Name, fmt.Sprintf("%d bytes with checksum %08x, the log says %d with %08x", o.Size, o.CRC32C, f.Size, f.CRC32C),
				"the object is damaged: restore it from the backup")
		}
	}
}

// statistics compares what the log says of a file in two places.
func (c *check) statistics(f partition.File) {
	s, err := partition.ParseStats(f.Stats)
	if err != nil {
		c.report.add("C5", f.ObjectName(), "its statistics cannot be read: "+err.Error(), "restore the table to the version before")
		return
	}
	if s.NumRecords != f.Rows {
		c.report.add("C5", f.ObjectName(), fmt.Sprintf("the log says it holds %d rows, and its statistics %d", f.Rows, s.NumRecords),
			"other engines count by the statistics: restore the table to the version before")
	}
}

// bounds sees that no row lies outside of what the log says of its file: every
// engine leaves files out by these.
func (c *check) bounds(f partition.File, rec arrow.RecordBatch) {
	says, err := partition.ParseStats(f.Stats)
	if err != nil || rec == nil {
		return // said already
	}
	wider := says.Merge(partition.StatsOf(rec, c.def))
	for _, side := range []struct {
		name       string
		says, both map[string]any
	}{{"least", says.Min, wider.Min}, {"greatest", says.Max, wider.Max}} {
		for column, bound := range side.both {
			if side.says[column] != bound {
				c.report.add("C5", f.ObjectName(), fmt.Sprintf("the log says the %s %s is %v, the rows say %v", side.name, column, side.says[column], bound),
					"queries miss rows: restore the table to the version before")
			}
		}
	}
}

// orphan reports an object that the table does not know.
func (c *check) orphan(o objstore.Object) {
	path := strings.TrimPrefix(o.Name, c.root)
	if _, live := c.snapshot.Live(path); live {
		return
	}
	if _, grave := c.snapshot.Tombstone(path); grave {
		return
	}
	name, err := partition.ParseProcessedName(o.Name)
	switch {
	case err != nil:
		c.report.add("P3", o.Name, "no version names it, and this program did not name it", "look at it and delete it by hand")
	case name.Planned < c.snapshot.Fence():
		c.report.note("P3", o.Name, "an orphan behind the fence", "compactor --sweep deletes it")
	default:
		c.report.note("P3", o.Name, "no version names it: a compactor is at work, or one died", "compactor --sweep deletes it once it is old")
	}
}

// rows reads everything.
func (c *check) rows(ctx context.Context) {
	keys := c.snapshot.Partitions()
	for _, f := range c.raw {
		keys = append(keys, f.Key)
	}
	slices.SortFunc(keys, partition.Key.Compare)
	keys = slices.Compact(keys)
	c.events = newEvents()
	if !c.rejected(ctx) {
		return
	}
	defer c.eventIDs(ctx)
	for i, key := range keys {
		if ctx.Err() != nil {
			return
		}
		c.report.Partitions++
		c.day(ctx, key)
		if c.Progress != nil {
			c.Progress(c.def.Name, i+1, len(keys))
		}
	}
}

func (c *check) day(ctx context.Context, key partition.Key) {
	checker := compaction.Check{Store: c.Store, Definition: c.def, Snapshot: c.snapshot, Raw: c.readable(ctx, key)}
	live, bad, err := checker.References(ctx, key)
	c.violations(bad)
	if err != nil {
		c.unreadable(key.String(), err)
		return
	}
	files := c.snapshot.Partition(key)
	for i, rec := range live {
		if rec != nil {
			c.report.Rows += rec.NumRows()
			c.bounds(files[i], rec)
			c.events.take(key, rec, c.def)
			c.oneVerdict(files[i].ObjectName(), rec)
		}
	}
	if len(bad) > 0 {
		return
	}
	c.violations(checker.Unique(key, live))
	c.violations(checker.Superseded(key, live))
	bad, err = checker.Conservation(ctx, key, live)
	c.violations(bad)
	if err != nil {
		c.unreadable(key.String(), err)
	}
}

func (c *check) violations(found []invariant.Violation) {
	for _, v := range found {
		c.report.Findings = append(c.report.Findings, Finding{Violation: v})
	}
}
