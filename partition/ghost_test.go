package partition

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// A writer that slept through a checkpoint and the cleanup below it makes an
// entry where one had been: a ghost.

func TestGhostCommitIsNotOurs(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	held := grow(t, table, s, 4)
	head := grow(t, table, held, 8)
	cleanUp(t, table, store, 10)

	c := addOne(held, 77)
	if _, err := table.Commit(t.Context(), held, c); !errors.Is(err, ErrGhost) {
		t.Fatalf("error = %v, want ErrGhost", err)
	}
	if _, err := store.Stat(t.Context(), table.entryName(5)); err != nil {
		t.Fatalf("the ghost is not there: %v", err)
	}
	if d := diff(head, mustLoad(t, table)); d != "" {
		t.Errorf("a reader met the ghost:\n%s", d)
	}
	// P10: for the one who holds version 4 the ghost is the next entry.
	got, err := table.Refresh(t.Context(), held)
	if err != nil || diff(head, got) != "" {
		t.Errorf("refresh met the ghost: %v\n%s", err, diff(head, got))
	}
	if _, err := table.LoadVersion(t.Context(), 5); !errors.Is(err, ErrNoVersion) {
		t.Errorf("version 5: %v, want ErrNoVersion", err)
	}
}

// The ghost's writer must not make a checkpoint of what it holds.
func TestGhostWritesNoCheckpoint(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	held := grow(t, table, s, 9)
	grow(t, table, held, 12)
	cleanUp(t, table, store, 20)
	if _, err := table.Commit(t.Context(), held, addOne(held, 77)); !errors.Is(err, ErrGhost) {
		t.Fatalf("error = %v, want ErrGhost", err)
	}
	if _, err := store.Stat(t.Context(), table.checkpointName(10)); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("checkpoint of a ghost: %v", err)
	}
}

// The answer is lost, and before the writer reads back, the log moves on and is
// cleaned up. Sending again would make a ghost.
func TestUnknownOutcomeIsNotSentAgainPastACheckpoint(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	held := grow(t, table, s, 4)
	lost := &hooked{Store: store, after: func(_, _ string, err error) error {
		if err == nil {
			grow(t, table, mustLoad(t, table), 6)
			cleanUp(t, table, store, 10)
		}
		return errors.New("answer lost")
	}}
	if _, err := openTable(lost).Commit(t.Context(), held, addOne(held, 77)); !errors.Is(err, ErrGhost) {
		t.Errorf("error = %v, want ErrGhost", err)
	}
	if _, err := store.Stat(t.Context(), table.entryName(5)); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("the ghost is there: %v", err)
	}
	if s := mustLoad(t, table); s.Version != 11 || !s.Consumed(addOne(held, 77).Consumed[0]) {
		t.Errorf("version %d", s.Version)
	}
}

// The request arrives late, after another writer's: not ours.
func TestUnknownOutcomeThatAnotherWon(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	var once sync.Once
	lost := &hooked{Store: store, before: func(op, _ string) {
		if op == "create" {
			once.Do(func() { grow(t, table, s, 1) })
		}
	}, after: func(string, string, error) error { return errors.New("answer lost") }}
	if _, err := openTable(lost).Commit(t.Context(), s, addOne(s, 77)); !errors.Is(err, ErrConflict) {
		t.Errorf("error = %v, want ErrConflict", err)
	}
}

