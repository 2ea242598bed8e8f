package backup_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

const days = 24 * time.Hour

func (l *lake) prune(p backup.Prune) backup.PruneReport {
	l.t.Helper()
	p.Vault = l.vault
	r, err := p.Run(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// whole wants every backup that there is to be so.
func (l *lake) whole(vault objstore.Reader) int {
	l.t.Helper()
	all, err := backup.All(l.t.Context(), vault)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, m := range all {
		found, err := (&backup.Verify{Vault: vault}).Backup(l.t.Context(), m)
		if err != nil || len(found) > 0 {
			l.t.Fatalf("backup %s: %v, %+v", m.ID, err, found)
		}
	}
	return len(all)
}

// aged is a lake with a backup every ten days.
func aged(t *testing.T) *lake {
	l := newLake(t)
	for i := range 6 {
		l.Ingest(i%2, fmt.Sprint("r", i))
		l.Compact()
		l.backup()
		l.Pass(10 * days)
	}
	return l
}

func TestPruneKeepsWhatKeptBackupsName(t *testing.T) {
	l := aged(t)
	before := laketest.Names(t, l.vault, "")
	dry := l.prune(backup.Prune{Keep: 25 * days, DryRun: true})
	if !slices.Equal(before, laketest.Names(t, l.vault, "")) {
		t.Fatal("a dry run changed something")
	}
	if len(dry.Backups) == 0 {
		t.Errorf("dry run: %+v", dry)
	}
	r := l.prune(backup.Prune{Keep: 25 * days, By: "me"})
	if len(r.Backups) != 4 || r.Kept != 2 || r.Objects != 0 || r.Waiting == 0 {
		t.Errorf("first: %+v", r)
	}
	if n := l.whole(l.vault); n != 2 {
		t.Errorf("%d backups are left", n)
	}
	l.Pass(2 * days)
	if r := l.prune(backup.Prune{Keep: 25 * days}); r.Objects != 0 {
		t.Errorf("within the grace: %+v", r)
	}
	l.Pass(2 * days)
	r = l.prune(backup.Prune{Keep: 25 * days})
	if r.Objects == 0 || r.Waiting != 0 || r.Old == 0 {
		t.Errorf("after the grace: %+v", r)
	}
	l.whole(l.vault)
	if n := len(laketest.Names(t, l.vault, "pruned/")); n != 0 {
		t.Errorf("%d pruned manifests are left", n)
	}
	// Nothing is left that no manifest names.
	named := map[string]bool{}
	all, _ := backup.All(t.Context(), l.vault)
	for _, m := range all {
		for _, e := range m.Entries {
			named[e.Object()] = true
		}
	}
	objects := 0
	for _, name := range laketest.Names(t, l.vault, "backups/") {
		if named[name] {
			objects++
		}
	}
	if objects != len(named) {
		t.Errorf("%d of %d objects are there", objects, len(named))
	}
	// The newest stays however old it is.
	l.Pass(1000 * days)
	l.prune(backup.Prune{Keep: time.Hour})
	l.Pass(4 * days)
	l.prune(backup.Prune{Keep: time.Hour})
	if n := l.whole(l.vault); n != 1 {
		t.Errorf("%d backups are left", n)
	}
	if n := len(laketest.Names(t, l.vault, "audit/prune-")); n != 5 {
		t.Errorf("%d audits", n)
	}
}

func TestPruneKilledAtAnyStep(t *testing.T) {
	for _, lost := range []bool{false, true} {
		l := aged(t)
		l.prune(backup.Prune{Keep: 35 * days})
		l.Pass(4 * days)
		start, now := clone(t, l.vault), l.Now
		for k := 0; ; k++ {
			l.vault, l.Now = clone(t, start), now
			faults := &objtest.Faults{Store: l.vault, FailAt: k, Times: -1, Lost: lost, Match: func(op, _ string) bool { return op != "read" && op != "stat" && op != "list" }}
			p := backup.Prune{Vault: faults, Keep: 15 * days}
			_, err := p.Run(t.Context())
			if faults.Fired() && err == nil {
				t.Errorf("killed at %d, and told nothing", k)
			}
			l.whole(l.vault)
			for range 2 {
				l.prune(backup.Prune{Keep: 15 * days})
				l.Pass(4 * days)
				l.whole(l.vault)
			}
			if !faults.Fired() {
				break
			}
		}
	}
}

// B1: while a backup runs, what it relies on is pruned as hard as can be. It is whole
// in the end, or there is none.
func TestPruneBesideABackup(t *testing.T) {
	for _, pause := range []time.Duration{0, 20 * time.Hour, 30 * time.Hour, 80 * time.Hour, 30 * days} {
		for at := 0; ; at++ {
			l := newLake(t)
			l.Ingest(0, "a")
			l.Compact()
			l.backup() // has the file
			l.Pass(40 * days)
			n, fired := 0, false
			on := &hook{Store: l.vault, before: func(op, name string) {
				if op != "create" {
					return
				}
				if n++; n-1 != at {
					return
				}
				fired = true
				// Another backup, of a table that has moved on; then the old one goes.
				l.Ingest(0, "b")
				l.Compact()
				l.backup()
				l.Pass(pause / 2)
				l.prune(backup.Prune{Keep: 0})
				l.Pass(pause / 2)
				l.prune(backup.Prune{Keep: 0})
			}}
			m, err := l.backupFrom(l.store, on)
			if err == nil && fired && pause > 3*backup.MaxDuration && at > 0 {
				t.Errorf("pause of %v at %d: a backup that took too long was made: %s", pause, at, m.ID)
			}
			l.Pass(4 * days)
			l.prune(backup.Prune{Keep: 1000 * days})
			l.whole(l.vault)
			if !fired {
				break
			}
		}
	}
}

// What a backup that died had copied is taken over only while nobody can prune it.
func TestLeftoversOfADeadBackup(t *testing.T) {
	for _, after := range []time.Duration{time.Hour, 30 * time.Hour, 71 * time.Hour, 100 * time.Hour} {
		l := newLake(t)
		l.Ingest(0, "a")
		l.Compact()
		dead := &objtest.Faults{Store: l.vault, FailAt: 0, Times: -1, Match: func(op, name string) bool {
			return op == "create" && len(name) > 10 && name[:10] == "manifests/"
		}}
		if _, err := l.backupFrom(l.store, dead); err == nil {
			t.Fatal("it was to die")
		}
		l.Pass(after)
		n := 0
		on := &hook{Store: l.vault, before: func(op, _ string) {
			if op != "create" {
				return
			}
			if n++; n == 2 { // it has looked at what there is
				l.Pass(20 * time.Hour)
				l.prune(backup.Prune{Keep: 0})
			}
		}}
		m, err := l.backupFrom(l.store, on)
		if err != nil {
			t.Fatal(err)
		}
		if taken := m.Copied == 0; taken != (after < backup.MaxDuration) {
			t.Errorf("after %v: copied %d of %d", after, m.Copied, m.Objects)
		}
		l.whole(l.vault)
	}
}
