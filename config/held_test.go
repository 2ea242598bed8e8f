package config

import (
	"io"
	"testing"
)

// Google's client holds what the budget does not count: no limit may come from that.
func TestWhatAnIngestorHolds(t *testing.T) {
	for receive, want := range map[string]int64{"stream": 64 << 20, "client": 0} {
		var s struct{ IngestorSettings }
		args := []string{"--data-bucket", "file:///tmp/lake", "--project", "project-one", "--memory-budget", "64MiB", "--receive", receive}
		if _, err := Parse(&s, "ingestor", "", args, io.Discard); err != nil {
			t.Fatal(err)
		}
		if got := s.Held(); got != want {
			t.Errorf("with --receive %s it holds %d bytes, want %d", receive, got, want)
		}
	}
}

func TestWhatACompactorHolds(t *testing.T) {
	var s struct{ CompactorSettings }
	args := []string{"--data-bucket", "file:///tmp/lake", "--memory-budget", "128MiB"}
	if _, err := Parse(&s, "compactor", "", args, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := s.Held(); got != 160<<20 {
		t.Errorf("with a budget of 128 MiB it holds %d bytes, want 32 MiB more", got)
	}
}
