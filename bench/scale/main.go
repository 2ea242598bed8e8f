// Command scale makes the log of a table as a large user leaves it after a year,
// and measures what reading and planning cost after a month, half a year and a year.
//
//	8 ingestors, a flush each 10 s ─▶ names of raw objects ─▶ a commit each 5 min ─▶ a sweep each hour
//
// The log is made by the package that makes it in the product: commits, checkpoints,
// marks, tombstones, cleanup. There are no rows: files are named, described by
// the statistics of real ones, and never made, so that a year takes minutes. What
// is measured must not grow with the age of the table, apart from what stands for
// its live files.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type program struct {
	Days        int           `default:"365" help:"How long the table has been filled."`
	At          []int         `default:"30,182,365" help:"Days after which to measure."`
	Ingestors   int           `default:"8" help:"Ingestors of the data type."`
	Flush       time.Duration `default:"10s" help:"Time between two flushes of an ingestor."`
	Commit      time.Duration `default:"5m" help:"Time between two compactions."`
	Sweep       time.Duration `default:"1h" help:"Time between two sweeps."`
	FilesPerDay int           `default:"4" help:"Processed files of a sealed day; the last of them is replaced by each commit of the day."`
	Late        int           `default:"50" help:"One commit in so many has late rows for an older day."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var p program
	kong.Parse(&p, kong.Name("scale"), kong.Description("Make the log of a year and measure what it costs to read and plan on."))
	figures, err := p.run(ctx)
	if err == nil {
		report(os.Stdout, &p, figures)
		return
	}
	fmt.Fprintln(os.Stderr, "scale:", err)
	os.Exit(1)
}
