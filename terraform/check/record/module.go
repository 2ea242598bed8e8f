package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A module is one resource of the package: index.js has names and types,
// index.d.ts has what is required.
type module struct {
	js       string
	version  string
	class    string          // the resource's class, PubsubTopic
	required map[string]bool // "Interface.argument_name"
}

var (
	classLine   = regexp.MustCompile(`(?m)^class (\w+) extends cdktn\.Terraform(?:Resource|DataSource|Provider) `)
	versionLine = regexp.MustCompile(`providerVersion: '([^']+)'`)

	interfaceLine = regexp.MustCompile(`^export interface (\w+)`)
	anchor        = regexp.MustCompile(`#(\w+) \w+#\w+\}`)
	field         = regexp.MustCompile(`^    readonly \w+(\??): `)
)

func load(lib, name string) (*module, error) {
	js, err := os.ReadFile(filepath.Join(lib, name, "index.js"))
	if err != nil {
		return nil, err
	}
	types, err := os.ReadFile(filepath.Join(lib, name, "index.d.ts"))
	if err != nil {
		return nil, err
	}
	m := &module{js: string(js), required: required(string(types))}
	class, version := classLine.FindStringSubmatch(m.js), versionLine.FindStringSubmatch(m.js)
	if class == nil || version == nil {
		return nil, fmt.Errorf("%s: no class of a resource in index.js: is this the package that the comment names?", name)
	}
	m.class, m.version = class[1], version[1]
	return m, nil
}

// required notes the fields without a question mark. Each is preceded by a comment
// that links to the argument's documentation, under the argument's own name.
func required(types string) map[string]bool {
	all := map[string]bool{}
	in, argument := "", ""
	for line := range strings.Lines(types) {
		if m := interfaceLine.FindStringSubmatch(line); m != nil {
			in = m[1]
		}
		if m := anchor.FindStringSubmatch(line); m != nil {
			argument = m[1]
		}
		if m := field.FindStringSubmatch(line); m != nil && in != "" {
			all[in+"."+argument] = m[1] == ""
		}
		if strings.HasPrefix(line, "}") {
			in = ""
		}
	}
	return all
}

// section is the text from the line that starts with start to the line that closes it.
func (m *module) section(start string) string {
	_, rest, found := strings.Cut(m.js, "\n"+start)
	if !found {
		return ""
	}
	body, _, _ := strings.Cut(rest, "\n}\n")
	return body
}
