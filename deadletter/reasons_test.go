package deadletter

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/schema"
)

// declared are the values of all constants of type Reason in a package's source.
func declared(t *testing.T, dir, typ string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	var all []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || spec.Type == nil || typeName(spec.Type) != typ {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				code, _ := strconv.Unquote(lit.Value)
				all = append(all, code)
			}
			return true
		})
	}
	return all
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	}
	return ""
}

// TestEveryReasonIsExplained: the constants, the table here and the table in the
// documentation name the same codes.
func TestEveryReasonIsExplained(t *testing.T) {
	constants := append(declared(t, "../schema", "Reason"), declared(t, ".", "schema.Reason")...)
	if len(constants) < 30 {
		t.Fatalf("found %d constants only", len(constants))
	}
	var table []string
	for _, h := range Reasons {
		table = append(table, string(h.Reason))
		if h.Meaning == "" || !strings.HasSuffix(h.Next, ".") {
			t.Errorf("%s: no meaning, or no sentence about what to do", h.Reason)
		}
		if got, ok := Help(h.Reason); !ok || got != h {
			t.Errorf("Help(%s) = %v, %v", h.Reason, got, ok)
		}
	}
	text, err := os.ReadFile("../docs/dead-letters.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range Reasons {
		if row := "| `" + string(h.Reason) + "` | " + h.Meaning + " | " + h.Next + " |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/dead-letters.md lacks the row\n%s", row)
		}
	}
	if rows, want := strings.Count(string(text), "\n| `")-documentedElsewhere(string(text)), len(Reasons); rows != want {
		t.Errorf("docs/dead-letters.md has %d reasons, want %d", rows, want)
	}
	slices.Sort(constants)
	slices.Sort(table)
	if !slices.Equal(constants, table) {
		t.Errorf("constants and table differ:\n%q\n%q", constants, table)
	}
	if h, ok := Help("made_up"); ok || h.Reason != schema.Reason("made_up") || h.Next == "" {
		t.Errorf("Help of a code that is none of ours = %v, %v", h, ok)
	}
}

// documentedElsewhere are the rows of tables outside the chapter of reasons.
func documentedElsewhere(text string) int {
	before, _, _ := strings.Cut(text, "## Reasons")
	return strings.Count(before, "\n| `")
}
