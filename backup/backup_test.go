package backup_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/fsck"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sweep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const market = laketest.Market

var types = []string{market}

// A lake has an archive and a bucket of backups, all under one clock.
type lake struct {
	*laketest.Lake
	t              testing.TB
	store          *objstore.Mem
	archive, vault *objstore.Mem
}

func newLake(t testing.TB) *lake {
	l := &lake{Lake: laketest.New(t), t: t, archive: objstore.NewMem(), vault: objstore.NewMem()}
	l.store, l.archive.Clock, l.vault.Clock = l.Store, l.Clock, l.Clock
	return l
}

func (l *lake) backupFrom(from objstore.Reader, to objstore.ReadWriter) (*backup.Manifest, error) {
	b := &backup.Backup{Lake: from, Vault: to, Clock: l.Clock, Workers: 1}
	return b.Run(context.Background(), types)
}

func (l *lake) backup() *backup.Manifest {
	l.t.Helper()
	m, err := l.backupFrom(l.store, l.vault)
	if err != nil {
		l.t.Fatal(err)
	}
	if m, err = backup.Open(context.Background(), l.vault, m.ID); err != nil {
		l.t.Fatal(err)
	}
	findings, err := (&backup.Verify{Vault: l.vault, Deep: true}).Backup(context.Background(), m)
	if err != nil || len(findings) > 0 {
		l.t.Fatalf("verify: %v, %+v", err, findings)
	}
	return m
}

func (l *lake) sweep() {
	l.t.Helper()
	s := &sweep.Sweeper{Store: l.store, Archive: l.archive}
	if _, err := s.Run(context.Background(), types); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lake) restorer(into objstore.ReadWriter) *backup.Restore {
	return &backup.Restore{Vault: l.vault, Lake: into, InPlace: true, Archive: l.archive, Salvage: true, Clock: l.Clock, Workers: 1}
}

func (l *lake) restore(m *backup.Manifest, mend bool) backup.Report {
	l.t.Helper()
	report, err := l.restorer(l.store).Table(context.Background(), m, market, mend)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.restorer(l.store).Beside(context.Background(), m); err != nil {
		l.t.Fatal(err)
	}
	return report
}

// fsck wants no violation, deep.
func (l *lake) fsck(store objstore.Reader) {
	l.t.Helper()
	r, err := (&fsck.Checker{Store: store, Registry: l.Registry, Deep: true}).Run(context.Background(), types)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range r.Findings {
		if !f.Notice {
			l.t.Error(f)
		}
	}
}

// rowsOf are the live rows of a table as text, every column of every row, in order.
func rowsOf(t testing.TB, store objstore.Reader, def *schema.Definition, files []partition.File) []string {
	t.Helper()
	var rows []string
	for _, f := range files {
		data, err := store.Read(context.Background(), f.ObjectName(), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, rowsIn(t, f.Path, data, def)...)
	}
	slices.Sort(rows)
	return rows
}

func rowsIn(t testing.TB, name string, data []byte, def *schema.Definition) []string {
	t.Helper()
	file, err := columnar.OpenBytes(name, data)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := file.Read(context.Background(), def, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]string, rec.NumRows())
	for i := range rows {
		var b strings.Builder
		for c := range int(rec.NumCols()) {
			fmt.Fprintf(&b, "%s=%s;", rec.ColumnName(c), rec.Column(c).ValueStr(i))
		}
		rows[i] = b.String()
	}
	return rows
}

func (l *lake) rows() []string {
	l.t.Helper()
	return rowsOf(l.t, l.store, l.Def, l.Snapshot().Files(nil))
}

