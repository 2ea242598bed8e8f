// Package objtest holds what tests of and on stores need.
package objtest

import (
	"testing"

	"github.com/buffetbot/ingest/objstore"
)

// Conform checks a store against the contract of package objstore.
func Conform(t *testing.T, open func(t *testing.T) objstore.Store) { panic("not yet") }
