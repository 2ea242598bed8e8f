package compaction_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	sweeping "github.com/buffetbot/ingest/sweep"
)

// A slow store takes its (simulated) time, and counts what is read of rows.
type slow struct {
	objstore.Store
	read *atomic.Int64
	stop func(op, name string)
}

func (s *slow) take(op, name string) {
	if s.stop != nil {
		s.stop(op, name)
	}
	time.Sleep(100 * time.Millisecond)
}

func (s *slow) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	s.take("list", prefix)
	return s.Store.List(ctx, prefix, after)
}

func (s *slow) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	s.take("read", name)
	data, err := s.Store.Read(ctx, name, off, n)
	if strings.HasSuffix(name, ".parquet") && !strings.Contains(name, "_delta_log") {
		s.read.Add(int64(len(data)))
	}
	return data, err
}

func (s *slow) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	s.take("create", name)
	return s.Store.Create(ctx, name, data, metadata)
}

func (s *slow) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	s.take("replace", name)
	return s.Store.Replace(ctx, name, data, metadata, match)
}

// A crew is several compactors at one lake, with an ingestor and a sweeper beside
// them, for some simulated hours.
type crew struct {
	*lake
	compactors int
	leases     bool
	pause      func(i int, op, name string) // before an operation of a compactor
	read       atomic.Int64
	lost       atomic.Int64 // groups that were merged in vain
	leased     atomic.Int64 // groups left to another
}

func (c *crew) work(rounds int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range c.compactors {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 300 * time.Millisecond)
			for ctx.Err() == nil {
				c.once(i)
				time.Sleep(3 * time.Minute)
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(7 * time.Minute)
			s := &sweeping.Sweeper{Store: c.store, Clock: time.Now, Options: sweeping.Options{Grace: time.Hour, OrphanAge: 10 * time.Minute}}
			if _, err := s.Run(ctx, []string{market}); err != nil && ctx.Err() == nil {
				c.t.Errorf("sweep: %v", err)
			}
		}
	})
	for round := range rounds {
		for day := range partition.Day(4) {
			c.raw(onDay(jan15+day, quotes(fmt.Sprint("S", round%3), round/2*5, 8))...) // half of them again
		}
		time.Sleep(5 * time.Minute)
		if bad, err := c.violations(); err != nil {
			c.t.Error(err)
		} else {
			for _, v := range bad {
				if !strings.Contains(v.Text, "rows consumed") { // raw objects are swept meanwhile
					c.t.Error(v)
				}
			}
		}
	}
	time.Sleep(80 * time.Minute)
	cancel()
	wg.Wait()
}

func (c *crew) once(i int) {
	store := &slow{Store: c.store, read: &c.read}
	if c.pause != nil {
		store.stop = func(op, name string) { c.pause(i, op, name) }
	}
	o := compaction.Options{MaxCommitGroups: 1}
	if c.leases {
		o.Leasing = compaction.Leasing{Owner: fmt.Sprint("compactor ", i), For: 10 * time.Minute}
	}
	r, err := c.compactor(store, o).Run(context.Background(), []string{market})
	if err != nil {
		c.t.Errorf("compactor %d: %v", i, err)
	}
	for _, p := range r.Tables[0].Partitions {
		switch {
		case p.Outcome == compaction.Leased:
			c.leased.Add(1)
		case p.Outcome == compaction.Abandoned && p.BytesIn > 0, p.Outcome == compaction.Dropped:
			c.lost.Add(1)
		}
	}
}

// settled checks the lake once everybody has gone: every row ever written is live
// once.
func (c *crew) settled() {
	c.t.Helper()
	if got := c.identities(); got != len(c.rows) {
		c.t.Errorf("%d rows live, %d identities were written", got, len(c.rows))
	}
	raw, s, err := c.view()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range raw {
		if !s.Consumed(r.Name) {
			c.t.Errorf("%s is left over", r.Name)
		}
	}
	bad, err := compaction.Check{Store: c.store, Definition: c.def, Snapshot: s, Raw: raw}.All(context.Background())
	if err != nil || len(bad) > 0 {
		c.t.Errorf("%v %v", bad, err)
	}
}

