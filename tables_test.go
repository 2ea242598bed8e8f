package ingest

import (
	"testing"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A day of several files is as wide as all of them, whichever comes first.
func TestPartitionOfSeveralFiles(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	files := []partition.File{
		{First: "B", Last: "C", FirstEvent: 20e6, LastEvent: 40e6, Rows: 2, Size: 10, Modified: at(5)},
		{First: "A", Last: "B", FirstEvent: 10e6, LastEvent: 30e6, Rows: 3, Size: 20, Modified: at(9)},
		{First: "C", Last: "D", FirstEvent: 15e6, LastEvent: 50e6, Rows: 4, Size: 30, Modified: at(7)},
	}
	want := PartitionInfo{Files: 3, Rows: 9, Bytes: 60, FirstSymbol: "A", LastSymbol: "D", Symbols: -1, FirstEvent: at(10), LastEvent: at(50), Fresh: at(9)}
	if got := partitionInfo(partition.Key{}, files); got != want {
		t.Errorf("partition = %+v, want %+v", got, want)
	}
}

// A debt is as old as its oldest object, in whatever order they are listed.
func TestDebtOfSeveralObjects(t *testing.T) {
	var raw []partition.RawFile
	for _, s := range []int64{30, 10, 20} {
		raw = append(raw, partition.RawFile{Object: objstore.Object{Size: s, Created: time.Unix(s, 0)}})
	}
	if got, want := debtOf(raw, nil), (Debt{Objects: 3, Bytes: 60, Oldest: time.Unix(10, 0)}); got != want {
		t.Errorf("debt = %+v, want %+v", got, want)
	}
}
