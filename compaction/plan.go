package compaction

import "github.com/buffetbot/ingest/partition"

// A Group is one partition's share of a plan: raw files to be merged with all
// live files of the partition.
type Group struct {
	Key  partition.Key
	Raw  []partition.RawFile // in ascending order of names
	Live []partition.File    // in ascending order of paths
	Why  string              // for people
	Cost Cost
}

// A Cost is what executing a group reads.
type Cost struct {
	RawFiles, LiveFiles int
	RawBytes, LiveBytes int64
	LiveRows            int64
}

// Plan says which raw files are to be merged, partition by partition.
func Plan(raw []partition.RawFile, s *partition.Snapshot, o Options) []Group { panic("not yet") }
