package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/sweep"
)

// EraseOperation is the operation of commits that take days away.
const EraseOperation = "RETAIN"

// A Retention says which days of a table are to go.
type Retention struct {
	Type   string
	Older  time.Duration // a day goes whose last instant is at least so long ago
	By     string
	Reason string
	Now    time.Time
}

// A Day is one that goes, or that stays and why.
type Day struct {
	Day   partition.Day `json:"-"`
	Name  string        `json:"day"`
	Files int           `json:"files"`
	Rows  int64         `json:"rows"`
	Bytes int64         `json:"bytes"`
	Stays string        `json:"-"` // why, although it is old; "": it goes
}

// An Erasure is what a Retention comes to.
type Erasure struct {
	Days    []Day // old enough, in order
	Version int64 // that no longer holds them; -1: none was made
	Audit   string
}

// Gone are the days that go.
func (e Erasure) Gone() []Day {
	var gone []Day
	for _, d := range e.Days {
		if d.Stays == "" {
			gone = append(gone, d)
		}
	}
	return gone
}

// Before is the first day that stays.
func (r Retention) Before() partition.Day {
	return partition.DayOf(r.Now.Add(-r.Older).UnixMicro())
}

func (r Retention) check() error {
	if r.Older < 24*time.Hour {
		return fmt.Errorf("older than %v: a day is the least", r.Older)
	}
	return nil
}

// Plan says what Erase would take away now. It changes nothing.
func (r Retention) Plan(ctx context.Context, s objstore.ReadWriter) (Erasure, error) {
	e, _, err := r.plan(ctx, s)
	return e, err
}

func (r Retention) plan(ctx context.Context, s objstore.ReadWriter) (e Erasure, at *partition.Snapshot, err error) {
	e.Version = -1
	if err := r.check(); err != nil {
		return e, nil, err
	}
	raw, err := partition.ListRaw(ctx, s, r.Type) // before the snapshot (P14)
	if err != nil {
		return e, nil, err
	}
	holds, err := compaction.Holds(ctx, s, r.Type)
	if err != nil {
		return e, nil, err
	}
	at, err = partition.OpenTable(s, r.Type, nil).Load(ctx)
	if errors.Is(err, partition.ErrNoTable) {
		return e, nil, nil
	}
	if err != nil {
		return e, nil, fmt.Errorf("load table %s: %w", r.Type, err)
	}
	there := map[partition.Day]int{}
	for _, f := range raw {
		there[f.Key.Day]++
	}
	for _, key := range at.Partitions() {
		if key.Day >= r.Before() {
			break
		}
		d := Day{Day: key.Day, Name: key.Day.String()}
		for _, f := range at.Partition(key) {
			d.Files, d.Rows, d.Bytes = d.Files+1, d.Rows+f.Rows, d.Bytes+f.Size
		}
		if h, held := holds[key.Day]; held {
			d.Stays = h.String()
		} else if n := there[key.Day]; n > 0 {
			d.Stays = fmt.Sprintf("%d raw objects of it are left, which would bring rows back: compact and sweep first", n)
		}
		e.Days = append(e.Days, d)
	}
	return e, at, nil
}

// eraseTries bounds how often an erasure follows a head that moves on.
const eraseTries = 8

// Erase takes the days away. The files stay for as long as the table keeps removed
// files, so that those who read an older version can end; then the sweeper deletes
// them.
func (r Retention) Erase(ctx context.Context, s objstore.ReadWriter) (Erasure, error) {
	e, at, err := r.plan(ctx, s)
	if err != nil || len(e.Gone()) == 0 {
		return e, err
	}
	audit, err := begin(ctx, s, Record{At: r.Now, Action: "retain", Type: r.Type, By: r.By, Reason: r.Reason},
		map[string]any{"older_than": r.Older.String(), "before": r.Before().String(), "days": e.Gone()})
	if err != nil {
		return e, fmt.Errorf("nothing was taken away: %w", err)
	}
	e.Audit = audit.ID
	for try := 1; ; try++ {
		var next *partition.Snapshot
		if next, err = r.commit(ctx, s, at, e, audit); err == nil {
			e.Version = next.Version
			break
		}
		if !errors.Is(err, partition.ErrConflict) || try == eraseTries {
			break
		}
		again, head, failed := r.plan(ctx, s)
		if failed != nil {
			err = failed
			break
		}
		e.Days, at = only(again.Days, e.Gone()), head
		if len(e.Gone()) == 0 {
			err = errors.New("another writer was faster, and none of these days is left to take away")
			break
		}
	}
	result := fmt.Sprintf("%d days gone in version %d", len(e.Gone()), e.Version)
	if failed := end(ctx, s, audit, result, err, time.Now()); failed != nil {
		err = errors.Join(err, failed)
	}
	return e, err
}

// only are the days that the audit record names.
func only(days, named []Day) []Day {
	known := map[partition.Day]bool{}
	for _, d := range named {
		known[d.Day] = true
	}
	var kept []Day
	for _, d := range days {
		if known[d.Day] {
			kept = append(kept, d)
		}
	}
	return kept
}

func (r Retention) commit(ctx context.Context, s objstore.ReadWriter, at *partition.Snapshot, e Erasure, audit Record) (*partition.Snapshot, error) {
	version := at.Version + 1
	c := partition.Change{
		Operation: EraseOperation, Marks: map[string]int64{partition.EraseMark: version}, // P7
		Metrics: map[string]string{"audit": audit.ID, "numDays": fmt.Sprint(len(e.Gone()))},
	}
	var keys []partition.Key
	for _, d := range e.Gone() {
		key := partition.Key{Type: r.Type, Day: d.Day}
		keys = append(keys, key)
		c.Remove = append(c.Remove, at.Partition(key)...)
		c.Marks[partition.EraseMarkOf(key)] = version
	}
	next, err := partition.OpenTable(s, r.Type, nil).Commit(ctx, at, c)
	if err != nil {
		return nil, err
	}
	if err := partition.WriteManifests(ctx, s, next, keys); err != nil {
		return next, nil // derived: it names files that are gone, and no reader of the lake trusts it
	}
	return next, nil
}

// EraseArchive deletes what the archive has of days that are old enough, and
// records it as Erase does.
func (r Retention) EraseArchive(ctx context.Context, s objstore.ReadWriter, archive objstore.Store) (sweep.Sum, error) {
	if err := r.check(); err != nil {
		return sweep.Sum{}, err
	}
	due, err := sweep.Expire(ctx, archive, r.Type, r.Before(), true)
	if err != nil || due.Objects == 0 {
		return due, err
	}
	audit, err := begin(ctx, s, Record{At: r.Now, Action: "retain archive", Type: r.Type, By: r.By, Reason: r.Reason},
		map[string]any{"older_than": r.Older.String(), "before": r.Before().String(), "objects": due.Objects, "bytes": due.Bytes})
	if err != nil {
		return sweep.Sum{}, fmt.Errorf("nothing was deleted: %w", err)
	}
	gone, err := sweep.Expire(ctx, archive, r.Type, r.Before(), false)
	return gone, errors.Join(err, end(ctx, s, audit, fmt.Sprintf("%d objects deleted", gone.Objects), err, time.Now()))
}
