package schema

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
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

// Builtin is the registry of the definitions embedded in the program.
func Builtin() (*Registry, error) {
	sub, err := fs.Sub(builtin, "definitions")
	if err != nil {
		return nil, fmt.Errorf("embedded definitions: %w", err)
	}
	return Load(sub)
}

// Load reads a folder of <type>/v<version>.avsc files. All problems of all files
// are reported together.
func Load(fsys fs.FS) (*Registry, error) {
	names, err := fs.Glob(fsys, "*/*.avsc")
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	var defs []*Definition
	var problems []error
	for _, name := range names {
		d, err := load(fsys, name)
		if err != nil {
			problems = append(problems, fmt.Errorf("definition %s: %w", name, err))
			continue
		}
		defs = append(defs, d)
	}
	r, err := NewRegistry(defs...)
	return r, errors.Join(append(problems, err)...)
}

func load(fsys fs.FS, name string) (*Definition, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	d, err := Parse(b)
	if err != nil {
		return nil, err
	}
	if want := path.Join(d.Name, d.Version.String()+".avsc"); want != name {
		return nil, fmt.Errorf("it says it is %s", want)
	}
	return d, nil
}

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
