package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The example is run as its comment says, on the lake of the demonstration.
func TestAsPrinted(t *testing.T) {
	lake := "file://" + filepath.Join(t.TempDir(), "lake")
	goRun(t, "../../cmd/buffetctl", "demo", "--data-bucket", lake, "--idle", "1s")
	out := goRun(t, ".", "-lake", lake, "AAPL", "BRK.B")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 11 || !strings.HasPrefix(lines[10], "10 rows from ") {
		t.Fatalf("11 lines are printed, the last of them the count; got\n%s", out)
	}
	if want := "AAPL 2024-01-15 14:30:52.000000 150.25"; !strings.HasPrefix(lines[0], want) {
		t.Errorf("the first row = %q, want %q", lines[0], want)
	}
	for _, line := range lines[:10] {
		if !strings.HasPrefix(line, "AAPL ") && !strings.HasPrefix(line, "BRK.B ") {
			t.Errorf("a row of a symbol that was not asked for: %q", line)
		}
	}
}

func TestNoLake(t *testing.T) {
	err := run(t.Context(), "", nil, new(bytes.Buffer))
	if err == nil {
		t.Error("a lake without a place was opened")
	}
}

func goRun(t *testing.T, args ...string) string {
	t.Helper()
	var out, diagnostics bytes.Buffer
	cmd := exec.Command("go", append([]string{"run"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	if err := cmd.Run(); err != nil {
		t.Fatalf("go run %s: %v\n%s", strings.Join(args, " "), err, diagnostics.String())
	}
	return out.String()
}
