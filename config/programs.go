package config

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// IngestorSettings is every setting of the ingestor.
type IngestorSettings struct {
	Store
	Types
	Broker
	Ingest
	Listen
	Log
}

// Held is what an ingestor means to hold, in bytes; 0: it cannot say. Google's client
// holds what the memory budget does not count.
func (s *IngestorSettings) Held() int64 {
	if s.Receive == "client" {
		return 0
	}
	return int64(s.MemoryBudget)
}

// Problems implements the check of Parse.
func (s *IngestorSettings) Problems() []error {
	all := append(s.Store.Problems(), s.Ingest.Problems()...)
	all = append(all, s.Broker.Problems()...)
	switch {
	case s.Embedded: // any name will do, or none
	case s.Project == "":
		all = append(all, errors.New("no project: set --project or GOOGLE_CLOUD_PROJECT, or --embedded for a Pub/Sub server of our own"))
	default:
		all = append(all, pubSubProject(s.Project)...)
	}
	return all
}

// CompactorSettings is every setting of the compactor.
type CompactorSettings struct {
	Store
	Types
	Compact
	Once     bool          `help:"Compact what is there now, then finish (the default without --interval)."`
	Interval time.Duration `env:"COMPACT_INTERVAL" default:"0s" help:"Compact again and again with this pause, until stopped."`
	Plan     bool          `help:"Print what would be done and why; change nothing."`
	Listen
	Log
}

// besideMerges is what a compactor holds beside the partitions that it merges: tables'
// snapshots, listings, requests.
const besideMerges = 32 << 20

// Held is what a compactor means to hold, in bytes.
func (s *CompactorSettings) Held() int64 { return int64(s.Compact.MemoryBudget) + besideMerges }

// Problems implements the check of Parse.
func (s *CompactorSettings) Problems() []error {
	all := append(s.Store.Problems(), s.Compact.Problems()...)
	if s.Once && s.Interval > 0 {
		all = append(all, errors.New("--once and --interval: choose one"))
	}
	if s.Interval < 0 {
		all = append(all, fmt.Errorf("--interval %v: must not be negative", s.Interval))
	}
	return all
}

// BackfillSettings is every setting of backfill.
type BackfillSettings struct {
	Project string `env:"GOOGLE_CLOUD_PROJECT" help:"Google Cloud project of the topic (a dry run needs none)."`
	Create  bool   `env:"CREATE" help:"Create missing topics and their subscriptions <topic>-ingest."`
	Backfill
	Log
}

// Problems implements the check of Parse.
func (s *BackfillSettings) Problems() []error {
	all := s.Backfill.Problems()
	switch {
	case s.DryRun:
	case s.Project == "":
		all = append(all, errors.New("no project: set --project or GOOGLE_CLOUD_PROJECT (any name with PUBSUB_EMULATOR_HOST), or try --dry-run"))
	default:
		all = append(all, pubSubProject(s.Project)...)
	}
	return all
}

// pubSubProject is what is wrong with a project as that of topics. An emulator
// takes any name.
func pubSubProject(project string) []error {
	if os.Getenv("PUBSUB_EMULATOR_HOST") != "" {
		return nil
	}
	if err := CheckProject(project); err != nil {
		return []error{fmt.Errorf("--project %w", err)}
	}
	return nil
}

// Programs are the programs whose settings this package knows whole, by name.
// Each call gives new ones.
func Programs() map[string]any {
	return map[string]any{"ingestor": &IngestorSettings{}, "compactor": &CompactorSettings{}, "backfill": &BackfillSettings{}}
}
