package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
)

const (
	sendTries   = 4
	sendPause   = 20 * time.Millisecond // before the second try, doubled for each further one
	settleAfter = 10 * time.Second      // how long a cancelled commit may find out what became of it
)

// check refuses a change that is wrong by itself.
func (t *Table) check(base *Snapshot, c Change) error {
	if base.Type != t.dataType || base.Version < 0 {
		return fmt.Errorf("base is version %d of %q", base.Version, base.Type)
	}
	if len(c.Add)+len(c.Remove)+len(c.Consumed)+len(c.TakenBack)+len(c.Marks) == 0 && c.Schema == nil && c.Properties == (Properties{}) {
		return errors.New("nothing to commit")
	}
	if c.Schema != nil && c.Schema.Name != t.dataType {
		return fmt.Errorf("the definition is of %s", c.Schema.Name)
	}
	paths := map[string]bool{}
	for i := range c.Add {
		if err := t.checkAdd(base, &c.Add[i], paths); err != nil {
			return err
		}
	}
	if len(c.Remove) > 0 && base.meta.Configuration[propAppendOnly] == "true" {
		return t.unsupported(t.entryName(base.Version), 0, propAppendOnly)
	}
	for i := range c.Remove {
		path := c.Remove[i].Path
		if _, live := base.Live(path); !live || paths[path] {
			return fmt.Errorf("remove %q: not live, or named twice", path)
		}
		paths[path] = true
	}
	for _, name := range slices.Concat(c.Consumed, c.TakenBack) {
		if !strings.HasPrefix(name, RawRoot(t.dataType)) {
			return fmt.Errorf("consumed %q: not a raw object of this table", name)
		}
	}
	for _, name := range c.TakenBack {
		if slices.Contains(c.Consumed, name) {
			return fmt.Errorf("consumed %q: and taken back", name)
		}
	}
	return nil
}

func (t *Table) checkAdd(base *Snapshot, f *File, paths map[string]bool) error {
	if paths[f.Path] {
		return fmt.Errorf("add %q: named twice", f.Path)
	}
	paths[f.Path] = true
	if err := f.check(t.dataType); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if _, live := base.Live(f.Path); live || base.Fence() < 0 {
		return nil
	}
	// P4: below the fence a sweep may have listed the object already.
	n, err := ParseProcessedName(f.ObjectName())
	if err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if n.Planned < base.Fence() {
		return fmt.Errorf("add %q: planned on version %d, below the fence at %d", f.Path, n.Planned, base.Fence())
	}
	return nil
}

// actions are the lines of a commit, but for its commitInfo.
func (t *Table) actions(base *Snapshot, c Change) []action {
	now, version := t.clock(), base.Version+1
	var actions []action
	if c.Schema != nil || c.Properties != (Properties{}) {
		meta := base.meta
		if c.Schema != nil {
			meta.SchemaString = c.Schema.DeltaSchemaString()
		}
		meta.Configuration = maps.Clone(meta.Configuration)
		maps.Copy(meta.Configuration, c.Properties.given())
		actions = append(actions, action{MetaData: &meta})
	}
	for _, mark := range slices.Sorted(maps.Keys(c.Marks)) {
		actions = append(actions, action{Txn: &txnAction{AppID: mark, Version: c.Marks[mark], LastUpdated: millis(now)}})
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(c.Consumed))) {
		actions = append(actions, action{Txn: &txnAction{AppID: name, Version: version, LastUpdated: millis(now)}})
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(c.TakenBack))) {
		actions = append(actions, action{Txn: &txnAction{AppID: name, Version: takenBack, LastUpdated: millis(now)}})
	}
	for _, f := range c.Remove {
		live, _ := base.Live(f.Path)
		actions = append(actions, action{Remove: removeOf(live.Path, live.Key, live.Size, now, true)})
	}
	for i := range c.Add {
		f := c.Add[i]
		if f.Modified.IsZero() {
			f.Modified = now
		}
		_, again := base.Live(f.Path)
		actions = append(actions, action{Add: addOf(&f, !again)})
	}
	return actions
}

