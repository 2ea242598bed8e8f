package ingest_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/buffetbot/ingest"

// floors is the order of the rooms: data flows down this list, imports point up
// it. A folder may import only folders of a lower floor (and, below itself, its
// own parts). A new folder needs a floor before it compiles here.
var floors = map[string]int{
	"schema":     1,
	"failpoint":  1,
	"objstore":   2,
	"security":   3,
	"columnar":   4,
	"partition":  5,
	"batching":   6,
	"invariant":  6,
	"deadletter": 7,
	"sink":       8,
	"pipeline":   9,
	"compaction": 10,
	"sweep":      10,
	"backup":     10,
	"query":      11,
	"upkeep":     11,
	"fsck":       11,
	"backfill":   12,
	"gcp":        12,
	"embedded":   12,
	"telemetry":  13,
	"config":     13,
	"samples":    13,
	"memory":     13,
	".":          14, // the library face
	"console":    15,
	"cmd":        16,
	"bench":      17,
	"e2e":        17,
	"examples":   17,
	"interop":    17,
	"sim":        17,
}

// mayImport lists the folders that may import the packages under a path that is
// kept out of everywhere else.
var mayImport = map[string][]string{
	"cloud.google.com/go": {"gcp", "embedded"},
}

// A source is one non-test Go file's package folder and imports.
type source struct {
	file    string
	dir     string // slash-separated, relative to the module's root
	imports []string
	doc     bool
}

func sources(t *testing.T, root string) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "lake") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil && rel != "." {
				return filepath.SkipDir // a module of its own: no room of this one
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{file: filepath.ToSlash(rel), dir: path.Dir(filepath.ToSlash(rel)), doc: f.Doc != nil}
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			s.imports = append(s.imports, name)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// room is the top-level folder a package folder belongs to.
func room(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// wrongArrows names every import that points the wrong way.
func wrongArrows(all []source) []string {
	var wrong []string
	for _, s := range all {
		from := room(s.dir)
		floor, known := floors[from]
		if !known {
			wrong = append(wrong, fmt.Sprintf("%s: folder %s has no floor", s.file, from))
			continue
		}
		for _, imp := range s.imports {
			for guarded, allowed := range mayImport {
				if (imp == guarded || strings.HasPrefix(imp, guarded+"/")) && !slices.Contains(allowed, from) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s, which only %s may", s.file, imp, strings.Join(allowed, " and ")))
				}
			}
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				continue
			}
			to := "."
			if imp != module {
				to = room(strings.TrimPrefix(imp, module+"/"))
			}
			if to != from && floors[to] >= floor {
				wrong = append(wrong, fmt.Sprintf("%s (floor %d) imports %s (floor %d): imports point up", s.file, floor, imp, floors[to]))
			}
		}
	}
	return wrong
}

func TestImportsPointUp(t *testing.T) {
	for _, w := range wrongArrows(sources(t, ".")) {
		t.Error(w)
	}
}

// The check itself is seen failing here, on planted imports.
func TestImportsPointUpCatchesPlantedArrows(t *testing.T) {
	for _, tt := range []struct {
		name, dir, imp string
		want           bool
	}{
		{"schema imports the pipeline", "schema", module + "/pipeline", true},
		{"sink imports its own floor's neighbour above", "sink", module + "/batching", false},
		{"gcp imports embedded on the same floor", "gcp", module + "/embedded", true},
		{"query imports the library face", "query", module, true},
		{"a command imports the library face", "cmd/ingestor", module, false},
		{"a part of a room imports its room", "objstore/objtest", module + "/objstore", false},
		{"the pipeline imports the Pub/Sub client", "pipeline", "cloud.google.com/go/pubsub/v2", true},
		{"gcp imports the Pub/Sub client", "gcp", "cloud.google.com/go/pubsub/v2", false},
		{"a room without a floor", "helpers", "fmt", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := wrongArrows([]source{{file: tt.dir + "/planted.go", dir: tt.dir, imports: []string{tt.imp}}})
			if (len(got) > 0) != tt.want {
				t.Errorf("wrongArrows = %q, want a complaint: %v", got, tt.want)
			}
		})
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	doc := map[string]bool{}
	for _, s := range sources(t, ".") {
		doc[s.dir] = doc[s.dir] || s.doc
	}
	for dir, has := range doc {
		if !has {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}
