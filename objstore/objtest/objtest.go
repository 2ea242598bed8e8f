// Package objtest holds the contract of package objstore as tests, and a store
// that goes wrong on request.
//
// Conform is run by every implementation and every wrapper of objstore.Store.
// Where a store cannot do a thing, its test names the Lack; the suite then
// checks that the store does lack it, so that no exception outlives its reason.
package objtest

import (
	"testing"

	"github.com/buffetbot/ingest/objstore"
)

// A Lack is a part of the contract that a store is known not to keep.
type Lack string

// The lacks.
const (
	// Metadata: the store drops metadata (a local directory).
	Metadata Lack = "metadata"
	// ListedChecksums: List gives no checksum (a local directory).
	ListedChecksums Lack = "checksums in listings"
	// RemoveCondition: Remove ignores the generation (fake-gcs-server).
	RemoveCondition Lack = "generation condition of Remove"
)

// Conform checks the store that open gives, a new empty one for every test.
func Conform(t *testing.T, open func(t *testing.T) objstore.Store, lacks ...Lack) {
	t.Helper()
	s := suite{open: open, lacks: map[Lack]bool{}}
	for _, l := range lacks {
		s.lacks[l] = true
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"a created object reads back", readsBack},
		{"sizes from nothing to big", sizes},
		{"ranges", ranges},
		{"what does not exist", missing},
		{"create never replaces", createNeverReplaces},
		{"of racing creators one wins", racingCreators},
		{"of racing replacers of one generation one wins", racingReplacers},
		{"readers of a replaced object see all or nothing", replacedWhole},
		{"replace at a generation", replaceAtGeneration},
		{"replace whatever is there", replaceAny},
		{"remove", remove},
		{"remove at a generation", removeAtGeneration},
		{"generations are not used again", generationsAreNew},
		{"listing order, prefixes, after", listings},
		{"listing many", listingMany},
		{"listing stops when asked", listingStops},
		{"listing while objects come and go", listingUnderChange},
		{"odd names", oddNames},
		{"names nobody can have", badNames},
		{"a cancelled context", cancelled},
		{"data stay the caller's", callersData},
		{"metadata", metadata},
		{"creation times", creationTimes},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

type suite struct {
	open  func(t *testing.T) objstore.Store
	lacks map[Lack]bool
}
