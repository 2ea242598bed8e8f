//go:build !unix

package schema

import "time"

var begun = time.Now()

// cpuTime falls back on the clock.
func cpuTime() time.Duration { return time.Since(begun) }
