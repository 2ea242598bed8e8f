package ingest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/schema"
)

// Every definition among the examples can be added to a lake.
func TestExampleDefinitionsCanBeAdded(t *testing.T) {
	names, err := filepath.Glob("examples/definitions/*.avsc")
	if err != nil || len(names) < 4 {
		t.Fatalf("%d definitions, %v", len(names), err)
	}
	lake, err := ingest.Open(t.Context(), ingest.Config{Bucket: "file://" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer lake.Close()
	for _, name := range names {
		avsc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := lake.Evolve(t.Context(), avsc, schema.Full)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if latest, _ := lake.Registry().Latest(d.Name); latest.Version != d.Version {
			t.Errorf("%s: the newest is %s", name, latest.Version)
		}
	}
}
