package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// maxFile bounds what is read of a settings file or of terraform's output.
const maxFile = 1 << 20

// A file is a settings file: YAML, of which JSON is a part. Keys are the flags'
// names; under a program's name stand the settings of that program alone, and
// under a command's name those of that command.
type file struct {
	name string
	root *yaml.Node
	r    *reading
}

// openFile reads a settings file and says everything that is wrong with it. The
// file is nil where nothing can be read of it.
func openFile(name string, r *reading) (*file, []error) {
	data, err := readBounded(name)
	if err != nil {
		return nil, []error{fmt.Errorf("settings file %w", err)}
	}
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil // empty
	} else if err != nil {
		return nil, []error{fmt.Errorf("settings file %s: %w", name, err)}
	}
	if !errors.Is(decoder.Decode(&second), io.EOF) {
		return nil, []error{fmt.Errorf("settings file %s: several documents; one is wanted", name)}
	}
	root := plain(document.Content[0])
	if isNull(root) {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, []error{fmt.Errorf("settings file %s: want keys and values, such as data-bucket: my-lake", name)}
	}
	f := &file{name: name, root: root, r: r}
	return f, f.check()
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %s", name, Bytes(maxFile))
	}
	return data, err
}

// plain is what an alias stands for.
func plain(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// entry is the value under a key of a mapping, or nil.
func entry(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return plain(n.Content[i+1])
		}
	}
	return nil
}

func (f *file) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", f.name, n.Line) }

// lookup implements place: the program's own section before what all programs
// share, and a command's own section before that.
func (f *file) lookup(path []string, flag *kong.Flag) (any, string, error) {
	if flag.Name == "config" && len(path) == 0 {
		return nil, "", nil
	}
	for _, base := range []*yaml.Node{entry(f.root, f.r.program), f.root} {
		nested := base
		for _, command := range path {
			nested = entry(nested, command)
		}
		found := entry(nested, flag.Name)
		if found == nil && !f.r.own[flag] {
			found = entry(base, flag.Name)
		}
		if found == nil || isNull(found) {
			continue
		}
		value, err := valueOf(found, flag)
		if err != nil {
			return nil, "", fmt.Errorf("--%s: %w (from %s)", flag.Name, err, f.at(found))
		}
		return value, f.at(found), nil
	}
	return nil, "", nil
}

// valueOf is a node as the flag's mapper takes it.
func valueOf(n *yaml.Node, flag *kong.Flag) (any, error) {
	switch {
	case n.Kind == yaml.ScalarNode:
		return n.Value, nil
	case n.Kind == yaml.SequenceNode && flag.IsSlice():
		var all []any
		for _, item := range n.Content {
			if item = plain(item); item.Kind != yaml.ScalarNode {
				return nil, errors.New("want a list of single values")
			}
			all = append(all, item.Value)
		}
		return all, nil
	case n.Kind == yaml.MappingNode && flag.IsMap():
		all := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			item := plain(n.Content[i+1])
			if item.Kind != yaml.ScalarNode {
				return nil, errors.New("want names with single values")
			}
			all[n.Content[i].Value] = item.Value
		}
		return all, nil
	case flag.IsSlice():
		return nil, errors.New("want one value or a list")
	case flag.IsMap():
		return nil, errors.New("want names with values")
	}
	return nil, errors.New("want one value")
}

// keys are what may stand in a mapping: flags, and sections by name. A section
// that is nil is another program's whose settings are not known here.
type keys struct {
	flags    map[string]bool
	aliases  map[string]string // variables of the flags, for those who write them as keys
	sections map[string]*kong.Node
}

func newKeys() keys {
	return keys{map[string]bool{}, map[string]string{}, map[string]*kong.Node{}}
}

func (k keys) add(flags []*kong.Flag, pick func(*kong.Flag) bool) {
	for _, flag := range flags {
		if flag.Name == "help" || flag.Name == "config" || !pick(flag) {
			continue
		}
		k.flags[flag.Name] = true
		for _, v := range flag.Envs {
			k.aliases[v] = flag.Name
		}
	}
}

func every(*kong.Flag) bool { return true }

// of are the keys of a program's or a command's section: its flags, its commands,
// and the flags of its commands that they share with others.
func (f *file) of(n *kong.Node) keys {
	k := newKeys()
	k.add(n.Flags, every)
	var below func(*kong.Node)
	below = func(n *kong.Node) {
		k.add(n.Flags, func(flag *kong.Flag) bool { return !f.r.own[flag] })
		for _, child := range n.Children {
			below(child)
		}
	}
	for _, child := range n.Children {
		k.sections[child.Name] = child
		if n.Type == kong.ApplicationNode {
			below(child)
		}
	}
	return k
}

// check names every key that means nothing, and every key given twice.
func (f *file) check() []error {
	k := f.of(f.r.model.Node)
	programs := map[string]*kong.Node{f.r.program: f.r.model.Node}
	for name, cli := range Programs() {
		model := modelOf(name, cli)
		k.add(model.Flags, every)
		if programs[name] == nil {
			programs[name] = model.Node
		}
	}
	k.sections["buffetctl"] = nil
	for name, node := range programs {
		k.sections[name] = node
	}
	return f.checkKeys(f.root, k, "")
}

func (f *file) checkKeys(n *yaml.Node, k keys, within string) []error {
	var all []error
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], plain(n.Content[i+1])
		if line, twice := lines[key.Value]; twice {
			all = append(all, fmt.Errorf("%s: key %q is given twice; the first is in line %d", f.at(key), key.Value, line))
			continue
		}
		lines[key.Value] = key.Line
		node, section := k.sections[key.Value]
		switch {
		case section && value.Kind == yaml.MappingNode:
			if node != nil {
				all = append(all, f.checkKeys(value, f.of(node), within+key.Value+".")...)
			}
		case k.flags[key.Value]:
		case section && isNull(value):
		case section:
			all = append(all, fmt.Errorf("%s: key %q: want settings of %s below it", f.at(key), key.Value, key.Value))
		default:
			all = append(all, fmt.Errorf("%s: unknown key %q; the nearest known one is %q", f.at(key), within+key.Value, k.nearest(key.Value)))
		}
	}
	return all
}

// modelOf is the model of a program's settings, with a variable for every flag.
func modelOf(program string, cli any) *kong.Application {
	r := &reading{program: program, cli: cli, out: io.Discard, sources: map[*kong.Flag]string{}, own: map[*kong.Flag]bool{}}
	if _, err := r.parser(); err != nil {
		panic(fmt.Sprintf("settings of %s: %v", program, err)) // a wrong tag in this program, which every test would meet
	}
	return r.model
}

// nearest is the known key that is most like the one given.
func (k keys) nearest(key string) string {
	if name, ok := k.aliases[strings.ToUpper(key)]; ok {
		return name
	}
	best, least := "", -1
	consider := func(name string) {
		d := distance(strings.ReplaceAll(strings.ToLower(key), "_", "-"), name)
		if least < 0 || d < least || d == least && name < best {
			best, least = name, d
		}
	}
	for name := range k.flags {
		consider(name)
	}
	for name := range k.sections {
		consider(name)
	}
	return best
}

// distance counts the letters to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
