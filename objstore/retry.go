package objstore

import "time"

// A RetryPolicy says how often and how long to try. The zero value of each
// field means the default beside it.
type RetryPolicy struct {
	Attempts int           // 4: tries in all
	Base     time.Duration // 100ms: the wait before the second try is a random part of this; it doubles from try to try
	Max      time.Duration // 10s: no wait is longer
	Timeout  time.Duration // 60s: for one try
	Deadline time.Duration // 5m: for all tries together
}

// Retry wraps s.
func Retry(s Store, p RetryPolicy) Store { panic("not yet") }
