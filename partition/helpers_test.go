package partition

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

const market = "market_data"

var jan15 = DayOf(time.Date(2024, 1, 15, 14, 30, 52, 0, time.UTC).UnixMicro())

func definition(t testing.TB, dataType string) *schema.Definition {
	t.Helper()
	r, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	d, ok := r.Latest(dataType)
	if !ok {
		t.Fatalf("no data type %s", dataType)
	}
	return d
}

// ticking is a clock that goes on by a second each time it is read.
func ticking() func() time.Time {
	var n atomic.Int64
	return func() time.Time {
		return time.Date(2024, 1, 16, 0, 0, int(n.Add(1)), 0, time.UTC)
	}
}

func newMem() *objstore.Mem {
	m := objstore.NewMem()
	m.Clock = ticking()
	return m
}

func openTable(store objstore.ReadWriter) *Table {
	t := OpenTable(store, market, ticking())
	var n atomic.Int64
	t.newID = func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n.Add(1)) }
	return t
}

func created(t testing.TB, store objstore.ReadWriter) (*Table, *Snapshot) {
	t.Helper()
	table := openTable(store)
	s, err := table.Create(t.Context(), definition(t, market))
	if err != nil {
		t.Fatal(err)
	}
	return table, s
}

// fileOn is a file as a compaction that planned on version v would add it; n
// tells it from others.
func fileOn(day Day, n, v int64) File {
	name := ProcessedName{
		Key: Key{market, day}, Category: "market", First: "AAPL", Last: "MSFT", Major: 1,
		Hash: fmt.Sprintf("%016x", n), Planned: v,
	}
	return File{
		Path: name.Path(), Key: name.Key, Size: 100 + n, Rows: n, Stats: fmt.Sprintf(`{"numRecords":%d}`, n),
		CRC32C: uint32(n), Hash: columnar.SetHash{uint64(n), ^uint64(n)}, Duplicates: n % 3, First: "AAPL", Last: "MSFT",
		FirstEvent: day.Start().UnixMicro() + n, LastEvent: day.Start().UnixMicro() + 2*n,
		SchemaVersion: "v1.2.0", Modified: day.Start().Add(36 * time.Hour),
	}
}

func rawOn(day Day, n int64) string {
	name := RawName{Key: Key{market, day}, Category: "market", First: "AAPL", Time: day.Start().UnixMicro(), Major: 1, Writer: "w1", Seq: int(n)}
	return name.String()
}

// addOne is a change that adds one file and consumes one raw object.
func addOne(base *Snapshot, n int64) Change {
	return Change{
		Operation: "COMPACT",
		Add:       []File{fileOn(jan15+Day(n%5), n, base.Version)},
		Consumed:  []string{rawOn(jan15+Day(n%5), n)},
		Metrics:   map[string]string{"rows": fmt.Sprint(n)},
	}
}

// grow commits n times.
func grow(t testing.TB, table *Table, s *Snapshot, n int) *Snapshot {
	t.Helper()
	for range n {
		var err error
		if s, err = table.Commit(t.Context(), s, addOne(s, s.Version+1)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func mustLoad(t testing.TB, table *Table) *Snapshot {
	t.Helper()
	s, err := table.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// diff compares two snapshots in all but which checkpoint is known.
func diff(a, b *Snapshot, opts ...cmp.Option) string {
	opts = append(opts, cmp.AllowUnexported(Snapshot{}), cmpopts.IgnoreFields(Snapshot{}, "checkpoint"), cmpopts.EquateEmpty())
	return cmp.Diff(a, b, opts...)
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func hasError(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(message(err), p) {
			t.Errorf("error = %q, want it to say %q", message(err), p)
		}
	}
}
