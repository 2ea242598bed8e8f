package partition

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/buffetbot/ingest/objstore"
)

const (
	logFolder     = "_delta_log/"
	entryEnd      = ".json"
	checkpointEnd = ".checkpoint.parquet"
	hintName      = "_last_checkpoint"
	versionDigits = 20
)

// logName is the start of the names of a version's objects in the log. Of these
// names "…10" < "…10.checkpoint.parquet" < "…10.json" < "…11".
func (t *Table) logName(v int64) string { return fmt.Sprintf("%s%s%020d", t.root, logFolder, v) }

func (t *Table) entryName(v int64) string      { return t.logName(v) + entryEnd }
func (t *Table) checkpointName(v int64) string { return t.logName(v) + checkpointEnd }

// A logObject is an entry or a checkpoint of the log.
type logObject struct {
	version int64
	objstore.Object
}

// A listing is what the log held when it was listed, ascending.
type listing struct {
	entries, checkpoints []logObject
	foreign              string // a checkpoint of a kind that is not read
}

// list lists the log's objects greater than after.
func (t *Table) list(ctx context.Context, after string) (listing, error) {
	var l listing
	prefix := t.root + logFolder
	for o, err := range t.store.List(ctx, prefix, after) {
		if err != nil {
			return listing{}, fmt.Errorf("list the log of %s: %w", t.dataType, err)
		}
		digits, end, _ := strings.Cut(strings.TrimPrefix(o.Name, prefix), ".")
		v, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || len(digits) != versionDigits || v < 0 {
			continue // the hint, temporary files of other tools
		}
		switch end = "." + end; {
		case end == entryEnd:
			l.entries = append(l.entries, logObject{v, o})
		case end == checkpointEnd:
			l.checkpoints = append(l.checkpoints, logObject{v, o})
		case strings.HasPrefix(end, ".checkpoint."):
			l.foreign = o.Name
		}
	}
	return l, nil
}

// listRecent lists the log from the checkpoint that the hint names, or all of it.
// The hint says where to begin and nothing else (P9): a listing without a
// checkpoint is thrown away, and one with a checkpoint has the highest.
func (t *Table) listRecent(ctx context.Context) (listing, error) {
	if hint, ok := t.readHint(ctx); ok {
		l, err := t.list(ctx, t.logName(hint.Version))
		if err != nil || len(l.checkpoints) > 0 {
			return l, err
		}
	}
	return t.list(ctx, "")
}

// readHint reads _last_checkpoint. One that cannot be read is none.
func (t *Table) readHint(ctx context.Context) (hint checkpointHint, ok bool) {
	data, err := t.store.Read(ctx, t.root+logFolder+hintName, 0, -1)
	if err != nil || json.Unmarshal(data, &hint) != nil || hint.Version < 0 {
		return checkpointHint{}, false
	}
	return hint, true
}

// checkpointAtOrAbove finds a listed checkpoint of version v or above: proof
// that entries from v on may have been cleaned up, and made again by a ghost.
func (t *Table) checkpointAtOrAbove(ctx context.Context, v int64) (int64, bool, error) {
	l, err := t.list(ctx, t.logName(v))
	if err != nil || len(l.checkpoints) == 0 {
		return 0, false, err
	}
	return l.checkpoints[len(l.checkpoints)-1].version, true, nil
}

// above are the entries with versions over v.
func above(entries []logObject, v int64) []logObject {
	i, _ := slices.BinarySearchFunc(entries, v+1, func(e logObject, v int64) int { return cmp.Compare(e.version, v) })
	return entries[i:]
}