// The entry to be read is cleaned up between the listing and the reading, and a
// ghost of the same size takes its place (P9): only the second listing tells.
func TestGhostBetweenListingAndReading(t *testing.T) {
	load := func(table *Table, _ *Snapshot) (*Snapshot, error) { return table.Load(t.Context()) }
	refresh := func(table *Table, held *Snapshot) (*Snapshot, error) { return table.Refresh(t.Context(), held) }
	travel := func(table *Table, _ *Snapshot) (*Snapshot, error) { return table.LoadVersion(t.Context(), 11) }
	for _, tt := range []struct {
		name    string
		commits int // after version 10, which has a checkpoint
		read    func(table *Table, held *Snapshot) (*Snapshot, error)
		wantErr error
	}{
		{"load", 1, load, nil},
		{"refresh", 1, refresh, nil},
		{"time travel to the head", 1, travel, ErrNoVersion},
		{"time travel below a checkpoint", 11, travel, ErrNoVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newMem()
			table, s := created(t, store)
			held := grow(t, table, s, 10)
			grow(t, table, held, tt.commits)
			var once sync.Once
			var head *Snapshot
			slow := &hooked{Store: store, noCRC: true, before: func(op, name string) {
				if op == "read" && name == table.entryName(11) {
					once.Do(func() {
						head = grow(t, table, mustLoad(t, table), 12)
						makeGhost(t, table, store, 11)
					})
				}
			}}
			got, err := tt.read(openTable(slow), held)
			if tt.wantErr != nil {
				if !errors.Is(err, tt.wantErr) {
					t.Errorf("got %v, %v; want %v", got, err, tt.wantErr)
				}
				return
			}
			if err != nil || diff(head, got) != "" {
				t.Errorf("met the ghost: %v\n%s", err, diff(head, got))
			}
		})
	}
}

// makeGhost cleans up below the latest checkpoint and makes a true-looking entry
// v of the same size as the one that was there.
func makeGhost(t *testing.T, table *Table, store *objstore.Mem, v int64) {
	t.Helper()
	data, err := store.Read(t.Context(), table.entryName(v), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	cleanUp(t, table, store, 20)
	if _, err := store.Stat(t.Context(), table.entryName(v)); !errors.Is(err, objstore.ErrNotExist) {
		t.Fatalf("entry %d is still there: %v", v, err)
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	ghost := bytes.ReplaceAll(body, []byte("-000011.parquet"), []byte("-666666.parquet"))
	head = bytes.Replace(head, []byte(checksum(body)), []byte(checksum(ghost)), 1)
	if _, err := store.Create(t.Context(), table.entryName(v), append(append(head, '\n'), ghost...), nil); err != nil {
		t.Fatal(err)
	}
}

// An entry that is younger than a checkpoint above it is no entry of the table.
func TestTimeTravelMeetsNoGhost(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	grow(t, table, s, 12)
	name := table.entryName(5)
	data, err := store.Read(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Remove(t.Context(), name, objstore.Any); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), name, data, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := table.LoadVersion(t.Context(), 4); err != nil || s.Version != 4 {
		t.Errorf("version 4: %v", err)
	}
	if _, err := table.LoadVersion(t.Context(), 6); !errors.Is(err, ErrNoVersion) {
		t.Errorf("version 6: %v, want ErrNoVersion", err)
	}
}

// A creator that was shown an empty log makes version 0 of a table that has left
// it behind.
func TestGhostCreation(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	head := grow(t, table, s, 12)
	cleanUp(t, table, store, 10)
	asleep := openTable(store)
	if _, err := asleep.extend(t.Context(), emptySnapshot(market), "CREATE TABLE", nil, nil); err == nil {
		t.Fatal("a table without a schema")
	}
	meta, protocol := s.meta, s.protocol
	_, err := asleep.extend(t.Context(), emptySnapshot(market), "CREATE TABLE", []action{{Protocol: &protocol}, {MetaData: &meta}}, nil)
	if !errors.Is(err, ErrGhost) {
		t.Errorf("error = %v, want ErrGhost", err)
	}
	if got, err := asleep.Create(t.Context(), definition(t, market)); err != nil || diff(head, got) != "" {
		t.Errorf("create: %v\n%s", err, diff(head, got))
	}
}

// P9's other half: a load that took longer than the log keeps its past starts
// over.
func TestLoadThatTookTooLongStartsOver(t *testing.T) {
	store := newMem()
	_, s := created(t, store)
	var asleep time.Duration
	reads := 0
	slow := &hooked{Store: store, before: func(op, name string) {
		if op == "read" && name == "processed/market_data/_delta_log/00000000000000000000.json" {
			if reads++; reads == 1 {
				asleep = 721 * time.Hour
			}
		}
	}}
	table := openTable(slow)
	table.clock = func() time.Time { return time.Date(2024, 1, 16, 0, 0, 0, 0, time.UTC).Add(asleep) }
	if got := mustLoad(t, table); diff(s, got) != "" || reads != 2 {
		t.Errorf("%d reads, want 2", reads)
	}
}
