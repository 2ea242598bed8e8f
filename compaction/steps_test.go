package compaction

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

const closes = `{
  "type": "record", "name": "closes", "namespace": "buffetbot", "doc": "Closing prices, which are corrected.",
  "bb.version": "1.0.0", "bb.topic": "closes", "bb.category": "close", "bb.symbol": "symbol", "bb.event_time": "timestamp",
  "bb.natural_key": ["symbol", "timestamp", "venue"],
  "fields": [
    {"name": "venue", "type": "string", "doc": ""},
    {"name": "symbol", "type": "string", "doc": ""},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": ""},
    {"name": "price", "type": "long", "doc": ""}
  ]
}`

// closesDefinition is the definition, alone in a registry.
func closesDefinition(t *testing.T) (*schema.Registry, *schema.Definition) {
	t.Helper()
	def, err := schema.Parse([]byte(closes))
	if err != nil {
		t.Fatal(err)
	}
	registry, err := schema.NewRegistry(def)
	if err != nil {
		t.Fatal(err)
	}
	return registry, def
}

// The files of TestMergeInSteps: too many for the least memory of a merge.
const (
	stepFiles = 40
	stepRows  = 3000
)

// closing sets the row of a number: every one comes again in the file after next, and
// of every key there are rows in all files, corrections of each other.
func closing(c *schema.Columns, file, row int) {
	def := c.Definition()
	n := file*stepRows + row
	if file > 1 && row < stepRows/10 {
		n = (file-2)*stepRows + row + stepRows/2 // a duplicate
	}
	key := n % 997
	c.Begin()
	c.SetString(0, []byte([]string{"X", "Y"}[key%2]))
	c.SetString(1, fmt.Appendf(nil, "S%d", key%7))
	c.SetTimestamp(2, int64(key%11)*1e6)
	c.SetInt64(3, int64(uint64(n)*0x9E3779B97F4A7C15)) // incompressible
	c.SetString(def.Own, fmt.Appendf(nil, "e:%06d", n*7919%1_000_003))
	c.SetInt32(def.Own+1, 0)
	c.SetTimestamp(def.Own+2, int64(n*31%5000))
	c.SetString(def.Own+3, []byte("v1.0.0"))
	c.SetInt64(def.Own+4, 0)
	c.Commit()
}

// closingFiles makes the raw files in a store, the rows of parts in each, and says
// what they weigh together. One in ten is in another order than it should be.
func closingFiles(t *testing.T, store objstore.Store, def *schema.Definition, parts int) (weight int64) {
	t.Helper()
	byVenue := *def
	byVenue.SymbolField = 0
	for first := 0; first < stepFiles; first += parts {
		c := schema.NewColumns(def)
		for file := first; file < first+parts; file++ {
			for row := range stepRows {
				closing(c, file, row)
			}
		}
		order := def
		if first/parts%10 == 3 {
			order = &byVenue
		}
		rec, err := columnar.Sort(c.Record(), order)
		if err != nil {
			t.Fatal(err)
		}
		data, says, err := columnar.Encode(rec, order)
		if err != nil {
			t.Fatal(err)
		}
		f, err := columnar.OpenBytes("raw", data)
		if err != nil {
			t.Fatal(err)
		}
		weight += f.Weight()
		name := partition.RawName{Key: partition.Key{Type: "closes"}, Category: "close", Multi: true, Major: 1, Writer: "w", Seq: first + 1}
		if _, err := store.Create(t.Context(), name.String(), data, says.Metadata()); err != nil {
			t.Fatal(err)
		}
	}
	return weight
}

// closings makes the raw files in a new store and compacts them.
func closings(t *testing.T, registry *schema.Registry, parts int, o Options) (map[string]string, PartitionReport) {
	t.Helper()
	def, _ := registry.Latest("closes")
	store := objstore.NewMem()
	if weight := closingFiles(t, store, def, parts); o.MemoryBudget == 1 && weight <= leastSources {
		t.Errorf("%d files are merged in one step: the test shows less than it says", stepFiles)
	}
	report, err := (&Compactor{Store: store, Registry: registry, Options: o}).Run(t.Context(), nil)
	if err != nil || len(report.Tables[0].Partitions) != 1 {
		t.Fatalf("%v\n%s", err, report)
	}
	return live(t, store, def), report.Tables[0].Partitions[0]
}

