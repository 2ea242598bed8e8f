// Command compact sets a compaction beside DuckDB doing the same: raw Parquet
// files of one day, sorted, and each identity once.
//
//	rows of a fixed seed → raw files of a local lake ─┬─▶ our compactor, a process of its own
//	                                                  └─▶ DuckDB (program duck), a process of its own
//
// Both get two threads. CPU time and peak resident memory are the kernel's, of the
// whole process. They take turns, several times, and the least of each counts: machines
// are shared. The ratios are what to look at.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/buffetbot/ingest/bench/compact/told"
)

type program struct {
	Compare compare `cmd:"" default:"withargs" help:"Make the files and let both work on them in turns."`
	Ours    ours    `cmd:"" hidden:"" help:"Compact and print what came of it."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var p program
	k := kong.Parse(&p, kong.Name("compact"), kong.Description("Measure a compaction against DuckDB."))
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "compact:", err)
		os.Exit(1)
	}
}

type compare struct {
	Shapes []string `default:"small,large" help:"small: 500 files of 2,000 rows; large: 40 files of 500,000 rows; many: 20,000 files of 50 rows; tiny, to try it out."`
	Dir    string   `default:"/tmp/bench-compact" help:"Where the files are made, about 3 GB; they are used again by the next run."`
	Turns  int      `default:"3" help:"How often each has a turn."`
	Duck   string   `default:"bin/bench-compact-duck" help:"The program that lets DuckDB do it."`
	Budget int64    `default:"134217728" help:"Our memory budget, in bytes."`
}

// A measure is what one turn took.
type measure struct {
	told.Outcome
	cpu, wall time.Duration
}

func (c *compare) Run(ctx context.Context) error {
	for _, name := range c.Shapes {
		s, ok := shapes[name]
		if !ok {
			return fmt.Errorf("no shape %q", name)
		}
		began := time.Now()
		root, err := s.make(c.Dir)
		if err != nil {
			return err
		}
		raw, err := told.Size(root + "/lake/raw")
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d files of %d rows, %.1f MB (made in %s)\n", s.Name, s.Files, s.Rows, float64(raw)/1e6, time.Since(began).Round(time.Second))
		if err := c.shape(ctx, s, root); err != nil {
			return err
		}
	}
	return nil
}

func (c *compare) shape(ctx context.Context, s shape, root string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var us, them []measure
	for range c.Turns {
		if err := s.clean(root); err != nil {
			return err
		}
		m, err := turn(ctx, self, "ours", root, fmt.Sprintf("--budget=%d", c.Budget))
		if err != nil {
			return err
		}
		us = append(us, m)
		if m, err = turn(ctx, c.Duck, root); err != nil {
			return err
		}
		them = append(them, m)
	}
	report(us, them)
	return s.clean(root)
}

// turn runs a worker as a process of its own.
func turn(ctx context.Context, program string, args ...string) (measure, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return measure{}, fmt.Errorf("%s: %w", program, err)
	}
	m := measure{wall: time.Since(began)}
	m.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err := json.Unmarshal(out.Bytes(), &m.Outcome); err != nil {
		return m, fmt.Errorf("%s printed %q: %w", program, out.String(), err)
	}
	return m, nil
}

// report prints ratios first, then what they are made of.
func report(us, them []measure) {
	a, b := best(us), best(them)
	fmt.Printf("  ours by DuckDB's:  CPU %.2f  wall %.2f  peak memory %.2f  output %.2f\n",
		float64(a.cpu)/float64(b.cpu), float64(a.wall)/float64(b.wall), float64(a.Peak)/float64(b.Peak), float64(a.Bytes)/float64(b.Bytes))
	for _, m := range []struct {
		name string
		measure
	}{{"ours", a}, {"DuckDB", b}} {
		fmt.Printf("  %-8s CPU %6.2f s  wall %6.2f s  peak %6.0f MiB  output %7.1f MB  %d rows\n", m.name,
			m.cpu.Seconds(), m.wall.Seconds(), float64(m.Peak)/(1<<20), float64(m.Bytes)/1e6, m.Rows)
	}
	if a.Rows != b.Rows {
		fmt.Printf("  THE ROWS DIFFER: %d and %d\n", a.Rows, b.Rows)
	}
}

// best is the least of CPU and wall time, and the most memory.
func best(all []measure) measure {
	m := all[0]
	for _, o := range all[1:] {
		m.cpu, m.wall, m.Peak = min(m.cpu, o.cpu), min(m.wall, o.wall), max(m.Peak, o.Peak)
	}
	return m
}
