package partition

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/schema"
)

// Stats are the statistics of a file in the form of the log.
type Stats struct {
	NumRecords int64            `json:"numRecords"`
	Min        map[string]any   `json:"minValues"`
	Max        map[string]any   `json:"maxValues"`
	NullCount  map[string]int64 `json:"nullCount"`
}

// StatsOf are the statistics of the rows of a record.
func StatsOf(rec arrow.RecordBatch, def *schema.Definition) Stats { panic("not yet") }

// JSON is the text that add actions carry.
func (s Stats) JSON() string { panic("not yet") }

// Merge are the statistics of both files' rows.
func (s Stats) Merge(o Stats) Stats { panic("not yet") }

// ParseStats reads what JSON wrote, or another engine's.
func ParseStats(text string) (Stats, error) { panic("not yet") }

func symbolsOf(rec arrow.RecordBatch, def *schema.Definition) (first, last string) { panic("not yet") }
