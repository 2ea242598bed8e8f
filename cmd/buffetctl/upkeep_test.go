package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/config"
)

func TestUpkeep(t *testing.T) {
	w := filled(t)
	with := func(args ...string) []string { return append(args, "--data-bucket", w.bucket) }
	says := func(want string, args ...string) {
		t.Helper()
		if out, diagnostics, err := buffetctl(t, with(args...)...); err != nil || !strings.Contains(out+diagnostics, want) {
			t.Errorf("%v: %v, %s%s; want %q", args, err, out, diagnostics, want)
		}
	}
	wrong := func(want string, args ...string) {
		t.Helper()
		if _, _, err := buffetctl(t, with(args...)...); config.Exit("test", err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want wrong usage and %q", args, err, want)
		}
	}
	// A hold shows where days are listed, and ends.
	says("is held", "hold", "market_data", "2024-01-15", "--reason", "a claim", "--by", "ann")
	has(t, objects(t, with("partitions", "market_data")...)[0], map[string]any{"held": nil})
	if held, _ := objects(t, with("partitions", "market_data")...)[1]["held"].(string); !strings.Contains(held, "held by ann") || !strings.Contains(held, ": a claim") {
		t.Errorf("held %q", held)
	}
	wrong("day", "hold", "market_data", "yesterday", "--reason", "x")
	wrong("reason", "hold", "market_data", "2024-01-15")

	// What goes is said first; a day that is held, or has raw files, stays.
	says("2024-01-15 stays: held by ann", "retain", "market_data", "--older-than", "30d")
	says("held no longer", "unhold", "market_data", "2024-01-15")
	says("2024-01-12 stays: 1 raw objects of it are left", "retain", "market_data", "--older-than", "30d")
	if err := os.RemoveAll(filepath.Join(w.dir, "raw", "market_data", "year=2024", "month=01", "day=12")); err != nil {
		t.Fatal(err)
	}
	says("would go; nothing was changed", "retain", "market_data", "--older-than", "30d", "--dry-run")
	wrong("--reason", "retain", "market_data", "--older-than", "30d", "--yes")
	wrong("choose one", "retain", "market_data", "--older-than", "30d", "--yes", "--dry-run", "--reason", "x")
	wrong("a day is the least", "retain", "market_data", "--older-than", "1h")
	says("1 days, 1 rows, ", "retain", "market_data", "--older-than", "30d", "--yes", "--reason", "a month is kept")
	says("nothing to take away", "retain", "market_data", "--older-than", "30d")
	wrong("no archive bucket", "retain", "market_data", "--older-than", "30d", "--archive")
	has(t, objects(t, with("history", "market_data")...)[0], map[string]any{"operation": "RETAIN", "files_removed": "1"})
	audits := objects(t, with("audit", "ls")...)
	if len(audits) != 2 {
		t.Fatalf("audits %v", audits)
	}
	has(t, audits[0], map[string]any{"action": "retain", "state": "begun", "reason": "a month is kept"})
	if out, _, err := buffetctl(t, with("fsck")...); err != nil {
		t.Errorf("fsck after a retention: %v\n%s", err, out)
	}

	// Properties.
	says("has these properties", "table", "set", "market_data", "delta.deletedFileRetentionDuration=14d")
	says("336h", "table", "ls", "market_data")
	wrong("not known", "table", "set", "market_data", "delta.appendOnly=true")
	has(t, objects(t, with("history", "market_data")...)[0], map[string]any{"operation": "SET TBLPROPERTIES"})

	// An unreadable raw file is listed, and retried.
	raw, err := filepath.Glob(filepath.Join(w.dir, "raw", "market_data", "year=2024", "month=01", "day=19", "*.parquet"))
	if err != nil || len(raw) != 1 {
		t.Fatalf("%v, %v", raw, err)
	}
	if err := os.WriteFile(raw[0], []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	says("could be read", "unreadable", "ls", "market_data")
	w.compact()
	if all := objects(t, with("unreadable", "ls", "market_data")...); len(all) != 1 || !strings.HasSuffix(all[0]["object"].(string), filepath.Base(raw[0])) {
		t.Errorf("unreadable %v", all)
	}
	says("1 raw files are tried again", "unreadable", "retry", "market_data")
}
