package compaction_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/partition"
)

func TestReportForATerminal(t *testing.T) {
	key := func(day partition.Day) partition.Key { return partition.Key{Type: market, Day: day} }
	r := compaction.Report{Tables: []compaction.TableReport{
		{Type: "forecasts", From: -1, Version: -1},
		{Type: "options_data", From: 4, Version: 4, Waiting: 2},
		{Type: market, From: 7, Version: 8, Commits: 1, Err: errors.New("disk full"), Partitions: []compaction.PartitionReport{
			{Key: key(jan15), Outcome: compaction.Committed, Version: 8, RawFiles: 12, RowsIn: 1200, RowsOut: 4500, Duplicates: 3, Conflicts: 1,
				BytesIn: 3 << 20, BytesOut: 123456, Added: 2, Removed: 1, Unreadable: []compaction.Unreadable{{Name: "raw/x", Reason: "unreadable: raw/x: corrupt"}}},
			{Key: key(jan15 + 1), Outcome: compaction.Failed, Err: errors.New("no luck")},
		}},
	}}
	want := strings.TrimPrefix(`
forecasts: no table yet
options_data: version 4, unchanged, 2 raw objects waiting
market_data: version 7 to 8, 1 commit
         day  raw  rows in  duplicates  conflicts  live rows  files     read    written    outcome
  2024-01-15   12     1200           3          1       4500  +2 -1  3.0 MiB  120.6 KiB  committed
  2024-01-16    0        0           0          0          0  +0 -0      0 B        0 B     failed
    together   12     1200           3          1       4500  +2 -1  3.0 MiB  120.6 KiB           
  left in place: unreadable: raw/x: corrupt
  failed 2024-01-16: no luck
  stopped: disk full
`, "\n")
	if diff := cmp.Diff(want, r.String()); diff != "" {
		t.Error(diff)
	}
	if !r.Troubled() || (compaction.Report{Tables: r.Tables[:2]}).Troubled() {
		t.Error("troubled is wrong")
	}
}
