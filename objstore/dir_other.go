//go:build !unix

package objstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// tryLock has nothing to lock with here, so this system can read a local
// directory but not write to one.
func tryLock(*os.File) (bool, error) {
	return false, fmt.Errorf("%w: writing to a local directory needs flock(2): %w", ErrRefused, errors.ErrUnsupported)
}

func identity(info fs.FileInfo) Generation { return max(Generation(info.ModTime().UnixNano()), 1) }
