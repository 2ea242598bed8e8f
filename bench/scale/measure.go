package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/partition"
)

// A figure is what the table costs at one age.
type figure struct {
	day                    int
	version                int64
	live, tombstones       int
	marks                  int
	logObjects             int
	checkpoint             int64 // bytes
	load                   time.Duration
	allocated, held        int64 // bytes, by a load and by its snapshot
	lists, reads           int
	plan                   time.Duration
	planAllocated          int64
	groups                 int
	commit                 time.Duration
	commitAllocated, entry int64
}

func (p *program) run(ctx context.Context) ([]figure, error) {
	y, err := newYear(ctx, p)
	if err != nil {
		return nil, err
	}
	var all []figure
	for n := range p.Days {
		if err := y.day(ctx, n); err != nil {
			return all, err
		}
		if slices.Contains(p.At, n+1) {
			f, err := y.measure(ctx, n+1)
			if err != nil {
				return all, err
			}
			all = append(all, f)
		}
	}
	return all, nil
}

// tries of which the shortest counts: the machine has other work.
const tries = 7

func (y *year) measure(ctx context.Context, day int) (figure, error) {
	f := figure{day: day, version: y.snapshot.Version}
	if err := y.measureLog(ctx, &f); err != nil {
		return f, err
	}
	counter := &objtest.Counter{Store: y.store}
	var s *partition.Snapshot
	var err error
	f.load, f.allocated = best(func() { s, err = partition.OpenTable(counter, dataType, y.clock).Load(ctx) })
	if err != nil {
		return f, err
	}
	for _, op := range counter.Taken() {
		var n int
		_, _ = fmt.Sscan(op[strings.LastIndexByte(op, ' ')+1:], &n)
		if strings.HasPrefix(op, "list ") {
			f.lists += n / tries
		} else {
			f.reads += n / tries
		}
	}
	f.live, f.tombstones, f.marks = len(s.Files(nil)), len(s.Tombstones()), len(s.Txns)
	before := heap()
	held, err := y.table.Load(ctx)
	if err != nil {
		return f, err
	}
	f.held = heap() - before
	runtime.KeepAlive(held)

	fresh := y.raw
	for range y.Ingestors * int(y.Commit/y.Flush) { // what was flushed since the last commit
		fresh = append(fresh, y.rawFile(y.raw[0].Key.Day))
	}
	f.plan, f.planAllocated = best(func() {
		f.groups = len(compaction.Plan(fresh, s, compaction.Options{Now: y.now, Policy: compaction.DefaultPolicy}))
	})
	return f, nil
}

// measureLog looks at the log's objects and makes one more version.
func (y *year) measureLog(ctx context.Context, f *figure) error {
	for o, err := range y.store.List(ctx, "processed/"+dataType+"/_delta_log/", "") {
		if err != nil {
			return err
		}
		f.logObjects++
		if strings.HasSuffix(o.Name, ".parquet") {
			f.checkpoint = o.Size
		} else if strings.HasSuffix(o.Name, ".json") {
			f.entry = o.Size
		}
	}
	before, began := allocated(), time.Now()
	if err := y.commit(ctx, partition.DayOf(y.now.UnixMicro())); err != nil {
		return err
	}
	f.commit, f.commitAllocated = time.Since(began), allocated()-before
	return nil
}

// best is the shortest of several runs, and the fewest bytes that one allocated.
func best(run func()) (took time.Duration, bytes int64) {
	for i := range tries {
		before, began := allocated(), time.Now()
		run()
		d, b := time.Since(began), allocated()-before
		if i == 0 || d < took {
			took = d
		}
		if i == 0 || b < bytes {
			bytes = b
		}
	}
	return took, bytes
}

func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func report(out io.Writer, p *program, all []figure) {
	fmt.Fprintf(out, "%s: %d ingestors, a flush each %s, a commit each %s, a sweep each %s, %d files a day\n\n",
		dataType, p.Ingestors, p.Flush, p.Commit, p.Sweep, p.FilesPerDay)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, value func(figure) string) {
		fmt.Fprint(w, name, "\t")
		for _, f := range all {
			fmt.Fprint(w, value(f), "\t")
		}
		fmt.Fprintln(w)
	}
	n := func(value func(figure) int) func(figure) string {
		return func(f figure) string { return fmt.Sprint(value(f)) }
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
	kib := func(b int64) string { return fmt.Sprintf("%d KiB", (b+512)>>10) }
	row("days", n(func(f figure) int { return f.day }))
	row("versions", n(func(f figure) int { return int(f.version) }))
	row("live files", n(func(f figure) int { return f.live }))
	row("tombstones", n(func(f figure) int { return f.tombstones }))
	row("marks", n(func(f figure) int { return f.marks }))
	row("objects in the log", n(func(f figure) int { return f.logObjects }))
	row("an entry", func(f figure) string { return kib(f.entry) })
	row("a checkpoint", func(f figure) string { return kib(f.checkpoint) })
	row("load: requests", func(f figure) string { return fmt.Sprintf("%d + %d", f.lists, f.reads) })
	row("load: time", func(f figure) string { return ms(f.load) })
	row("load: allocated", func(f figure) string { return kib(f.allocated) })
	row("load: held", func(f figure) string { return kib(f.held) })
	row("plan: groups", n(func(f figure) int { return f.groups }))
	row("plan: time", func(f figure) string { return ms(f.plan) })
	row("plan: allocated", func(f figure) string { return kib(f.planAllocated) })
	row("commit: time", func(f figure) string { return ms(f.commit) })
	row("commit: allocated", func(f figure) string { return kib(f.commitAllocated) })
	_ = w.Flush() // an error of stdout has nowhere to go
}
