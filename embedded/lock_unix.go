//go:build linux || darwin

package embedded

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// A dirLock keeps a second process out of a directory. The kernel drops it when
// the process ends, however it ends.
type dirLock struct{ file *os.File }

func lockDir(name string) (*dirLock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		var b [32]byte
		n, _ := f.ReadAt(b[:], 0)
		return nil, fmt.Errorf("lock %s: process %s serves this directory: stop it, or use another directory", name, strings.TrimSpace(string(b[:n])))
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return &dirLock{f}, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

func (l *dirLock) release() error { return l.file.Close() }

func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
