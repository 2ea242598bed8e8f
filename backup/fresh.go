package backup

import (
	"context"
	"slices"
	"strings"

	"github.com/buffetbot/ingest/partition"
)

// logOrder is the log of the backup in the order in which it is put where there is
// none: the newest entry first, so that nobody takes the place for one without a
// table and makes one, and what a reader begins with last. Until that is there, a
// reader meets a log in which something is missing, and never half a table.
func (j *job) logOrder() []Entry {
	entries := slices.Clone(j.m.Under(partition.TableRoot(j.dataType) + "_delta_log/"))
	slices.Reverse(entries)
	for i, e := range entries {
		if strings.HasSuffix(e.Name, ".checkpoint.parquet") {
			return append(slices.Delete(entries, i, i+1), e)
		}
	}
	return entries
}

// restoreFresh makes the table where there is none, as the backup has it.
func (j *job) restoreFresh(ctx context.Context, _ there) error {
	j.report.How = Fresh
	log := j.logOrder()
	if len(log) > 1 {
		if err := j.put(ctx, log[0], log[0].Name); err != nil {
			return err
		}
	}
	var files []Entry
	for _, f := range j.state.Files(nil) {
		e, ok := j.m.Entry(f.ObjectName())
		if !ok {
			return j.hole(f)
		}
		files = append(files, e)
	}
	if err := j.putAll(ctx, "data files", files); err != nil {
		return err
	}
	if err := j.putAll(ctx, "raw files", j.m.Under(partition.RawRoot(j.dataType))); err != nil {
		return err
	}
	if err := j.comeAgain(ctx, j.state.Version, again{}); err != nil {
		return err
	}
	for _, e := range log {
		if err := j.put(ctx, e, e.Name); err != nil {
			return err
		}
	}
	return nil
}
