package gcp

import "time"

// Renew makes leases be extended as often as a test can wait for.
func (s *Stream) Renew(every time.Duration) { s.renewal = every }

// Deadline sets how long a message stays leased without another word, in seconds the
// service understands.
func (s *Stream) Deadline(d time.Duration) { s.deadline = d }
