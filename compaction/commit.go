package compaction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// errLostRace: another writer committed first, or the log has moved on past us.
var errLostRace = errors.New("lost the race to commit")

// commit makes one version of what the results come to, and sets the snapshot
// and the reports' outcomes. Where nothing is consumed there is no version.
func (j *job) commit(ctx context.Context, batch []Group, results []result, r *TableReport) error {
	var c partition.Change
	var ours []*PartitionReport
	var sum counts
	for i := range results {
		res := &results[i]
		if len(res.consumed)+len(res.add) == 0 {
			continue
		}
		c.Add = append(c.Add, res.add...)
		c.Remove = append(c.Remove, res.remove...)
		c.Consumed = append(c.Consumed, res.consumed...)
		ours = append(ours, &res.report)
		sum.add(res.report)
	}
	if len(ours) == 0 {
		return ctx.Err()
	}
	c.Operation, c.Metrics = "COMPACT", sum.metrics()
	if j.widen {
		c.Schema = j.def
	}
	ctx, done := j.step(ctx, "commit", j.def.Name)
	next, rebased, err := j.commitOnHead(ctx, batch, c)
	done(err)
	if errors.Is(err, errLostRace) {
		settle(ours, Abandoned, 0)
		return err
	}
	if err != nil {
		settle(ours, Failed, 0)
		return err
	}
	j.snapshot, j.widen = next, false
	settle(ours, Committed, next.Version)
	r.Commits, r.Version, r.Rebases = r.Commits+1, next.Version, r.Rebases+rebased
	j.log.Info("compacted", zap.String("type", j.def.Name), zap.Int64("version", next.Version),
		zap.Int("partitions", len(ours)), zap.Int("raw_objects", sum.rawFiles), zap.Int64("rows_in", sum.rowsIn),
		zap.Int64("duplicates", sum.duplicates), zap.Int64("bytes_out", sum.bytesOut))
	return nil
}

func settle(reports []*PartitionReport, o Outcome, version int64) {
	for _, p := range reports {
		p.Outcome, p.Version = o, version
	}
}

// metrics are what a commit says about itself, for people.
func (n counts) metrics() map[string]string {
	return map[string]string{
		"numRawObjects":   strconv.Itoa(n.rawFiles),
		"numRawRows":      strconv.FormatInt(n.rowsIn, 10),
		"numDuplicates":   strconv.FormatInt(n.duplicates, 10),
		"numConflicts":    strconv.FormatInt(n.conflicts, 10),
		"numAddedFiles":   strconv.Itoa(n.added),
		"numRemovedFiles": strconv.Itoa(n.removed),
		"numOutputBytes":  strconv.FormatInt(n.bytesOut, 10),
	}
}

// manifests rewrites those of the partitions this run changed, and those that an
// earlier run left behind when it ended between its commit and here.
func (j *job) manifests(ctx context.Context, r *TableReport) error {
	if j.snapshot == nil || !j.untidy(r.Commits) {
		return nil
	}
	var keys []partition.Key
	if !j.keptTidy(r) {
		var err error
		if keys, err = j.staleManifests(ctx); err != nil {
			return err
		}
	}
	for _, p := range r.Partitions {
		if p.Outcome == Committed && len(j.snapshot.Partition(p.Key)) > 0 {
			keys = append(keys, p.Key)
		}
	}
	if len(keys) > 0 {
		slices.SortFunc(keys, partition.Key.Compare)
		if err := partition.WriteManifests(ctx, j.store, j.snapshot, slices.Compact(keys)); err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
	}
	j.tidy.note(j.def.Name, j.snapshot.Version)
	return nil
}

// staleManifests are the partitions whose manifest is missing or older than one
// of their live files. Both times are the store's.
func (j *job) staleManifests(ctx context.Context) ([]partition.Key, error) {
	written := map[string]time.Time{}
	for o, err := range j.store.List(ctx, "metadata/"+j.def.Name+"/", "") {
		if err != nil {
			return nil, fmt.Errorf("list manifests: %w", err)
		}
		written[o.Name] = o.Created
	}
	var stale []partition.Key
	for _, key := range j.snapshot.Partitions() {
		at, ok := written[key.ManifestName()]
		newer := func(f partition.File) bool { return f.Modified.After(at) }
		if !ok || slices.ContainsFunc(j.snapshot.Partition(key), newer) {
			stale = append(stale, key)
		}
	}
	return stale, nil
}

// wider tells whether the definition has columns that the table lacks. A table
// with columns that the definition lacks, or has under another type, was written
// by a program that knows more than this one.
func wider(table string, def *schema.Definition) (bool, error) {
	theirs, err := columns(table)
	if err != nil {
		return false, fmt.Errorf("schema of the table: %w", err)
	}
	ours, err := columns(def.DeltaSchemaString())
	if err != nil {
		return false, fmt.Errorf("schema of %s %s: %w", def.Name, def.Version, err)
	}
	for name, kind := range theirs {
		if ours[name] != kind {
			return false, fmt.Errorf("the table has a column %s of type %s, which %s %s does not: use a program with the table's schema",
				name, kind, def.Name, def.Version)
		}
	}
	return len(ours) > len(theirs), nil
}

// columns are the names and types of a Delta schema.
func columns(schemaString string) (map[string]string, error) {
	var s struct {
		Fields []struct {
			Name string          `json:"name"`
			Type json.RawMessage `json:"type"`
		} `json:"fields"`
	}
	if err := json.Unmarshal([]byte(schemaString), &s); err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, f := range s.Fields {
		types[f.Name] = string(f.Type)
	}
	return types, nil
}
