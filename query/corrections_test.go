package query_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	diff "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
)

// closes is a data type whose rows correct each other; key is put in by version.
const closes = `{
  "type": "record", "name": "closes", "namespace": "buffetbot", "doc": "Closing prices, which are corrected.",
  "bb.version": %q, "bb.topic": "closes", "bb.category": "close", "bb.symbol": "symbol", "bb.event_time": "timestamp"%s,
  "fields": [
    {"name": "venue", "type": "string", "doc": ""},
    {"name": "symbol", "type": "string", "doc": ""},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": ""},
    {"name": "price", "type": "long", "doc": ""}
  ]
}`

// A closing is a row of closes. Of one identity and publish time there is one price.
type closing struct {
	symbol, venue, id string
	day, at           int // days after the first, seconds after the close
	published         int64
}

func (c closing) price() int64 {
	return int64(len(c.id)) + c.published%7 + int64(c.id[len(c.id)-1])
}

func (c closing) micros() int64 { return at(c.day, "16:00:00") + int64(c.at)*1e6 }

// A ledger is a lake of closes, and the model of it.
type ledger struct {
	t        testing.TB
	store    *objstore.Mem
	old, now *schema.Registry
	evolved  bool
	rows     []closing
	seq      int
	policy   compaction.Policy
}

func newLedger(t testing.TB) *ledger {
	registry := func(version, key string) *schema.Registry {
		def, err := schema.Parse(fmt.Appendf(nil, closes, version, key))
		if err != nil {
			t.Fatal(err)
		}
		reg, err := schema.NewRegistry(def)
		if err != nil {
			t.Fatal(err)
		}
		return reg
	}
	return &ledger{t: t, store: objstore.NewMem(), old: registry("1.0.0", ""),
		now: registry("1.1.0", `, "bb.natural_key": ["symbol", "timestamp", "venue"]`)}
}

func (l *ledger) registry() *schema.Registry {
	if l.evolved {
		return l.now
	}
	return l.old
}

// raw makes a raw object of rows of one day.
func (l *ledger) raw(rows ...closing) {
	l.rows = append(l.rows, rows...)
	def, _ := l.registry().Latest("closes")
	c := schema.NewColumns(def)
	for _, r := range rows {
		c.Begin()
		c.SetString(0, []byte(r.venue))
		c.SetString(1, []byte(r.symbol))
		c.SetTimestamp(2, r.micros())
		c.SetInt64(3, r.price())
		c.SetString(def.Own, []byte(r.id))
		c.SetInt32(def.Own+1, 0)
		c.SetTimestamp(def.Own+2, r.published)
		c.SetString(def.Own+3, []byte("v1.0.0")) // whatever the definition: rows are compared byte for byte
		c.SetInt64(def.Own+4, 0)
		c.Commit()
	}
	rec, err := columnar.Sort(c.Record(), def)
	if err != nil {
		l.t.Fatal(err)
	}
	data, sum, err := columnar.Encode(rec, def)
	if err != nil {
		l.t.Fatal(err)
	}
	l.seq++
	name := partition.RawName{Key: partition.Key{Type: "closes", Day: partition.DayOf(rows[0].micros())}, Category: "close", Multi: true,
		Time: sum.First, Major: 1, Writer: "w", Seq: l.seq}.String()
	if _, err := l.store.Create(context.Background(), name, data, sum.Metadata()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *ledger) compact() compaction.Report {
	c := &compaction.Compactor{Store: l.store, Registry: l.registry(), Options: compaction.Options{TargetFileSize: 1, Policy: l.policy}}
	r, err := c.Run(context.Background(), nil)
	if err != nil {
		l.t.Fatalf("%v\n%s", err, r)
	}
	return r
}

// A truth is a row with what became of it.
type truth struct {
	closing
	superseded int64 // 0: it is current
}

// truths are the rows that a lake holds, in order: of one identity the first that
// was published; of one key all but the last superseded.
func (l *ledger) truths() []truth {
	first := map[string]closing{}
	for _, r := range l.rows {
		id := fmt.Sprint(r.symbol, "\x00", r.micros(), "\x00", r.id)
		if strings.HasPrefix(r.id, "m:") {
			id += fmt.Sprint("\x00", r.published)
		}
		if f, ok := first[id]; !ok || r.published < f.published {
			first[id] = r
		}
	}
	var all []truth
	for _, r := range first {
		t := truth{closing: r}
		next := closing{id: "￿"}
		for _, o := range first {
			later := cmp.Or(cmp.Compare(o.published, r.published), cmp.Compare(o.id, r.id)) > 0
			sooner := t.superseded == 0 || cmp.Or(cmp.Compare(o.published, next.published), cmp.Compare(o.id, next.id)) < 0
			if o.symbol == r.symbol && o.micros() == r.micros() && o.venue == r.venue && later && sooner {
				next, t.superseded = o, o.published
			}
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b truth) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.symbol, b.symbol), cmp.Compare(a.micros(), b.micros()), cmp.Compare(a.id, b.id), cmp.Compare(a.published, b.published))
	})
	return all
}

