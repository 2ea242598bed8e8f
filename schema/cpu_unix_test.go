//go:build unix

package schema

import (
	"syscall"
	"time"
)

// cpuTime is the processor time this process has used, all threads together:
// what the garbage of a decoder costs is part of its price, what other processes
// do meanwhile is not.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
