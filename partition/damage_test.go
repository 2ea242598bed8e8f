package partition

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/objstore"
)

const entry5 = "processed/market_data/_delta_log/00000000000000000005.json"

// Damage to an entry stops the table with an error that says where.
func TestDamagedEntry(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(data []byte) []byte
		want   []string
	}{
		{"cut inside a line", func(b []byte) []byte { return b[:len(b)-20] }, []string{entry5 + " line 3", "not an action"}},
		{"cut at a line's end", func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }, []string{entry5 + " line 1", "checksum"}},
		{"a digit changed", func(b []byte) []byte { return bytes.Replace(b, []byte(`"size":105`), []byte(`"size":106`), 1) }, []string{entry5 + " line 1", "checksum"}},
		{"empty", func([]byte) []byte { return nil }, []string{entry5, "no actions"}},
		{"not JSON", func([]byte) []byte { return []byte("hello\n") }, []string{entry5 + " line 1", "not an action"}},
		{"an array", func([]byte) []byte { return []byte("[]\n") }, []string{entry5 + " line 1", "not an action"}},
		{"two actions on a line", func([]byte) []byte { return []byte(`{"txn":{},"add":{}}`) }, []string{entry5 + " line 1", "2 fields"}},
		{"null", func([]byte) []byte { return []byte(`{"add":null}`) }, []string{entry5 + " line 1", "action add: null"}},
		{"a file twice", func(b []byte) []byte { return withoutInfo(b, lastLine(b)) }, []string{entry5 + " line 3", "a second action"}},
		{"a path out of the table", func(b []byte) []byte {
			return withoutInfo(bytes.Replace(b, []byte(`"path":"`), []byte(`"path":"../`), 1), nil)
		}, []string{entry5, "not a path"}},
		{"no such day", func(b []byte) []byte {
			return withoutInfo(bytes.Replace(b, []byte(`"month":"1"`), []byte(`"month":"13"`), 1), nil)
		}, []string{entry5, "no such day"}},
		{"another engine's file", func([]byte) []byte {
			return withoutInfo(nil, []byte(`{"add":{"path":"x.parquet","partitionValues":{"year":"2024","month":"1","day":"15"},"size":1,"modificationTime":1,"dataChange":true}}`+"\n"))
		}, []string{entry5, "tag bb.rows", "another engine's file?"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newMem()
			table, s := created(t, store)
			held := grow(t, table, s, 4)
			grow(t, table, held, 2)
			replaceObject(t, store, entry5, tt.damage)
			for name, load := range map[string]func() (*Snapshot, error){
				"load":    func() (*Snapshot, error) { return table.Load(t.Context()) },
				"refresh": func() (*Snapshot, error) { return table.Refresh(t.Context(), held) },
			} {
				s, err := load()
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s: %v, %v; want ErrDamaged", name, s, err)
				}
				hasError(t, err, append(tt.want, "market_data")...)
			}
		})
	}
}

func lastLine(b []byte) []byte { return b[bytes.LastIndexByte(b[:len(b)-1], '\n')+1:] }

// withoutInfo is an entry without the line that vouches for the others, but ours.
func withoutInfo(b, more []byte) []byte {
	_, body, _ := bytes.Cut(b, []byte("\n"))
	return slices.Concat(body, more, []byte(`{"commitInfo":{"engineInfo":"`+Engine+`"}}`+"\n"))
}

