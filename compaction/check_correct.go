package compaction

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/invariant"
	"github.com/buffetbot/ingest/partition"
)

// Superseded checks K4: the rows of each live file, in the order of the snapshot's,
// say truly whether and when they were superseded. Rows of one key are in one file.
func (c Check) Superseded(key partition.Key, live []arrow.RecordBatch) []Violation {
	column := c.Definition.Superseded()
	if column < 0 {
		return nil
	}
	var found []Violation
	for i, f := range c.Snapshot.Partition(key) {
		if i >= len(live) || !f.TellsSuperseded() {
			continue
		}
		says := live[i].Column(column).(*array.Timestamp)
		by := columnar.SupersededBy(live[i].Column, int(live[i].NumRows()), c.Definition)
		for row := range says.Len() {
			at, superseded := by[row]
			if says.IsValid(row) != superseded || superseded && int64(says.Value(row)) != at {
				found = append(found, invariant.Broken("K4", key.String(), "%s row %d: _superseded_at is %s, which is not when the next row of its key was published", f.Path, row, says.ValueStr(row)))
				break
			}
		}
	}
	return found
}
