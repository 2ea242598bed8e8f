package backup_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/sweep"
)

// A sweeper that has read the table before it went back, and goes on afterwards,
// takes nothing that is needed.
func TestASweeperThatWasPausedOverARestore(t *testing.T) {
	for _, damage := range []string{"nothing", "an entry of the log is damaged"} {
		quickly(t, damage, func(t *testing.T) { pausedSweeper(t, damage) })
	}
}

func pausedSweeper(t *testing.T, damage string) {
	for at := 0; ; at++ {
		l, backups, _ := grown(t)
		l.Pass(8 * days) // everything removed or consumed so far is due
		n, reached := 0, false
		on := &hook{Store: l.store, before: func(op, _ string) {
			if op != "remove" {
				return
			}
			if n++; n-1 != at {
				return
			}
			reached = true
			for _, d := range damages {
				if d.name == damage {
					d.do(t, l)
				}
			}
			l.restore(backups[0], false)
		}}
		s := &sweep.Sweeper{Store: on, Archive: l.archive, Options: sweep.Options{Workers: 1}}
		if _, err := s.Run(t.Context(), types); err != nil && !reached {
			t.Fatal(err)
		}
		if !reached {
			break
		}
		l.settle()
		if t.Failed() {
			t.Fatalf("paused at deletion %d", at)
		}
	}
}

// A compactor whose commit comes while a table goes back, before or after it: it is
// in the new version, or it has lost; no row is lost or twice.
func TestACompactorBesideARestore(t *testing.T) {
	for _, damage := range []string{"nothing", "the log ends early"} {
		quickly(t, damage, func(t *testing.T) { besideACompactor(t, damage) })
	}
}

func besideACompactor(t *testing.T, damage string) {
	for at := len(damage) % *every; ; at += *every {
		l, backups, _ := grown(t)
		l.Ingest(1, "late")
		for _, d := range damages {
			if d.name == damage {
				d.do(t, l)
			}
		}
		n, reached := 0, false
		on := &hook{Store: l.store, before: func(op, name string) {
			if op != "create" {
				return
			}
			if n++; n-1 == at {
				reached = true
				_ = l.CompactOn(l.store)
			}
		}}
		if _, err := l.restorer(on).Table(t.Context(), backups[0], market, false); err != nil {
			t.Fatalf("%s, at %d: %v", damage, at, err)
		}
		if damage == "nothing" {
			l.settle()
		} else {
			l.fsck(l.store)
		}
		if t.Failed() {
			t.Fatalf("%s, compacted at %d", damage, at)
		}
		if !reached {
			break
		}
	}
}

// A commit that was prepared on the head of before is refused.
func TestACommitOfBeforeARestore(t *testing.T) {
	l, backups, _ := grown(t)
	l.Ingest(1, "late")
	done := false
	on := &hook{Store: l.store, before: func(op, name string) {
		if op == "create" && strings.HasPrefix(name, logRoot) && !done {
			done = true
			l.restore(backups[0], false)
		}
	}}
	_ = l.CompactOn(on)
	if !done {
		t.Fatal("no commit was prepared")
	}
	l.settle()
}

