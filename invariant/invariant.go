// Package invariant says what the lake promises, rule by rule (docs/contract.md), as
// checks of plain values: identities, files, marks and verdicts.
//
// The simulation asks after every change of its model, compaction's checker and
// `buffetctl fsck` of what is in a bucket, the crash tests by way of fsck: each rule
// is defined here, once. The checks trust nothing that the programs use to keep the
// rules, read nothing and keep nothing; whoever calls them has read what they compare.
//
// Not here: C6 (write-once) and C7 (proven deletion) are about what happens, so that
// only who sees every request can check them (package sim); C9 to C11 are about the
// programs and not about the lake.
package invariant

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/schema"
)

// A Violation is a promise that is not kept.
type Violation struct {
	Rule   string // "C2"
	Object string // full name, or that of a table or partition; "": all of it
	Text   string // what is wrong
	Advice string // what to do
}

// String is the violation on one line.
func (v Violation) String() string {
	if v.Object == "" {
		return v.Rule + ": " + v.Text
	}
	return fmt.Sprintf("%s %s: %s", v.Rule, v.Object, v.Text)
}

// Broken is a violation of a rule about rows, with what to do.
func Broken(rule, object, format string, args ...any) Violation {
	return Violation{Rule: rule, Object: object, Text: fmt.Sprintf(format, args...), Advice: advice[rule]}
}

var advice = map[string]string{
	"C2": "tell the developers; until then read with a query that takes one row of each identity",
	"C3": "restore the table to the version before, or compact the day again from the archive",
	"C4": "restore the table to the version before",
	"C5": "restore the object from the backup, or compact its day again from the archive",
	"C8": "tell the developers; the row is right where the definition of today takes the record, else the dead letter",
	"K4": "tell the developers; the rows are all there: until then find the current one by _published_at",
}

// Unique checks C2: an identity is in at most one row of a partition's live files. It
// gives the set of all.
func Unique(object string, files ...[]string) (map[string]bool, []Violation) {
	var found []Violation
	seen := map[string]bool{}
	for _, ids := range files {
		for _, id := range ids {
			if seen[id] {
				found = append(found, Broken("C2", object, "two live rows of identity %s", strconv.Quote(id)))
			}
			seen[id] = true
		}
	}
	return seen, found
}

// A Consumed is a raw object whose rows a partition has taken in, since the partition
// was last taken away for good.
type Consumed struct {
	Name string
	IDs  []string
}

// Present checks C3's one half: every row consumed is live.
func Present(object string, live map[string]bool, consumed ...Consumed) []Violation {
	var found []Violation
	for _, c := range consumed {
		for _, id := range c.IDs {
			if !live[id] {
				found = append(found, Broken("C3", object, "%s is consumed, its row %q is not live", c.Name, id))
			}
		}
	}
	return found
}

// Counted checks C3's other half: the rows consumed are the live rows and the
// duplicates counted. Where not all raw objects are known (complete is false) the live
// rows may be more.
func Counted(object string, consumed, kept int64, complete bool) []Violation {
	if consumed > kept || complete && consumed != kept {
		return []Violation{Broken("C3", object, "%d rows consumed, %d live or counted as duplicates", consumed, kept)}
	}
	return nil
}

// Monotone checks C4: what was visible stays visible. The first row that is not is
// reported.
func Monotone(object string, before, after map[string]bool) []Violation {
	least := ""
	for id := range before {
		if !after[id] && (least == "" || id < least) {
			least = id
		}
	}
	if least == "" {
		return nil
	}
	return []Violation{Broken("C4", object, "row %s is visible no longer", least)}
}

// A Shape is what the log records of a file, or what its object is.
type Shape struct {
	Size   int64
	CRC32C uint32
	Rows   int64
}

func (s Shape) String() string {
	return fmt.Sprintf("%d bytes with checksum %08x and %d rows", s.Size, s.CRC32C, s.Rows)
}

// Referenced checks C5: a live file's object is what the log records.
func Referenced(object string, recorded, is Shape) []Violation {
	if recorded == is {
		return nil
	}
	return []Violation{Broken("C5", object, "%s, recorded are %s", is, recorded)}
}

// Verdict checks C8: a record is not both visible and dead-lettered. Rejected and
// visible are the schema revisions by which each was judged; by another revision the
// verdict may be another, and Verdict says nothing.
func Verdict(object, record, rejected, visible string) []Violation {
	if rejected != visible {
		return nil
	}
	return []Violation{Broken("C8", object, "%s is a row and a dead letter, both by revision %s", record, visible)}
}

// Identities spells out the identity of each row of a record with all columns:
// symbol, event time, _id, _index, and _published_at where the message id alone
// does not identify.
func Identities(rec arrow.RecordBatch, def *schema.Definition) []string {
	columns := []int{def.SymbolField, def.TimeField, def.Field(schema.ColID), def.Field(schema.ColIndex), def.Field(schema.ColPublishedAt)}
	ids := make([]string, rec.NumRows())
	for row := range ids {
		var b strings.Builder
		for i, column := range columns {
			values := rec.Column(column)
			if i == 4 && !strings.HasPrefix(rec.Column(columns[2]).ValueStr(row), "m:") {
				continue
			}
			if values.IsNull(row) {
				b.WriteString("null;")
				continue
			}
			fmt.Fprintf(&b, "%q;", values.ValueStr(row))
		}
		ids[row] = b.String()
	}
	return ids
}
