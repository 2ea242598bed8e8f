package objstore

import (
	"io/fs"
	"syscall"
	"time"
)

// changed is when the file's state last changed, by the file system's clock.
func changed(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctimespec.Unix())
	}
	return info.ModTime()
}
