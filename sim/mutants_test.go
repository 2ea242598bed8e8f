package sim_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	mutantsToo = flag.Bool("mutants", false, "see that the simulation catches every mutant: each is built and run by itself, which takes minutes")
	mutantName = flag.String("mutant", "", "only mutants whose side and name contain this")
	patience   = flag.Int("patience", 1, "how many times the seeds that a mutant is to be caught in")
)

// An edit is a change of the source of a package.
type edit struct{ file, old, new string }

// A mutant is a mistake: what somebody may one day write who has not understood
// a rule. It must be caught within so many seeds.
type mutant struct {
	name  string
	side  string
	seeds int
	edits []edit
}

// TestMutants builds the simulation with each mistake in the code, and sees
// that it is caught. The files are replaced for the compiler alone.
func TestMutants(t *testing.T) {
	if !*mutantsToo {
		t.Skip("takes minutes: -mutants")
	}
	for _, m := range mutants {
		if !strings.Contains(m.side+" "+m.name, *mutantName) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			output, err := m.run(t)
			if err == nil {
				t.Fatalf("not caught in %d seeds\n%s", m.seeds**patience, output)
			}
			found := caught.FindStringSubmatch(output)
			after := needed.FindStringSubmatch(output)
			if found == nil || after == nil {
				t.Fatalf("it did not run: %v\n%s", err, output)
			}
			t.Logf("caught in seed %s: %s", after[1], found[1])
		})
	}
}

var (
	caught = regexp.MustCompile(`side, seed \d+: (.*)`)
	needed = regexp.MustCompile(`after (\d+) seeds`)
)

// Code that moves on leaves no mutant behind: its lines are where it looks for them.
func TestMutantsFitTheCode(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) { m.write(t, t.TempDir()) })
	}
}

func (m mutant) run(t *testing.T) (string, error) {
	dir := t.TempDir()
	replace := m.write(t, dir)
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "mutant.test")
	if output, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", file, "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	output, err := exec.CommandContext(t.Context(), bin, "-test.run", "TestSeeds/"+m.side, "-test.v", "-seeds", fmt.Sprint(m.seeds**patience), "-brief").CombinedOutput()
	return string(output), err
}

// write writes the files with the mistake into dir, and tells which files they replace.
func (m mutant) write(t *testing.T, dir string) map[string]string {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for i, e := range m.edits {
		path := filepath.Join(root, e.file)
		from := path
		if replace[path] != "" {
			from = replace[path]
		}
		source, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), e.old); n != 1 {
			t.Fatalf("%s: %d places read %q, want 1: the code has changed, change the mutant", e.file, n, e.old)
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return replace
}
