package backup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/partition"
)

// A backup that is killed at any step is none, and the next one goes on with what it
// had copied.
func TestABackupKilledAtAnyStep(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for k := 0; ; k++ {
			l, _, rows := grown(t)
			vault := objstore.NewMem()
			vault.Clock = l.Clock
			l.vault = vault
			faults := &objtest.Faults{Store: vault, FailAt: k, Times: -1, Lost: lost}
			m, err := l.backupFrom(l.store, faults)
			made := laketest.Names(t, vault, "manifests/")
			if (err == nil) != (m != nil) || len(made) == 0 && err == nil {
				t.Fatalf("lost=%v, killed at %d: %v, manifest %v, %q", lost, k, err, m != nil, made)
			}
			copied := 0
			for _, name := range laketest.Names(t, vault, "backups/") {
				if strings.Contains(name, "/objects/") {
					copied++
				}
			}
			next := l.backup()
			if len(made) == 0 && next.Copied != next.Objects-copied {
				t.Errorf("lost=%v, killed at %d: %d were copied, then %d of %d", lost, k, copied, next.Copied, next.Objects)
			}
			into := objstore.NewMem()
			into.Clock = l.Clock
			if _, err := (&backup.Restore{Vault: vault, Lake: into, Clock: l.Clock}).Table(t.Context(), next, market, false); err != nil {
				t.Fatal(err)
			}
			s, err := partition.OpenTable(into, market, l.Clock).Load(t.Context())
			if err != nil || !slices.Equal(rowsOf(t, into, l.Def, s.Files(nil)), rows[2]) {
				t.Fatalf("lost=%v, killed at %d: other rows, %v", lost, k, err)
			}
			if !faults.Fired() {
				break
			}
		}
	}
}

// A restore that is killed at any step, with the operation undone or done and its
// answer lost, goes on when it is run again. In between nobody meets half a table:
// a reader has the rows of before or of after, or none and an error.
func TestARestoreKilledAtAnyStep(t *testing.T) {
	for _, c := range []struct {
		damage string
		backup int
		mend   bool
	}{
		{"nothing", 0, false},
		{"all live files are gone", 2, true},
		{"an entry of the log is damaged", 0, false},
		{"the table is gone", 2, false},
	} {
		for _, lost := range []bool{false, true} {
			quickly(t, fmt.Sprintf("%s/lost=%v", c.damage, lost), func(t *testing.T) {
				step := *every
				if c.damage == "the table is gone" {
					step = 1 // few writes, whose order is what matters
				}
				for k := len(c.damage) % step; ; k += step {
					l, at, rows := grown(t)
					for _, d := range damages {
						if d.name == c.damage {
							d.do(t, l)
						}
					}
					dead := &killer{Store: l.store, left: k, lost: lost}
					report, err := l.restorer(dead).Table(t.Context(), at[c.backup], market, c.mend)
					if dead.dead && err == nil && len(report.Warnings) == 0 { // what is derived may be made later
						t.Errorf("killed at %d, and told nothing", k)
					}
					s, err := partition.OpenTable(l.store, market, l.Clock).Load(t.Context())
					if err == nil && c.damage == "nothing" {
						got := rowsOf(t, l.store, l.Def, s.Files(nil))
						if !slices.Equal(got, rows[0]) && !slices.Equal(got, rows[2]) {
							t.Fatalf("killed at %d: a reader meets %d rows", k, len(got))
						}
					}
					if err == nil && c.damage == "the table is gone" && !slices.Equal(rowsOf(t, l.store, l.Def, s.Files(nil)), rows[2]) {
						t.Fatalf("killed at %d: a reader meets half a table", k)
					}
					if c.damage == "the table is gone" && k > 1 && errors.Is(err, partition.ErrNoTable) {
						t.Fatalf("killed at %d: the place is free for another table", k)
					}
					l.restore(at[c.backup], c.mend)
					if got := l.rows(); !slices.Equal(got, rows[c.backup]) {
						t.Fatalf("killed at %d: %d rows, want %d", k, len(got), len(rows[c.backup]))
					}
					if k%7 == 0 && c.damage != "the table is gone" {
						l.settle()
					} else {
						l.fsck(l.store)
					}
					if !dead.dead || t.Failed() {
						break
					}
				}
			})
		}
	}
}

// A file that vacuum takes while it is copied: the table is planned again, at its
// newer version.
func TestVacuumedWhileItIsCopied(t *testing.T) {
	l := newLake(t)
	l.Ingest(0, "a")
	l.Compact()
	l.vault.Clock = func() time.Time { return laketest.Start } // the backup takes no time
	// When the first data file is looked at, the table has long moved on.
	moved := false
	on := &hook{Store: l.store, before: func(op, name string) {
		if moved || op != "stat" || !strings.Contains(name, "/year=") || strings.HasPrefix(name, "raw/") {
			return
		}
		moved = true
		l.Ingest(0, "b")
		l.Compact()
		l.Pass(400 * time.Hour)
		l.sweep()
		if _, err := l.store.Stat(context.Background(), name); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("%s is still there", name)
		}
	}}
	m, err := l.backupFrom(on, l.vault)
	if err != nil || !moved {
		t.Fatal(err, moved)
	}
	if table, _ := m.Table(market); table.Version != l.Snapshot().Version || table.Rows != 2 {
		t.Errorf("%+v, the table is at version %d", table, l.Snapshot().Version)
	}
}

