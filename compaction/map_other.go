//go:build !unix

package compaction

import (
	"fmt"
	"os"

	"github.com/buffetbot/ingest/columnar"
)

// mapped gives n bytes of a file from off on; here they are read.
func mapped(f *os.File, off, n int64) (data []byte, unmap func(), err error) {
	data = make([]byte, n)
	if got, err := f.ReadAt(data, off); int64(got) < n {
		return nil, nil, fmt.Errorf("read a %w: %w", columnar.ErrTemporary, err)
	}
	return data, func() {}, nil
}
