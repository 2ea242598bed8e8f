package compaction

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// UnreadablePrefix is where unreadable raw objects are noted, each under its own
// name: metadata/unreadable/<type>/year=…/….json.
const UnreadablePrefix = "metadata/unreadable/"

// The pause before an unreadable raw object is tried again is doubled each time,
// up to lastRetry.
const (
	DefaultRetryAfter = 10 * time.Minute
	lastRetry         = 24 * time.Hour
)

// An Unread is a note about a raw object that a compactor could not read. The
// object stays where it is, is tried again from time to time, and keeps no other
// from being merged. The note saves reading it at every run, and tells people.
type Unread struct {
	Name   string    `json:"object"`
	Size   int64     `json:"size"`
	Reason string    `json:"reason"` // of the last try
	First  time.Time `json:"first_tried"`
	Last   time.Time `json:"last_tried"`
	Tries  int       `json:"tries"`
	Next   time.Time `json:"next_try"`
	Schema string    `json:"schema_version"` // that the program knew: one with another tries at once

	Key partition.Key `json:"-"`
}

// due tells whether the object is worth a try: the pause is over, it is another
// object now, or another program looks at it.
func (u Unread) due(r partition.RawFile, o Options) bool {
	return o.RetryAfter <= 0 || !o.Now.Before(u.Next) || u.Schema != o.schema || u.Size != r.Object.Size || r.Object.Created.After(u.Last)
}

func unreadName(raw string) string {
	return UnreadablePrefix + strings.TrimPrefix(raw, "raw/") + ".json"
}

// UnreadableObjects are the raw objects of a data type that could not be read, in order of
// names. A note that cannot be read itself, or whose raw object is not listed any
// more or has been consumed since, is not among them.
func UnreadableObjects(ctx context.Context, s objstore.ReadWriter, dataType string) ([]Unread, error) {
	raw, err := partition.ListRaw(ctx, s, dataType)
	if err != nil {
		return nil, err
	}
	snapshot, err := partition.OpenTable(s, dataType, nil).Load(ctx)
	if err != nil && !errors.Is(err, partition.ErrNoTable) {
		return nil, fmt.Errorf("load table: %w", err)
	}
	notes, err := unreadNotes(ctx, s, dataType)
	if err != nil {
		return nil, err
	}
	open := map[string]Unread{}
	for _, r := range raw {
		if u, ok := notes[r.Name]; ok && !consumed(snapshot, r) {
			u.Key = r.Key
			open[r.Name] = u
		}
	}
	return slices.SortedFunc(maps.Values(open), func(a, b Unread) int { return cmp.Compare(a.Name, b.Name) }), nil
}

// RetryUnreadable makes raw objects that could not be read due at once: that of the
// given name, or all of the data type where it is "". It gives their number.
func RetryUnreadable(ctx context.Context, s objstore.ReadWriter, dataType, name string, now time.Time) (int, error) {
	all, err := UnreadableObjects(ctx, s, dataType)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, u := range all {
		if name != "" && u.Name != name {
			continue
		}
		u.Next = now
		if err := writeNote(ctx, s, unreadName(u.Name), u); err != nil {
			return n, err
		}
		n++
	}
	if n == 0 && name != "" {
		return 0, fmt.Errorf("%s is not among the unreadable objects of %s", name, dataType)
	}
	return n, nil
}

func unreadNotes(ctx context.Context, r objstore.Reader, dataType string) (map[string]Unread, error) {
	notes := map[string]Unread{}
	for o, err := range r.List(ctx, UnreadablePrefix+dataType+"/", "") {
		if err != nil {
			return nil, fmt.Errorf("list notes of unreadable objects: %w", err)
		}
		u, err := readNote[Unread](ctx, r, o.Name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && unreadName(u.Name) == o.Name { // else it is as if it were not there: the object is tried again
			notes[u.Name] = u
		}
	}
	return notes, nil
}

// note keeps what a group found unreadable. That it cannot costs the next run a
// try.
func (j *job) note(ctx context.Context, p PartitionReport) {
	for _, bad := range p.Unreadable {
		u, known := j.facts.Unreadable[bad.Name]
		if !known {
			u = Unread{Name: bad.Name, First: j.o.Now}
		}
		if i := slices.IndexFunc(j.raw, func(r partition.RawFile) bool { return r.Name == bad.Name }); i >= 0 {
			u.Size = j.raw[i].Object.Size
		}
		u.Reason, u.Last, u.Tries = bad.Reason, j.o.Now, u.Tries+1
		u.Schema = j.o.schema
		u.Next = j.o.Now.Add(min(j.o.RetryAfter<<min(u.Tries-1, 16), max(lastRetry, j.o.RetryAfter)))
		if err := writeNote(ctx, j.store, unreadName(bad.Name), u); err != nil {
			j.log.Warn("could not note an unreadable raw object; the next run tries it again", zap.String("object", bad.Name), zap.Error(err))
		}
	}
}
