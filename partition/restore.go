package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/buffetbot/ingest/objstore"
)

// Restore is the operation of commits that bring back what a table was.
const Restore = "RESTORE"

// takenBack is the version in a mark that takes an earlier one back. Every version
// of a table is greater.
const takenBack = -1

// Needed are the log's objects from which its newest version was loaded, in order
// of names: the highest checkpoint, the entry of its version where it is still
// there (it says how old the version is), and every entry above.
func (past Past) Needed() []objstore.Object {
	var needed []objstore.Object
	from := last(past.l.checkpoints)
	for _, e := range above(past.l.entries, from-1) {
		if e.version == from {
			needed = append(needed, e.Object)
		}
	}
	if n := len(past.l.checkpoints); n > 0 {
		needed = append(needed, past.l.checkpoints[n-1].Object)
	}
	for _, e := range above(past.l.entries, from) {
		needed = append(needed, e.Object)
	}
	slices.SortFunc(needed, func(a, b objstore.Object) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return needed
}

// Intact says what is wrong with the bytes of an entry or a checkpoint of the log,
// taken by itself: nil for what can be read, whatever it says.
func (t *Table) Intact(ctx context.Context, name string, data []byte) error {
	if strings.HasSuffix(name, checkpointEnd) {
		_, err := t.decodeCheckpoint(ctx, name, data)
		return err
	}
	_, err := t.decodeEntry(name, data)
	return err
}

// A Takeover is what a table is to be after its log was lost.
type Takeover struct {
	State   *Snapshot         // whose schema, properties and marks it has
	Files   []File            // live from now on, durable already
	Keep    []Tombstone       // objects that are there and not live: they stay for the retention, as removed now
	Above   int64             // a version that the lost log may have reached
	Metrics map[string]string // for people
}

// TakeOver makes a new version of a table whose log cannot be read, above
// everything that the log holds. Nothing of the old log is touched: a checkpoint
// of the new version makes it the log's past.
//
// The version follows the highest number there at a distance of two. A writer or
// reader that holds the lost head can then neither take the new entry for the next
// of its own, since one is missing between them, nor, once the checkpoint is there,
// make a version of its own that counts (P9, P10, P11). Fence and erasure are set
// to the new version, so that no plan of before can be committed (P4, P7).
func (t *Table) TakeOver(ctx context.Context, to Takeover) (*Snapshot, error) {
	for try := 1; ; try++ {
		s, err := t.takeOver(ctx, to)
		if errors.Is(err, ErrConflict) && try < sendTries {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("take over the log of %s: %w", t.dataType, err)
		}
		return s, nil
	}
}

func (t *Table) takeOver(ctx context.Context, to Takeover) (*Snapshot, error) {
	l, err := t.list(ctx, "")
	if err != nil {
		return nil, err
	}
	if l.foreign != "" {
		return nil, t.unsupported(l.foreign, 0, "a checkpoint of another kind than the classic (move it out of the log)")
	}
	version := max(last(l.entries), last(l.checkpoints), to.Above) + 2
	actions := t.takeoverActions(to, version)
	id := t.newID()
	data, err := sealEntry(commitInfo{
		Timestamp: t.clock().UnixMilli(), Operation: Restore, OperationParameters: map[string]string{},
		OperationMetrics: to.Metrics, EngineInfo: Engine, TxnID: id,
	}, actions)
	if err != nil {
		return nil, err
	}
	decoded, err := t.decodeEntry(t.entryName(version), data)
	if err != nil {
		return nil, err
	}
	replayed := func(o objstore.Object) (*Snapshot, error) {
		st := t.from(emptySnapshot(t.dataType))
		if err := st.apply(o, version, decoded); err != nil {
			return nil, err
		}
		return st.snapshot(o.Name)
	}
	// What cannot be read back must not be sent.
	if _, err := replayed(objstore.Object{Name: t.entryName(version)}); err != nil {
		return nil, err
	}
	o, err := t.create(ctx, version, data, id)
	if err != nil {
		return nil, err
	}
	s, err := replayed(o)
	if err != nil {
		return nil, err
	}
	if err := t.Checkpoint(ctx, s); err != nil {
		if _, found, again := t.checkpointAtOrAbove(ctx, version); again != nil || !found {
			return nil, err
		}
		t.warn(err) // only the hint could not be written; readers list
	}
	s.checkpoint = version
	return s, nil
}

func (t *Table) takeoverActions(to Takeover, version int64) []action {
	now := t.clock()
	meta, protocol := to.State.meta, to.State.protocol
	actions := []action{{Protocol: &protocol}, {MetaData: &meta}}
	marks := maps.Clone(to.State.Txns)
	if marks == nil {
		marks = map[string]Txn{}
	}
	for _, mark := range []string{FenceMark, EraseMark} {
		marks[mark] = Txn{AppID: mark, Version: version}
	}
	for _, id := range slices.Sorted(maps.Keys(marks)) {
		actions = append(actions, action{Txn: &txnAction{AppID: id, Version: marks[id].Version, LastUpdated: millis(now)}})
	}
	for _, grave := range to.Keep {
		actions = append(actions, action{Remove: removeOf(grave.Path, grave.Key, grave.Size, now, true)})
	}
	for i := range to.Files {
		f := to.Files[i]
		if f.Modified.IsZero() {
			f.Modified = now
		}
		actions = append(actions, action{Add: addOf(&f, true)})
	}
	return actions
}
