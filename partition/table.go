package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// Sentinels for callers who branch.
var (
	// ErrNoTable: the log is empty. Create makes the table.
	ErrNoTable = errors.New("there is no table yet")

	// ErrNoVersion: the log does not lead to that version: not yet, or no longer.
	ErrNoVersion = errors.New("the log does not hold this version")

	// ErrConflict: another writer made this version first. The plan is dropped;
	// plan again on what is there now.
	ErrConflict = errors.New("another writer made this version first")

	// ErrGhost: the log had moved on, and cleaned up, past the version when it
	// was created. The commit counts as lost and the snapshot it was made on must
	// not be used again (P11).
	ErrGhost = errors.New("the log has moved on past this version")

	// ErrUnknown: whether the commit took place could not be found out. It may
	// yet. Nothing it names may be deleted; load the table to see.
	ErrUnknown = errors.New("the outcome is unknown")

	// ErrDamaged: an object of the log is not what it should be, or missing.
	ErrDamaged = errors.New("damaged log")
)

// An ErrUnsupported refuses a log that needs more than this package knows.
type ErrUnsupported struct {
	Table   string // the data type
	Object  string // of the log
	Line    int    // of the object, from 1; 0 where it has none
	Feature string // what is not known
}

func (e *ErrUnsupported) Error() string {
	at := e.Object
	if e.Line > 0 {
		at = fmt.Sprintf("%s line %d", at, e.Line)
	}
	return fmt.Sprintf("table %s: %s: %s is not supported", e.Table, at, e.Feature)
}

// An ErrForeign refuses a log that another engine has written to: its rows have
// no identity, its files no checksum, and what it removed would be lost without a
// word. Reading by other engines is what the table is for; writing is not.
type ErrForeign struct {
	Table     string // the data type
	Object    string // of the log
	Engine    string // as it calls itself, "" if it does not
	Operation string // as it calls it
}

func (e *ErrForeign) Error() string {
	engine := e.Engine
	if engine == "" {
		engine = "an engine that does not name itself"
	}
	if e.Operation != "" {
		engine += " (" + e.Operation + ")"
	}
	return fmt.Sprintf("table %s: %s: written by %s: only the compactor may write to this table; see docs/runbooks/foreign-writer.md for the way back",
		e.Table, e.Object, engine)
}

// Engine is what commits say they were made by.
const Engine = "buffetbot-ingest"

// Properties of a table, written when it is created.
type Properties struct {
	Retain          time.Duration // how long removed files stay: delta.deletedFileRetentionDuration
	LogRetain       time.Duration // how long the log's past stays: delta.logRetentionDuration
	CheckpointEvery int64         // versions between checkpoints: delta.checkpointInterval
}

// Or is p with what it leaves at zero taken from d.
func (p Properties) Or(d Properties) Properties {
	return Properties{
		Retain:          cmp.Or(p.Retain, d.Retain),
		LogRetain:       cmp.Or(p.LogRetain, d.LogRetain),
		CheckpointEvery: cmp.Or(p.CheckpointEvery, d.CheckpointEvery),
	}
}

// The properties of a table that does not say.
var defaultProperties = Properties{Retain: 168 * time.Hour, LogRetain: 720 * time.Hour, CheckpointEvery: 10}

// A Table reads and extends the log of one data type. It holds no state between
// calls and may be used by several goroutines.
type Table struct {
	Properties Properties  // of the table, should Create make it; set before use
	Warn       func(error) // told of what does no harm but should be seen; nil: nobody

	store    objstore.ReadWriter
	dataType string
	root     string
	clock    func() time.Time
	newID    func() string
}

// OpenTable is the table of a data type, whether or not there is one yet. The
// clock dates what foreign readers see and times out loads; ages come from the
// store. nil is time.Now.
func OpenTable(store objstore.ReadWriter, dataType string, clock func() time.Time) *Table {
	if clock == nil {
		clock = time.Now
	}
	return &Table{
		Properties: defaultProperties,
		store:      store,
		dataType:   dataType,
		root:       TableRoot(dataType),
		clock:      clock,
		newID:      uuid.NewString,
	}
}

// Type is the table's data type.
func (t *Table) Type() string { return t.dataType }

// Create makes the table for a definition, or loads the one that is there. A
// table is only ever made under an empty prefix: versions are never counted
// twice (P1).
func (t *Table) Create(ctx context.Context, def *schema.Definition) (*Snapshot, error) {
	if def.Name != t.dataType {
		return nil, fmt.Errorf("create table %s: the definition is of %s", t.dataType, def.Name)
	}
	s, err := t.Load(ctx)
	if !errors.Is(err, ErrNoTable) {
		return s, err
	}
	now := t.clock().UnixMilli()
	actions := []action{
		{Protocol: &protocolAction{MinReaderVersion: readerVersion, MinWriterVersion: writerVersion}},
		{MetaData: &metaDataAction{
			ID:               t.newID(),
			Name:             t.dataType,
			Description:      def.Doc,
			Format:           formatAction{Provider: "parquet", Options: map[string]string{}},
			SchemaString:     def.DeltaSchemaString(),
			PartitionColumns: schema.PartitionColumns,
			Configuration:    t.Properties.configuration(),
			CreatedTime:      &now,
		}},
	}
	s, err = t.extend(ctx, emptySnapshot(t.dataType), "CREATE TABLE", actions, nil)
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrGhost) {
		return t.Load(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("create table %s: %w", t.dataType, err)
	}
	return s, nil
}

// A Change is what a commit does to a table.
type Change struct {
	Operation string             // for people: "COMPACT"
	Add       []File             // durable already; adding a live file again replaces what the log says of it
	Remove    []File             // live in the base
	Consumed  []string           // full names of raw objects whose rows are live in the result
	TakenBack []string           // full names of raw objects that are consumed no longer: a restore's
	Marks     map[string]int64   // other txn actions: "fence" (P2), "erase" (P7)
	Metrics   map[string]string  // for people
	Schema    *schema.Definition // the table's definition from now on; nil: as it was

	Properties Properties // of the table from now on; what is zero stays as it was
}

// Commit makes version base.Version+1. It returns nil only if that version is
// durable and ours. ErrConflict, ErrGhost: it is not ours, plan again.
// ErrUnknown: it may be ours.
func (t *Table) Commit(ctx context.Context, base *Snapshot, c Change) (*Snapshot, error) {
	if err := t.check(base, c); err != nil {
		return nil, fmt.Errorf("commit %s version %d: %w", t.dataType, base.Version+1, err)
	}
	s, err := t.extend(ctx, base, c.Operation, t.actions(base, c), c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("commit %s version %d: %w", t.dataType, base.Version+1, err)
	}
	if s.Version-max(s.checkpoint, 0) >= s.Properties().CheckpointEvery {
		if err := t.Checkpoint(ctx, s); err != nil {
			t.warn(err) // the version is made; the next commit tries again
			return s, nil
		}
		s.checkpoint = s.Version
	}
	return s, nil
}

func (t *Table) warn(err error) {
	if t.Warn != nil {
		t.Warn(err)
	}
}

func (t *Table) unsupported(object string, line int, feature string) error {
	return &ErrUnsupported{Table: t.dataType, Object: object, Line: line, Feature: feature}
}

func (t *Table) damaged(object string, line int, cause any) error {
	at := object
	if line > 0 {
		at = fmt.Sprintf("%s line %d", object, line)
	}
	return fmt.Errorf("table %s: %s: %v: %w", t.dataType, at, cause, ErrDamaged)
}
