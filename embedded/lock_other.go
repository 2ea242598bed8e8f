//go:build !linux && !darwin

package embedded

import (
	"fmt"
	"os"
)

// A dirLock keeps a second process out of a directory. Here it is a file that
// exists, which a killed process leaves behind.
type dirLock struct{ file *os.File }

func lockDir(name string) (*dirLock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) {
		return nil, fmt.Errorf("lock %s: a process serves this directory: stop it; if none does, delete the file", name)
	}
	if err != nil {
		return nil, err
	}
	return &dirLock{f}, nil
}

func (l *dirLock) release() error {
	l.file.Close()
	return os.Remove(l.file.Name())
}

func freeBytes(string) (uint64, error) { return 1 << 62, nil }
