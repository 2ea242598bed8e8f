package partition

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/objstore"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestCreateGivesVersionZero(t *testing.T) {
	table, s := created(t, newMem())
	if s.Version != 0 || s.Type != market || s.ID == "" || s.SchemaString != definition(t, market).DeltaSchemaString() {
		t.Errorf("created version %d of %q, id %q, schema %q", s.Version, s.Type, s.ID, s.SchemaString)
	}
	if d := diff(s, mustLoad(t, table)); d != "" {
		t.Errorf("created and loaded differ:\n%s", d)
	}
	again, err := table.Create(t.Context(), definition(t, market))
	if err != nil || again.ID != s.ID {
		t.Errorf("creating twice gives table %q, %v; want %q", again.ID, err, s.ID)
	}
}

func TestNoTable(t *testing.T) {
	table := openTable(newMem())
	if _, err := table.Load(t.Context()); !errors.Is(err, ErrNoTable) {
		t.Errorf("load: %v", err)
	}
	if _, err := table.LoadVersion(t.Context(), 0); !errors.Is(err, ErrNoTable) {
		t.Errorf("load version: %v", err)
	}
}

func TestPropertiesAreKept(t *testing.T) {
	store := newMem()
	table := openTable(store)
	table.Properties = Properties{Retain: 36 * time.Hour, LogRetain: 90 * time.Second, CheckpointEvery: 3}
	if _, err := table.Create(t.Context(), definition(t, market)); err != nil {
		t.Fatal(err)
	}
	if got := mustLoad(t, openTable(store)).Properties(); got != table.Properties {
		t.Errorf("properties = %+v, want %+v", got, table.Properties)
	}
	for text, want := range map[string]time.Duration{
		"interval 7 days": 168 * time.Hour, "INTERVAL 1 WEEK": 168 * time.Hour, "interval 1 day 2 hours": 26 * time.Hour,
		"": time.Minute, "7 days": time.Minute, "interval 1 month": time.Minute, "interval -1 days": time.Minute,
	} {
		if got := parseInterval(text, time.Minute); got != want {
			t.Errorf("parseInterval(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestCommitAddsRemovesAndMarks(t *testing.T) {
	table, s := created(t, newMem())
	a, b := fileOn(jan15, 1, 0), fileOn(jan15+1, 2, 0)
	s1, err := table.Commit(t.Context(), s, Change{Operation: "COMPACT", Add: []File{b, a}, Consumed: []string{rawOn(jan15, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]File{a, b}, s1.Files(nil)); d != "" {
		t.Errorf("live files:\n%s", d)
	}
	if d := cmp.Diff([]File{b}, s1.Partition(b.Key)); d != "" {
		t.Errorf("partition:\n%s", d)
	}
	if !s1.Consumed(rawOn(jan15, 1)) || s1.Consumed(rawOn(jan15, 2)) {
		t.Error("consumed marks are wrong")
	}
	c := fileOn(jan15, 3, 1)
	s2, err := table.Commit(t.Context(), s1, Change{Operation: "COMPACT", Add: []File{c}, Remove: []File{a}, Marks: map[string]int64{EraseMark: 2, FenceMark: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]File{c, b}, s2.Files(nil)); d != "" {
		t.Errorf("live files:\n%s", d)
	}
	grave, ok := s2.Tombstone(a.Path)
	if want := (Tombstone{Path: a.Path, Key: a.Key, Size: a.Size, Removed: s2.Time}); !ok || grave != want {
		t.Errorf("tombstone = %+v, want %+v", grave, want)
	}
	if s2.Txns[EraseMark].Version != 2 || s2.Fence() != 1 || s1.Fence() != -1 {
		t.Errorf("marks = %v", s2.Txns)
	}
	if d := diff(s2, mustLoad(t, table)); d != "" {
		t.Errorf("committed and loaded differ:\n%s", d)
	}
	if s1.Version != 1 || len(s1.Files(nil)) != 2 {
		t.Error("the older snapshot has changed")
	}
}

func TestAddingALiveFileAgainReplacesWhatIsSaidOfIt(t *testing.T) {
	table, s := created(t, newMem())
	s = grow(t, table, s, 1)
	f := s.Files(nil)[0]
	f.Duplicates += 7
	_, err := table.Commit(t.Context(), s, Change{Operation: "COMPACT", Add: []File{f}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]File{f}, mustLoad(t, table).Files(nil)); d != "" {
		t.Errorf("live files:\n%s", d)
	}
}

func TestSchemaChangeKeepsTheRest(t *testing.T) {
	table, s := created(t, newMem())
	def := *definition(t, market)
	def.Fields = def.Fields[:len(def.Fields)-1]
	next, err := table.Commit(t.Context(), s, Change{Operation: "CHANGE SCHEMA", Schema: &def})
	if err != nil {
		t.Fatal(err)
	}
	if next.ID != s.ID || next.SchemaString != def.DeltaSchemaString() || next.Properties() != s.Properties() {
		t.Errorf("after the change: id %q, schema %q", next.ID, next.SchemaString)
	}
}

func TestCommitRefuses(t *testing.T) {
	table, s := created(t, newMem())
	s, err := table.Commit(t.Context(), s, Change{Operation: "FENCE", Add: []File{fileOn(jan15, 9, 0)}, Marks: map[string]int64{FenceMark: 1}})
	if err != nil {
		t.Fatal(err)
	}
	good := fileOn(jan15, 1, 1)
	bad := func(change func(f *File)) []File {
		f := good
		change(&f)
		return []File{f}
	}
	for _, tt := range []struct {
		name   string
		change Change
		want   string
	}{
		{"nothing", Change{}, "nothing to commit"},
		{"a file twice", Change{Add: []File{good, good}}, "named twice"},
		{"a file of another type", Change{Add: bad(func(f *File) { f.Key.Type = "x" })}, `of data type "x"`},
		{"a file in another day's folder", Change{Add: bad(func(f *File) { f.Key.Day++ })}, "not in the folder of"},
		{"a path out of the table", Change{Add: bad(func(f *File) { f.Path = "year=2024/month=01/day=15/../../../../x" })}, "not a path"},
		{"negative rows", Change{Add: bad(func(f *File) { f.Rows = -1 })}, "-1 rows"},
		{"removal of what is not live", Change{Remove: []File{good}}, "not live"},
		{"added and removed", Change{Add: s.Files(nil), Remove: s.Files(nil)}, "named twice"},
		{"consumed that is not raw", Change{Consumed: []string{FenceMark}}, "not a raw object"},
		{"planned below the fence (P4)", Change{Add: []File{fileOn(jan15, 1, 0)}}, "below the fence at 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := table.Commit(t.Context(), s, tt.change)
			hasError(t, err, "commit market_data version 2", tt.want)
		})
	}
	if v := mustLoad(t, table).Version; v != 1 {
		t.Errorf("the table is at version %d, want 1", v)
	}
	if _, err := table.Commit(t.Context(), s, Change{Add: s.Files(nil)}); err != nil {
		t.Errorf("a live file may be added again below the fence: %v", err)
	}
}

func TestLostRaceIsAConflict(t *testing.T) {
	table, s := created(t, newMem())
	grow(t, table, s, 1)
	_, err := table.Commit(t.Context(), s, addOne(s, 2))
	if !errors.Is(err, ErrConflict) {
		t.Fatalf("error = %v, want ErrConflict", err)
	}
	hasError(t, err, "commit market_data version 1: another writer made this version first")
}

// P8: a writer's clock a day off must not shorten any grace.
func TestAgesAreTheStores(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	table.clock = func() time.Time { return time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) }
	s = grow(t, table, s, 1)
	f := s.Files(nil)[0]
	s, err := table.Commit(t.Context(), s, Change{Operation: "COMPACT", Remove: []File{f}, Marks: map[string]int64{FenceMark: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Checkpoint(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Snapshot{"committed": s, "from the checkpoint": mustLoad(t, table)} {
		if grave, _ := s.Tombstone(f.Path); grave.Removed.Year() != 2024 || s.Txns[FenceMark].Updated.Year() != 2024 || s.Time.Year() != 2024 {
			t.Errorf("%s: removed at %v, fence at %v, version at %v", name, grave.Removed, s.Txns[FenceMark].Updated, s.Time)
		}
	}
}

func TestRefreshReadsOnlyWhatIsNew(t *testing.T) {
	store := newMem()
	table, old := created(t, store)
	s := grow(t, table, old, 3)
	reader := openTable(onlyReads{store, func(name string) bool { return !strings.Contains(name, "00000.json") }})
	got, err := reader.Refresh(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(s, got); d != "" {
		t.Errorf("refreshed:\n%s", d)
	}
	if same, err := reader.Refresh(t.Context(), got); err != nil || same != got {
		t.Errorf("nothing happened, yet refresh gives %p, %v; want %p", same, err, got)
	}
}

// onlyReads refuses to read objects that may is against.
type onlyReads struct {
	objstore.ReadWriter
	may func(name string) bool
}

func (o onlyReads) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if !o.may(name) {
		return nil, fmt.Errorf("read %s: must not", name)
	}
	return o.ReadWriter.Read(ctx, name, off, n)
}

func TestHistory(t *testing.T) {
	table, s := created(t, newMem())
	grow(t, table, s, 11)
	h, err := table.History(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	want := Version{Version: 10, Operation: "COMPACT", Metrics: map[string]string{"rows": "10"}, Engine: Engine, Added: 1, Consumed: 1, Checkpoint: true, Time: h[1].Time, AddedPaths: h[1].AddedPaths}
	if d := cmp.Diff(want, h[1]); d != "" || len(h) != 3 || h[0].Version != 11 || len(h[1].AddedPaths) != 1 || !strings.Contains(h[1].AddedPaths[0], ".b9.") {
		t.Errorf("history = %v\n%s", h, d)
	}
}

// The log as it is printed: a change of the format shows here.
func TestGoldenLog(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	s = grow(t, table, s, 2)
	f := fileOn(jan15+1, 42, 2)
	f.First, f.Last = "^VIX", "ü_~"
	f.Stats = Stats{NumRecords: 42, Min: map[string]any{"symbol": "^VIX", "price": json.Number("1.5")}, Max: map[string]any{"price": json.Number("2.0")}, NullCount: map[string]int64{"symbol": 0}}.JSON()
	if _, err := table.Commit(t.Context(), s, Change{
		Operation: "COMPACT", Add: []File{f}, Remove: s.Partition(Key{market, jan15 + 1}), Consumed: []string{rawOn(jan15+1, 42)},
		Marks: map[string]int64{FenceMark: 2}, Metrics: map[string]string{"rows": "42"},
	}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for o, err := range store.List(t.Context(), table.root, "") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := store.Read(t.Context(), o.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n%s\n", o.Name, data)
	}
	golden(t, "log.golden", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-update rewrites it):\n%s", name, d)
	}
}

func TestManifest(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	s = grow(t, table, s, 6) // 1 and 6 share a day
	key := Key{market, jan15 + 1}
	if err := WriteManifests(t.Context(), store, s, nil); err != nil {
		t.Fatal(err)
	}
	data, err := store.Read(t.Context(), "metadata/market_data/year=2024/month=01/day=16/manifest.json", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "manifest.golden", string(data))
	s, err = table.Commit(t.Context(), s, Change{Operation: "ERASE", Remove: s.Partition(key)})
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteManifests(t.Context(), store, s, []Key{key}); err != nil {
		t.Fatal(err)
	}
	data, _ = store.Read(t.Context(), key.ManifestName(), 0, -1)
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil || m.FileCount != 0 || m.TableVersion != 7 || m.FirstEvent != "" {
		t.Errorf("manifest of an emptied partition = %+v, %v", m, err)
	}
}

func TestListRaw(t *testing.T) {
	store := newMem()
	put := func(name string, meta map[string]string) {
		if _, err := store.Create(t.Context(), name, []byte("x"), meta); err != nil {
			t.Fatal(err)
		}
	}
	meta := map[string]string{
		"bb-rows": "3", "bb-first-event": "2024-01-15T00:00:00.000001Z", "bb-last-event": "2024-01-15T00:00:01.000000Z",
		"bb-schema-version": "v1.2.0", "bb-row-set-hash": strings.Repeat("0", 32), "bb-data-type": market,
	}
	put(rawOn(jan15, 1), meta)
	put("raw/market_data/year=2024/month=01/day=16/by-hand.parquet", nil)
	put("raw/market_data/year=2024/month=01/day=16/_hidden.parquet", nil)
	put("raw/market_data/year=2024/month=01/day=16/notes.txt", nil)
	put("raw/market_data/stray.parquet", nil)
	put("raw/market_data2/year=2024/month=01/day=16/other.parquet", nil)
	got, err := ListRaw(t.Context(), store, market)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Key != (Key{market, jan15}) || got[1].Key != (Key{market, jan15 + 1}) {
		t.Fatalf("raw = %+v", got)
	}
	if got[0].Summary == nil || got[0].Summary.Rows != 3 || got[1].Summary != nil {
		t.Errorf("summaries = %+v, %+v", got[0].Summary, got[1].Summary)
	}
}
