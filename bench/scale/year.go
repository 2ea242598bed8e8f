package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sweep"
)

const dataType = "market_data"

// A year is a table that is filled day by day.
type year struct {
	*program
	store    *objstore.Mem
	registry *schema.Registry
	def      *schema.Definition
	like     partition.File // what every file is like
	table    *partition.Table
	snapshot *partition.Snapshot
	rand     *rand.Rand
	now      time.Time
	seq      int
	commits  int
	raw      []partition.RawFile // of the last hour: what a compactor finds listed
}

var start = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func newYear(ctx context.Context, p *program) (*year, error) {
	registry, err := schema.Builtin()
	if err != nil {
		return nil, err
	}
	def, _ := registry.Latest(dataType)
	y := &year{program: p, store: objstore.NewMem(), registry: registry, def: def, rand: rand.New(rand.NewPCG(1, 1)), now: start}
	y.store.Clock = y.clock
	if y.like, err = example(def); err != nil {
		return nil, err
	}
	y.table = partition.OpenTable(y.store, dataType, y.clock)
	y.snapshot, err = y.table.Create(ctx, def)
	return y, err
}

// clock is a little later each time it is asked, as a real one is.
func (y *year) clock() time.Time { y.now = y.now.Add(time.Microsecond); return y.now }

// day lets the table live for a day.
func (y *year) day(ctx context.Context, n int) error {
	today := partition.DayOf(start.AddDate(0, 0, n).UnixMicro())
	for at := time.Duration(0); at < 24*time.Hour; at += y.Commit {
		y.now = start.AddDate(0, 0, n).Add(at)
		if err := y.commit(ctx, today); err != nil {
			return fmt.Errorf("day %d: %w", n, err)
		}
		if at%y.Sweep != 0 {
			continue
		}
		s := &sweep.Sweeper{Store: y.store, Clock: y.clock}
		if _, err := s.Run(ctx, []string{dataType}); err != nil {
			return fmt.Errorf("day %d: %w", n, err)
		}
		var err error
		if y.snapshot, err = y.table.Load(ctx); err != nil { // with the marks that the sweep forgot
			return err
		}
	}
	return nil
}

// commit consumes what was flushed since the last one.
func (y *year) commit(ctx context.Context, today partition.Day) error {
	c := partition.Change{Operation: "COMPACT"}
	if len(y.snapshot.Partition(partition.Key{Type: dataType, Day: today})) == 0 {
		y.seal(&c, today-1)
	}
	y.replace(&c, today)
	if first := partition.DayOf(start.UnixMicro()); today > first+1 {
		if y.commits++; y.commits%y.Late == 0 {
			y.replace(&c, first+partition.Day(y.rand.IntN(int(today-first)-1)))
		}
	}
	flushes := y.Ingestors * int(y.Commit/y.Flush)
	for range flushes {
		r := y.rawFile(today)
		c.Consumed = append(c.Consumed, r.Name)
		y.raw = append(y.raw, r)
	}
	if most := flushes * int(time.Hour/y.Commit); len(y.raw) > most { // the grace
		y.raw = slices.Clone(y.raw[len(y.raw)-most:])
	}
	next, err := y.table.Commit(ctx, y.snapshot, c)
	y.snapshot = next
	return err
}

// replace takes another file in the place of the day's last, or adds the day's files.
func (y *year) replace(c *partition.Change, day partition.Day) {
	key := partition.Key{Type: dataType, Day: day}
	live := y.snapshot.Partition(key)
	if len(live) == 0 {
		for i := range y.FilesPerDay {
			c.Add = append(c.Add, y.file(key, i))
		}
		return
	}
	at := y.rand.IntN(len(live))
	f := y.file(key, at)
	f.Whole = live[at].Whole
	c.Remove = append(c.Remove, live[at])
	c.Add = append(c.Add, f)
}

// seal gives a day that is over its final form.
func (y *year) seal(c *partition.Change, day partition.Day) {
	key := partition.Key{Type: dataType, Day: day}
	for at, f := range y.snapshot.Partition(key) {
		c.Remove = append(c.Remove, f)
		f = y.file(key, at)
		f.Whole = true
		c.Add = append(c.Add, f)
	}
}

func (y *year) file(key partition.Key, at int) partition.File {
	f := y.like
	name := partition.ProcessedName{
		Key: key, Category: y.def.Category, Major: 1, First: fmt.Sprintf("S%d", at), Last: fmt.Sprintf("S%d999", at),
		Hash: fmt.Sprintf("%016x%016x", y.rand.Uint64(), y.rand.Uint64()), Planned: y.snapshot.Version,
	}
	f.Path, f.Key, f.First, f.Last = name.Path(), key, name.First, name.Last
	f.FirstEvent, f.LastEvent = key.Day.Start().UnixMicro(), key.Day.Start().UnixMicro()+86_399e6
	f.CRC32C, f.Hash = y.rand.Uint32(), columnar.SetHash{y.rand.Uint64(), y.rand.Uint64()}
	f.Rows, f.Size, f.Modified = 6_000_000+y.rand.Int64N(1000), 240<<20+y.rand.Int64N(1<<20), y.now
	return f
}

func (y *year) rawFile(day partition.Day) partition.RawFile {
	y.seq++
	key := partition.Key{Type: dataType, Day: day}
	name := partition.RawName{
		Key: key, Category: y.def.Category, Multi: true, Time: y.now.UnixMicro(), Major: 1,
		Writer: fmt.Sprintf("%012x", 0x2aa1470acad6+y.seq%y.Ingestors), Seq: y.seq,
	}.String()
	sum := &columnar.Summary{Rows: 10_000, SchemaVersion: y.def.Version.String(), DataType: dataType}
	return partition.RawFile{Name: name, Key: key, Object: objstore.Object{Name: name, Size: 400_000, Created: y.now}, Summary: sum}
}

// example describes a small file of real rows: its statistics are as long as those
// of a large one.
func example(def *schema.Definition) (partition.File, error) {
	rows := schema.NewColumns(def)
	decoder := def.NewDecoder(schema.Standard)
	for i := range 100 {
		record := fmt.Sprintf(`{"symbol":"S%d","timestamp":"2025-01-01T14:%02d:00Z","price":%d.25,"open":1.5,"high":2,"low":1,"close":1.75,"volume":%d,
			"market_cap":100000000,"pe_ratio":12.5,"eps":1.25,"bid":1.5,"ask":1.75,"source":"feed"}`, i, i%60, i+1, i*1000)
		if rejected := decoder.Decode(&schema.Message{ID: fmt.Sprint(i), Data: []byte(record), PublishTime: start.Add(time.Hour)}, rows); len(rejected) > 0 {
			return partition.File{}, fmt.Errorf("example: %s", rejected[0].Explanation)
		}
	}
	rec, err := columnar.Sort(rows.Record(), def)
	if err != nil {
		return partition.File{}, err
	}
	data, sum, err := columnar.Encode(rec, def)
	if err != nil {
		return partition.File{}, err
	}
	return partition.Describe(partition.ProcessedName{Key: partition.Key{Type: dataType}, Category: def.Category, Major: 1}, data, sum, rec, def), nil
}