// A version that another engine made is refused, also one that only removes: its
// rows would be gone without a word. What changes nothing is passed over.
func TestAnotherEngineWrote(t *testing.T) {
	const by = `{"commitInfo":{"timestamp":1,"operation":"DELETE","operationParameters":{"n":1},"operationMetrics":{"n":1},"engineInfo":"delta-rs:py-1.6.6"}}` + "\n"
	store := newMem()
	table, s := created(t, store)
	s = grow(t, table, s, 5)
	path := s.Files(nil)[0].Path
	for name, entry := range map[string]string{
		"removes": by + `{"remove":{"path":"` + path + `","dataChange":true}}` + "\n",
		"nobody":  `{"remove":{"path":"` + path + `","dataChange":true}}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			entry6 := table.entryName(6)
			if _, err := store.Create(t.Context(), entry6, []byte(entry), nil); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := store.Remove(t.Context(), entry6, objstore.Any); err != nil {
					t.Fatal(err)
				}
			}()
			_, err := table.Load(t.Context())
			var foreign *ErrForeign
			if !errors.As(err, &foreign) || foreign.Table != market || foreign.Object != entry6 {
				t.Fatalf("error = %v, want ErrForeign", err)
			}
			if name == "removes" && (foreign.Engine != "delta-rs:py-1.6.6" || foreign.Operation != "DELETE") {
				t.Errorf("by %q, %q", foreign.Engine, foreign.Operation)
			}
			if h, err := table.History(t.Context(), 1); err != nil || h[0].Version != 6 || h[0].Engine != foreign.Engine || h[0].Removed != 1 {
				t.Errorf("history %+v, error %v: people must see who it was", h, err)
			}
			if _, err := table.Refresh(t.Context(), s); !errors.As(err, &foreign) {
				t.Errorf("refresh: error = %v, want ErrForeign", err)
			}
		})
	}
	if _, err := store.Create(t.Context(), table.entryName(6), []byte(by), nil); err != nil {
		t.Fatal(err)
	}
	after := mustLoad(t, table)
	if d := cmp.Diff(s.Files(nil), after.Files(nil)); d != "" || after.Version != 6 {
		t.Errorf("version %d, live files:\n%s", after.Version, d)
	}
}

func replaceObject(t testing.TB, store *objstore.Mem, name string, change func([]byte) []byte) {
	t.Helper()
	data, err := store.Read(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Replace(t.Context(), name, change(data), nil, objstore.Any); err != nil {
		t.Fatal(err)
	}
}

func TestMissingEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMem()
		table, s := created(t, store)
		grow(t, table, s, 6)
		if err := store.Remove(t.Context(), entry5, objstore.Any); err != nil {
			t.Fatal(err)
		}
		_, err := table.Load(t.Context())
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("error = %v, want ErrDamaged", err)
		}
		hasError(t, err, entry5, "missing")
	})
}

// What this package does not understand it refuses, saying what and where.
func TestUnsupportedLogs(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"newer reader", `{"protocol":{"minReaderVersion":2,"minWriterVersion":2}}`, "reader version 2"},
		{"newer writer", `{"protocol":{"minReaderVersion":1,"minWriterVersion":4}}`, "writer version 4"},
		{"table features", `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`, "deletionVectors"},
		{"deletion vector", `{"add":{"path":"x","deletionVector":{"storageType":"u"}}}`, "a deletion vector"},
		{"change data", `{"cdc":{"path":"x"}}`, `the action "cdc"`},
		{"domain metadata", `{"domainMetadata":{"domain":"x"}}`, `the action "domainMetadata"`},
		{"an action of the future", `{"whatever":{}}`, `the action "whatever"`},
		{"other partitioning", `{"metaData":{"id":"x","format":{"provider":"parquet"},"schemaString":"{}","partitionColumns":["date"],"configuration":{}}}`, `partitioning by ["date"]`},
		{"other format", `{"metaData":{"id":"x","format":{"provider":"orc"},"schemaString":"{}","partitionColumns":["year","month","day"]}}`, `the format "orc"`},
		{"column invariants", `{"metaData":{"id":"x","format":{"provider":"parquet"},"schemaString":"{\"fields\":[{\"name\":\"a\",\"metadata\":{\"delta.invariants\":\"x\"}}]}","partitionColumns":["year","month","day"]}}`, `delta.invariants of column "a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newMem()
			table, s := created(t, store)
			grow(t, table, s, 5)
			replaceObject(t, store, entry5, func([]byte) []byte { return []byte(`{"txn":{"appId":"x","version":1}}` + "\n" + tt.line + "\n") })
			_, err := table.Load(t.Context())
			var unsupported *ErrUnsupported
			if !errors.As(err, &unsupported) {
				t.Fatalf("error = %v, want ErrUnsupported", err)
			}
			if unsupported.Table != market || unsupported.Object != entry5 || unsupported.Line != 2 {
				t.Errorf("refused %+v", unsupported)
			}
			hasError(t, err, tt.want)
		})
	}
}

func TestUnsupportedCheckpoint(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	grow(t, table, s, 5)
	name := strings.TrimSuffix(entry5, ".json") + ".checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"
	if _, err := store.Create(t.Context(), name, []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	for _, load := range []func() (*Snapshot, error){
		func() (*Snapshot, error) { return table.Load(t.Context()) },
		func() (*Snapshot, error) { return table.LoadVersion(t.Context(), 3) },
	} {
		_, err := load()
		hasError(t, err, name, "a checkpoint of another kind")
	}
}

// What other engines may add without changing the meaning is passed over.
func TestUnknownFieldsAndObjectsAreIgnored(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	s = grow(t, table, s, 5)
	replaceObject(t, store, entry5, func(b []byte) []byte {
		b = withoutInfo(b, []byte(`{"commitInfo":{"timestamp":"of another shape","engineInfo":"buffetbot-ingest"}}`+"\n"))
		return bytes.Replace(b, []byte(`"dataChange"`), []byte(`"deletionVector":null,"baseRowId":null,"new":1,"dataChange"`), 1)
	})
	for _, other := range []string{"00000000000000000005.crc", "00000000000000000001.00000000000000000005.compacted.json", "_commits/x.json", "tmp", "5.json"} {
		if _, err := store.Create(t.Context(), table.root+logFolder+other, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(s.Files(nil), mustLoad(t, table).Files(nil)); d != "" {
		t.Errorf("live files:\n%s", d)
	}
}

// Any flipped bit in a checkpoint is an error or of no consequence.
func TestDamagedCheckpoint(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	s = grow(t, table, s, 10)
	name := table.checkpointName(10)
	data, err := store.Read(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := table.decodeCheckpoint(t.Context(), name, data)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 2+len(s.Files(nil))+len(s.Txns) {
		t.Errorf("%d actions", len(want))
	}
	refused := 0
	rapid.Check(t, func(rt *rapid.T) {
		damaged := bytes.Clone(data)
		if rapid.Bool().Draw(rt, "cut") {
			damaged = damaged[:rapid.IntRange(0, len(data)-1).Draw(rt, "length")]
		} else {
			damaged[rapid.IntRange(0, len(data)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		}
		got, err := table.decodeCheckpoint(t.Context(), name, damaged)
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), name) {
				rt.Fatalf("error = %v, want it to name the object", err)
			}
			return
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("damage went unseen:\n%s", d)
		}
	})
	if refused == 0 {
		t.Error("no damage was seen")
	}
	replaceObject(t, store, name, func(b []byte) []byte { return b[:len(b)/2] })
	_, err = table.Load(t.Context())
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("error = %v, want ErrDamaged", err)
	}
	hasError(t, err, name)
}