// Payloads, definitions and marks come back where they are gone, and what is there
// stays as it is.
func TestWhatIsBesideTables(t *testing.T) {
	l := newLake(t)
	put := func(name, text string) {
		if _, err := l.store.Replace(context.Background(), name, []byte(text), nil, objstore.Any); err != nil {
			t.Fatal(err)
		}
	}
	l.Ingest(0, "a")
	l.Compact()
	put("payloads/dead_letters/x", "payload")
	put("metadata/schemas/market_data/v9.9.9.avsc", "definition")
	put("metadata/marks/a.json", "one")
	m := l.backup()
	for name := range contents(t, l.store, "") {
		_, in := m.Entry(name)
		derived := strings.HasSuffix(name, "manifest.json") || strings.HasSuffix(name, "_last_checkpoint") || strings.HasPrefix(name, "raw/")
		if in == derived {
			t.Errorf("%s is in the backup: %v", name, in)
		}
	}
	put("metadata/marks/a.json", "two")
	second := l.backup()
	if second.Copied != 1 {
		t.Errorf("copied %d objects, want the one that changed", second.Copied)
	}
	remove(t, l.store, "payloads/dead_letters/x")
	put("metadata/marks/a.json", "three")
	if n, err := l.restorer(l.store).Beside(t.Context(), m); n != 1 || err != nil {
		t.Errorf("put %d back, %v", n, err)
	}
	if all := contents(t, l.store, "metadata/marks/"); all["metadata/marks/a.json"] != "three" {
		t.Errorf("%q", all)
	}
	into := objstore.NewMem()
	if _, err := (&backup.Restore{Vault: l.vault, Lake: into}).Beside(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if all := contents(t, into, ""); all["metadata/marks/a.json"] != "one" || all["payloads/dead_letters/x"] != "payload" || len(all) != 3 {
		t.Errorf("%q", all)
	}
}

func TestChoose(t *testing.T) {
	l, at, _ := grown(t)
	version := func(v int64) *int64 { return &v }
	for _, tt := range []struct {
		name    string
		c       backup.Choice
		want    int
		wantErr string
	}{
		{"the newest", backup.Choice{}, 2, ""},
		{"by version", backup.Choice{Version: version(4)}, 0, ""},
		{"by time", backup.Choice{At: at[2].Began.Add(-time.Second)}, 1, ""},
		{"by id", backup.Choice{ID: at[1].ID}, 1, ""},
		{"a version that none has", backup.Choice{Version: version(5)}, 0, "there are the versions 12, 8, 4"},
		{"before all", backup.Choice{At: laketest.Start}, 0, "no backup has market_data that had begun by"},
		{"an id and another version", backup.Choice{ID: at[1].ID, Version: version(4)}, 0, "has no market_data at version 4"},
		{"an id that is none", backup.Choice{ID: "x"}, 0, "backup ls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := backup.Choose(t.Context(), l.vault, market, tt.c)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("%v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || m.ID != at[tt.want].ID {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
}

// A manifest with a flipped bit, or cut short, is refused; the one before is taken.
func TestADamagedManifest(t *testing.T) {
	l, at, _ := grown(t)
	name := "manifests/" + at[2].ID + ".jsonl.gz"
	whole, err := l.vault.Read(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	for i := 10; i < len(whole); i += 7 { // the gzip header holds nothing
		data := append([]byte(nil), whole...)
		data[i] ^= 16
		if i%2 == 0 {
			data = data[:i]
		}
		if _, err := l.vault.Replace(t.Context(), name, data, nil, objstore.Any); err != nil {
			t.Fatal(err)
		}
		if m, err := backup.Open(t.Context(), l.vault, at[2].ID); err == nil && fmt.Sprint(m.Entries) != fmt.Sprint(at[2].Entries) {
			t.Errorf("byte %d: a damaged manifest is taken", i)
		}
	}
	if m, err := backup.Choose(t.Context(), l.vault, market, backup.Choice{}); err != nil || m.ID != at[1].ID {
		t.Errorf("%v, %v", m, err)
	}
	p := backup.Prune{Vault: l.vault}
	before := laketest.Names(t, l.vault, "backups/")
	if _, err := p.Run(t.Context()); err == nil || len(laketest.Names(t, l.vault, "backups/")) != len(before) {
		t.Errorf("prune beside a manifest that cannot be read: %v", err)
	}
	l.backup() // and a backup is still possible
}

// Raw files that are gone and in no archive: the rows come out of the data files.
func TestSalvage(t *testing.T) {
	for _, damage := range []string{"nothing", "an entry of the log is damaged", "the log is gone"} {
		quickly(t, damage, func(t *testing.T) {
			l, backups, rows := grown(t)
			for _, d := range damages {
				if d.name == damage {
					d.do(t, l)
				}
			}
			for _, name := range laketest.Names(t, l.store, "raw/") {
				if !strings.Contains(name, "day=10") { // what waits stays
					remove(t, l.store, name)
				}
			}
			without := clone(t, l.store)
			r := l.restorer(l.store)
			r.Archive = nil
			report, err := r.Table(t.Context(), backups[0], market, false)
			if err != nil || report.Salvaged == 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			l.settle()
			if got := l.rows(); len(got) < len(rows[2]) {
				t.Errorf("%d rows, want %d at least", len(got), len(rows[2]))
			}
			// Somebody who asks for it loses them.
			r.Lake, r.Salvage = without, false
			if report, err = r.Table(t.Context(), backups[0], market, false); err != nil || report.Salvaged > 0 {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// A file of the backup that the lake's names know no more is put under its old name
// only where no sweeper can have an eye on it.
func TestOldNamesDoNotComeBack(t *testing.T) {
	for _, damage := range []string{"nothing", "an entry of the log is damaged"} {
		quickly(t, damage, func(t *testing.T) {
			l, backups, _ := grown(t)
			l.Pass(8 * days) // longer than removed files stay
			before := l.Snapshot()
			for _, d := range damages {
				if d.name == damage {
					d.do(t, l)
				}
			}
			l.restore(backups[0], false)
			for _, f := range l.Snapshot().Files(nil) {
				if _, live := before.Live(f.Path); live {
					continue
				}
				if _, ok := backups[0].Entry(f.ObjectName()); ok {
					t.Errorf("%s is live again under its old name", f.Path)
				}
			}
		})
	}
}

// Above a log that is lost, files that it may have named stay for the retention.
func TestUnknownFilesStay(t *testing.T) {
	quickly(t, "above a lost log", func(t *testing.T) {
		l, backups, _ := grown(t)
		before := laketest.Names(t, l.store, "processed/"+market+"/year=")
		damages[4].do(t, l)
		l.restore(backups[0], false)
		l.sweep()
		l.Pass(6 * days)
		l.sweep()
		after := laketest.Names(t, l.store, "processed/"+market+"/year=")
		for _, name := range before {
			if !slices.Contains(after, name) {
				t.Errorf("%s is gone", name)
			}
		}
	})
}