// live are the live files' bytes, by the symbols in them. They keep the contract.
func live(t *testing.T, store objstore.Store, def *schema.Definition) map[string]string {
	t.Helper()
	raw, err := partition.ListRaw(t.Context(), store, def.Name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := partition.OpenTable(store, def.Name, nil).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad, err := Check{Store: store, Definition: def, Snapshot: s, Raw: raw, Complete: true}.All(t.Context())
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	files := map[string]string{}
	for _, f := range s.Files(nil) {
		data, err := store.Read(context.Background(), f.ObjectName(), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		files[f.First+" to "+f.Last] = string(data)
	}
	return files
}

// More files than memory takes are merged in steps, through temporary files, with
// the outcome of one step: the same bytes, each identity once, all corrections seen.
func TestMergeInSteps(t *testing.T) {
	registry, _ := closesDefinition(t)
	dir := t.TempDir()
	target := int64(400 << 10)
	inSteps, r := closings(t, registry, 1, Options{MemoryBudget: 1, TargetFileSize: target, TempDir: dir})
	if want := int64((stepFiles - 2) * stepRows / 10); r.Duplicates != want || r.RowsOut != stepFiles*stepRows-want || r.Conflicts != 0 {
		t.Errorf("%d rows, %d duplicates, %d conflicts; want %d duplicates", r.RowsOut, r.Duplicates, r.Conflicts, want)
	}
	atOnce, _ := closings(t, registry, 8, Options{TargetFileSize: target})
	if len(inSteps) < 2 || len(inSteps) != len(atOnce) {
		t.Errorf("%d files in steps, %d at once; want some, as many", len(inSteps), len(atOnce))
	}
	for symbols, data := range atOnce {
		if inSteps[symbols] != data {
			t.Errorf("%s: %d bytes at once, %d in steps, or others", symbols, len(data), len(inSteps[symbols]))
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("temporary files stay: %v, %v", left, err)
	}
}

func TestMergeWithoutRoomForCopies(t *testing.T) {
	def, err := schema.Parse([]byte(closes))
	if err != nil {
		t.Fatal(err)
	}
	m := merge{job: &job{def: def, store: objstore.NewMem(), o: Options{}.withDefaults()}, need: 1, scratch: newScratch(t.TempDir()+"/none", 0)}
	_, err = m.fetch(t.Context(), object{name: "raw/x", size: 10})
	if err == nil || !strings.Contains(err.Error(), "make a temporary file") {
		t.Errorf("error %v", err)
	}
}

// What a day's new rows are merged with is told from the rows, also where one of
// the raw objects cannot be read to its end.
func TestNarrowLeavesOutWhatCannotBeRead(t *testing.T) {
	def := builtin(t)
	good, bad := inputOf(t, def, "AAPL"), inputOf(t, def, "MSFT")
	damaged := slices.Clone(encodedOf(t, def, "MSFT"))
	for i := 4; i < 60; i++ {
		damaged[i] ^= 0x55
	}
	bad.object.data = damaged
	file := func(symbol string) partition.File {
		return partition.File{Path: symbol, First: symbol, Last: symbol, LastEvent: time.Second.Microseconds()}
	}
	m := merge{job: &job{def: def, o: Options{Policy: DefaultPolicy}.withDefaults()}, inputs: []input{bad, good}}
	m.group = Group{Raw: make([]partition.RawFile, 2), Live: []partition.File{file("AAPL"), file("MSFT"), file("ZM")}}
	if err := m.narrow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := m.result.report.Unreadable; len(left) != 1 || left[0].Name != "raw/MSFT" || len(m.inputs) != 1 {
		t.Errorf("left %v, with %d inputs", left, len(m.inputs))
	}
	if len(m.group.Merge) != 1 || m.group.Merge[0].Path != "AAPL" {
		t.Errorf("merged with %v, want AAPL alone", m.group.Merge)
	}
}

// An input in no order is sorted by row groups, all of them.
func TestInputInNoOrderOfManyRowGroups(t *testing.T) {
	registry, def := closesDefinition(t)
	byVenue, rows := *def, columnar.RowGroupRows+20_000
	byVenue.SymbolField = 0
	c := schema.NewColumns(def)
	for row := range rows {
		closing(c, 0, row)
	}
	rec, err := columnar.Sort(c.Record(), &byVenue)
	if err != nil {
		t.Fatal(err)
	}
	data, says, err := columnar.Encode(rec, &byVenue)
	if err != nil {
		t.Fatal(err)
	}
	store := objstore.NewMem()
	name := partition.RawName{Key: partition.Key{Type: "closes"}, Category: "close", Multi: true, Major: 1, Writer: "w", Seq: 1}
	if _, err := store.Create(t.Context(), name.String(), data, says.Metadata()); err != nil {
		t.Fatal(err)
	}
	r, err := (&Compactor{Store: store, Registry: registry}).Run(t.Context(), nil)
	if err != nil || r.Troubled() || r.Tables[0].Partitions[0].RowsOut != int64(rows) {
		t.Fatalf("%v\n%s", err, r)
	}
	live(t, store, def)
}
