package schema

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

//go:embed definitions
var builtin embed.FS

// A Registry holds the definitions a process knows, every version of every data
// type. It is read-only once made.
type Registry struct {
	types map[string][]*Definition // oldest first
}

// Prefix is where a bucket's own definitions lie: <type>/v<version>.avsc below it.
const Prefix = "metadata/schemas/"

// A Text is a definition as it was found.
type Text struct {
	Name   string // <type>/v<version>.avsc
	Origin string // where it was found, for people
	Avsc   []byte
}

// Builtin is the registry of the definitions embedded in the program.
func Builtin() (*Registry, error) { return FromTexts(nil) }

// Load reads a folder of <type>/v<version>.avsc files. All problems of all files
// are reported together.
func Load(fsys fs.FS) (*Registry, error) {
	texts, err := readTexts(fsys, "")
	r, problems := parseTexts(texts)
	return r, errors.Join(err, problems)
}

// FromTexts is the registry of the embedded definitions and these. A version
// that is there already must be the same text; versions of a data type must be
// able to follow each other. All problems are reported together, and the
// registry is nil then.
func FromTexts(texts []Text) (*Registry, error) {
	sub, err := fs.Sub(builtin, "definitions")
	if err != nil {
		return nil, fmt.Errorf("embedded definitions: %w", err)
	}
	all, err := readTexts(sub, "built in")
	if err != nil {
		return nil, err
	}
	known := map[string]Text{}
	for _, t := range all {
		known[t.Name] = t
	}
	var problems []error
	for _, t := range texts {
		if have, ok := known[t.Name]; ok {
			if !sameBut(string(have.Avsc), string(t.Avsc), "") {
				problems = append(problems, fmt.Errorf("definition %s (%s) differs from the one that is %s: give it a version of its own", t.Name, t.Origin, have.Origin))
			}
			continue
		}
		all = append(all, t)
	}
	r, err := parseTexts(all)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return r, r.follow()
}

// follow sees that every version can follow the one before it.
func (r *Registry) follow() error {
	var problems []error
	for _, name := range r.Types() {
		versions := r.types[name]
		for i := 1; i < len(versions); i++ {
			if _, err := Evolve(versions[i-1], versions[i], Backward); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", versions[i].Origin, err))
			}
		}
	}
	return errors.Join(problems...)
}

func readTexts(fsys fs.FS, origin string) ([]Text, error) {
	names, err := fs.Glob(fsys, "*/*.avsc")
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	var texts []Text
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("definition %s: %w", name, err)
		}
		texts = append(texts, Text{Name: name, Origin: origin, Avsc: b})
	}
	return texts, nil
}

func parseTexts(texts []Text) (*Registry, error) {
	var defs []*Definition
	var problems []error
	for _, t := range texts {
		d, err := t.Parse()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		defs = append(defs, d)
	}
	r, err := NewRegistry(defs...)
	return r, errors.Join(append(problems, err)...)
}

// Parse reads the definition and sees that it is called what it says it is.
func (t Text) Parse() (*Definition, error) {
	d, err := Parse(t.Avsc)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", t.Name, err)
	}
	d.Origin = t.Origin
	if want := d.FileName(); want != t.Name {
		return nil, fmt.Errorf("definition %s: it says it is %s", t.Name, want)
	}
	return d, nil
}

// FileName is what the definition's file is called below the folder of all.
func (d *Definition) FileName() string { return path.Join(d.Name, d.Version.String()+".avsc") }

// Versions are all versions of a data type, oldest first.
func (r *Registry) Versions(dataType string) []*Definition { return slices.Clone(r.types[dataType]) }

// NewRegistry is the registry of these definitions. It takes them over: each
// learns what its neighbours are called, so that a message of another data type
// is known for what it is.
func NewRegistry(defs ...*Definition) (*Registry, error) {
	r := &Registry{types: map[string][]*Definition{}}
	topics := map[string]string{}
	var problems []error
	for _, d := range defs {
		if other, taken := topics[d.Topic]; taken && other != d.Name {
			problems = append(problems, fmt.Errorf("topic %s: both %s and %s claim it", d.Topic, other, d.Name))
		}
		topics[d.Topic] = d.Name
		if _, twice := r.Lookup(d.Name, d.Version); twice {
			problems = append(problems, fmt.Errorf("%s %s is defined twice", d.Name, d.Version))
		}
		r.types[d.Name] = append(r.types[d.Name], d)
	}
	for _, versions := range r.types {
		slices.SortFunc(versions, func(a, b *Definition) int { return a.Version.Compare(b.Version) })
	}
	for _, d := range defs {
		d.foreign, d.family = r.foreign(d), r.types[d.Name]
	}
	return r, errors.Join(problems...)
}

// foreign maps what messages of the other data types call themselves to the
// data type: by its name or its topic.
func (r *Registry) foreign(d *Definition) map[string]string {
	words := map[string]string{}
	for name, versions := range r.types {
		if name == d.Name {
			continue
		}
		words[name] = name
		for _, other := range versions {
			words[other.Topic] = name
		}
	}
	return words
}

// Same reports whether two registries hold the same versions.
func (r *Registry) Same(o *Registry) bool {
	return maps.EqualFunc(r.types, o.types, func(a, b []*Definition) bool {
		return slices.EqualFunc(a, b, func(x, y *Definition) bool { return x.Version == y.Version && x.avsc == y.avsc })
	})
}

// Types are the names of the data types, sorted.
func (r *Registry) Types() []string {
	names := make([]string, 0, len(r.types))
	for name := range r.types {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Latest is the newest version of a data type.
func (r *Registry) Latest(dataType string) (*Definition, bool) {
	versions := r.types[dataType]
	if len(versions) == 0 {
		return nil, false
	}
	return versions[len(versions)-1], true
}

// Lookup is one version of a data type.
func (r *Registry) Lookup(dataType string, v Version) (*Definition, bool) {
	for _, d := range r.types[dataType] {
		if d.Version == v {
			return d, true
		}
	}
	return nil, false
}

// ForTopic is the newest version of the data type that a topic carries. A full
// topic name (projects/p/topics/t) will do.
func (r *Registry) ForTopic(topic string) (*Definition, bool) {
	topic = topic[strings.LastIndexByte(topic, '/')+1:]
	for _, name := range r.Types() {
		if d, _ := r.Latest(name); d.Topic == topic {
			return d, true
		}
	}
	return nil, false
}
