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

// outputs are what came of a merge, in local files.
type outputs struct {
	scratch *scratch
	files   []output
	total   // of the rows in them
	dropped columnar.Dropped
}

// An output is one file that is to be uploaded.
type output struct {
	columnar.Written
	copied
	sha []byte
}

// outputWriter is a writer of a file that is to be uploaded.
func (s *scratch) outputWriter() *scratchWriter {
	w := s.writer()
	w.sha = sha256.New()
	return w
}

func (o *outputs) add(written columnar.Written, w *scratchWriter) {
	o.files = append(o.files, output{written, w.done("output"), w.sha.Sum(nil)})
	o.total.add(total{written.Rows, written.Hash})
}

// upload makes an output durable. That the object exists is success if it has
// our size and checksum: its name is made of its bytes (P1), so that another
// compactor made it, or we did and the answer was lost.
func (m *merge) upload(ctx context.Context, merged *outputs, o output) (partition.File, error) {
	file := partition.DescribeWritten(partition.ProcessedName{
		Key: m.group.Key, Category: m.def.Category, Major: m.def.Version.Major, First: o.First, Last: o.Last,
		Hash: hex.EncodeToString(o.sha[:hashBytes]), Planned: m.snapshot.Version,
	}, o.Written, o.crc, m.def)
	name := file.ObjectName()
	data, unmap, err := merged.scratch.bytes(o.copied)
	if err != nil {
		return file, err
	}
	defer unmap()
	if crc := objstore.Checksum(data); crc != o.crc {
		return file, fmt.Errorf("upload %s: the local copy has checksum %08x, written was %08x", name, crc, o.crc)
	}
	made, err := m.store.Create(ctx, name, data, o.Summary.Metadata())
	failpoint.Hit(failpoint.AfterOutput)
	if errors.Is(err, objstore.ErrExist) {
		made, err = m.sameObject(ctx, file)
	}
	if err != nil {
		return file, fmt.Errorf("upload %s: %w", name, err)
	}
	file.Modified = made.Created
	m.result.report.BytesOut += file.Size
	return file, nil
}

func (m *merge) sameObject(ctx context.Context, file partition.File) (objstore.Object, error) {
	there, err := m.store.Stat(ctx, file.ObjectName())
	if err == nil && (there.Size != file.Size || there.CRC32C != file.CRC32C) {
		err = fmt.Errorf("%w with other bytes: %d with checksum %08x, not %d with %08x",
			objstore.ErrExist, there.Size, there.CRC32C, file.Size, file.CRC32C)
	}
	return there, err
}

// alreadyLive finds the live file that has the output's bytes. It stays what it
// is, whatever version its name was planned on.
func (m *merge) alreadyLive(o output) (path string, ok bool) {
	for _, f := range m.group.Merge {
		if f.Size == o.size && f.CRC32C == o.crc && f.Rows == o.Rows && f.Hash == o.Hash {
			return f.Path, true
		}
	}
	return "", false
}
