//go:build unix

package objstore

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"math"
	"os"
	"syscall"
)

// tryLock takes an exclusive lock on f, held until f is closed, if it is free.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}

// identity is the generation of a file: made from its inode and the time it
// was written, never 0.
func identity(info fs.FileInfo) Generation {
	var inode uint64
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = uint64(st.Ino)
	}
	key := binary.LittleEndian.AppendUint64(nil, inode)
	key = binary.LittleEndian.AppendUint64(key, uint64(info.ModTime().UnixNano()))
	h := fnv.New64a()
	h.Write(key)
	return max(Generation(h.Sum64()&math.MaxInt64), 1)
}
