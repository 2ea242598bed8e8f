package check

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
)

// What the files must agree with is read from the project's sources as text: this
// module does not import the other.

// definitions gives the topic of each built-in data type.
func definitions(t testing.TB) map[string]string {
	t.Helper()
	files, _ := filepath.Glob("../../schema/definitions/*/*.avsc")
	topics := map[string]string{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Topic string `json:"bb.topic"`
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		topics[filepath.Base(filepath.Dir(name))] = d.Topic
	}
	if len(topics) < 4 {
		t.Fatalf("%d definitions: are they still in schema/definitions?", len(topics))
	}
	return topics
}

// A setting is what a tag of package config says.
type setting struct{ flag, fallback, help string }

// settings gives what a program's struct in package config reads, by environment
// variable.
func settings(t testing.TB, program string) map[string]setting {
	t.Helper()
	files, _ := filepath.Glob("../../config/*.go")
	structs := map[string]*ast.StructType{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok {
				if body, ok := s.Type.(*ast.StructType); ok {
					structs[s.Name.Name] = body
				}
			}
			return true
		})
	}
	all := map[string]setting{}
	collect(structs, program, all)
	if len(all) < 15 {
		t.Fatalf("%s has %d settings: is it still in package config?", program, len(all))
	}
	return all
}

func collect(structs map[string]*ast.StructType, name string, into map[string]setting) {
	if structs[name] == nil {
		return
	}
	for _, f := range structs[name].Fields.List {
		if embedded, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 {
			collect(structs, embedded.Name, into)
			continue
		}
		if f.Tag == nil {
			continue
		}
		text, _ := strconv.Unquote(f.Tag.Value)
		tag := reflect.StructTag(text)
		if env := tag.Get("env"); env != "" {
			into[env] = setting{flag: tag.Get("name"), fallback: tag.Get("default"), help: tag.Get("help")}
		}
	}
}
