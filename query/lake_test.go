package query_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
)

// samples is a data type with a column of every kind.
const samples = `{
  "type": "record", "name": "samples", "namespace": "buffetbot", "doc": "A column of every kind.",
  "bb.version": "1.0.0", "bb.topic": "samples", "bb.category": "sample", "bb.symbol": "symbol", "bb.event_time": "timestamp",
  "fields": [
    {"name": "symbol", "type": "string", "doc": "s"},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "t"},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}], "default": null, "doc": "p"},
    {"name": "volume", "type": ["null", "long"], "default": null, "doc": "v"},
    {"name": "size", "type": ["null", "int"], "default": null, "doc": "z"},
    {"name": "beta", "type": ["null", "double"], "default": null, "doc": "b"},
    {"name": "active", "type": ["null", "boolean"], "default": null, "doc": "a"},
    {"name": "payload", "type": ["null", "bytes"], "default": null, "doc": "y"},
    {"name": "note", "type": ["null", "string"], "default": null, "doc": "n", "aliases": ["remark"]},
    {"name": "expiry", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null, "doc": "e"}
  ]
}`

// A row is a row of samples; nil is null.
type row struct {
	symbol  string
	at      int64 // µs
	price   *int64
	volume  *int64
	size    *int32
	beta    *float64
	active  *bool
	payload []byte
	note    *string
	expiry  *int32

	id    string
	index int32
	pub   int64
}

func p[T any](v T) *T { return &v }

var jan15 = time.Date(2024, 1, 15, 0, 0, 0, 0, time.UTC)

// at is the time of day on the n-th day from 2024-01-15.
func at(n int, clock string) int64 {
	t, err := time.Parse("15:04:05.999999", clock)
	if err != nil {
		panic(err)
	}
	return jan15.AddDate(0, 0, n).Add(t.Sub(t.Truncate(24 * time.Hour))).UnixMicro()
}

// A lake is a bucket with one data type in it, and all rows ever put there.
type lake struct {
	testing.TB
	store *objstore.Mem
	reg   *schema.Registry
	def   *schema.Definition
	table *partition.Table
	snap  *partition.Snapshot
	seq   int
	rows  []row
	plain bool // raw objects carry no metadata
}

func newLake(t testing.TB) *lake {
	def, err := schema.Parse([]byte(samples))
	if err != nil {
		t.Fatal(err)
	}
	reg, err := schema.NewRegistry(def)
	if err != nil {
		t.Fatal(err)
	}
	store := objstore.NewMem()
	return &lake{TB: t, store: store, reg: reg, def: def, table: partition.OpenTable(store, "samples", time.Now)}
}

func (l *lake) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lake) record(rows []row) arrow.RecordBatch {
	c := schema.NewColumns(l.def)
	for _, r := range rows {
		c.Begin()
		c.SetString(0, []byte(r.symbol))
		c.SetTimestamp(1, r.at)
		set(r.price, func(v int64) { c.SetDecimal(2, v) })
		set(r.volume, func(v int64) { c.SetInt64(3, v) })
		set(r.size, func(v int32) { c.SetInt32(4, v) })
		set(r.beta, func(v float64) { c.SetFloat64(5, v) })
		set(r.active, func(v bool) { c.SetBool(6, v) })
		if r.payload != nil {
			c.SetBinary(7, r.payload)
		}
		set(r.note, func(v string) { c.SetString(8, []byte(v)) })
		set(r.expiry, func(v int32) { c.SetDate(9, v) })
		c.SetString(l.def.Own, []byte(r.id))
		c.SetInt32(l.def.Own+1, r.index)
		c.SetTimestamp(l.def.Own+2, r.pub)
		c.SetString(l.def.Own+3, []byte("v1.0.0"))
		c.SetInt64(l.def.Own+4, 0)
		c.Commit()
	}
	sorted, err := columnar.Sort(c.Record(), l.def)
	l.must(err)
	return sorted
}

func set[T any](v *T, use func(T)) {
	if v != nil {
		use(*v)
	}
}

// raw puts rows into raw objects, one per day, and gives their names.
func (l *lake) raw(rows ...row) []string {
	l.Helper()
	l.rows = append(l.rows, rows...)
	byDay := map[partition.Day][]row{}
	for _, r := range rows {
		d := partition.DayOf(r.at)
		byDay[d] = append(byDay[d], r)
	}
	var names []string
	for d, rows := range byDay {
		data, sum, err := columnar.Encode(l.record(rows), l.def)
		l.must(err)
		l.seq++
		n := partition.RawName{Key: partition.Key{Type: "samples", Day: d}, Category: "sample", First: rows[0].symbol, Time: sum.First, Major: 1, Writer: "w", Seq: l.seq}
		for _, r := range rows {
			n.Multi = n.Multi || r.symbol != rows[0].symbol
		}
		if n.Multi {
			n.First = ""
		}
		meta := sum.Metadata()
		if l.plain {
			meta = nil
		}
		_, err = l.store.Create(l.Context(), n.String(), data, meta)
		l.must(err)
		names = append(names, n.String())
	}
	slices.Sort(names)
	return names
}

