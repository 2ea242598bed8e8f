package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A Plan is what will be read, and why the rest will not. It is for one
// goroutine.
type Plan struct {
	q        *compiled
	store    objstore.Reader
	opts     Options
	snapshot *partition.Snapshot // nil: there is no table yet
	inputs   []*input            // to be read, in the order of their first rows
	skipped  []skipped
	result   *Result // of the last execution
}

// An input is an object that is to be read.
type input struct {
	def    *schema.Definition
	name   string // of the object
	raw    bool
	day    partition.Day
	size   int64
	rows   int64      // -1: not known
	stats  deltaStats // processed
	symbol string     // raw: all rows have it, if named
	named  bool
	first  int64 // event times in µs, if timed
	last   int64
	timed  bool

	lo, hi place

	// keyed: the identity columns are read and the rows merged with those of
	// other inputs. Where one input alone has a range of places, and holds each
	// identity once as processed files do, its rows need no comparison.
	keyed bool

	// marked: its rows say themselves whether they are superseded, which they do
	// truly where no raw object is of their day. Without a natural key all do.
	marked bool

	// settled: no other input holds an identity of this one, so that whether a
	// row is in the result is decided by its own values alone.
	settled bool
}

// skipped is an object that will not be read.
type skipped struct {
	raw  bool
	size int64
	rows int64
	why  string
}

// A place is where rows are in the order inside a partition, as far as it can be
// told from bounds: by symbol, then by event time in the column's own unit.
type place struct {
	open   bool // before (as lo) or after (as hi) every row
	symbol string
	time   int64
}

// Schema is that of the records Execute yields.
func (p *Plan) Schema() *arrow.Schema { return p.q.schema }

// Definition is the data type's, as the rows are read.
func (p *Plan) Definition() *schema.Definition { return p.q.def }

// Version is the table's version that is read, -1 where there is no table yet.
func (p *Plan) Version() int64 {
	if p.snapshot == nil {
		return -1
	}
	return p.snapshot.Version
}

// Prepare finds out what has to be read for q: from the listing of raw objects,
// the log, and no data object. A data type without objects gives a plan without
// rows.
func Prepare(ctx context.Context, store objstore.Reader, reg *schema.Registry, q DataQuery, opts Options) (*Plan, error) {
	c, err := compile(reg, q)
	if err != nil {
		return nil, err
	}
	p := &Plan{q: c, store: store, opts: opts.withDefaults()}
	if err := p.load(ctx, math.MinInt32); err != nil {
		return nil, fmt.Errorf("plan query of %s: %w", q.DataType, err)
	}
	return p, nil
}

// load fills the plan from the store's present state. Days before from are done
// with.
func (p *Plan) load(ctx context.Context, from partition.Day) error {
	var raw []partition.RawFile
	var err error
	if p.q.AsOf.IsZero() { // raw first, then the snapshot (P14)
		if raw, err = partition.ListRaw(ctx, p.store, p.q.DataType); err != nil {
			return fmt.Errorf("list raw objects: %w", err)
		}
	}
	if p.snapshot, err = loadSnapshot(ctx, p.store, p.q); err != nil {
		return err
	}
	p.inputs, p.skipped = nil, nil
	for _, r := range raw {
		if p.snapshot != nil && p.snapshot.Consumed(r.Name) {
			p.skipped = append(p.skipped, skipped{raw: true, size: r.Object.Size, rows: rawRows(r), why: fmt.Sprintf("consumed by version %d or before", p.snapshot.Version)})
			continue
		}
		p.consider(rawInput(p.q.def, r), from)
	}
	if p.snapshot != nil {
		for _, f := range p.snapshot.Files(nil) {
			p.consider(processedInput(p.q.def, f), from)
		}
	}
	p.arrange()
	return nil
}

func loadSnapshot(ctx context.Context, store objstore.Reader, q *compiled) (*partition.Snapshot, error) {
	table := partition.OpenTable(readOnly{store}, q.DataType, time.Now)
	version := q.AsOf.Version
	if !q.AsOf.Time.IsZero() {
		v, err := versionAt(ctx, store, q.DataType, q.AsOf.Time)
		if err != nil {
			return nil, err
		}
		version = &v
	}
	var s *partition.Snapshot
	var err error
	if version != nil {
		s, err = table.LoadVersion(ctx, *version)
	} else if s, err = table.Load(ctx); errors.Is(err, partition.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load table %s: %w", q.DataType, err)
	}
	return s, nil
}