// Several compactors beside an ingestor and a sweeper keep every promise, with
// leases and without; with leases they read less, and merge less in vain.
func TestCrew(t *testing.T) {
	t.Logf("%-12s %-7s %12s %14s %15s", "compactors", "leases", "bytes read", "merged in vain", "left to another")
	for _, n := range []int{2, 5} {
		var read, lost [2]int64
		for with, leases := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := &crew{lake: newLake(t, objstore.NewMem()), compactors: n, leases: leases}
				c.work(12)
				c.settled()
				read[with], lost[with] = c.read.Load(), c.lost.Load()
				t.Logf("%-12d %-7v %12d %14d %15d", n, leases, c.read.Load(), c.lost.Load(), c.leased.Load())
			})
		}
		if read[1] >= read[0] || lost[1] >= lost[0] && lost[0] > 0 {
			t.Errorf("%d compactors: with leases %d bytes read and %d merges in vain, without %d and %d", n, read[1], lost[1], read[0], lost[0])
		}
	}
}

// A compactor that is stopped for an hour, wherever it is, and goes on does no
// harm: its lease has expired, others have done its work, its commit is refused.
func TestCrewWithOneStoppedForAnHour(t *testing.T) {
	for _, tt := range []struct {
		at         string
		compactors int
		leases     bool
	}{
		{"create metadata/leases/", 2, true},
		{"read raw/", 2, true},
		{"create processed/market_data/_delta_log/", 1, false}, // nobody does its work, but a fence comes and its outputs go
		{"create processed/market_data/year=", 2, true},
		{"create processed/market_data/_delta_log/", 2, true},
		{"replace metadata/leases/", 2, true},
		{"create processed/market_data/_delta_log/", 5, true},
		{"create processed/market_data/year=", 5, false},
		{"create processed/market_data/_delta_log/", 5, false},
	} {
		t.Run(fmt.Sprintf("%s of %d, leases %v", tt.at, tt.compactors, tt.leases), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stopped atomic.Bool
				begin := time.Now().Add(6 * time.Minute)
				c := &crew{lake: newLake(t, objstore.NewMem()), compactors: tt.compactors, leases: tt.leases}
				c.pause = func(i int, op, name string) {
					if i == 0 && time.Now().After(begin) && strings.HasPrefix(op+" "+name, tt.at) && stopped.CompareAndSwap(false, true) {
						time.Sleep(time.Hour)
					}
				}
				c.work(12)
				c.settled()
				if !stopped.Load() {
					t.Error("it was never stopped")
				}
			})
		})
	}
}

// Leases that lie keep nobody from the work for long.
func TestLeasesAreNeverNeeded(t *testing.T) {
	for _, tt := range []struct {
		name, lease string
		waits       bool
	}{
		{"no JSON", "?", false},
		{"empty", "", false},
		{"expired", `{"owner":"other","until":"2020-01-01T00:00:00Z"}`, false},
		{"of the far future", `{"owner":"other","until":"2999-01-01T00:00:00Z"}`, false},
		{"our own", `{"owner":"me","until":"` + time.Now().Add(time.Minute).Format(time.RFC3339) + `"}`, false},
		{"another's", `{"owner":"other","until":"` + time.Now().Add(time.Minute).Format(time.RFC3339) + `"}`, true},
		{"done in a later version", `{"owner":"other","until":"2020-01-01T00:00:00Z","done_in_version":99}`, true},
		{"done in an earlier version", `{"owner":"other","until":"2999-01-01T00:00:00Z","done_in_version":1}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLake(t, objstore.NewMem())
			l.raw(quotes("AAPL", 0, 3)...)
			l.compact()
			l.raw(quotes("AAPL", 3, 3)...)
			l.put("metadata/leases/market_data/2024-01-15.json", []byte(tt.lease), nil)
			r := l.compactWith(compaction.Options{Leasing: compaction.Leasing{Owner: "me", For: 10 * time.Minute}})
			if waits := r.Tables[0].Commits == 0; waits != tt.waits {
				t.Errorf("waits %v, want %v\n%s", waits, tt.waits, r)
			}
			if tt.waits {
				for _, g := range first(l.compactor(l.store, compaction.Options{Leasing: compaction.Leasing{Owner: "me"}}).Plan(t.Context(), nil)) {
					if !strings.Contains(g.String(), "left alone: other ") {
						t.Errorf("plan: %s", g)
					}
				}
			}
			l.compactWith(compaction.Options{}) // one that takes none minds none
			if got := l.identities(); got != 6 {
				t.Errorf("%d rows live", got)
			}
		})
	}
}