func (t truth) String() string {
	return fmt.Sprintf("%s %d %s %d %s %d %d", t.symbol, t.micros(), t.venue, t.price(), t.id, t.published, t.superseded)
}

// read gives the rows of a query as truths are written.
func (l *ledger) read(q query.DataQuery) ([]string, error) {
	q.DataType = "closes"
	q.Columns = []string{"symbol", "timestamp", "venue", "price", "_id", "_published_at", "_superseded_at"}
	plan, err := query.Prepare(context.Background(), l.store, l.now, q, query.Options{})
	if err != nil {
		return nil, err
	}
	var all []string
	_, err = plan.Execute(context.Background(), func(rec arrow.RecordBatch) error {
		for row := range int(rec.NumRows()) {
			var cells []string
			for col := range int(rec.NumCols()) {
				text := rec.Column(col).ValueStr(row)
				if at, ok := rec.Column(col).DataType().(*arrow.TimestampType); ok {
					text = "0"
					if rec.Column(col).IsValid(row) {
						ts, err := arrow.TimestampFromString(rec.Column(col).ValueStr(row), at.Unit)
						if err != nil {
							return err
						}
						text = fmt.Sprint(int64(ts))
					}
				}
				cells = append(cells, text)
			}
			all = append(all, strings.Join(cells, " "))
		}
		return nil
	})
	return all, err
}

// A question is a query and which rows are its answer.
type question struct {
	query.DataQuery
	holds func(truth) bool
}

func genQuestion(t *rapid.T) question {
	q := question{holds: func(truth) bool { return true }}
	also := func(holds func(truth) bool) {
		before := q.holds
		q.holds = func(r truth) bool { return before(r) && holds(r) }
	}
	known := int64(0)
	if rapid.Bool().Draw(t, "known at?") {
		known = rapid.Int64Range(1, 7).Draw(t, "known at")
		q.KnownAt = time.UnixMicro(known)
		also(func(r truth) bool { return r.published <= known })
	}
	if q.Superseded = rapid.IntRange(0, 3).Draw(t, "superseded") == 0; !q.Superseded {
		also(func(r truth) bool { return r.superseded == 0 || known > 0 && r.superseded > known })
	}
	switch rapid.IntRange(0, 6).Draw(t, "where") {
	case 0:
		least := rapid.Int64Range(50, 62).Draw(t, "price")
		q.Where = fmt.Sprintf("price >= %d", least)
		also(func(r truth) bool { return r.price() >= least })
	case 1:
		q.Where = "_id = e:1"
		also(func(r truth) bool { return r.id == "e:1" })
	case 2:
		q.Where = "venue = X"
		also(func(r truth) bool { return r.venue == "X" })
	case 3:
		q.Where = "_superseded_at is not null"
		also(func(r truth) bool { return r.superseded != 0 })
	case 4:
		q.Where = "_published_at > 1970-01-01T00:00:00.000003Z"
		also(func(r truth) bool { return r.published > 3 })
	}
	if rapid.IntRange(0, 2).Draw(t, "symbol?") == 0 {
		q.Symbols = []string{"A"}
		also(func(r truth) bool { return r.symbol == "A" })
	}
	if rapid.IntRange(0, 3).Draw(t, "from?") == 0 {
		q.From = time.UnixMicro(at(0, "16:00:00") + 1e6)
		also(func(r truth) bool { return r.micros() >= q.From.UnixMicro() })
	}
	q.Limit = rapid.SampledFrom([]int64{0, 0, 0, 1, 2, 5}).Draw(t, "limit")
	return q
}

