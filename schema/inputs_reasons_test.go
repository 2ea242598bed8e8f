package schema

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// elsewhere are the reasons that no decoder gives, with the test that reaches
// each.
var elsewhere = map[Reason]string{
	"panic":       "pipeline TestAPanicIsConfinedToItsMessage",
	"undelivered": ". TestUndeliveredMessagesAreDrained",
	"foreign":     ". TestLetters",
	"quarantined": "e2e TestAMessageThatKills",
}

// Every reason code is reached by an input of the table, or by a test that is
// named.
func TestEveryReasonIsReached(t *testing.T) {
	reached := map[Reason]bool{}
	for _, in := range oddInputs(t) {
		for _, c := range in.cases {
			if c.dataType == "" {
				c.dataType = "market_data"
			}
			rejected, _, _ := c.outcome(t)
			for _, r := range rejected {
				reached[r.Reason] = true
			}
		}
	}
	for reason, place := range elsewhere {
		if reached[reason] {
			t.Errorf("%s is reached by the table, and need not be excepted", reason)
		}
		reached[reason] = true
		mustBeTested(t, place)
	}
	declared := append(reasonConstants(t, "."), reasonConstants(t, "../deadletter")...)
	if len(declared) < 30 {
		t.Fatalf("%d constants only", len(declared))
	}
	for _, reason := range declared {
		if !reached[reason] {
			t.Errorf("no input reaches reason %s: add one to the table, or say in elsewhere which test does", reason)
		}
		delete(reached, reason)
	}
	if len(reached) > 0 {
		t.Errorf("reasons without a constant: %q", slices.Sorted(maps.Keys(reached)))
	}
}

// reasonConstants are the values of a folder's constants of type Reason.
func reasonConstants(t *testing.T, dir string) (all []Reason) {
	t.Helper()
	eachDeclaration(t, dir, false, func(d ast.Decl) {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			return
		}
		for _, s := range g.Specs {
			spec := s.(*ast.ValueSpec)
			if !isReason(spec.Type) || len(spec.Values) != 1 {
				continue
			}
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, Reason(code))
		}
	})
	return all
}

func isReason(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Reason"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Reason"
	}
	return false
}

// mustBeTested sees that "folder TestName" exists.
func mustBeTested(t *testing.T, place string) {
	t.Helper()
	dir, name, _ := strings.Cut(place, " ")
	found := false
	eachDeclaration(t, filepath.Join("..", dir), true, func(d ast.Decl) {
		f, ok := d.(*ast.FuncDecl)
		found = found || ok && f.Recv == nil && f.Name.Name == name
	})
	if !found {
		t.Errorf("there is no test %s in %s", name, dir)
	}
}

// eachDeclaration visits the top of a folder's sources, or of its tests.
func eachDeclaration(t *testing.T, dir string, tests bool, visit func(ast.Decl)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") != tests {
			continue
		}
		f, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			visit(d)
		}
	}
}
