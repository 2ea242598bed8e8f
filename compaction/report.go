package compaction

import (
	"github.com/buffetbot/ingest/partition"
)

// A Report tells what a run did.
type Report struct {
	Tables []TableReport
}

// A TableReport tells what a run did to one table.
type TableReport struct {
	Type       string
	From       int64 // the version planned on; -1: the table was not there
	Version    int64 // the version the run left; -1: none
	Commits    int
	Partitions []PartitionReport // in order of day
	Err        error             // what stopped the table
}

// An Outcome says how a group ended.
type Outcome string

// The outcomes.
const (
	Committed Outcome = "committed" // its raw files are consumed
	Skipped   Outcome = "skipped"   // no raw file of it could be read
	Dropped   Outcome = "dropped"   // an input was gone: to be planned again
	Abandoned Outcome = "abandoned" // another writer committed first: to be planned again
	Failed    Outcome = "failed"    // see Err
)

// A PartitionReport tells how one group ended. The counts are what was found and
// made, whether or not it was committed.
type PartitionReport struct {
	Key        partition.Key
	Outcome    Outcome
	Why        string // the plan's reason
	Version    int64  // the version that holds the result; 0 where not Committed
	RawFiles   int    // consumed
	RowsIn     int64  // of those raw files
	LiveBefore int64  // live rows before
	RowsOut    int64  // live rows after
	Duplicates int64  // rows dropped because their identity is there
	Conflicts  int64  // of those: other bytes under the same identity
	BytesIn    int64  // raw and live bytes read
	BytesOut   int64  // bytes written
	Added      int    // files
	Removed    int    // files
	Unreadable []Unreadable
	Err        error
}

// An Unreadable raw file is left where it is.
type Unreadable struct {
	Name   string
	Reason string
}