func genClosing(t *rapid.T, day int) closing {
	return closing{
		day:       day,
		symbol:    rapid.SampledFrom([]string{"A", "B"}).Draw(t, "symbol"),
		venue:     rapid.SampledFrom([]string{"X", "Y"}).Draw(t, "venue"),
		at:        rapid.IntRange(0, 1).Draw(t, "second"),
		id:        rapid.SampledFrom([]string{"e:1", "e:2", "m:1", "m:2"}).Draw(t, "id"),
		published: rapid.Int64Range(1, 6).Draw(t, "published"),
	}
}

// violations are what a check of the table finds.
func (l *ledger) violations() []compaction.Violation {
	s, err := partition.OpenTable(l.store, "closes", nil).Load(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	def, _ := l.now.Latest("closes")
	bad, err := compaction.Check{Store: l.store, Definition: def, Snapshot: s}.All(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	return bad
}

// contents are the bytes of the live files, in order.
func (l *ledger) contents() []string {
	s, err := partition.OpenTable(l.store, "closes", nil).Load(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	var all []string
	for _, f := range s.Files(nil) {
		data, err := l.store.Read(context.Background(), f.ObjectName(), 0, -1)
		if err != nil {
			l.t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s %x", f.Key, f.First, sha256.Sum256(data)))
	}
	return all
}

// Corrections that arrive in any order, twice, late, before or after what they
// correct has been compacted, under a definition that declares its key from the
// start or later: a read gives what the model knows, at any moment, and the table
// ends with the same bytes. The rows of one identity have one venue.
func TestCorrectionsAgreeWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, once := newLedger(t), newLedger(t)
		usedPolicy := rapid.IntRange(0, 2).Draw(rt, "policy") == 0
		if usedPolicy {
			l.policy = compaction.Policy{Share: .5, SealAfter: time.Hour}
		}
		l.evolved, once.evolved = rapid.Bool().Draw(rt, "declared"), true
		ask := func(when string) {
			want := []string(nil)
			q := genQuestion(rt)
			for _, r := range l.truths() {
				if q.holds(r) && (q.Limit == 0 || int64(len(want)) < q.Limit) {
					want = append(want, r.String())
				}
			}
			got, err := l.read(q.DataQuery)
			if err != nil {
				rt.Fatal(err)
			}
			if d := diff.Diff(want, got); d != "" {
				rt.Fatalf("%s, %+v (-want +got):\n%s", when, q.DataQuery, d)
			}
		}
		for range rapid.IntRange(1, 7).Draw(rt, "steps") {
			day := rapid.IntRange(0, 1).Draw(rt, "day")
			rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) closing { return genClosing(t, day) }), 1, 6).Draw(rt, "rows")
			for i := range rows { // an identity's venue is its own
				for _, o := range slices.Concat(l.rows, rows[:i]) {
					if o.id == rows[i].id && o.symbol == rows[i].symbol && o.micros() == rows[i].micros() {
						rows[i].venue = o.venue
					}
				}
			}
			l.raw(rows...)
			once.raw(rows...)
			switch rapid.IntRange(0, 3).Draw(rt, "then") {
			case 0, 1:
				l.compact()
			case 2:
				l.evolved = true
			}
			ask("on the way")
		}
		l.evolved = true
		ask("declared")
		l.policy = compaction.Policy{}
		l.compact()
		once.compact()
		ask("compacted")
		if bad := l.violations(); len(bad) > 0 {
			rt.Fatal(bad)
		}
		if r := l.compact(); r.Tables[0].Commits != 0 {
			rt.Fatalf("a second run made a version:\n%s", r)
		}
		if usedPolicy { // it left files beside each other
			return
		}
		if d := diff.Diff(once.contents(), l.contents()); d != "" {
			rt.Fatalf("compacted once (-) and on the way (+):\n%s", d)
		}
	})
}

