package compaction_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

var shuffles = flag.Int("shuffles", 50, "how many ways of arriving TestTheSameRowsMakeTheSameBytes tries")

// sealed is how the tests of determinism compact: into files so small that days
// are cut into several.
var sealed = compaction.Options{TargetFileSize: 4 << 10}

// However the same messages arrive, and whenever they are compacted, the table
// ends with the same files, byte for byte, and running everything again is
// nothing: one listing and one snapshot.
func TestTheSameRowsMakeTheSameBytes(t *testing.T) {
	told := tell(rand.New(rand.NewPCG(1, 1)))
	reference := newArrival(t, rand.New(rand.NewPCG(0, 0)))
	reference.backfilled(told)
	reference.settle()
	want := reference.contents()
	if n := len(want); n != 4 {
		t.Fatalf("%d partitions, want 4", n)
	}
	for day, files := range want {
		if len(files) < 2 && day != "market_data/2024-02-29" {
			t.Fatalf("%s is one file: the test does not see where days are cut", day)
		}
	}
	for seed := range *shuffles {
		a := newArrival(t, rand.New(rand.NewPCG(uint64(seed), 8)))
		switch seed % 4 {
		case 0:
			a.backfilled(told)
		case 1, 2:
			a.live(told)
		default:
			a.live(told)
			a.backfilled(told)
		}
		a.settle()
		if diff := cmp.Diff(want, a.contents()); diff != "" {
			t.Fatalf("shuffle %d: expected (-) and found (+):\n%s", seed, diff)
		}
		a.again()
	}
}

// A telling is a message as its publisher meant it. Those with an event id can be
// published again; the others come from the broker under one id only.
type telling struct {
	id, event string
	at        time.Time
	data      string
}

// tell makes messages of one to six records over four days: many symbols and few,
// rows that differ in single fields, two tellings of one event that contradict
// each other, and message ids that the broker used twice.
func tell(r *rand.Rand) []telling {
	base := time.Date(2024, 2, 26, 0, 0, 0, 0, time.UTC)
	symbols := []string{"AAPL", "BRK.B", "^VIX", "EURUSD=X", "0700.HK", "ES=F", "", "msft", "MSFT", "ZM", "Ä", "A_B"}
	var all []telling
	for i := range 160 {
		m := telling{id: fmt.Sprint(1000 + i), at: base.Add(time.Duration(i) * 20 * time.Minute)}
		if i%2 == 0 {
			m.event = fmt.Sprintf("feed-%d", i)
		}
		for n := range 1 + r.IntN(6) {
			day := r.IntN(4)
			if day == 3 && r.IntN(8) > 0 { // the last day stays small
				day = r.IntN(3)
			}
			at := base.AddDate(0, 0, day).Add(time.Duration(r.IntN(40)) * 900 * time.Millisecond)
			if n > 0 {
				m.data += "\n"
			}
			m.data += fmt.Sprintf(`{"symbol":%q,"timestamp":%q,"price":%d.%02d,"source":"s%d"`,
				symbols[r.IntN(len(symbols))], at.Format(time.RFC3339Nano), 1+r.IntN(500), r.IntN(100), r.IntN(3))
			if r.IntN(3) == 0 {
				m.data += fmt.Sprintf(`,"volume":%d,"pe_ratio":%g,"bid":2,"ask":1`, r.IntN(1e6), r.Float64())
			}
			m.data += "}"
		}
		all = append(all, m)
		switch {
		case i%20 == 0: // another telling of the event, the same time or later
			m.at, m.data = m.at.Add(time.Duration(r.IntN(2))*time.Second), m.data[:len(m.data)-1]+`,"eps":3.5}`
			all = append(all, m)
		case i%20 == 1: // the broker forgot the id
			m.at = m.at.Add(time.Hour)
			all = append(all, m)
		}
	}
	return all
}

// An arrival is a way in which messages come into a lake.
type arrival struct {
	*lake
	rand    *rand.Rand
	tidy    compaction.Tidy
	counter *objtest.Counter
}

func newArrival(t *testing.T, r *rand.Rand) *arrival {
	l := newLake(t, objstore.NewMem())
	return &arrival{lake: l, rand: r, counter: &objtest.Counter{Store: l.store}}
}