// extend makes version base.Version+1 of the given actions and gives it back
// only if it is ours for certain.
func (t *Table) extend(ctx context.Context, base *Snapshot, operation string, actions []action, metrics map[string]string) (*Snapshot, error) {
	version, id := base.Version+1, t.newID()
	data, err := sealEntry(commitInfo{
		Timestamp: t.clock().UnixMilli(), Operation: operation, OperationParameters: map[string]string{},
		OperationMetrics: metrics, EngineInfo: Engine, TxnID: id,
	}, actions)
	if err != nil {
		return nil, err
	}
	// What cannot be read back must not be sent: it would stop the table.
	decoded, err := t.decodeEntry(t.entryName(version), data)
	if err != nil {
		return nil, err
	}
	st := t.from(base)
	if err := st.apply(objstore.Object{Name: t.entryName(version)}, version, decoded); err != nil {
		return nil, err
	}
	if _, err := st.snapshot(t.entryName(version)); err != nil {
		return nil, err
	}
	o, err := t.create(ctx, version, data, id)
	if err != nil {
		return nil, err
	}
	if err := t.ghostCheck(ctx, version); err != nil {
		return nil, err
	}
	st = t.from(base)
	if err := st.apply(o, version, decoded); err != nil {
		return nil, err
	}
	return st.snapshot(o.Name)
}

// create makes a log object that must not exist. An answer that leaves the
// outcome open, and "exists", which may be our own earlier try, are settled by
// reading back; the same bytes are sent again only where nothing is there.
func (t *Table) create(ctx context.Context, v int64, data []byte, id string) (objstore.Object, error) {
	name, pause := t.entryName(v), sendPause
	var cause error
	for try := 1; ; try++ {
		failpoint.Hit(failpoint.BeforeCommit)
		o, err := t.store.Create(ctx, name, data, nil)
		failpoint.Hit(failpoint.AfterCommit)
		if err == nil {
			return o, nil
		}
		cause = errors.Join(cause, err)
		o, there, err := t.readBack(ctx, name, id)
		switch {
		case err == nil && there:
			return o, nil
		case errors.Is(err, ErrConflict):
			return objstore.Object{}, err
		case err == nil: // absent
			// P11: absent may mean made and cleaned up; then sending again makes a ghost.
			if err := t.ghostCheck(ctx, v); errors.Is(err, ErrGhost) {
				return objstore.Object{}, err
			}
		}
		cause = errors.Join(cause, err)
		if try == sendTries || ctx.Err() != nil || !wait(ctx, pause) {
			return objstore.Object{}, fmt.Errorf("%w: %w", ErrUnknown, cause)
		}
		pause *= 2
	}
}

// readBack says whose the object is: ours, nobody's (there is false), or
// another's (ErrConflict). Any other error leaves it open.
func (t *Table) readBack(ctx context.Context, name, id string) (o objstore.Object, there bool, err error) {
	if ctx.Err() != nil {
		// The caller has left, but what was sent may have been applied.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), settleAfter)
		defer cancel()
	}
	o, err = t.store.Stat(ctx, name)
	if errors.Is(err, objstore.ErrNotExist) {
		return objstore.Object{}, false, nil
	}
	if err != nil {
		return objstore.Object{}, false, err
	}
	data, err := t.read(ctx, o) // as it is there, or an error: half of it might look like another's
	if err != nil {
		return objstore.Object{}, false, err
	}
	if commitID(data) != id {
		return objstore.Object{}, false, ErrConflict
	}
	return o, true, nil
}

// ghostCheck is P11: where a checkpoint at or above v is listed after v was
// created, v may be an object that cleanup had removed and we made again.
// Whether it is does not matter: calling a real commit lost does no harm.
func (t *Table) ghostCheck(ctx context.Context, v int64) error {
	pause := sendPause
	for try := 1; ; try++ {
		c, found, err := t.checkpointAtOrAbove(ctx, v)
		switch {
		case err == nil && found:
			return fmt.Errorf("checkpoint %d is there: %w", c, ErrGhost)
		case err == nil:
			return nil
		case try == sendTries || !wait(ctx, pause):
			return fmt.Errorf("look for later checkpoints: %w: %w", ErrUnknown, err)
		}
		pause *= 2
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
