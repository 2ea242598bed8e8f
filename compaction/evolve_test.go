package compaction_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/columnar"
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

// Whatever the data type, its symbol and its kind of event time.
func TestEveryDataType(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for _, dataType := range l.reg.Types() {
		l.def, _ = l.reg.Latest(dataType)
		c := schema.NewColumns(l.def)
		for i := range 4 { // three identities
			c.Begin()
			c.SetString(l.def.SymbolField, []byte{'A' + byte(i%3)})
			c.SetString(l.def.Field(schema.ColID), []byte("e:1"))
			if l.def.Fields[l.def.TimeField].Kind == schema.Date {
				c.SetDate(l.def.TimeField, int32(jan15))
			} else {
				c.SetTimestamp(l.def.TimeField, jan15.Start().UnixMicro())
			}
			c.Commit()
		}
		rec, err := columnar.Sort(c.Record(), l.def)
		if err != nil {
			t.Fatal(err)
		}
		data, sum, err := columnar.Encode(rec, l.def)
		if err != nil {
			t.Fatal(err)
		}
		key := partition.Key{Type: dataType, Day: jan15}
		l.put(partition.RawName{Key: key, Category: l.def.Category, Multi: true, Major: 1, Writer: "w"}.String(), data, sum.Metadata())
	}
	r, err := l.compactor(l.store, compaction.Options{}).Run(context.Background(), nil)
	if err != nil || r.Troubled() || len(r.Tables) != 4 {
		t.Fatalf("%v\n%s", err, r)
	}
	for _, table := range r.Tables {
		if p := table.Partitions[0]; p.RowsOut != 3 || p.Duplicates != 1 || p.Conflicts != 0 {
			t.Errorf("%s: %+v", table.Type, p)
		}
	}
	again, err := l.compactor(l.store, compaction.Options{}).Run(context.Background(), nil)
	if err != nil || again.Tables[0].Commits+again.Tables[1].Commits+again.Tables[2].Commits+again.Tables[3].Commits != 0 {
		t.Errorf("%v\n%s", err, again)
	}
}

// A raw object without rows is consumed, and is nothing else.
func TestEmptyRawObject(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	for version := range int64(2) {
		data, metadata := l.encode()
		name := l.rawName(quote{})
		l.put(name, data, metadata)
		p := l.compact().Tables[0].Partitions[0]
		if p.Outcome != compaction.Committed || p.Added != 0 || p.Version != 1+2*version || !l.snapshot().Consumed(name) {
			t.Errorf("%+v", p)
		}
		l.raw(quotes("AAPL", 0, 3)...)
		l.compact()
	}
}
