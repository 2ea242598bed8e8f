//go:build !unix

package quarantine

import (
	"errors"
	"os"
)

var errSystem = errors.New("this system has no memory that outlives a process")

func lockFile(*os.File, bool) error         { return errSystem }
func mapFile(*os.File, int) ([]byte, error) { return nil, errSystem }
func unmap([]byte) error                    { return nil }