// live lets messages come one after the other, in any order, some of them several
// times, to several ingestors that flush when they like; a compactor runs beside.
func (a *arrival) live(told []telling) {
	var queue []telling
	for _, m := range told {
		for range 1 + max(0, a.rand.IntN(6)-3) {
			queue = append(queue, m)
		}
	}
	a.rand.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
	ingestors := make([]*ingestor, 1+a.rand.IntN(5))
	for i := range ingestors {
		ingestors[i] = a.ingestor(1 + a.rand.IntN(300))
	}
	rarely := 1 + a.rand.IntN(400)
	for _, m := range queue {
		ingestors[a.rand.IntN(len(ingestors))].take(&schema.Message{ID: m.id, PublishTime: m.at, Data: []byte(m.data), Attributes: m.attributes(false)})
		if a.rand.IntN(rarely) == 0 {
			a.compactSome()
		}
	}
	for _, i := range ingestors {
		i.flush()
	}
}

// backfilled publishes what can be published again, in order and by new ids; the
// rest has come live.
func (a *arrival) backfilled(told []telling) {
	live := a.ingestor(1000)
	again := a.ingestor(1 + a.rand.IntN(2000))
	for i, m := range told {
		if m.event == "" {
			live.take(&schema.Message{ID: m.id, PublishTime: m.at, Data: []byte(m.data), Attributes: m.attributes(false)})
			continue
		}
		again.take(&schema.Message{ID: fmt.Sprint(900_000 + i), PublishTime: m.at.AddDate(1, 0, 0), Data: []byte(m.data), Attributes: m.attributes(true)})
	}
	again.flush()
	live.flush()
}

func (m telling) attributes(republished bool) map[string]string {
	all := map[string]string{"content_type": "application/x-ndjson"}
	if m.event != "" {
		all["event_id"] = m.event
	}
	if republished {
		all["published_at"] = m.at.Format(time.RFC3339Nano)
	}
	return all
}

// compactSome runs a compaction with any limits to its commits.
func (a *arrival) compactSome() {
	o := sealed
	o.MaxCommitGroups = a.rand.IntN(3)
	o.MaxCommitRawFiles = a.rand.IntN(5)
	o.Workers = 1 + a.rand.IntN(3)
	if _, err := a.compactor(a.store, o).Run(context.Background(), []string{market}); err != nil {
		a.t.Fatal(err)
	}
}

// settle compacts what is left.
func (a *arrival) settle() {
	a.t.Helper()
	c := a.compactor(a.counter, sealed)
	c.Tidy = &a.tidy
	r, err := c.Run(context.Background(), []string{market})
	if err != nil || r.Troubled() {
		a.t.Fatalf("%v\n%s", err, r)
	}
	a.counter.Taken()
}

// again runs the compactor a second time, which must be one listing and one
// snapshot, and no byte.
func (a *arrival) again() {
	a.t.Helper()
	before := a.objects("")
	a.settleAgain()
	if diff := cmp.Diff(before, a.objects("")); diff != "" {
		a.t.Fatalf("the second run changed the bucket:\n%s", diff)
	}
}

func (a *arrival) settleAgain() {
	a.t.Helper()
	s := a.snapshot()
	want := []string{"list processed/market_data/_delta_log/ 2", "list raw/market_data/ 1"}
	checkpoint := s.Version / 10 * 10
	if checkpoint > 0 {
		want = append(want, fmt.Sprintf("read processed/market_data/_delta_log/%020d.checkpoint.parquet 1", checkpoint))
		checkpoint++
	}
	for v := checkpoint; v <= s.Version; v++ {
		want = append(want, fmt.Sprintf("read processed/market_data/_delta_log/%020d.json 1", v))
	}
	want = append(want, "read processed/market_data/_delta_log/_last_checkpoint 1")
	if s.Version >= 10 && s.Version%10 == 0 {
		want[0] = "list processed/market_data/_delta_log/ 1" // no entry is read
	}
	c := a.compactor(a.counter, sealed)
	c.Tidy = &a.tidy
	if _, err := c.Run(context.Background(), []string{market}); err != nil {
		a.t.Fatal(err)
	}
	if diff := cmp.Diff(want, a.counter.Taken()); diff != "" {
		a.t.Fatalf("the second run, on version %d:\n%s", s.Version, diff)
	}
}

