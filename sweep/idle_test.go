package sweep_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/sweep"
)

// A second run of everything is nothing: the sweep costs one listing of each
// prefix that it cleans and one snapshot, at every age of the table; the
// compaction one listing of raw objects and one snapshot.
func TestASecondRunCostsAListingAndASnapshot(t *testing.T) {
	l := newLake(t)
	for i := range 12 { // a checkpoint, and tombstones on both sides of it
		l.Ingest(0, string(rune('a'+i)))
		l.Compact()
	}
	counter := &objtest.Counter{Store: l.store}
	run := func() []string {
		t.Helper()
		s := &sweep.Sweeper{Store: counter, Archive: l.archive, Clock: l.Clock}
		r, err := s.Run(t.Context(), []string{market})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Tables[0]; !got.Nothing() {
			t.Fatalf("not a second run: %+v", got)
		}
		return counter.Taken()
	}
	log := "processed/" + market + "/_delta_log/"
	snapshot := []string{
		"list " + log + " 2", // before and after it is read (P9)
		"read " + log + "00000000000000000010.checkpoint.parquet 1",
		"read " + log + "00000000000000000011.json 1",
		"read " + log + "00000000000000000012.json 1",
	}
	listings := []string{"list processed/" + market + "/year= 1", "list raw/" + market + "/ 1"}
	want := append([]string{snapshot[0], listings[0], listings[1]}, snapshot[1:]...)

	if diff := cmp.Diff(want, run()); diff != "" {
		t.Errorf("nothing is due yet:\n%s", diff)
	}
	for _, age := range []time.Duration{2 * time.Hour, 8 * 24 * time.Hour, 40 * 24 * time.Hour} {
		l.Pass(age)
		for range 3 { // what one run makes due, a fence say, the next takes
			l.sweep(sweep.Options{})
		}
		if age > 30*24*time.Hour { // the log's past is gone, up to the checkpoint
			if n := logObjects(t, l.store); n > 5 {
				t.Errorf("%d log objects are left", n)
			}
		}
		if diff := cmp.Diff(want, run()); diff != "" {
			t.Errorf("%s later:\n%s", age, diff)
		}
		if err := l.CompactOn(counter); err != nil {
			t.Fatal(err)
		}
		byHint := append([]string{snapshot[0], listings[1]}, append(snapshot[1:len(snapshot):len(snapshot)], "read "+log+"_last_checkpoint 1")...)
		if diff := cmp.Diff(byHint, counter.Taken()); diff != "" {
			t.Errorf("compaction %s later:\n%s", age, diff)
		}
	}
	if dataFiles(t, l.store) != 1 || raws(t, l.store) != 0 {
		t.Errorf("%d data objects, %d raw objects", dataFiles(t, l.store), raws(t, l.store))
	}
}
