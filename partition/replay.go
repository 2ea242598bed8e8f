package partition

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// A state is a table while its log is replayed.
type state struct {
	table      *Table
	version    int64
	time       time.Time
	checkpoint int64
	meta       *metaDataAction
	protocol   *protocolAction
	files      map[string]File
	tombstones map[string]Tombstone
	txns       map[string]Txn
}

// from is the state of a snapshot, to be replayed further.
func (t *Table) from(s *Snapshot) *state {
	st := &state{
		table: t, version: s.Version, time: s.Time, checkpoint: s.checkpoint,
		files:      make(map[string]File, len(s.files)),
		tombstones: make(map[string]Tombstone, len(s.tombstones)),
		txns:       make(map[string]Txn, len(s.Txns)),
	}
	if s.Version >= 0 {
		meta, protocol := s.meta, s.protocol
		st.meta, st.protocol = &meta, &protocol
	}
	for _, f := range s.files {
		st.files[f.Path] = f
	}
	maps.Copy(st.tombstones, s.tombstones)
	maps.Copy(st.txns, s.Txns)
	return st
}

// snapshot ends a replay; the state must not be used afterwards.
func (st *state) snapshot(object string) (*Snapshot, error) {
	if st.protocol == nil || st.meta == nil {
		return nil, st.table.damaged(object, 0, "the log names neither protocol nor schema up to here")
	}
	files := slices.SortedFunc(maps.Values(st.files), func(a, b File) int {
		if c := a.Key.Compare(b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	return &Snapshot{
		Type: st.table.dataType, Version: st.version, Time: st.time,
		ID: st.meta.ID, SchemaString: st.meta.SchemaString, Txns: st.txns,
		meta: *st.meta, protocol: *st.protocol,
		files: files, tombstones: st.tombstones, checkpoint: st.checkpoint,
	}, nil
}

// apply replays the next entry. P8: what happens in it happened when the store
// says its object was created, whatever the writer's clock said when it was
// prepared.
func (st *state) apply(o objstore.Object, version int64, actions []action) error {
	if by, operation, yes := foreign(actions); yes {
		return &ErrForeign{Table: st.table.dataType, Object: o.Name, Engine: by, Operation: operation}
	}
	st.version, st.time = version, o.Created
	seen := map[string]bool{}
	for i := range actions {
		about := actions[i].subject()
		if about != "" && seen[about] {
			return st.table.damaged(o.Name, i+1, "a second action for "+about)
		}
		seen[about] = true
		if err := st.one(o.Name, i+1, &actions[i], o.Created); err != nil {
			return err
		}
	}
	return nil
}

// restore is apply for a checkpoint: the actions carry their own times.
func (st *state) restore(o objstore.Object, version int64, actions []action) error {
	st.version, st.time, st.checkpoint = version, o.Created, version
	for i := range actions {
		at := o.Created // younger than the truth, where it is not said: nothing is deleted early
		switch a := &actions[i]; {
		case a.Txn != nil && a.Txn.LastUpdated != nil:
			at = time.UnixMilli(*a.Txn.LastUpdated).UTC()
		case a.Remove != nil && a.Remove.DeletionTimestamp != nil:
			at = time.UnixMilli(*a.Remove.DeletionTimestamp).UTC()
		}
		if err := st.one(o.Name, i+1, &actions[i], at); err != nil {
			return err
		}
	}
	return nil
}

// one replays one action, which happened at the given time.
func (st *state) one(object string, line int, a *action, at time.Time) error {
	t := st.table
	at = at.Add(time.Millisecond - 1).UTC().Truncate(time.Millisecond) // as a checkpoint keeps it; never early
	switch {
	case a.Protocol != nil:
		if feature := a.Protocol.unsupported(); feature != "" {
			return t.unsupported(object, line, feature)
		}
		st.protocol = a.Protocol
	case a.MetaData != nil:
		if feature := a.MetaData.unsupported(); feature != "" {
			return t.unsupported(object, line, feature)
		}
		st.meta = a.MetaData
	case a.Txn != nil && a.Txn.Version == takenBack:
		delete(st.txns, a.Txn.AppID) // marks only save work (P13)
	case a.Txn != nil:
		st.txns[a.Txn.AppID] = Txn{AppID: a.Txn.AppID, Version: a.Txn.Version, Updated: at}
	case a.Remove != nil:
		grave, err := a.Remove.tombstone(t.dataType, at)
		if err != nil {
			return t.damaged(object, line, err)
		}
		delete(st.files, grave.Path)
		st.tombstones[grave.Path] = grave
	case a.Add != nil:
		f, err := a.Add.file(t.dataType)
		if err != nil {
			return t.damaged(object, line, fmt.Errorf("%w (another engine's file?)", err))
		}
		delete(st.tombstones, f.Path)
		st.files[f.Path] = f
	}
	return nil
}

// subject is what an action is about: an entry may hold one for each.
func (a *action) subject() string {
	switch {
	case a.Protocol != nil:
		return "protocol"
	case a.MetaData != nil:
		return "metaData"
	case a.Txn != nil:
		return "txn " + a.Txn.AppID
	case a.Add != nil:
		return "file " + a.Add.Path
	case a.Remove != nil:
		return "file " + a.Remove.Path
	}
	return ""
}
