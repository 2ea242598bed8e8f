package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
	"github.com/buffetbot/ingest/sweep"
)

// A shop is the settings that the processes of a world share.
type shop struct {
	compact compaction.Options
	sweep   sweep.Options
}

func (w *World) drawShop() shop {
	r := w.rng
	hours := func(most int) time.Duration { return time.Duration(1+r.IntN(most)) * time.Hour }
	s := shop{}
	s.compact.Properties = partition.Properties{Retain: hours(4), LogRetain: hours(4), CheckpointEvery: 1 + r.Int64N(5)}
	if w.rates.haunted {
		s.compact.Properties.LogRetain, s.compact.Properties.CheckpointEvery = time.Hour, 1+r.Int64N(3)
	}
	s.compact.Workers = 1 + r.IntN(3)
	s.compact.MaxCommitGroups = 1 + r.IntN(3)
	if s.compact.Workers == 2 { // merges look only where duplicates may be; draws nothing, so that seeds stay what they were
		s.compact.Policy = compaction.Policy{Share: .001, SealAfter: time.Hour, LateWait: time.Hour}
		s.compact.Leasing = compaction.Leasing{Owner: "one of them", For: time.Hour}
	}
	if r.IntN(2) == 0 {
		s.compact.TargetFileSize = 1 // a file of its own for each symbol
	}
	if r.IntN(2) == 0 && s.compact.Workers != 2 { // only files that may hold the same rows are merged
		s.compact.Policy = compaction.DefaultPolicy
	}
	s.sweep = sweep.Options{Grace: hours(2), OrphanAge: time.Nanosecond, Workers: 1 + r.IntN(3)}
	if r.IntN(2) == 0 {
		s.sweep.OrphanAge = hours(2)
	}
	if w.rates.erasing {
		s.sweep.FewMarks, s.compact.Properties.CheckpointEvery = 1, 2+r.Int64N(3)
	}
	if w.rates.haunted || w.rates.erasing {
		s.sweep.Grace = time.Hour
	}
	if w.rates.orphaned {
		s.sweep.OrphanAge = 1000 * time.Hour
	}
	if w.rates.crossing {
		s.compact.MaxCommitGroups = 1
	}
	if r.IntN(2) == 0 {
		w.archive = objstore.NewMem()
	}
	w.model.grace, w.model.keep = s.sweep.Grace, s.compact.Properties.Retain
	return s
}

func (w *World) populateTable() {
	s := w.drawShop()
	ingest, compact, sweeps := .1, .01, .01
	ingestors, compactors := 1+w.rng.IntN(2), 1+w.rng.IntN(3)
	switch {
	case w.rates.crossing:
		ingest, compact, ingestors, compactors = .2, .15, 2, max(compactors, 2)
	case w.rates.erasing, w.rates.haunted:
		ingest, compact, sweeps, compactors = .04, .03, .08, max(compactors, 2)
	}
	for i := range ingestors {
		w.addProcess(fmt.Sprintf("ingestor%d", i), ingest*w.rng.Float64(), ingestRaw)
	}
	for i := range compactors {
		w.addProcess(fmt.Sprintf("compactor%d", i), compact+.2*w.rng.Float64()*w.rng.Float64(), s.compactOnce)
	}
	for i := range 1 + w.rng.IntN(2) {
		w.addProcess(fmt.Sprintf("sweeper%d", i), sweeps+.1*w.rng.Float64()*w.rng.Float64(), s.sweepOnce)
	}
	if w.rates.erasing {
		w.addProcess("eraser", .02+.1*w.rng.Float64(), eraseDay)
	}
	w.addProcess("reader", .1*w.rng.Float64()*w.rng.Float64(), read)
	f := &follower{}
	follow := .1
	if w.rates.haunted {
		follow = .4
	}
	w.addProcess("follower", follow*w.rng.Float64(), f.follow)
}

// own is the randomness of one life of a process.
func (p *process) own() *rand.Rand {
	return rand.New(rand.NewPCG(p.w.seed, uint64(p.id)<<32|uint64(p.life)))
}