// consider takes an input into the plan, or says why not.
func (p *Plan) consider(in *input, from partition.Day) {
	if in.day < from {
		return
	}
	if why := in.excluded(p.q.conditions); why != "" {
		p.skip(in, why)
		return
	}
	p.inputs = append(p.inputs, in)
}

func (p *Plan) skip(in *input, why string) {
	p.skipped = append(p.skipped, skipped{raw: in.raw, size: in.size, rows: in.rows, why: why})
}

// excluded says why no identity of the input can be in the result; "" if one
// may be. Conditions on values that rows of one identity may differ in wait
// until it is known whether there are such rows.
func (in *input) excluded(conditions []condition) string {
	for i := range conditions {
		c := &conditions[i]
		switch {
		case !c.identical:
		case !c.mayHold(onDay{in}):
			return "another day"
		case !c.mayHold(in):
			return in.evidence(c)
		}
	}
	return ""
}

// evidence says by what the condition was found not to hold.
func (in *input) evidence(c *condition) string {
	by := "statistics"
	if in.raw && c.col == in.def.SymbolField {
		by = "name"
	} else if in.raw {
		by = "metadata"
	}
	if c.why == "where" {
		return fmt.Sprintf("%s, by %s", c.text, by)
	}
	return fmt.Sprintf("%s, by %s", c.why, by)
}

// arrange finds out which inputs may share identities, drops those that can now
// be seen to have no row of the result, and puts the rest in order.
func (p *Plan) arrange() {
	slices.SortFunc(p.inputs, func(a, b *input) int {
		return cmp.Or(cmp.Compare(a.day, b.day), comparePlaces(a.lo, b.lo), cmp.Compare(a.name, b.name))
	})
	relate(p.inputs, p.q.corrects)
	p.inputs = slices.DeleteFunc(p.inputs, func(in *input) bool {
		for i := range p.q.conditions {
			if c := &p.q.conditions[i]; in.settled && !c.mayHold(in) {
				p.skip(in, in.evidence(c))
				return true
			}
		}
		return false
	})
	relate(p.inputs, p.q.corrects)
}

// relate sets keyed and settled of inputs that are in order. Processed files
// share no identity with each other, so only raw objects unsettle; but rows of
// overlapping files have to be put in order. Where rows correct each other a day is
// settled as a whole or not at all.
func relate(inputs []*input, corrects bool) {
	for len(inputs) > 0 {
		n := 1
		for n < len(inputs) && inputs[n].day == inputs[0].day {
			n++
		}
		day := inputs[:n]
		inputs = inputs[n:]
		anyRaw := slices.ContainsFunc(day, func(in *input) bool { return in.raw })
		settled := !corrects || !anyRaw && !slices.ContainsFunc(day, func(in *input) bool { return !in.marked })
		for _, in := range day {
			in.keyed, in.settled = anyRaw, !in.raw && settled
		}
		for i, a := range day {
			for _, b := range day[i+1:] {
				if b.lo.after(a.hi) { // and so are all behind it
					break
				}
				a.keyed, b.keyed = true, true
				a.settled = a.settled && !b.raw
				b.settled = b.settled && !a.raw
			}
		}
	}
}

// after tells whether rows from lo on are all behind rows up to hi.
func (lo place) after(hi place) bool {
	if lo.open || hi.open {
		return false
	}
	return cmp.Or(cmp.Compare(lo.symbol, hi.symbol), cmp.Compare(lo.time, hi.time)) > 0
}

// comparePlaces orders first places.
func comparePlaces(a, b place) int {
	if a.open != b.open {
		return cmp.Compare(bit(b.open), bit(a.open))
	}
	return cmp.Or(cmp.Compare(a.symbol, b.symbol), cmp.Compare(a.time, b.time))
}

func processedInput(def *schema.Definition, f partition.File) *input {
	in := &input{def: def, name: f.ObjectName(), day: f.Key.Day, size: f.Size, rows: f.Rows, stats: parseStats(f.Stats),
		first: f.FirstEvent, last: f.LastEvent, timed: true, marked: f.TellsSuperseded()}
	in.setPlaces()
	return in
}

func rawInput(def *schema.Definition, r partition.RawFile) *input {
	in := &input{def: def, name: r.Name, raw: true, day: r.Key.Day, size: r.Object.Size, rows: rawRows(r)}
	if r.Summary != nil {
		in.first, in.last, in.timed = r.Summary.First, r.Summary.Last, true
	}
	if n, err := partition.ParseName(r.Name); err == nil && !n.Multi && n.First != "" {
		in.symbol, in.named = n.First, true
	}
	in.setPlaces()
	return in
}

