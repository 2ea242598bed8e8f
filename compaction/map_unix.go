//go:build unix

package compaction

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/buffetbot/ingest/columnar"
)

// forgetEvery is how often the system is told to forget the pages that were read:
// about what is read in that time is resident, however long the file is.
const forgetEvery = time.Millisecond

// mapped gives n bytes of a file from off on, which lies on a page's border. They
// are read again from the file as often as they are wanted.
func mapped(f *os.File, off, n int64) (data []byte, unmap func(), err error) {
	data, err = syscall.Mmap(int(f.Fd()), off, int(n), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map a %w: %w", columnar.ErrTemporary, err)
	}
	done := make(chan struct{})
	var forgetting conc.WaitGroup
	forgetting.Go(func() {
		tick := time.NewTicker(forgetEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = syscall.Madvise(data, syscall.MADV_DONTNEED) // it costs memory only
			case <-done:
				return
			}
		}
	})
	return data, func() {
		close(done)
		forgetting.Wait()
		_ = syscall.Munmap(data) // a mapping that stays harms nobody
	}, nil
}