// What is damaged or missing in the lake is never passed off as backed up.
func TestNoHoleIsSilent(t *testing.T) {
	for _, harm := range []func(testing.TB, *objstore.Mem, string){remove, flip} {
		l := newLake(t)
		l.Ingest(0, "a")
		l.Compact()
		file := l.Snapshot().Files(nil)[0].ObjectName()
		harm(t, l.store, file)
		m, err := l.backupFrom(l.store, l.vault)
		if !errors.Is(err, backup.ErrIncomplete) || m == nil || len(m.LeftOut) != 1 || !strings.Contains(m.LeftOut[0].Reason, file) {
			t.Fatalf("%v, %+v", err, m)
		}
		if _, ok := m.Table(market); ok {
			t.Error("the table is in the backup all the same")
		}
	}
	// An earlier backup that has the file is enough.
	l := newLake(t)
	l.Ingest(0, "a")
	l.Compact()
	l.backup()
	remove(t, l.store, l.Snapshot().Files(nil)[0].ObjectName())
	l.backup()
}

func TestVerifyFindsDamage(t *testing.T) {
	l, at, _ := grown(t)
	entries := at[2].Entries
	for _, e := range entries {
		for _, harm := range []func(testing.TB, *objstore.Mem, string){remove, flip} {
			vault := clone(t, l.vault)
			harm(t, vault, e.Object())
			found, err := (&backup.Verify{Vault: vault}).Backup(t.Context(), at[2])
			if err != nil || len(found) == 0 || found[0].Object != e.Name && found[0].Object != "" {
				t.Errorf("%s: %v, %+v", e.Name, err, found)
			}
		}
	}
	// A store that gives other bytes than it vouches for: deep finds it.
	corrupt := &objtest.Faults{Store: l.vault, FailAt: 0, Times: -1, Mode: objtest.Corrupt, Match: func(op, name string) bool { return op == "read" && strings.HasSuffix(name, ".parquet") }}
	if found, err := (&backup.Verify{Vault: corrupt, Deep: true}).Backup(t.Context(), at[2]); err != nil || len(found) == 0 {
		t.Errorf("%v, %+v", err, found)
	}
	// A damaged object of one backup comes from another that has it.
	l.Pass(time.Hour)
	damaged := at[2].Under("processed/" + market + "/year=")[0]
	flip(t, l.vault, damaged.Object())
	l.backup()
	if _, err := l.restorer(l.store).Table(t.Context(), at[2], market, true); err != nil {
		t.Error(err)
	}
	for _, name := range laketest.Names(t, l.store, "processed/"+market+"/year=") {
		remove(t, l.store, name)
	}
	if _, err := l.restorer(l.store).Table(t.Context(), at[2], market, true); err != nil {
		t.Error(err)
	}
}

// A killer is a store whose caller dies at the write for which none are left: it is
// not applied, or it is and nobody hears of it. Nothing works from then on.
type killer struct {
	objstore.Store
	left       int
	lost, dead bool
}

var errKilled = errors.New("killed")

func (k *killer) write(do func() (objstore.Object, error)) (objstore.Object, error) {
	if k.dead {
		return objstore.Object{}, errKilled
	}
	if k.left--; k.left >= 0 {
		return do()
	}
	k.dead = true
	if k.lost {
		_, _ = do()
	}
	return objstore.Object{}, errKilled
}

func (k *killer) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	return k.write(func() (objstore.Object, error) { return k.Store.Create(ctx, name, data, metadata) })
}

func (k *killer) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	return k.write(func() (objstore.Object, error) { return k.Store.Replace(ctx, name, data, metadata, match) })
}

func (k *killer) Stat(ctx context.Context, name string) (objstore.Object, error) {
	if k.dead {
		return objstore.Object{}, errKilled
	}
	return k.Store.Stat(ctx, name)
}

func (k *killer) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if k.dead {
		return nil, errKilled
	}
	return k.Store.Read(ctx, name, off, n)
}

// A hook is a store in which something happens before an operation.
type hook struct {
	objstore.Store
	before func(op, name string)
}

func (h *hook) Stat(ctx context.Context, name string) (objstore.Object, error) {
	h.before("stat", name)
	return h.Store.Stat(ctx, name)
}

func (h *hook) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	h.before("create", name)
	return h.Store.Create(ctx, name, data, metadata)
}

func (h *hook) Remove(ctx context.Context, name string, match objstore.Generation) error {
	h.before("remove", name)
	return h.Store.Remove(ctx, name, match)
}
