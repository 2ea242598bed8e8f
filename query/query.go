// Package query plans, explains and runs reads over the lake.
//
// A read sees the processed table at one version together with the raw objects
// that this version has not consumed, each row once: rows that are in both, or
// twice in raw, are merged by identity exactly as compaction merges them, so
// that a read gives the same rows before, during and after a compaction.
//
// What always holds:
//
//   - raw objects are listed before the snapshot is taken (P14), so that a row
//     on its way from one to the other is seen in at least one of them;
//   - an object is left out only on proof: consumed by the snapshot, or by its
//     partition, name, metadata or statistics unable to hold a matching row.
//     A missing statistic proves nothing;
//   - nothing is skipped silently: when a raw object has gone, the read goes on
//     behind the rows it has given, from a new plan;
//   - numbers are compared exactly: a decimal or integer column is never
//     compared as a float.
//
// Rows come partition by partition, in the total order of rows inside one.
//
// Memory is bounded by the row groups that are merged at a time: one of each
// processed file and of each raw object whose symbols and event times overlap,
// only the columns read, and those being read ahead.
//
// Package query holds an objstore.Reader: it cannot change the lake. It keeps no
// state between queries, and the goroutines of an execution end before it does.
package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/schema"
)

// Sentinels for callers who branch.
var (
	// ErrSnapshotExpired: objects of the snapshot were deleted while they were
	// read, and the read could not go on from a new plan. Run it again.
	ErrSnapshotExpired = errors.New("the snapshot has expired")

	// ErrInvalid: the query itself is wrong; the error says how.
	ErrInvalid = errors.New("invalid query")
)

// A DataQuery says which rows and columns to read. Its conditions are joined by
// and. Only DataType is required.
type DataQuery struct {
	DataType string
	Symbols  []string  // any of these; none: all
	From     time.Time // event time at or after From; the zero time: no bound
	To       time.Time // event time before To; the zero time: no bound
	Columns  []string  // in this order; none: all of the definition's, system columns last
	Where    string    // a predicate: price > 150.25 and symbol in (AAPL, 'EURUSD=X'); where.go has the grammar
	Limit    int64     // at most so many rows; 0: all
	AsOf     AsOf      // a past version of the processed table

	// KnownAt asks for what had been published by then: rows published at or before
	// it and, of a data type with a natural key, not superseded by then. The zero
	// time: now. It goes by the rows' own times, reaches back as far as the rows do,
	// and includes raw rows; AsOf goes by the versions that the table keeps. With
	// both, it is what the rows of that version tell of that time.
	KnownAt time.Time

	// Superseded asks for superseded rows too; they have a _superseded_at. Without
	// it a data type with a natural key gives one row for each key, the current one.
	Superseded bool
}

// AsOf names a past version of the processed table, by number or by the instant
// at which it was current. The zero AsOf is now.
//
// A read as of a past version has no raw rows: which raw objects there were is
// not recorded, and those there are now may be newer than the version. A row is
// found as of the commit by which compaction took it in.
type AsOf struct {
	Version *int64
	Time    time.Time
}

// IsZero tells whether a is now.
func (a AsOf) IsZero() bool { return a.Version == nil && a.Time.IsZero() }

// ParseFrom reads the lower bound of a time range: a day is its first instant.
func ParseFrom(s string) (time.Time, error) {
	t, _, err := parseTime(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: from %q: %w", ErrInvalid, s, err)
	}
	return t, nil
}

// ParseTo reads the upper bound of a time range. A day is included, so that
// from 2024-01-15 to 2024-01-16 means both days; an instant is not, so that
// ranges of instants meet without a row in both.
func ParseTo(s string) (time.Time, error) {
	t, day, err := parseTime(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: to %q: %w", ErrInvalid, s, err)
	}
	if day {
		t = t.AddDate(0, 0, 1)
	}
	return t, nil
}

// ParseAsOf reads a version number, or an instant; a day stands for its end.
func ParseAsOf(s string) (AsOf, error) {
	var version int64
	if n, err := fmt.Sscanf(s, "%d", &version); n == 1 && err == nil && fmt.Sprint(version) == s {
		if version < 0 {
			return AsOf{}, fmt.Errorf("%w: as of %q: versions start at 0", ErrInvalid, s)
		}
		return AsOf{Version: &version}, nil
	}
	t, day, err := parseTime(s)
	if err != nil {
		return AsOf{}, fmt.Errorf("%w: as of %q: want a version number, %w", ErrInvalid, s, err)
	}
	if day {
		t = t.AddDate(0, 0, 1)
	}
	return AsOf{Time: t}, nil
}