func (l *lake) load() {
	l.Helper()
	var err error
	if l.snap == nil {
		l.snap, err = l.table.Create(l.Context(), l.def)
	} else {
		l.snap, err = l.table.Load(l.Context())
	}
	l.must(err)
}

// compact merges all raw objects that the table has not consumed into it. With
// perFile rows, the files of a day follow one another; it rewrites a day's files
// only if rewrite says so, else the new rows get files of their own.
func (l *lake) compact(perFile int, rewrite bool) {
	l.Helper()
	l.load()
	raws, err := partition.ListRaw(l.Context(), l.store, "samples")
	l.must(err)
	days := map[partition.Key][]partition.RawFile{}
	var keys []partition.Key
	for _, r := range raws {
		if l.snap.Consumed(r.Name) {
			continue
		}
		if days[r.Key] == nil {
			keys = append(keys, r.Key)
		}
		days[r.Key] = append(days[r.Key], r)
	}
	change := partition.Change{Operation: "COMPACT"}
	for _, key := range keys {
		var inputs []arrow.RecordBatch
		for _, r := range days[key] {
			inputs = append(inputs, l.read(r.Name))
			change.Consumed = append(change.Consumed, r.Name)
		}
		live := l.snap.Partition(key)
		for _, f := range live {
			inputs = append(inputs, l.read(partition.TableRoot("samples")+f.Path))
		}
		merged, _, err := columnar.Merge(inputs, l.def)
		l.must(err)
		if !rewrite {
			merged = l.without(merged, inputs[len(days[key]):])
		} else {
			change.Remove = append(change.Remove, live...)
		}
		for from := int64(0); from < merged.NumRows(); from += int64(perFile) {
			part := merged.NewSlice(from, min(from+int64(perFile), merged.NumRows()))
			change.Add = append(change.Add, l.processed(key, part))
		}
	}
	if len(keys) > 0 {
		l.snap, err = l.table.Commit(l.Context(), l.snap, change)
		l.must(err)
	}
}

// without is merged less the rows whose hashes are in the others.
func (l *lake) without(merged arrow.RecordBatch, others []arrow.RecordBatch) arrow.RecordBatch {
	there := map[columnar.SetHash]bool{}
	for _, o := range others {
		for _, h := range columnar.RowHashes(o, nil) {
			there[h] = true
		}
	}
	var rows []arrow.RecordBatch
	for i, h := range columnar.RowHashes(merged, nil) {
		if !there[h] {
			rows = append(rows, merged.NewSlice(int64(i), int64(i+1)))
		}
	}
	rec, err := columnar.Concat(rows, l.def)
	l.must(err)
	return rec
}

func (l *lake) read(name string) arrow.RecordBatch {
	l.Helper()
	data, err := l.store.Read(l.Context(), name, 0, -1)
	l.must(err)
	f, err := columnar.OpenBytes(name, data)
	l.must(err)
	rec, err := f.Read(l.Context(), l.def, nil, nil)
	l.must(err)
	return rec
}

// processed uploads sorted rows and gives what a commit says of them.
func (l *lake) processed(key partition.Key, rec arrow.RecordBatch) partition.File {
	l.Helper()
	data, sum, err := columnar.Encode(rec, l.def)
	l.must(err)
	rows := rec.Column(0)
	n := partition.ProcessedName{Key: key, Category: "sample", First: rows.ValueStr(0), Last: rows.ValueStr(rows.Len() - 1), Major: 1, Hash: sum.Hash.String(), Planned: l.snap.Version}
	if _, err = l.store.Create(l.Context(), n.String(), data, nil); !errors.Is(err, objstore.ErrExist) {
		l.must(err)
	}
	return partition.Describe(n, data, sum, rec, l.def)
}

