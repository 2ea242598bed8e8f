// Package gcp adapts Google Cloud to the seams of this project: a Cloud Storage
// bucket as an objstore.Store, a Pub/Sub subscription as a source of
// deliveries, a Pub/Sub topic as a publisher, and what has to exist before they
// work.
//
// What always holds:
//
//   - a write to a bucket is one request, sent once, with a condition and the
//     checksum of its bytes: trying again is the business of objstore.Retry, which
//     can tell a lost answer from a lost race;
//   - an ack is sent only when the receiver asks for it, and a message that
//     nobody settled is delivered again;
//   - Publish returns nil only when the broker has the message;
//   - an error says what to do where that can be known.
//
// PUBSUB_EMULATOR_HOST and STORAGE_EMULATOR_HOST are honoured. Package gcp
// decides nothing about batches, formats or retries.
package gcp

import (
	"errors"
	"fmt"
	"os"
)

// Sentinels for callers who branch.
var (
	ErrNotFound    = errors.New("not found")
	ErrDenied      = errors.New("permission denied")
	ErrUnreachable = errors.New("unreachable")
)

// endpoint says where a service is expected, for errors.
func endpoint(variable, service string) string {
	if host := os.Getenv(variable); host != "" {
		return fmt.Sprintf("%s (from %s)", host, variable)
	}
	return service
}
