package compaction

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// hashBytes of an object's SHA-256 are in its name.
const hashBytes = 16

// An output is an encoded file.
type output struct {
	file     partition.File
	data     []byte
	metadata map[string]string
}

// encode makes the bytes of one file, and reads them back: once the inputs are
// deleted they are all that is left of the rows.
func (m *merge) encode(ctx context.Context, part rows) (output, error) {
	data, says, err := columnar.Encode(part.rec, m.def)
	if err != nil {
		return output{}, fmt.Errorf("encode %s: %w", m.group.Key, err)
	}
	symbols := symbolsOf(part.rec, m.def)
	sha := sha256.Sum256(data)
	name := partition.ProcessedName{
		Key: m.group.Key, Category: m.def.Category, Major: m.def.Version.Major,
		First: symbols.at(0), Last: symbols.at(int(part.rec.NumRows()) - 1),
		Hash: hex.EncodeToString(sha[:hashBytes]), Planned: m.snapshot.Version,
	}
	_, holds, err := decode(ctx, name.String(), data, m.def, m.group.Key.Day)
	if err != nil {
		return output{}, fmt.Errorf("read back what was encoded: %w", err)
	}
	if want := part.total(); holds != want {
		return output{}, &ConservationError{Key: m.group.Key, In: want, Out: holds, Inputs: m.names()}
	}
	return output{partition.Describe(name, data, says, part.rec, m.def), data, says.Metadata()}, nil
}

// upload makes the output durable. That the object exists is success if it has
// our size and checksum: its name is made of its bytes (P1), so that another
// compactor made it, or we did and the answer was lost.
func (m *merge) upload(ctx context.Context, o *output) error {
	name := o.file.ObjectName()
	made, err := m.store.Create(ctx, name, o.data, o.metadata)
	failpoint.Hit(failpoint.AfterOutput)
	if errors.Is(err, objstore.ErrExist) {
		made, err = m.sameObject(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	o.file.Modified = made.Created
	m.result.report.BytesOut += o.file.Size
	return nil
}

func (m *merge) sameObject(ctx context.Context, o *output) (objstore.Object, error) {
	there, err := m.store.Stat(ctx, o.file.ObjectName())
	if err == nil && (there.Size != o.file.Size || there.CRC32C != o.file.CRC32C) {
		err = fmt.Errorf("%w with other bytes: %d with checksum %08x, not %d with %08x",
			objstore.ErrExist, there.Size, there.CRC32C, o.file.Size, o.file.CRC32C)
	}
	return there, err
}

// alreadyLive finds the live file that has the output's bytes. It stays what it
// is, whatever version its name was planned on.
func (m *merge) alreadyLive(o output) (path string, ok bool) {
	for _, f := range m.group.Merge {
		if f.Size == o.file.Size && f.CRC32C == o.file.CRC32C && f.Rows == o.file.Rows && f.Hash == o.file.Hash {
			return f.Path, true
		}
	}
	return "", false
}
