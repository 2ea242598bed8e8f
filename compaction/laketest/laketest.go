// Package laketest makes small lakes for the tests of what works on lakes: raw
// objects of real rows, compacted by the real compactor, in a store whose clock
// the test moves. It holds nothing that a program uses.
package laketest

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// Market is the data type of the lake's rows.
const Market = "market_data"

// Start is when a lake's time begins.
var Start = time.Date(2024, 1, 15, 12, 0, 0, 0, time.UTC)

// A Lake is a bucket in memory under a clock that the test moves.
type Lake struct {
	T        testing.TB
	Store    *objstore.Mem
	Registry *schema.Registry
	Def      *schema.Definition // of market_data
	Now      time.Time

	seq  int
	rows map[string]bool // the model: identities that were made durable
}

// New gives an empty lake at noon of 2024-01-15.
func New(t testing.TB) *Lake {
	t.Helper()
	registry, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := registry.Latest(Market)
	l := &Lake{T: t, Store: objstore.NewMem(), Registry: registry, Def: def, Now: Start, rows: map[string]bool{}}
	l.Store.Clock = l.Clock
	return l
}

// On is the lake as it is now, in a store that has a copy of its objects: what is
// ingested into one is not in the other.
func (l *Lake) On(t testing.TB, store *objstore.Mem) *Lake {
	copied := *l
	copied.T, copied.Store, copied.rows = t, store, maps.Clone(l.rows)
	store.Clock = (&copied).Clock
	return &copied
}

// Ingest makes a raw object of rows of a day, one message each.
func (l *Lake) Ingest(day int, ids ...string) string {
	l.T.Helper()
	l.seq++
	at := Start.AddDate(0, 0, -day)
	rows := schema.NewColumns(l.Def)
	decoder := l.Def.NewDecoder(schema.Standard)
	for _, id := range ids {
		record := fmt.Sprintf(`{"symbol":"S%s","timestamp":%q,"price":1.5,"source":"x"}`, id, at.Format(time.RFC3339))
		if rejected := decoder.Decode(&schema.Message{ID: id, Data: []byte(record), PublishTime: Start}, rows); len(rejected) > 0 {
			l.T.Fatal(rejected[0].Explanation)
		}
		l.rows["m:"+id] = true
	}
	rec, err := columnar.Sort(rows.Record(), l.Def)
	if err != nil {
		l.T.Fatal(err)
	}
	data, sum, err := columnar.Encode(rec, l.Def)
	if err != nil {
		l.T.Fatal(err)
	}
	name := partition.RawName{
		Key: partition.Key{Type: Market, Day: partition.DayOf(at.UnixMicro())}, Category: l.Def.Category, Multi: true,
		Time: at.UnixMicro(), Major: l.Def.Version.Major, Writer: "w", Seq: l.seq,
	}.String()
	if _, err := l.Store.Create(context.Background(), name, data, sum.Metadata()); err != nil {
		l.T.Fatal(err)
	}
	return name
}

// Clock is the lake's time, a millisecond later each time it is asked.
func (l *Lake) Clock() time.Time { l.Now = l.Now.Add(time.Millisecond); return l.Now }

// CompactOn compacts through a store that may go wrong.
func (l *Lake) CompactOn(store objstore.ReadWriter) error {
	c := &compaction.Compactor{Store: store, Registry: l.Registry, Clock: l.Clock}
	_, err := c.Run(context.Background(), []string{Market})
	return err
}

// Compact compacts and wants no trouble.
func (l *Lake) Compact() {
	l.T.Helper()
	if err := l.CompactOn(l.Store); err != nil {
		l.T.Fatal(err)
	}
}

// Pass lets time go by.
func (l *Lake) Pass(d time.Duration) { l.Now = l.Now.Add(d) }

// Snapshot is the table as it is now.
func (l *Lake) Snapshot() *partition.Snapshot {
	l.T.Helper()
	s, err := partition.OpenTable(l.Store, Market, l.Clock).Load(context.Background())
	if err != nil {
		l.T.Fatal(err)
	}
	return s
}

// Check sees that every row of the model is in the lake once, and that the table
// keeps its promises.
func (l *Lake) Check() {
	l.T.Helper()
	ctx := context.Background()
	raw, err := partition.ListRaw(ctx, l.Store, Market)
	if err != nil {
		l.T.Fatal(err)
	}
	s := l.Snapshot()
	violations, err := compaction.Check{Store: l.Store, Definition: l.Def, Snapshot: s, Raw: raw}.All(ctx)
	if err != nil {
		l.T.Fatal(err)
	}
	for _, v := range violations {
		l.T.Error(v)
	}
	seen := map[string]bool{}
	take := func(name string) {
		data, err := l.Store.Read(ctx, name, 0, -1)
		if err != nil {
			l.T.Fatalf("read %s: %v", name, err)
		}
		f, err := columnar.OpenBytes(name, data)
		if err != nil {
			l.T.Fatal(err)
		}
		rec, err := f.Read(ctx, l.Def, nil, nil)
		if err != nil {
			l.T.Fatal(err)
		}
		column := rec.Column(l.Def.Field(schema.ColID))
		for row := range int(rec.NumRows()) {
			seen[column.ValueStr(row)] = true
		}
	}
	for _, f := range s.Files(nil) {
		take(f.ObjectName())
	}
	for _, f := range raw {
		if !s.Consumed(f.Name) {
			take(f.Name)
		}
	}
	for id := range l.rows {
		if !seen[id] {
			l.T.Errorf("row %s is lost", id)
		}
	}
}

// Names are the objects of a store below a prefix.
func Names(t testing.TB, store objstore.Reader, prefix string) []string {
	t.Helper()
	var all []string
	for o, err := range store.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Name)
	}
	return all
}
