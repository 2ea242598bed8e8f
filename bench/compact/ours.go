package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/bench/compact/told"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/memory"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// ours compacts the lake as the compactor does, from the listing to the commit:
// every input's checksum, every row's hash and the reading back of what was
// written are in it.
type ours struct {
	Root    string `arg:""`
	Budget  int64  `default:"134217728"`
	Profile string `help:"File to write a CPU profile to."`
}

func (o *ours) Run(ctx context.Context) error {
	memory.Limit(zap.NewNop(), o.Budget)
	lake, err := objstore.OpenDir(filepath.Join(o.Root, "lake"))
	if err != nil {
		return err
	}
	registry, err := schema.Builtin()
	if err != nil {
		return err
	}
	c := compaction.Compactor{Store: lake, Registry: registry, Options: compaction.Options{MemoryBudget: o.Budget}}
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	report, err := c.Run(ctx, []string{dataType})
	if err != nil {
		return err
	}
	p := report.Tables[0].Partitions
	if len(p) != 1 || p[0].Err != nil || len(p[0].Unreadable) > 0 {
		return fmt.Errorf("the compaction went wrong: %s", report)
	}
	return told.Tell(told.Outcome{Rows: p[0].RowsOut, Bytes: p[0].BytesOut})
}

// clean removes what an earlier run compacted.
func (s shape) clean(root string) error {
	return errors.Join(os.RemoveAll(filepath.Join(root, "lake", "processed")), os.RemoveAll(filepath.Join(root, "lake", "metadata")), os.RemoveAll(filepath.Join(root, "out")))
}