// contents are a store's objects.
func contents(t testing.TB, s objstore.Reader, prefix string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range laketest.Names(t, s, prefix) {
		data, err := s.Read(context.Background(), name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(data)
	}
	return all
}

// clone copies a store with its objects, at the same times.
func clone(t testing.TB, from *objstore.Mem) *objstore.Mem {
	t.Helper()
	to := objstore.NewMem()
	for o, err := range from.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := from.Read(context.Background(), o.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		to.Clock = func() time.Time { return o.Created }
		if _, err := to.Create(context.Background(), o.Name, data, o.Metadata); err != nil {
			t.Fatal(err)
		}
	}
	to.Clock = from.Clock
	return to
}

// grown is a lake with twelve versions, whose raw files have partly gone to the
// archive, with backups at three of them and raw files that wait. Each test has a
// copy of one.
func grown(t testing.TB) (l *lake, at [3]*backup.Manifest, rows [3][]string) {
	once.Do(func() { first.lake, first.at, first.rows = grow(t) })
	inner := first.lake.On(t, clone(t, first.lake.store))
	l = &lake{Lake: inner, t: t, store: inner.Store, archive: clone(t, first.lake.archive), vault: clone(t, first.lake.vault)}
	l.archive.Clock, l.vault.Clock = l.Clock, l.Clock
	return l, first.at, first.rows
}

var (
	once  sync.Once
	first struct {
		lake *lake
		at   [3]*backup.Manifest
		rows [3][]string
	}
)

func grow(t testing.TB) (l *lake, at [3]*backup.Manifest, rows [3][]string) {
	l = newLake(t)
	for i := range 12 {
		l.Ingest(i%3, fmt.Sprint("a", i), fmt.Sprint("b", i))
		if i%4 == 1 {
			l.Ingest(i%3, fmt.Sprint("a", i)) // again: a redelivery
		}
		l.Compact()
		l.Pass(40 * time.Minute)
		if i%2 == 0 {
			l.sweep()
		}
		if i%4 == 3 {
			l.Ingest(5, fmt.Sprint("waits", i))
			at[i/4], rows[i/4] = l.backup(), l.rows()
		}
	}
	return l, at, rows
}

// settle compacts what waits, and wants every row that was ever acknowledged, once.
func (l *lake) settle() {
	l.t.Helper()
	l.Check()
	l.fsck(l.store)
	l.Compact()
	l.Check()
	s := l.Snapshot()
	seen := map[string]bool{}
	for _, row := range rowsOf(l.t, l.store, l.Def, s.Files(nil)) {
		if seen[row] {
			l.t.Errorf("row %s is live twice", row)
		}
		seen[row] = true
	}
	raw, err := partition.ListRaw(context.Background(), l.store, market)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range raw {
		if !s.Consumed(f.Name) {
			l.t.Errorf("%s is not consumed", f.Name)
		}
	}
	l.Pass(30 * 24 * time.Hour)
	l.sweep()
	l.Pass(25 * time.Hour)
	l.sweep()
	l.Check()
	l.fsck(l.store)
}

// every is the distance between the steps at which something is killed or comes
// between; 1 takes four times as long.
var every = flag.Int("every", 4, "kill at every n-th step")

// quickly runs a test in which no time passes while somebody waits: a log with a gap
// is read again and again, with pauses.
func quickly(t *testing.T, name string, test func(t *testing.T)) {
	grown(t) // outside
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestABackupCopiesWhatIsNew(t *testing.T) {
	l, at, _ := grown(t)
	for i, m := range at {
		table, ok := m.Table(market)
		if !ok || len(m.LeftOut) > 0 || table.Raw == 0 || table.Files == 0 || table.ID == "" {
			t.Errorf("backup %d: %+v, %v", i, table, m.LeftOut)
		}
		if got := len(laketest.Names(t, l.vault, "backups/"+m.ID+"/objects/")); got != m.Copied {
			t.Errorf("backup %d of %d objects: copied %d, its folder has %d", i, m.Objects, m.Copied, got)
		}
	}
	// At once again: nothing is new.
	if m := l.backup(); m.Copied != 0 || m.Objects == 0 {
		t.Errorf("a second backup at once copied %d of %d objects", m.Copied, m.Objects)
	}
}

func TestIntoAnEmptyBucketRowByRow(t *testing.T) {
	l, at, rows := grown(t)
	for i, m := range at {
		into := objstore.NewMem()
		into.Clock = l.Clock
		r := &backup.Restore{Vault: l.vault, Lake: into, Clock: l.Clock}
		report, err := r.Table(t.Context(), m, market, false)
		if err != nil {
			t.Fatal(err)
		}
		table, _ := m.Table(market)
		if report.How != backup.Fresh || report.Now != table.Version || report.Put == 0 {
			t.Errorf("report %+v", report)
		}
		s, err := partition.OpenTable(into, market, l.Clock).Load(t.Context())
		if err != nil || s.Version != table.Version {
			t.Fatal(s, err)
		}
		if got := rowsOf(t, into, l.Def, s.Files(nil)); !slices.Equal(got, rows[i]) {
			t.Errorf("backup %d: %d rows, want %d", i, len(got), len(rows[i]))
		}
		raw, err := partition.ListRaw(t.Context(), into, market)
		if err != nil || len(raw) != table.Raw {
			t.Errorf("%d raw files, want %d, %v", len(raw), table.Raw, err)
		}
		l.fsck(into)
		again, err := r.Table(t.Context(), m, market, false)
		if err != nil || again.Put != 0 || again.Bytes != 0 {
			t.Errorf("run again: %+v, %v", again, err)
		}
	}
	// What is not empty is refused.
	if _, err := (&backup.Restore{Vault: l.vault, Lake: l.store, Clock: l.Clock}).Table(t.Context(), at[0], market, false); err == nil || !strings.Contains(err.Error(), "empty bucket") {
		t.Errorf("into a lake that is in use: %v", err)
	}
}

// A damage is done to a lake.
type damage struct {
	name string
	do   func(t testing.TB, l *lake)
	mend bool // the newest version can be had again
}

func remove(t testing.TB, s *objstore.Mem, name string) {
	t.Helper()
	if err := s.Remove(context.Background(), name, objstore.Any); err != nil {
		t.Fatal(err)
	}
}

func flip(t testing.TB, s *objstore.Mem, name string) {
	t.Helper()
	data, err := s.Read(context.Background(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	if _, err := s.Replace(context.Background(), name, data, nil, objstore.Any); err != nil {
		t.Fatal(err)
	}
}

const logRoot = "processed/" + market + "/_delta_log/"

func logEntries(t testing.TB, l *lake) (entries, checkpoints []string) {
	for _, name := range laketest.Names(t, l.store, logRoot+"0") {
		if strings.HasSuffix(name, ".json") {
			entries = append(entries, name)
		} else {
			checkpoints = append(checkpoints, name)
		}
	}
	return entries, checkpoints
}

var damages = []damage{
	{"nothing", func(testing.TB, *lake) {}, true},
	{"a live file is gone", func(t testing.TB, l *lake) { remove(t, l.store, l.Snapshot().Files(nil)[0].ObjectName()) }, true},
	{"a live file is damaged", func(t testing.TB, l *lake) { flip(t, l.store, l.Snapshot().Files(nil)[0].ObjectName()) }, true},
	{"all live files are gone", func(t testing.TB, l *lake) {
		for _, f := range l.Snapshot().Files(nil) {
			remove(t, l.store, f.ObjectName())
		}
	}, true},
	{"an entry of the log is damaged", func(t testing.TB, l *lake) {
		entries, _ := logEntries(t, l)
		flip(t, l.store, entries[len(entries)-1])
	}, true},
	{"the log ends early", func(t testing.TB, l *lake) {
		entries, _ := logEntries(t, l)
		for _, name := range entries[len(entries)-2:] {
			remove(t, l.store, name)
		}
	}, true},
	{"the checkpoint is damaged", func(t testing.TB, l *lake) {
		_, checkpoints := logEntries(t, l)
		flip(t, l.store, checkpoints[len(checkpoints)-1])
	}, true},
	{"the log is gone", func(t testing.TB, l *lake) {
		for _, name := range laketest.Names(t, l.store, logRoot) {
			remove(t, l.store, name)
		}
	}, false},
	{"a raw file that waits is damaged", func(t testing.TB, l *lake) {
		s := l.Snapshot()
		for _, name := range laketest.Names(t, l.store, "raw/") {
			if !s.Consumed(name) {
				flip(t, l.store, name)
				return
			}
		}
		t.Fatal("no raw file waits")
	}, true},
	{"the table is gone", func(t testing.TB, l *lake) {
		for _, name := range laketest.Names(t, l.store, "processed/") {
			remove(t, l.store, name)
		}
	}, false},
}

// The newest backup is of the newest version: whatever is damaged, it mends it, and
// no row is lost or there twice.
func TestMend(t *testing.T) {
	for _, d := range damages {
		quickly(t, d.name, func(t *testing.T) {
			l, at, rows := grown(t)
			want := contents(t, l.store, "processed/"+market+"/year=")
			live := l.Snapshot().Files(nil)
			d.do(t, l)
			if !d.mend {
				if d.name == "the log is gone" {
					if _, err := l.restorer(l.store).Table(t.Context(), at[0], market, true); err == nil || !strings.Contains(err.Error(), "--version") {
						t.Errorf("mend without a log: %v", err)
					}
				}
				return
			}
			l.restore(at[2], true)
			s := l.Snapshot()
			if table, _ := at[2].Table(market); s.Version != table.Version {
				t.Errorf("version %d, want %d", s.Version, table.Version)
			}
			if got := l.rows(); !slices.Equal(got, rows[2]) {
				t.Errorf("%d rows, want %d", len(got), len(rows[2]))
			}
			is := contents(t, l.store, "processed/"+market+"/year=")
			for _, f := range live {
				if is[f.ObjectName()] != want[f.ObjectName()] {
					t.Errorf("%s is not as it was", f.ObjectName())
				}
			}
			if again := l.restore(at[2], true); again.How != backup.Nothing || again.Put+len(again.Replaced) > 0 {
				t.Errorf("run again: %+v", again)
			}
			l.settle()
		})
	}
}

// Back to each version, out of each damage: the live rows are those of then, one by
// one, and after a compaction those of now, since nothing that was acknowledged may
// be lost.
func TestBackToAVersion(t *testing.T) {
	for _, d := range damages {
		for _, i := range []int{0, 2} {
			quickly(t, fmt.Sprintf("%s/backup %d", d.name, i), func(t *testing.T) {
				l, at, rows := grown(t)
				before := l.Snapshot().Version
				d.do(t, l)
				report := l.restore(at[i], false)
				if got := l.rows(); !slices.Equal(got, rows[i]) {
					t.Errorf("%d rows, want %d (%+v)", len(got), len(rows[i]), report)
				}
				if s := l.Snapshot(); s.Version != report.Now || i < 2 && report.How != backup.Fresh && s.Version <= before {
					t.Errorf("version %d was %d: %+v", s.Version, before, report)
				}
				again := l.restore(at[i], false)
				if again.How != backup.Nothing && again.How != backup.Fresh || again.Now != report.Now {
					t.Errorf("run again: %+v, was %+v", again, report)
				}
				l.settle()
			})
		}
	}
}