// An ingestor decodes messages and makes raw objects of their rows, one for each
// day, as those of the pipeline do.
type ingestor struct {
	a       *arrival
	decoder *schema.Decoder
	rows    *schema.Columns
	days    map[partition.Day]*schema.Columns
	most    int // rows of a day that make a raw object
	writer  string
	flushed int
}

func (a *arrival) ingestor(most int) *ingestor {
	return &ingestor{
		a: a, decoder: a.def.NewDecoder(schema.Standard), rows: schema.NewColumns(a.def),
		days: map[partition.Day]*schema.Columns{}, most: most, writer: fmt.Sprintf("w%x", a.rand.Uint32()),
	}
}

func (i *ingestor) take(m *schema.Message) {
	i.rows.Reset()
	if rejected := i.decoder.Decode(m, i.rows); len(rejected) > 0 {
		i.a.t.Fatalf("%s: %s", m.Data, rejected[0].Explanation)
	}
	for row := range i.rows.Len() {
		day := partition.Day(i.rows.Day(row))
		rows := i.days[day]
		if rows == nil {
			rows = schema.NewColumns(i.a.def)
			i.days[day] = rows
		}
		rows.Append(i.rows, row, row+1)
		if rows.Len() >= i.most {
			i.seal(day, rows)
		}
	}
}

func (i *ingestor) flush() {
	for day, rows := range i.days {
		i.seal(day, rows)
	}
}

// seal makes a raw object and uses the columns again, dictionaries and all.
func (i *ingestor) seal(day partition.Day, rows *schema.Columns) {
	if rows.Len() == 0 {
		return
	}
	rec, err := columnar.Sort(rows.Record(), i.a.def)
	if err != nil {
		i.a.t.Fatal(err)
	}
	data, sum, err := columnar.Encode(rec, i.a.def)
	if err != nil {
		i.a.t.Fatal(err)
	}
	i.flushed++
	i.a.put(partition.RawName{
		Key: partition.Key{Type: market, Day: day}, Category: i.a.def.Category, Multi: true,
		Time: day.Start().UnixMicro(), Major: i.a.def.Version.Major, Writer: i.writer, Seq: i.flushed,
	}.String(), data, sum.Metadata())
	rows.Reset()
}

// A compactor that found the manifests in order writes those of its own days and
// lists none; one that does not know, or whose table another has extended, looks.
func TestManifestsAreListedOnlyWhereTheyMayBeMissing(t *testing.T) {
	a := newArrival(t, rand.New(rand.NewPCG(1, 2)))
	listed := func(c *compaction.Compactor) bool {
		t.Helper()
		if _, err := c.Run(t.Context(), []string{market}); err != nil {
			t.Fatal(err)
		}
		for _, op := range a.counter.Taken() {
			if strings.HasPrefix(op, "list metadata/"+market+"/") {
				return true
			}
		}
		return false
	}
	run := func(tidy *compaction.Tidy) bool {
		t.Helper()
		a.raw(quotes(fmt.Sprint("S", a.seq), 0, 3)...)
		c := a.compactor(a.counter, sealed)
		c.Tidy = tidy
		return listed(c)
	}
	if !run(&a.tidy) {
		t.Error("the first run did not look")
	}
	if run(&a.tidy) {
		t.Error("a run after one that looked looked again")
	}
	if !run(nil) {
		t.Error("a run that knows nothing did not look")
	}
	// Another one made a version: were its manifests written?
	manifest := partition.Key{Type: market, Day: jan15}.ManifestName()
	if err := a.store.Remove(t.Context(), manifest, objstore.Any); err != nil {
		t.Fatal(err)
	}
	a.raw(onDay(jan15+1, quotes("ZM", 0, 3))...)
	c := a.compactor(a.counter, sealed)
	c.Tidy = &a.tidy
	if !listed(c) {
		t.Error("a run after another's version did not look")
	}
	if _, err := a.store.Stat(t.Context(), manifest); err != nil {
		t.Error(err)
	}
}