// Rows of one key may lie on both sides of where a record of the merge ends.
func TestCorrectionsAcrossRecords(t *testing.T) {
	l := newLedger(t)
	l.evolved = true
	var first, second []closing
	for n := range 9_000 { // more rows than one record holds, in pairs
		r := closing{symbol: fmt.Sprintf("S%05d", n), venue: "X", id: "e:1", published: 1}
		first = append(first, r)
		r.id, r.published = "e:2", 2
		second = append(second, r)
	}
	alone := closing{symbol: "A", venue: "X", id: "e:0", published: 1} // so that pairs begin at odd rows
	l.raw(append(first, alone)...)
	l.raw(second...)
	for _, known := range []int64{0, 1} {
		q := query.DataQuery{}
		if known > 0 {
			q.KnownAt = time.UnixMicro(known)
		}
		got, err := l.read(q)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1+len(first) || got[0] != (truth{closing: alone}).String() {
			t.Fatalf("known at %d: %d rows, want %d", known, len(got), 1+len(first))
		}
		for n, line := range got[1:] {
			want := truth{closing: second[n]}
			if known == 1 {
				want = truth{closing: first[n], superseded: 2}
			}
			if line != want.String() {
				t.Fatalf("known at %d, row %d: %s, want %s", known, n, line, want)
			}
		}
	}
}

// A key that is declared for a table with rows: the next run adds the column and
// marks every day in that very commit, also one to which only copies have come.
func TestAKeyDeclaredLater(t *testing.T) {
	l := newLedger(t)
	l.raw(closing{symbol: "A", venue: "X", id: "e:1", published: 1}, closing{symbol: "A", venue: "X", id: "e:2", published: 2})
	l.raw(closing{day: 1, symbol: "A", venue: "X", id: "e:1", published: 1}, closing{day: 1, symbol: "A", venue: "X", id: "e:2", published: 2})
	l.compact()
	l.evolved = true
	l.raw(closing{day: 1, symbol: "A", venue: "X", id: "e:1", published: 1})
	r := l.compact().Tables[0]
	if r.Commits != 1 || r.Version != 2 || len(r.Partitions) != 2 {
		t.Fatalf("%+v", r)
	}
	if why := r.Partitions[0].Why; !strings.Contains(why, "to say which rows are superseded") {
		t.Errorf("the plan says %q", why)
	}
	s, err := partition.OpenTable(l.store, "closes", nil).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.SchemaString, schema.ColSupersededAt) {
		t.Errorf("schema %s", s.SchemaString)
	}
	def, _ := l.now.Latest("closes")
	for _, f := range s.Files(nil) {
		data, err := l.store.Read(t.Context(), f.ObjectName(), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		file, err := columnar.OpenBytes(f.Path, data)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := file.Read(t.Context(), def, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if column := rec.Column(def.Superseded()); !f.TellsSuperseded() || column.IsNull(0) || column.IsValid(1) {
			t.Errorf("%s: _superseded_at %v, of the first row only is wanted", f.Path, column)
		}
		check := compaction.Check{Definition: def, Snapshot: s}
		columns := slices.Clone(rec.Columns())
		for wrong, at := range map[string]map[int]int64{"": {0: 2}, "none": {}, "another time": {0: 3}, "the other row": {1: 2}} {
			columns[def.Superseded()] = columnar.Timestamps(rec.Column(def.Superseded()).DataType(), 2, at)
			bad := check.Superseded(f.Key, []arrow.RecordBatch{array.NewRecordBatch(rec.Schema(), columns, 2)})
			if len(bad) > 0 != (wrong != "") {
				t.Errorf("marked wrongly by %q: %v", wrong, bad)
			}
		}
	}
}