// ParseKnownAt reads an instant; a day stands for its end, as it does for ParseAsOf.
func ParseKnownAt(s string) (time.Time, error) {
	t, day, err := parseTime(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: known at %q: %w", ErrInvalid, s, err)
	}
	if day {
		t = t.AddDate(0, 0, 1).Add(-time.Microsecond)
	}
	return t, nil
}

// Options are what a read may use. The zero Options are good.
type Options struct {
	Parallel int // objects read at once; 0: 8
	Restarts int // new plans after objects have gone; 0: 5
}

func (o Options) withDefaults() Options {
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	if o.Restarts <= 0 {
		o.Restarts = 5
	}
	return o
}

// A compiled query is a DataQuery checked against its definition.
type compiled struct {
	DataQuery
	def        *schema.Definition
	conditions []condition // symbols, from, to, then where's
	output     []int       // columns to give, in order
	schema     *arrow.Schema
	corrects   bool // rows correct each other: there is a natural key
}

func compile(reg *schema.Registry, q DataQuery) (*compiled, error) {
	def, ok := reg.Latest(q.DataType)
	if !ok {
		return nil, fmt.Errorf("%w: no data type %q; there are %s", ErrInvalid, q.DataType, strings.Join(reg.Types(), ", "))
	}
	if q.Limit < 0 {
		return nil, fmt.Errorf("%w: limit %d: want 0 (all rows) or more", ErrInvalid, q.Limit)
	}
	if q.AsOf.Version != nil && !q.AsOf.Time.IsZero() {
		return nil, fmt.Errorf("%w: as of a version or of an instant, not both", ErrInvalid)
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return nil, fmt.Errorf("%w: from %s is not before to %s", ErrInvalid, instant(q.From), instant(q.To))
	}
	c := &compiled{DataQuery: q, def: def, corrects: def.Superseded() >= 0}
	where, err := parseWhere(def, q.Where)
	if err != nil {
		return nil, err
	}
	c.conditions = append(rangeConditions(def, q), where...)
	c.conditions = append(c.conditions, correctionConditions(def, q)...)
	if c.output, err = outputColumns(def, q.Columns); err != nil {
		return nil, err
	}
	fields := make([]arrow.Field, len(c.output))
	for i, col := range c.output {
		fields[i] = def.Arrow().Field(col)
	}
	c.schema = arrow.NewSchema(fields, nil)
	return c, nil
}

// rangeConditions are the conditions that a query has outside its predicate.
func rangeConditions(def *schema.Definition, q DataQuery) []condition {
	var all []condition
	if len(q.Symbols) > 0 {
		c := newCondition(def, def.SymbolField, "symbol")
		c.texts = oneOf(slices.Clone(q.Symbols), false)
		c.text = "symbol in (" + strings.Join(q.Symbols, ", ") + ")"
		all = append(all, c)
	}
	bound := func(o op, t time.Time) {
		if t.IsZero() {
			return
		}
		c := newCondition(def, def.TimeField, "event time")
		c.ints = eventBound(def, t).comparing(o)
		c.text = fmt.Sprintf("%s %s %s", def.Fields[def.TimeField].Name, o, instant(t))
		all = append(all, c)
	}
	bound(opGe, q.From)
	bound(opLt, q.To)
	return all
}

// eventBound is an instant as a value of the event time, whose kind may be Date.
func eventBound(def *schema.Definition, t time.Time) bound {
	if def.Fields[def.TimeField].Kind == schema.Date {
		day := floorDiv(t.Unix(), 86400)
		return bound{floor: day, exact: day*86400 == t.Unix() && t.Nanosecond() == 0}
	}
	return bound{floor: t.UnixMicro(), exact: t.Nanosecond()%1000 == 0}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func outputColumns(def *schema.Definition, names []string) ([]int, error) {
	var cols []int
	for i := range def.Fields {
		cols = append(cols, i)
	}
	if len(names) == 0 {
		return cols, nil
	}
	cols = cols[:0]
	var unknown []string
	for _, name := range names {
		col := def.Field(name)
		switch {
		case col < 0:
			unknown = append(unknown, fmt.Sprintf("%q", name))
		case slices.Contains(cols, col):
			return nil, fmt.Errorf("%w: column %s is asked for twice", ErrInvalid, def.Fields[col].Name)
		default:
			cols = append(cols, col)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%w: no column %s; columns of %s: %s", ErrInvalid, strings.Join(unknown, ", "), def.Name, columnNames(def))
	}
	return cols, nil
}

// instant is a time for people: the day alone where it is midnight.
func instant(t time.Time) string {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339Nano)
}
