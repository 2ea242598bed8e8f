package partition

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LoadVersion is the table as it was at version v, if the log still leads there.
func (t *Table) LoadVersion(ctx context.Context, v int64) (*Snapshot, error) {
	return t.settled(ctx, func() (*Snapshot, error) { return t.loadVersion(ctx, v) })
}

func (t *Table) loadVersion(ctx context.Context, v int64) (*Snapshot, error) {
	start := t.clock()
	l, err := t.list(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := t.readable(l); err != nil {
		return nil, err
	}
	past, later := l.upTo(v)
	if len(later) == 0 { // then P9 holds as it stands
		if !t.leadsTo(past, v) {
			return nil, t.noVersion(v, fmt.Sprintf("the table is at version %d", max(last(l.entries), last(l.checkpoints))))
		}
		return t.loadFrom(ctx, past, start)
	}
	if !t.leadsTo(past, v) || past.suspect(later) {
		return nil, t.noVersion(v, "its log has been cleaned up")
	}
	s, err := t.replayPast(ctx, past)
	if err != nil {
		return nil, err
	}
	// What the past was read from must be there still: cleanup goes upwards, so
	// that what it begins with goes first.
	again, err := t.list(ctx, "")
	if err != nil {
		return nil, err
	}
	if past2, later2 := again.upTo(v); !t.leadsTo(past2, v) || past2.suspect(later2) {
		return nil, t.noVersion(v, "its log was cleaned up while it was read")
	}
	return s, nil
}

// replayPast is loadFrom without P9's second listing, which fails wherever a
// later checkpoint exists.
func (t *Table) replayPast(ctx context.Context, past listing) (*Snapshot, error) {
	st := t.from(emptySnapshot(t.dataType))
	if n := len(past.checkpoints); n > 0 {
		if err := t.restore(ctx, st, past.checkpoints[n-1], past.entries); err != nil {
			return nil, err
		}
	}
	entries := above(past.entries, st.version)
	read, err := t.readAll(ctx, entries)
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if err := st.apply(e.Object, e.version, read[i]); err != nil {
			return nil, err
		}
	}
	return st.snapshot(t.logName(st.version))
}

// upTo splits a listing: what leads to version v, and the checkpoints above it.
func (l listing) upTo(v int64) (past listing, later []logObject) {
	later = above(l.checkpoints, v)
	past.checkpoints = l.checkpoints[:len(l.checkpoints)-len(later)]
	past.entries = l.entries[:len(l.entries)-len(above(l.entries, v))]
	return past, later
}

// leadsTo tells whether the listing holds all that version v is made of.
func (t *Table) leadsTo(l listing, v int64) bool {
	from := last(l.checkpoints)
	entries := above(l.entries, from)
	return v >= 0 && from+int64(len(entries)) == v && (len(entries) == 0 || entries[0].version == from+1)
}

// suspect tells whether one of the entries to be read may be a ghost: an entry
// that was cleaned up and made again is younger than a checkpoint above it,
// which an entry of the table never is.
func (l listing) suspect(later []logObject) bool {
	for _, e := range above(l.entries, last(l.checkpoints)) {
		for _, c := range later {
			if e.Created.After(c.Created) {
				return true
			}
		}
	}
	return false
}

func last(objects []logObject) int64 {
	if len(objects) == 0 {
		return -1
	}
	return objects[len(objects)-1].version
}

func (t *Table) noVersion(v int64, why string) error {
	return fmt.Errorf("load %s version %d: %s: %w", t.dataType, v, why, ErrNoVersion)
}

// A Version is one line of a table's history.
type Version struct {
	Version    int64
	Time       time.Time // when it was made, by the store's clock (P8)
	Operation  string
	Metrics    map[string]string
	Engine     string
	Added      int
	AddedPaths []string // of the files added, relative to the table's root
	Removed    int
	Consumed   int // raw objects
	Checkpoint bool
	Damaged    error // why the entry cannot be read; the rest is not known then
}

// History lists the versions whose entries are in the log, newest first, at most
// limit of them (0: all). It is for people: a ghost may show in it, and so may an
// entry that is damaged, which does no harm below a checkpoint.
func (t *Table) History(ctx context.Context, limit int) ([]Version, error) {
	l, err := t.list(ctx, "")
	if err != nil {
		return nil, err
	}
	entries := l.entries
	if limit > 0 && len(entries) > limit {
		entries = entries[len(entries)-limit:]
	}
	read, err := t.readAll(ctx, entries)
	var damaged []error
	if errors.Is(err, ErrDamaged) {
		read, damaged, err = t.readEach(ctx, entries)
	}
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", t.dataType, err)
	}
	var versions []Version
	for i := len(entries) - 1; i >= 0; i-- {
		v := Version{Version: entries[i].version, Time: entries[i].Created.UTC()}
		if damaged != nil {
			v.Damaged = damaged[i]
		}
		for _, a := range read[i] {
			v.count(a)
		}
		same := above(l.checkpoints, v.Version-1)
		v.Checkpoint = len(same) > 0 && same[0].version == v.Version
		versions = append(versions, v)
	}
	return versions, nil
}

// readEach reads entries one by one, and says which are damaged.
func (t *Table) readEach(ctx context.Context, entries []logObject) (read [][]action, damaged []error, err error) {
	read, damaged = make([][]action, len(entries)), make([]error, len(entries))
	for i := range entries {
		one, err := t.readAll(ctx, entries[i:i+1])
		switch {
		case errors.Is(err, ErrDamaged):
			damaged[i] = err
		case err != nil:
			return nil, nil, err
		default:
			read[i] = one[0]
		}
	}
	return read, damaged, nil
}

func (v *Version) count(a action) {
	switch {
	case a.CommitInfo != nil:
		v.Operation, v.Metrics, v.Engine = a.CommitInfo.Operation, a.CommitInfo.OperationMetrics, a.CommitInfo.EngineInfo
	case a.Add != nil:
		v.Added++
		if path, err := decodePath(a.Add.Path); err == nil {
			v.AddedPaths = append(v.AddedPaths, path)
		}
	case a.Remove != nil:
		v.Removed++
	case a.Txn != nil && !notRaw(a.Txn.AppID) && a.Txn.Version != takenBack:
		v.Consumed++
	}
}
