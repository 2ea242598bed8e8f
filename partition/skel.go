package partition

import "context"

type action struct {
	Protocol *protocolAction
	MetaData *metaDataAction
}
type protocolAction struct{ MinReaderVersion, MinWriterVersion int }
type formatAction struct {
	Provider string
	Options  map[string]string
}
type metaDataAction struct {
	ID, Name, Description string
	Format                formatAction
	SchemaString          string
	PartitionColumns      []string
	Configuration         map[string]string
	CreatedTime           *int64
}

const readerVersion, writerVersion = 1, 2

func (t *Table) extend(ctx context.Context, base *Snapshot, operation string, actions []action, metrics map[string]string) (*Snapshot, error) {
	panic("not yet")
}
func (t *Table) check(base *Snapshot, c Change) error      { panic("not yet") }
func (t *Table) actions(base *Snapshot, c Change) []action { panic("not yet") }

// Load is the table as it is now (P9).
func (t *Table) Load(ctx context.Context) (*Snapshot, error) { panic("not yet") }

// LoadVersion is the table as it was at a version the log still leads to.
func (t *Table) LoadVersion(ctx context.Context, v int64) (*Snapshot, error) { panic("not yet") }

// Refresh is the table as it is now, read from where s left off (P10).
func (t *Table) Refresh(ctx context.Context, s *Snapshot) (*Snapshot, error) { panic("not yet") }

// Checkpoint writes the state of a true snapshot as one object.
func (t *Table) Checkpoint(ctx context.Context, s *Snapshot) error { panic("not yet") }
