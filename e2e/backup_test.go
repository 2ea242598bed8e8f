package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/samples"
	"github.com/buffetbot/ingest/schema"
)

// A lake is backed up, damaged and mended, goes back to a version, and every row is
// there again, once; with the programs.
func TestBackupAndRestore(t *testing.T) {
	w := newWorld(t, "directory")
	vault, elsewhere := "file://"+t.TempDir(), "file://"+filepath.Join(t.TempDir(), "restored")
	want := map[string]int64{}
	fill := func(run string) {
		mix := samples.Demo(run)
		mix.Market, mix.Options, mix.Forecasts, mix.BatchRows = 40, 20, 20, 20
		w.publish(func(publish func(string, *schema.Message)) {
			for _, s := range samples.Messages(mix) {
				publish(s.Topic, &s.Message)
				want[s.DataType] += int64(s.Records - s.Bad - s.Repeated)
				want["dead_letters"] += int64(s.Bad)
			}
		})
		w.ingestor("--idle-exit", "3s")
	}
	check := func(when string) {
		t.Helper()
		for dataType, n := range want {
			if got := w.rows(dataType); got != n {
				t.Errorf("%s %s: %d rows, want %d", when, dataType, got, n)
			}
		}
	}
	buffetctl := func(args ...string) string {
		return w.run("buffetctl", append(args, "--data-bucket", w.bucket, "--backup-bucket", vault)...)
	}
	fill("first")
	w.compact()
	fill("second") // waits in raw/
	if out := buffetctl("backup"); !strings.Contains(out, "market_data version 1") || !strings.Contains(out, "raw files that wait") {
		t.Errorf("backup: %s", out)
	}
	if out := buffetctl("backup"); !strings.Contains(out, "copied 0, 0 B") {
		t.Errorf("backup again: %s", out)
	}
	if out := buffetctl("backup", "verify", "--deep"); !strings.Contains(out, ": 0 findings") {
		t.Errorf("verify: %s", out)
	}
	if out := buffetctl("backup", "ls", "--format", "csv"); strings.Count(out, "market_data,1,") != 2 {
		t.Errorf("ls: %s", out)
	}
	dir := strings.TrimPrefix(w.bucket, "file://")
	for _, pattern := range []string{"processed/market_data/year=*/month=*/day=*/*.parquet", "processed/options_data/_delta_log/*1.json", "raw/forecasts/year=*/month=*/day=*/*.parquet"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range found {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out := buffetctl("restore", "--mend"); !strings.Contains(out, "market_data: mended") || !strings.Contains(out, " 0 violations") {
		t.Errorf("mend: %s", out)
	}
	check("mended")
	w.compact()
	check("compacted")
	if out := buffetctl("restore", "--type", "market_data", "--version", "1"); !strings.Contains(out, "version 3 has the files of version 1") {
		t.Errorf("go back: %s", out)
	}
	w.compact()
	check("gone back and compacted")
	if out := buffetctl("restore", "--at", "2200-01-01", "--to", elsewhere); !strings.Contains(out, "market_data: made: version 1") {
		t.Errorf("elsewhere: %s", out)
	}
	here := w.bucket
	w.bucket = elsewhere
	check("elsewhere")
	w.compact()
	check("elsewhere, compacted")
	w.bucket = here
}
