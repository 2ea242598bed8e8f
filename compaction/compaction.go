// Package compaction turns a partition's many small raw files into a few large
// sorted ones, and makes them what the table's log names.
//
// What always holds:
//
//   - the contents of processed/ are a function of the set of rows that were
//     consumed: neither the order nor the number of runs shows in them, and
//     running again changes nothing (no commit, no object);
//   - of the rows with one identity exactly one is live, whatever was
//     redelivered, revived or compacted twice (C2, P13);
//   - live rows plus the duplicates counted in the tags of the live files are
//     the rows of all raw files ever consumed (C3), and rows and row-set hashes
//     are checked to add up before a commit names a file;
//   - a data object is durable before the commit that names it, its name is made
//     of its bytes and the planned version (P1), and nobody here deletes
//     anything, own outputs included;
//   - one partition, file or table that fails stops no other (C10).
//
// A group whose rows are all live already changes no data object: the commit
// marks the raw files consumed and adds the partition's first live file once
// more, same path and bytes, with the higher count of duplicates in its tags.
// That file is live in the very version the commit follows, so no deleter can
// have an eye on it, and its object is not touched (C6).
//
// A lost race is abandoned and reported; the next run plans again. Package
// compaction keeps nothing between runs, and Run returns when every goroutine it
// started has ended.
package compaction

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// Options say when to merge and how. The zero value merges everything at once
// with the defaults below.
type Options struct {
	MinRawAge      time.Duration // younger raw files wait for company; 0: none waits
	Now            time.Time     // what MinRawAge is measured against; Run fills it in from the Clock
	TargetFileSize int64         // files are cut at the symbol boundary nearest below it; DefaultTargetFileSize

	// What one commit holds at most; a group is never split. A commit is lost as
	// a whole, so it should not hold much more than a minute's work.
	MaxCommitGroups   int   // DefaultMaxCommitGroups
	MaxCommitRawFiles int   // DefaultMaxCommitRawFiles
	MaxCommitBytes    int64 // bytes read for it; DefaultMaxCommitBytes

	MemoryBudget int64 // estimated bytes of the partitions worked on at once; DefaultMemoryBudget. A larger partition is worked on alone
	Workers      int   // partitions at once; DefaultWorkers
}

// The defaults of Options.
const (
	DefaultTargetFileSize    = 256 << 20
	DefaultMaxCommitGroups   = 256
	DefaultMaxCommitRawFiles = 10_000
	DefaultMaxCommitBytes    = 1 << 30
	DefaultMemoryBudget      = 512 << 20
	DefaultWorkers           = 4
)

// A Compactor merges the raw files of the tables in one bucket.
type Compactor struct {
	Store    objstore.ReadWriter
	Registry *schema.Registry
	Log      *zap.Logger
	Options  Options
	Clock    func() time.Time // nil: time.Now

	// Progress, where set, is called after each group that is done, one call at
	// a time: groups done of the data type's total.
	Progress func(dataType string, done, total int)
}

// Run merges what is to be merged in the tables of the given data types (all
// types of the registry where there are none). The Report is complete whatever
// the error; the error joins what failed, and is nil where the only trouble was
// a lost race or an unreadable raw file, which the Report tells.
func (c *Compactor) Run(ctx context.Context, types []string) (Report, error) { panic("not yet") }

// Plan says what Run would do now, and changes nothing.
func (c *Compactor) Plan(ctx context.Context, types []string) ([]Group, error) { panic("not yet") }
