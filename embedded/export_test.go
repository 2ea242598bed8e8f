package embedded

import (
	"os"

	"github.com/buffetbot/ingest/embedded/journal"
)

// WithDisk makes the journal's files go through open, and the disk have as much
// room as free says.
func (c Config) WithDisk(open func(name string, flag int, perm os.FileMode) (journal.File, error), free func() uint64) Config {
	c.disk = &testDisk{open: open, free: func(string) (uint64, error) { return free(), nil }}
	return c
}

// TrimNow does what is otherwise done every second.
func (s *Server) TrimNow() { s.trim() }