// expected is what a read of everything has to give: of the rows with one
// identity the first published, in the total order.
func (l *lake) expected() []row {
	hash := func(r row) columnar.SetHash { return columnar.RowHashes(l.record([]row{r}), nil)[0] }
	sorted := slices.Clone(l.rows)
	slices.SortStableFunc(sorted, func(a, b row) int {
		if c := cmp.Or(cmp.Compare(partition.DayOf(a.at), partition.DayOf(b.at)), cmp.Compare(a.symbol, b.symbol), cmp.Compare(a.at, b.at),
			cmp.Compare(a.id, b.id), cmp.Compare(a.index, b.index), cmp.Compare(a.pub, b.pub)); c != 0 {
			return c
		}
		ha, hb := hash(a), hash(b)
		return cmp.Or(cmp.Compare(ha[0], hb[0]), cmp.Compare(ha[1], hb[1]))
	})
	return slices.CompactFunc(sorted, func(a, b row) bool {
		return a.symbol == b.symbol && a.at == b.at && a.id == b.id && a.index == b.index && (a.pub == b.pub || !strings.HasPrefix(a.id, "m:"))
	})
}

// lines renders rows as the JSON format does.
func (l *lake) lines(rows []row, columns ...string) []string {
	l.Helper()
	var recs []arrow.RecordBatch
	for _, r := range rows {
		recs = append(recs, l.record([]row{r}))
	}
	if len(recs) == 0 {
		return nil
	}
	rec, err := columnar.Concat(recs, l.def)
	l.must(err)
	var out strings.Builder
	w, err := query.NewWriter("json", &out, l.def.Arrow())
	l.must(err)
	l.must(w.Write(rec))
	l.must(w.Close())
	return pick(strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), columns)
}

// pick keeps the columns of JSON lines, textually.
func pick(lines, columns []string) []string {
	if len(columns) == 0 {
		return lines
	}
	for i, line := range lines {
		var kept []string
		for _, c := range columns {
			_, rest, _ := strings.Cut(line, `"`+c+`":`)
			end := 0
			for quoted := false; end < len(rest) && (quoted || rest[end] != ',' && rest[end] != '}'); end++ {
				if rest[end] == '"' && (end == 0 || rest[end-1] != '\\') {
					quoted = !quoted
				}
			}
			kept = append(kept, `"`+c+`":`+rest[:end])
		}
		lines[i] = "{" + strings.Join(kept, ",") + "}"
	}
	return lines
}

// run plans and executes and gives the rows as JSON lines.
func (l *lake) run(q query.DataQuery, opts ...query.Options) ([]string, query.Result) {
	l.Helper()
	lines, result, err := l.try(l.Context(), l.store, q, opts...)
	l.must(err)
	return lines, result
}

func (l *lake) try(ctx context.Context, store objstore.Reader, q query.DataQuery, opts ...query.Options) ([]string, query.Result, error) {
	q.DataType = cmp.Or(q.DataType, "samples")
	plan, err := query.Prepare(ctx, store, l.reg, q, append(opts, query.Options{})[0])
	if err != nil {
		return nil, query.Result{}, err
	}
	return execute(ctx, plan)
}

func execute(ctx context.Context, plan *query.Plan) ([]string, query.Result, error) {
	var out bytes.Buffer
	w, err := query.NewWriter("json", &out, plan.Schema())
	if err != nil {
		return nil, query.Result{}, err
	}
	result, err := plan.Execute(ctx, func(rec arrow.RecordBatch) error {
		if !rec.Schema().Equal(plan.Schema()) {
			return fmt.Errorf("record has schema %s, the plan %s", rec.Schema(), plan.Schema())
		}
		return w.Write(rec)
	})
	if err != nil {
		return nil, result, err
	}
	if err := w.Close(); err != nil || out.Len() == 0 {
		return nil, result, err
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), result, nil
}

// message is a row of the n-th message.
func message(n int, symbol string, when int64) row {
	return row{symbol: symbol, at: when, price: p(int64(n) * 1e8), volume: p(int64(n)), id: fmt.Sprintf("m:%06d", n), pub: at(40, "00:00:00") + int64(n)}
}

// A watched store counts reads per object.
type watched struct {
	*objstore.Mem
	reads chan string
}

func watch(store *objstore.Mem) *watched { return &watched{store, make(chan string, 1<<20)} }

func (w *watched) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	w.reads <- name
	return w.Mem.Read(ctx, name, off, n)
}

// data gives the data objects read since the last call, sorted, each once.
func (w *watched) data() []string {
	var names []string
	for {
		select {
		case n := <-w.reads:
			if strings.HasSuffix(n, ".parquet") && !strings.Contains(n, "_delta_log") {
				names = append(names, n)
			}
			continue
		default:
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
}

func newRecord(s *arrow.Schema, columns []arrow.Array, rows int64) arrow.RecordBatch {
	return array.NewRecordBatch(s, columns, rows)
}
