package compaction_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const market = "market_data"

var jan15, _ = partition.ParseDay("2024-01-15")

// A quote is a row of market_data, as far as these tests tell rows apart.
type quote struct {
	day       partition.Day // 0: jan15
	symbol    string
	second    int
	id        string
	index     int32
	published int64
	price     int64
}

func (q quote) micros() int64 {
	if q.day == 0 {
		q.day = jan15
	}
	return q.day.Start().UnixMicro() + int64(q.second)*1e6
}

// identity is the contract's, put down once more.
func (q quote) identity() string {
	id := fmt.Sprintf("%s %d %s %d", q.symbol, q.micros(), q.id, q.index)
	if strings.HasPrefix(q.id, "m:") {
		id += fmt.Sprintf(" %d", q.published)
	}
	return id
}

// A lake is a bucket under test.
type lake struct {
	t     testing.TB
	store objstore.Store
	reg   *schema.Registry
	def   *schema.Definition
	seq   int
	rows  map[string]bool // the model: the identities of all raw rows
}

func newLake(t testing.TB, store objstore.Store) *lake {
	t.Helper()
	reg, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := reg.Latest(market)
	return &lake{t: t, store: store, reg: reg, def: def, rows: map[string]bool{}}
}

func (l *lake) record(quotes ...quote) *schema.Columns {
	c := schema.NewColumns(l.def)
	for _, q := range quotes {
		c.Begin()
		c.SetString(l.def.SymbolField, []byte(q.symbol))
		c.SetTimestamp(l.def.TimeField, q.micros())
		c.SetDecimal(l.def.Field("price"), q.price*1e8)
		c.SetString(l.def.Field(schema.ColID), []byte(q.id))
		c.SetInt32(l.def.Field(schema.ColIndex), q.index)
		c.SetTimestamp(l.def.Field(schema.ColPublishedAt), q.published)
		c.SetString(l.def.Field(schema.ColSchemaVersion), []byte(l.def.Version.String()))
		c.SetInt64(l.def.Field(schema.ColFlags), 0)
		c.Commit()
	}
	return c
}

func (l *lake) encode(quotes ...quote) ([]byte, map[string]string) {
	l.t.Helper()
	rec, err := columnar.Sort(l.record(quotes...).Record(), l.def)
	if err != nil {
		l.t.Fatal(err)
	}
	data, sum, err := columnar.Encode(rec, l.def)
	if err != nil {
		l.t.Fatal(err)
	}
	return data, sum.Metadata()
}

// rawName is the next name of a raw object with these rows.
func (l *lake) rawName(q quote) string {
	l.seq++
	return partition.RawName{
		Key: partition.Key{Type: market, Day: partition.DayOf(q.micros())}, Category: l.def.Category,
		Multi: true, Time: q.micros(), Major: l.def.Version.Major, Writer: "w", Seq: l.seq,
	}.String()
}

// raw makes the quotes, which are of one day, a raw object.
func (l *lake) raw(quotes ...quote) string {
	l.t.Helper()
	data, metadata := l.encode(quotes...)
	name := l.rawName(quotes[0])
	l.put(name, data, metadata)
	for _, q := range quotes {
		l.rows[q.identity()] = true
	}
	return name
}

func (l *lake) put(name string, data []byte, metadata map[string]string) {
	l.t.Helper()
	if _, err := l.store.Create(context.Background(), name, data, metadata); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lake) compactor(store objstore.ReadWriter, o compaction.Options) *compaction.Compactor {
	return &compaction.Compactor{Store: store, Registry: l.reg, Options: o}
}

// compact runs once and wants no trouble.
func (l *lake) compact() compaction.Report {
	l.t.Helper()
	return l.compactWith(compaction.Options{})
}

func (l *lake) compactWith(o compaction.Options) compaction.Report {
	l.t.Helper()
	r, err := l.compactor(l.store, o).Run(context.Background(), []string{market})
	if err != nil {
		l.t.Fatalf("Run: %v\n%s", err, r)
	}
	l.check()
	return r
}

// run runs once whatever comes of it.
func (l *lake) run(store objstore.ReadWriter) (compaction.PartitionReport, error) {
	l.t.Helper()
	r, err := l.compactor(store, compaction.Options{}).Run(context.Background(), []string{market})
	if n := len(r.Tables[0].Partitions); n != 1 {
		l.t.Fatalf("%d partitions in the report, want 1: %v\n%s", n, err, r)
	}
	return r.Tables[0].Partitions[0], err
}

// view is what a reader finds: it lists raw first (P14).
func (l *lake) view() ([]partition.RawFile, *partition.Snapshot, error) {
	ctx := context.Background()
	raw, err := partition.ListRaw(ctx, l.store, market)
	if err != nil {
		return nil, nil, err
	}
	s, err := partition.OpenTable(l.store, market, nil).Load(ctx)
	return raw, s, err
}

