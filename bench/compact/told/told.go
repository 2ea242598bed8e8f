// Package told is what the programs that are compared tell about their work.
package told

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// An Outcome is what came of the work, and the most memory that it took.
type Outcome struct {
	Rows, Bytes int64
	Peak        int64 // bytes resident at most, mapped files included
}

// Tell prints an outcome, with the process's peak of memory so far.
func Tell(o Outcome) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("peak memory is known on Linux only: %w", err)
	}
	// The kernel's figure for a child that ended would count its parent's memory in.
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(peak, &o.Peak); err != nil {
		return fmt.Errorf("read peak memory: %w", err)
	}
	o.Peak <<= 10
	return json.NewEncoder(os.Stdout).Encode(o)
}

// Size adds up the Parquet files below a folder.
func Size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".parquet") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}