func rawRows(r partition.RawFile) int64 {
	if r.Summary == nil {
		return -1
	}
	return r.Summary.Rows
}

// setPlaces derives the first and last place a row may have. Rows without a
// symbol come first, so that a first place needs proof that there are none.
func (in *input) setPlaces() {
	in.lo, in.hi = place{open: true}, place{open: true}
	symbol, when := in.bounds(in.def.SymbolField), in.bounds(in.def.TimeField)
	if !symbol.known {
		return
	}
	in.hi = place{symbol: symbol.max.text, time: math.MaxInt64}
	if symbol.nulls == 0 {
		in.lo = place{symbol: symbol.min.text, time: math.MinInt64}
	}
	if when.known {
		in.lo.time, in.hi.time = when.min.int, when.max.int
	}
}

func (in *input) rowCount() int64 { return in.rows }

// bounds gives what the input says of a column, within its partition's day.
func (in *input) bounds(col int) bounds {
	b := unknown
	switch {
	case col == in.def.TimeField:
		b = onDay{in}.bounds(col)
		if own := in.eventTimes(); own.known && own.min.int <= b.max.int && own.max.int >= b.min.int {
			b.min.int, b.max.int = max(b.min.int, own.min.int), min(b.max.int, own.max.int)
		}
	case !in.raw:
		b = in.stats.bounds(in.def.Fields[col])
	case col == in.def.SymbolField && in.named:
		b = bounds{known: true, min: value{text: in.symbol}, max: value{text: in.symbol}}
	}
	return b
}

// eventTimes are the bounds that the log or metadata gives, in the unit of the
// column.
func (in *input) eventTimes() bounds {
	f := in.def.Fields[in.def.TimeField]
	b := bounds{known: in.timed, min: value{int: in.first}, max: value{int: in.last}}
	if f.Kind == schema.Date {
		b.min.int, b.max.int = floorDiv(in.first, microsPerDay), floorDiv(in.last, microsPerDay)
	}
	return b
}

const microsPerDay = 24 * 60 * 60 * 1_000_000

// onDay is an input of which only its partition is known. A row without an event
// time has no partition, so there is none.
type onDay struct{ *input }

func (d onDay) bounds(col int) bounds {
	if col != d.def.TimeField {
		return unknown
	}
	day := int64(d.day)
	b := bounds{known: true, min: value{int: day}, max: value{int: day}}
	if d.def.Fields[col].Kind == schema.Timestamp {
		b.min.int, b.max.int = day*microsPerDay, (day+1)*microsPerDay-1
	}
	return b
}

// readOnly is a store for code that asks for a writer and does not write.
type readOnly struct{ objstore.Reader }

var errReadOnly = errors.New("a query writes nothing")

func (readOnly) Create(context.Context, string, []byte, map[string]string) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}

func (readOnly) Replace(context.Context, string, []byte, map[string]string, objstore.Generation) (objstore.Object, error) {
	return objstore.Object{}, errReadOnly
}

// versionAt is the last version of the table whose log object had been created
// at the instant: the store's clock counts, not the writer's (P8).
func versionAt(ctx context.Context, store objstore.Reader, dataType string, t time.Time) (int64, error) {
	found, oldest := int64(-1), time.Time{}
	prefix := "processed/" + dataType + "/_delta_log/"
	for obj, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return 0, fmt.Errorf("list log of %s: %w", dataType, err)
		}
		var version int64
		name := strings.TrimPrefix(obj.Name, prefix)
		if n, err := fmt.Sscanf(name, "%d.json", &version); n != 1 || err != nil || name != fmt.Sprintf("%020d.json", version) {
			continue
		}
		if oldest.IsZero() || obj.Created.Before(oldest) {
			oldest = obj.Created
		}
		if !obj.Created.After(t) {
			found = max(found, version)
		}
	}
	switch {
	case oldest.IsZero():
		return 0, fmt.Errorf("%w: there is no table of %s to read as of %s", ErrInvalid, dataType, instant(t))
	case found < 0:
		return 0, fmt.Errorf("%w: the log of %s reaches back to %s, not to %s", ErrInvalid, dataType, instant(oldest), instant(t))
	}
	return found, nil
}