func (l *lake) snapshot() *partition.Snapshot {
	l.t.Helper()
	_, s, err := l.view()
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// violations are what a reader finds wrong at this moment.
func (l *lake) violations() ([]compaction.Violation, error) {
	raw, s, err := l.view()
	if err != nil {
		return nil, err
	}
	return compaction.Check{Store: l.store, Definition: l.def, Snapshot: s, Raw: raw, Complete: true}.All(context.Background())
}

func (l *lake) check() {
	l.t.Helper()
	bad, err := l.violations()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, v := range bad {
		l.t.Error(v)
	}
}

// identities are those of the live rows.
func (l *lake) identities() int {
	n := 0
	for _, f := range l.snapshot().Files(nil) {
		n += int(f.Rows)
	}
	return n
}

func (l *lake) duplicates() int64 {
	n := int64(0)
	for _, f := range l.snapshot().Files(nil) {
		n += f.Duplicates
	}
	return n
}

// contents are the bytes of the live files, by partition and in order.
func (l *lake) contents() map[string][]string {
	l.t.Helper()
	all := map[string][]string{}
	for _, f := range l.snapshot().Files(nil) {
		data, err := l.store.Read(context.Background(), f.ObjectName(), 0, -1)
		if err != nil {
			l.t.Fatal(err)
		}
		all[f.Key.String()] = append(all[f.Key.String()], fmt.Sprintf("%s~%s %x", f.First, f.Last, sha256.Sum256(data)))
	}
	return all
}

// objects is everything in the bucket: names, generations and bytes.
func (l *lake) objects(prefix string) map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for o, err := range l.store.List(context.Background(), prefix, "") {
		if err != nil {
			l.t.Fatal(err)
		}
		data, err := l.store.Read(context.Background(), o.Name, 0, -1)
		if err != nil {
			l.t.Fatal(err)
		}
		all[o.Name] = fmt.Sprintf("%d %s", o.Generation, data)
	}
	return all
}

// stores are the kinds of bucket.
var stores = map[string]func(t *testing.T) objstore.Store{
	"in memory": func(*testing.T) objstore.Store { return objstore.NewMem() },
	"in a directory": func(t *testing.T) objstore.Store {
		d, err := objstore.OpenDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return d
	},
}

func onEveryStore(t *testing.T, test func(t *testing.T, l *lake)) {
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		t.Run(name, func(t *testing.T) { test(t, newLake(t, stores[name](t))) })
	}
}

// A hooked store calls before each operation ahead of it, and after behind each
// write, which may be one that failed.
type hooked struct {
	objstore.Store
	before func(op, name string)
	after  func(op, name string)
	mu     sync.Mutex // one write and its after at a time
}

func (h *hooked) pre(op, name string) {
	if h.before != nil {
		h.before(op, name)
	}
}

func (h *hooked) write(op, name string, apply func() (objstore.Object, error)) (objstore.Object, error) {
	h.pre(op, name)
	h.mu.Lock()
	defer h.mu.Unlock()
	o, err := apply()
	if h.after != nil {
		h.after(op, name)
	}
	return o, err
}

func (h *hooked) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	h.pre("list", prefix)
	return h.Store.List(ctx, prefix, after)
}

func (h *hooked) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	h.pre("read", name)
	return h.Store.Read(ctx, name, off, n)
}

func (h *hooked) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	return h.write("create", name, func() (objstore.Object, error) { return h.Store.Create(ctx, name, data, metadata) })
}

func (h *hooked) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	return h.write("replace", name, func() (objstore.Object, error) { return h.Store.Replace(ctx, name, data, metadata, match) })
}

// quotes makes n quotes of a symbol, with identities from first on.
func quotes(symbol string, first, n int) []quote {
	all := make([]quote, n)
	for i := range all {
		all[i] = quote{symbol: symbol, second: first + i, id: fmt.Sprintf("m:%d", first+i), published: 7, price: int64(first + i)}
	}
	return all
}

func onDay(day partition.Day, all []quote) []quote {
	all = slices.Clone(all)
	for i := range all {
		all[i].day = day
	}
	return all
}

func ago(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(-d) } }

// see adds the identities of an object's rows.
func (l *lake) see(seen map[string]bool, name string) error {
	data, err := l.store.Read(context.Background(), name, 0, -1)
	if err != nil {
		return err
	}
	f, err := columnar.OpenBytes(name, data)
	if err != nil {
		return err
	}
	rec, err := f.Read(context.Background(), l.def, nil, nil)
	if err != nil {
		return err
	}
	for _, id := range compaction.Identities(rec, l.def) {
		seen[id] = true
	}
	return nil
}
