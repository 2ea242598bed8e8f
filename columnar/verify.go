package columnar

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/buffetbot/ingest/schema"
)

// verifyRead is how much is read at once to be checked.
const verifyRead = 1 << 20

// Verify reads the column chunks once and holds them against the checksums in the
// footer. A file without any is taken as it is.
func (f *File) Verify(ctx context.Context) error {
	if f.meta.sums == nil {
		return nil
	}
	var buf []byte
	for g := range f.meta.groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		for c := range f.meta.groups[g].chunks {
			chunk := &f.meta.groups[g].chunks[c]
			sum := uint32(0)
			for off := chunk.start; off < chunk.end; off += verifyRead {
				data, err := f.bytes(ctx, off, min(chunk.end, off+verifyRead), &buf)
				if err != nil {
					return fmt.Errorf("read %s: %w", f.name, err)
				}
				sum = crc32.Update(sum, castagnoli, data)
			}
			if err := f.meta.verifySum(g, c, sum); err != nil {
				return fmt.Errorf("read %s: column %s: row group %d: %w", f.name, chunk.column, g, err)
			}
		}
	}
	return nil
}

// bytes are those from off to end, in buf where they have to be copied.
func (f *File) bytes(ctx context.Context, off, end int64, buf *[]byte) ([]byte, error) {
	if f.data != nil {
		return f.data[off:end], nil
	}
	if f.at == nil {
		return f.read(ctx, off, end-off)
	}
	*buf = growTo(*buf, int(end-off))[:end-off]
	if n, err := f.at.ReadAt(*buf, off); int64(n) < end-off {
		return nil, unexpected(err)
	}
	return *buf, nil
}

// Rows counts the file's rows and adds up their hashes, a row group at a time. It
// decodes everything, which Open and Verify do not.
func (f *File) Rows(ctx context.Context, def *schema.Definition) (rows int64, hash SetHash, err error) {
	for g := range f.meta.groups {
		rec, err := f.Read(ctx, def, nil, []int{g})
		if err != nil {
			return 0, SetHash{}, err
		}
		rows, hash = rows+rec.NumRows(), hash.Add(hashSum(rec))
	}
	return rows, hash, nil
}

// Weight is about what a Union holds of the file, in bytes: a page of the key
// columns, a page of one or two others, and what is known of its column chunks.
func (f *File) Weight() int64 {
	rows := int64(0)
	for i := range f.meta.groups {
		rows = max(rows, f.meta.groups[i].rows)
	}
	if f.meta.createdBy == createdBy {
		rows = min(rows, int64(standardSizes.pageRows)) // older ones have pages of any size
	}
	const keys, page, chunk = 44, 40, 800
	return rows*(keys+page) + int64(f.meta.chunks())*chunk
}

// SortRowGroups gives the file's rows as sorted files of a row group each, for a
// Union that will not have it as it is.
func (f *File) SortRowGroups(ctx context.Context, def *schema.Definition, each func(data []byte) error) error {
	for g := range f.meta.groups {
		rec, err := f.Read(ctx, def, nil, []int{g})
		if err != nil {
			return err
		}
		if rec, err = Sort(rec, def); err != nil {
			return fmt.Errorf("sort %s: %w", f.name, err)
		}
		data, _, err := Encode(rec, def)
		if err != nil {
			return fmt.Errorf("sort %s: %w", f.name, err)
		}
		if err := each(data); err != nil {
			return err
		}
	}
	return nil
}

// Damaged tells whether an error says that a file cannot be read, however often:
// its bytes are damaged, or not what this package reads.
func Damaged(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) }
