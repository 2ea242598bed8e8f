package upkeep_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/upkeep"
)

// A second retention takes nothing away, notes nothing, and costs a listing of raw
// objects, one of holds, and a snapshot; of the archive a listing.
func TestASecondRetentionCostsAListingAndASnapshot(t *testing.T) {
	l, store, keys := old(t)
	archive := objstore.NewMem()
	if _, err := archive.Create(t.Context(), keys[0].RawPrefix()+"a.parquet", []byte{1}, nil); err != nil {
		t.Fatal(err)
	}
	r := retention(keys, 0)
	lake, second := &objtest.Counter{Store: store}, &objtest.Counter{Store: archive}
	run := func() (upkeep.Erasure, int) {
		t.Helper()
		e, err := r.Erase(t.Context(), lake)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := r.EraseArchive(t.Context(), lake, second)
		if err != nil {
			t.Fatal(err)
		}
		return e, sum.Objects
	}
	if e, objects := run(); len(e.Gone()) != 1 || objects != 1 {
		t.Fatalf("%+v, %d objects of the archive", e, objects)
	}
	lake.Taken()
	second.Taken()
	before := laketest.Names(t, store, "")
	if e, objects := run(); len(e.Days)+objects != 0 {
		t.Errorf("again: %+v, %d objects of the archive", e, objects)
	}
	log := "processed/" + laketest.Market + "/_delta_log/"
	want := []string{
		"list metadata/holds/" + laketest.Market + "/ 1",
		"list " + log + " 2", // before and after it is read (P9)
		"list raw/" + laketest.Market + "/ 1",
		"read " + log + "00000000000000000000.json 1", "read " + log + "00000000000000000001.json 1", "read " + log + "00000000000000000002.json 1",
		"read " + log + "_last_checkpoint 1",
	}
	if diff := cmp.Diff(want, lake.Taken()); diff != "" {
		t.Errorf("of the lake:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"list raw/" + laketest.Market + "/ 1"}, second.Taken()); diff != "" {
		t.Errorf("of the archive:\n%s", diff)
	}
	if diff := cmp.Diff(before, laketest.Names(t, l.Store, "")); diff != "" {
		t.Errorf("the second run changed the bucket:\n%s", diff)
	}
}
