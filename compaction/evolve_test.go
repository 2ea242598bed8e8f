package compaction_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// nextVersion is market_data v1.3.0, with one more column.
func nextVersion(t *testing.T) (*schema.Registry, *schema.Definition) {
	t.Helper()
	avsc, err := os.ReadFile("../schema/definitions/market_data/v1.2.0.avsc")
	if err != nil {
		t.Fatal(err)
	}
	avsc = bytes.Replace(avsc, []byte(`"1.2.0"`), []byte(`"1.3.0"`), 1)
	avsc = bytes.Replace(avsc, []byte(`"fields": [`), []byte(`"fields": [ {"name": "turnover", "type": ["null", "long"], "default": null, "doc": ""},`), 1)
	def, err := schema.Parse(avsc)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := schema.NewRegistry(def)
	if err != nil {
		t.Fatal(err)
	}
	return reg, def
}

// A program of the next version widens the table; one of the version before
// leaves alone what it would cut columns off.
func TestTwoVersionsOfTheProgram(t *testing.T) {
	old := newLake(t, objstore.NewMem())
	old.raw(quotes("AAPL", 0, 5)...)
	old.compact()
	next := newLake(t, old.store)
	next.seq, next.rows = 100, old.rows
	next.reg, next.def = nextVersion(t)
	newer := next.raw(quotes("MSFT", 0, 5)...)

	p, err := old.run(old.store)
	if err != nil || p.Outcome != compaction.Skipped || len(p.Unreadable) != 1 || !strings.Contains(p.Unreadable[0].Reason, "written under schema v1.3.0, this program knows v1.2.0") {
		t.Errorf("the old program on a new raw object: %+v, %v", p, err)
	}
	if v := old.snapshot().Version; v != 1 {
		t.Errorf("version %d, want 1", v)
	}

	next.compact()
	s := next.snapshot()
	if !s.Consumed(newer) || !strings.Contains(s.SchemaString, "turnover") || next.identities() != 10 {
		t.Errorf("the new program: consumed %v, %d rows, schema %s", s.Consumed(newer), next.identities(), s.SchemaString)
	}

	old.seq = 200
	late := old.raw(quotes("ZM", 0, 5)...)
	r, err := old.compactor(old.store, compaction.Options{}).Run(context.Background(), []string{market})
	if err == nil || !strings.Contains(err.Error(), "column turnover") || len(r.Tables[0].Partitions) != 0 {
		t.Errorf("the old program on a new table: %v\n%s", err, r)
	}
	next.compact()
	if s := next.snapshot(); !s.Consumed(late) || s.Version != 3 || next.identities() != len(next.rows) {
		t.Errorf("version %d, %d rows, want %d", s.Version, next.identities(), len(next.rows))
	}
}

// P1: the version planned on is in the name of every file.
func TestNamesCarryTheVersionPlannedOn(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for version := range int64(4) {
		l.raw(onDay(jan15+partition.Day(version), quotes("AAPL", 0, 2))...)
		l.raw(onDay(jan15+10+partition.Day(version), quotes("AAPL", 0, 2))...)
		l.compactWith(compaction.Options{MaxCommitGroups: 1})
	}
	for i, f := range l.snapshot().Files(nil) {
		n, err := partition.ParseProcessedName(f.ObjectName())
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(2*(i%4) + i/4); n.Planned != want || n.First != "AAPL" || n.Last != "AAPL" {
			t.Errorf("%s: planned on %d, want %d", f.Path, n.Planned, want)
		}
	}
}
