package config

import (
	"os"
	"strings"
	"testing"
)

// The documentation says what the programs read: -update rewrites it.
func TestDocumentationIsWhatIsRead(t *testing.T) {
	const name, begin, end = "../docs/configuration.md", "<!-- begin programs -->\n", "<!-- end programs -->"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its marks", name)
	}
	var b strings.Builder
	for _, program := range []string{"ingestor", "compactor", "backfill"} {
		b.WriteString("\n" + Markdown(Programs()[program], program))
	}
	want := strings.TrimSuffix(b.String(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s is not what the programs read: go test ./config -run Documentation -update", name)
	}
}
