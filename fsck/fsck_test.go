package fsck_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/fsck"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

func check(t *testing.T, l *laketest.Lake, deep bool) fsck.Report {
	t.Helper()
	c := fsck.Checker{Store: l.Store, Registry: l.Registry, Deep: deep}
	r, err := c.Run(context.Background(), []string{laketest.Market})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// healthy is a lake of three days, compacted, with something new in raw.
func healthy(t *testing.T) *laketest.Lake {
	l := laketest.New(t)
	l.Ingest(0, "a", "b")
	l.Ingest(0, "b", "c") // b again: a duplicate
	l.Ingest(1, "d")
	l.Ingest(2, "e")
	l.Compact()
	l.Ingest(0, "f")
	l.Compact()
	l.Ingest(1, "g")
	return l
}

func TestAHealthyLakeHasNoFindings(t *testing.T) {
	r := check(t, healthy(t), true)
	if len(r.Findings) > 0 || r.Rows != 6 || r.Tables != 1 || r.Partitions != 3 {
		t.Errorf("report %+v", r)
	}
}

// change gives an object other bytes.
func change(t *testing.T, l *laketest.Lake, name string, f func([]byte) []byte) {
	t.Helper()
	data, err := l.Store.Read(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	o, err := l.Store.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Store.Replace(t.Context(), name, f(bytes.Clone(data)), o.Metadata, objstore.Any); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, l *laketest.Lake, name string) {
	t.Helper()
	if err := l.Store.Remove(t.Context(), name, objstore.Any); err != nil {
		t.Fatal(err)
	}
}

func entry(v int64) string {
	return fmt.Sprintf("processed/%s/_delta_log/%020d.json", laketest.Market, v)
}

// forge makes the log say of a live file what f makes of it.
func forge(t *testing.T, l *laketest.Lake, file partition.File, f func(add map[string]any)) {
	t.Helper()
	for v := l.Snapshot().Version; v >= 0; v-- {
		data, err := l.Store.Read(t.Context(), entry(v), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		for i, line := range lines {
			var action map[string]map[string]any
			d := json.NewDecoder(strings.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&action); err != nil {
				t.Fatal(err)
			}
			if action["add"] == nil || action["add"]["path"] != file.Path {
				continue
			}
			f(action["add"])
			forged, err := json.Marshal(action)
			if err != nil {
				t.Fatal(err)
			}
			lines[i] = string(forged)
			if err := l.Store.Remove(t.Context(), entry(v), objstore.Any); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Store.Create(t.Context(), entry(v), reseal(t, lines), nil); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no entry adds %s", file.Path)
}

// reseal gives an entry the checksum of its forged lines.
func reseal(t *testing.T, lines []string) []byte {
	t.Helper()
	body := strings.Join(lines[1:], "\n") + "\n"
	var head map[string]map[string]any
	d := json.NewDecoder(strings.NewReader(lines[0]))
	d.UseNumber()
	if err := d.Decode(&head); err != nil {
		t.Fatal(err)
	}
	head["commitInfo"]["bbCrc32c"] = fmt.Sprintf("%08x", objstore.Checksum([]byte(body)))
	first, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(string(first) + "\n" + body)
}

// Every damage is found, with the object, the rule and what to do, and nothing
// else is blamed.
func TestEveryDamageIsFound(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, l *laketest.Lake) (object string)
		rule   string
		deep   bool // found by a deep check only
		notice bool
	}{
		{name: "missing file", rule: "C5", damage: func(t *testing.T, l *laketest.Lake) string {
			f := l.Snapshot().Files(nil)[0]
			remove(t, l, f.ObjectName())
			return f.ObjectName()
		}},
		{name: "truncated file", rule: "C5", damage: func(t *testing.T, l *laketest.Lake) string {
			f := l.Snapshot().Files(nil)[0]
			change(t, l, f.ObjectName(), func(b []byte) []byte { return b[:len(b)/2] })
			return f.ObjectName()
		}},
		{name: "flipped byte", rule: "C5", damage: func(t *testing.T, l *laketest.Lake) string {
			f := l.Snapshot().Files(nil)[0]
			change(t, l, f.ObjectName(), func(b []byte) []byte { b[len(b)/3] ^= 4; return b })
			return f.ObjectName()
		}},
		{name: "wrong row count", rule: "C5", damage: func(t *testing.T, l *laketest.Lake) string {
			f := l.Snapshot().Files(nil)[0]
			forge(t, l, f, func(add map[string]any) {
				add["stats"] = strings.Replace(add["stats"].(string), fmt.Sprintf(`"numRecords":%d`, f.Rows), fmt.Sprintf(`"numRecords":%d`, f.Rows+1), 1)
			})
			return f.ObjectName()
		}},
		{name: "bound too narrow", rule: "C5", deep: true, damage: func(t *testing.T, l *laketest.Lake) string {
			files := l.Snapshot().Files(nil)
			f := files[len(files)-1] // of several symbols
			forge(t, l, f, func(add map[string]any) {
				add["stats"] = strings.Replace(add["stats"].(string), `"symbol":"Sf"`, `"symbol":"Sb"`, 1)
			})
			return f.ObjectName()
		}},
		{name: "duplicate identity", rule: "C2", deep: true, damage: func(t *testing.T, l *laketest.Lake) string {
			// The same rows under a second name, committed as another file.
			s := l.Snapshot()
			f := s.Files(nil)[0]
			data, err := l.Store.Read(t.Context(), f.ObjectName(), 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			name, err := partition.ParseProcessedName(f.ObjectName())
			if err != nil {
				t.Fatal(err)
			}
			name.Planned = s.Version
			if _, err := l.Store.Create(t.Context(), name.String(), data, nil); err != nil {
				t.Fatal(err)
			}
			twin := f
			twin.Path = name.Path()
			if _, err := partition.OpenTable(l.Store, laketest.Market, l.Clock).Commit(t.Context(), s, partition.Change{Operation: "COMPACT", Add: []partition.File{twin}}); err != nil {
				t.Fatal(err)
			}
			remove(t, l, f.Key.ManifestName())
			return f.Key.String()
		}},
		{name: "orphan", rule: "P3", notice: true, damage: func(t *testing.T, l *laketest.Lake) string {
			f := l.Snapshot().Files(nil)[0]
			name, _ := partition.ParseProcessedName(f.ObjectName())
			name.Planned = 99
			if _, err := l.Store.Create(t.Context(), name.String(), []byte("x"), nil); err != nil {
				t.Fatal(err)
			}
			return name.String()
		}},
		{name: "foreign object", rule: "P3", damage: func(t *testing.T, l *laketest.Lake) string {
			name := "processed/market_data/year=2024/month=01/day=15/part-0.parquet"
			if _, err := l.Store.Create(t.Context(), name, []byte("x"), nil); err != nil {
				t.Fatal(err)
			}
			return name
		}},
		{name: "ghost raw file", rule: "P13", notice: true, damage: func(t *testing.T, l *laketest.Lake) string {
			var name string
			for n := range l.Snapshot().Txns {
				name = max(name, n)
			}
			data, err := l.Store.Read(t.Context(), name, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			o, _ := l.Store.Stat(t.Context(), name)
			remove(t, l, name)
			if _, err := l.Store.Create(t.Context(), name, data, o.Metadata); err != nil {
				t.Fatal(err)
			}
			return name
		}},
		{name: "gap in the log", rule: "P9", damage: func(t *testing.T, l *laketest.Lake) string {
			remove(t, l, entry(1))
			return entry(1)
		}},
		{name: "unknown feature in the log", rule: "P-log", damage: func(t *testing.T, l *laketest.Lake) string {
			v := l.Snapshot().Version + 1
			line := `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}` + "\n"
			if _, err := l.Store.Create(t.Context(), entry(v), []byte(line), nil); err != nil {
				t.Fatal(err)
			}
			return entry(v)
		}},
		{name: "another engine's commit", rule: "P-log", damage: func(t *testing.T, l *laketest.Lake) string {
			v := l.Snapshot().Version + 1
			line := `{"commitInfo":{"operation":"DELETE","engineInfo":"delta-rs:py-1.6.6"}}` + "\n" + `{"txn":{"appId":"x","version":1}}` + "\n"
			if _, err := l.Store.Create(t.Context(), entry(v), []byte(line), nil); err != nil {
				t.Fatal(err)
			}
			return entry(v)
		}},
		{name: "manifest that disagrees", rule: "format", damage: func(t *testing.T, l *laketest.Lake) string {
			name := l.Snapshot().Partitions()[0].ManifestName()
			change(t, l, name, func(b []byte) []byte { return bytes.Replace(b, []byte(`"rows": 1`), []byte(`"rows": 7`), 1) })
			return name
		}},
		{name: "damaged raw file", rule: "K1", deep: true, damage: func(t *testing.T, l *laketest.Lake) string {
			all := laketest.Names(t, l.Store, "raw/")
			s := l.Snapshot()
			i := slices.IndexFunc(all, func(n string) bool { return !s.Consumed(n) })
			change(t, l, all[i], func(b []byte) []byte { b[len(b)/3] ^= 4; return b })
			return all[i]
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := healthy(t)
			object := tt.damage(t, l)
			l.Pass(time.Hour)
			for _, deep := range []bool{false, true} {
				r := check(t, l, deep)
				if tt.deep && !deep {
					if r.Violations() > 0 {
						t.Errorf("a quick check cannot see it: %v", r.Findings)
					}
					continue
				}
				hit := slices.ContainsFunc(r.Findings, func(f fsck.Finding) bool {
					return f.Rule == tt.rule && f.Object == object && f.Notice == tt.notice && f.Text != "" && f.Advice != ""
				})
				if !hit {
					t.Errorf("deep %v: want %s about %s; found %v", deep, tt.rule, object, r.Findings)
				}
				if tt.notice && r.Violations() > 0 {
					t.Errorf("no promise is broken: %v", r.Findings)
				}
			}
		})
	}
}

func TestItWritesNothing(t *testing.T) {
	l := healthy(t)
	before := laketest.Names(t, l.Store, "")
	check(t, l, true)
	if !slices.Equal(before, laketest.Names(t, l.Store, "")) {
		t.Error("something changed")
	}
}
