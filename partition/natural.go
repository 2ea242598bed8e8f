package partition

import (
	"strings"

	"github.com/buffetbot/ingest/schema"
)

// TellsSuperseded tells whether the file was written with the column
// _superseded_at. One that was written before a natural key was declared lacks it:
// which of its rows are current has to be found out. The statistics, which name
// every column, say so.
func (f *File) TellsSuperseded() bool {
	return strings.Contains(f.Stats, `"`+schema.ColSupersededAt+`":`)
}