// find reports a violation that a process saw.
func (p *process) find(rule, format string, args ...any) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.found = append(p.found, Violation{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

const (
	days       = 3
	identities = 14 // of a day
)

var firstDay = partition.DayOf(time.Date(2024, 1, 15, 0, 0, 0, 0, time.UTC).UnixMicro())

// ingestRaw makes a raw object as an ingestor does, of rows that were there
// before as often as not.
func ingestRaw(ctx context.Context, p *process) error {
	r := p.own()
	day := firstDay + partition.Day(r.IntN(p.w.rates.days))
	data, meta := p.w.rowsOf(day, r.Uint64N(variants))
	key := partition.Key{Type: market, Day: day}
	for i := range 3 { // redelivered into another name
		name := partition.RawName{Key: key, Category: p.w.def.Category, Multi: true, Time: day.Start().UnixMicro(), Major: p.w.def.Version.Major,
			Writer: fmt.Sprintf("w%d-%d", p.id, p.life), Seq: i}.String()
		for range 2 { // the same object again
			_, err := p.lake().Create(ctx, name, data, meta)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil || errors.Is(err, objstore.ErrExist) {
				if bad := p.w.model.acked(name); bad != "" {
					p.find("C1", "%s", bad)
				}
				return nil
			}
		}
	}
	return errors.New("gave up")
}

// variants is how many different raw objects there are of a day. They are made
// once for all worlds.
const variants = 150

type variant struct {
	day partition.Day
	n   uint64
}

type encoded struct {
	data []byte
	meta map[string]string
}

var made sync.Map // of variant to encoded

func (w *World) rowsOf(day partition.Day, n uint64) ([]byte, map[string]string) {
	key := variant{day, n}
	v, ok := made.Load(key)
	if !ok {
		data, meta := w.encodeRows(day, rand.New(rand.NewPCG(n, uint64(day))))
		v, _ = made.LoadOrStore(key, encoded{data, meta})
	}
	e := v.(encoded)
	return e.data, e.meta
}

func (w *World) encodeRows(day partition.Day, r *rand.Rand) ([]byte, map[string]string) {
	c, def := schema.NewColumns(w.def), w.def
	for range 1 + r.IntN(5) {
		n := r.IntN(identities)
		published := int64(7)
		id := fmt.Sprintf("m:%d", n)
		if n%3 == 0 {
			id, published = fmt.Sprintf("e:%d", n), 7+r.Int64N(2)
		}
		c.Begin()
		c.SetString(def.SymbolField, fmt.Appendf(nil, "S%d", n%3))
		c.SetTimestamp(def.TimeField, day.Start().UnixMicro()+int64(n)*1e6)
		c.SetDecimal(def.Field("price"), int64(1+r.IntN(2))*1e8)
		c.SetString(def.Field(schema.ColID), []byte(id))
		c.SetInt32(def.Field(schema.ColIndex), int32(n%2))
		c.SetTimestamp(def.Field(schema.ColPublishedAt), published)
		c.SetString(def.Field(schema.ColSchemaVersion), []byte(def.Version.String()))
		c.SetInt64(def.Field(schema.ColFlags), 0)
		c.Commit()
	}
	rec, err := columnar.Sort(c.Record(), def)
	if err != nil {
		panic(err)
	}
	data, sum, err := columnar.Encode(rec, def)
	if err != nil {
		panic(err)
	}
	return data, sum.Metadata()
}

func (s shop) compactOnce(ctx context.Context, p *process) error {
	c := &compaction.Compactor{Store: p.lake(), Registry: p.w.reg, Clock: p.clock, Options: s.compact}
	r, err := c.Run(ctx, []string{market})
	var broken *compaction.ConservationError
	if errors.As(err, &broken) {
		p.find("K2", "%v", broken)
	}
	if len(r.Tables) > 0 {
		p.moved = r.Tables[0].Rebases
		for _, part := range r.Tables[0].Partitions {
			p.note += fmt.Sprintf("%s %v ", part.Key.Day, part.Outcome)
			if part.Outcome == compaction.Abandoned {
				p.raced = true
			}
		}
	}
	return err
}

func (s shop) sweepOnce(ctx context.Context, p *process) error {
	sweeper := &sweep.Sweeper{Store: p.lake(), Options: s.sweep}
	if p.w.archive != nil {
		sweeper.Archive = p.archive()
	}
	r, err := sweeper.Run(ctx, []string{market})
	if len(r.Tables) > 0 {
		p.forgot = r.Tables[0].Forgotten
		if r.Tables[0].Fence > 0 {
			p.note = fmt.Sprintf("fence at %d", r.Tables[0].Fence)
		}
	}
	return err
}

// eraseDay takes all rows of a day away for good, as retention does.
func eraseDay(ctx context.Context, p *process) error {
	table := partition.OpenTable(p.lake(), market, p.clock)
	s, err := table.Load(ctx)
	if err != nil {
		return err
	}
	keys := s.Partitions()
	if len(keys) == 0 {
		return nil
	}
	key := keys[p.own().IntN(len(keys))]
	_, err = table.Commit(ctx, s, partition.Change{Operation: "ERASE", Remove: s.Partition(key), Marks: map[string]int64{partition.EraseMark: s.Version + 1}})
	if err == nil {
		p.note = "erased " + key.String()
	}
	return err
}

// read reads everything there is, and must find what was durable when it began,
// each row once.
func read(ctx context.Context, p *process) error {
	want, erased := p.w.model.all(), p.w.model.erased
	got, err := readAll(ctx, p.lake(), p.w.reg, p.w.def)
	if err != nil {
		return err
	}
	if p.w.model.erased > erased { // what it should have found, nobody knows
		want = nil
	}
	p.judge(want, got)
	return nil
}

func (p *process) judge(want map[string]bool, got []string) {
	seen := map[string]bool{}
	for _, id := range got {
		switch {
		case seen[id]:
			p.find("C2", "a reader finds row %s twice", id)
		case !p.w.model.ever[id]:
			p.find("C3", "a reader finds row %s, which was never ingested", id)
		}
		seen[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if !seen[id] {
			p.find("C1", "a reader does not find row %s", id)
			return
		}
	}
}

func readAll(ctx context.Context, store objstore.Reader, reg *schema.Registry, def *schema.Definition) ([]string, error) {
	plan, err := query.Prepare(ctx, store, reg, query.DataQuery{DataType: market}, query.Options{Parallel: 2})
	if err != nil {
		return nil, err
	}
	var got []string
	_, err = plan.Execute(ctx, func(rec arrow.RecordBatch) error {
		got = append(got, compaction.Identities(rec, def)...)
		return nil
	})
	return got, err
}

// A follower holds snapshots and refreshes them, as long-lived readers do.
type follower struct{ held []*partition.Snapshot }

func (f *follower) follow(ctx context.Context, p *process) error {
	least := int64(len(p.w.model.versions)) - 1
	table := partition.OpenTable(p.lake(), market, p.clock)
	var s *partition.Snapshot
	var err error
	r := p.own()
	if len(f.held) == 0 || r.IntN(4) == 0 {
		s, err = table.Load(ctx)
	} else {
		s, err = table.Refresh(ctx, f.choose(p, r))
	}
	if err != nil {
		return err
	}
	f.held = append(f.held, s)
	p.note = fmt.Sprintf("version %d", s.Version)
	if s.Version < least {
		p.find("P9", "a reader gets version %d, %d was there before it asked", s.Version, least)
	} else if s.Version >= int64(len(p.w.model.versions)) || fingerprint(s) != p.w.model.versions[s.Version] {
		p.find("P10", "a reader's version %d is not the table's", s.Version)
	}
	return nil
}

// choose is a snapshot to go on from: where an entry has come again, one that is
// followed by it.
func (f *follower) choose(p *process, r *rand.Rand) *partition.Snapshot {
	if ghosts := p.w.model.ghosts; len(ghosts) > 0 && r.IntN(2) == 0 {
		v := ghosts[r.IntN(len(ghosts))] - 1
		if at := slices.IndexFunc(f.held, func(s *partition.Snapshot) bool { return s.Version == v }); at >= 0 {
			return f.held[at]
		}
	}
	return f.held[r.IntN(len(f.held))]
}
