package main

import (
	"regexp"
	"strings"
)

var (
	input = regexp.MustCompile(`(\w+): \{\s+value: (.*),\s+isBlock: (true|false),\s+type: "(\w+)",\s+storageClassType: "(\w+)"`)

	simpleOutput  = regexp.MustCompile(`this\.get(\w+)Attribute\('(\w+)'\)`)
	complexOutput = regexp.MustCompile(`= new ([\w.]+)\(this, "(\w+)"`)
)

// schema is the module's resource as `terraform providers schema -json` gives one.
func (m *module) schema() map[string]any {
	body := m.section("class " + m.class + " extends ")
	_, inputs, _ := strings.Cut(body, "synthesizeHclAttributes() {")
	return map[string]any{"version": 0, "block": m.block(m.class+"Config", inputs, body)}
}

// block gives the arguments that inputs lists and what class offers beside them,
// which can only be read.
func (m *module) block(iface, inputs, class string) map[string]any {
	attributes, blocks := map[string]any{}, map[string]any{}
	for _, in := range input.FindAllStringSubmatch(inputs, -1) {
		name, value, isBlock, kind, storage := in[1], in[2], in[3] == "true", in[4], in[5]
		required := m.required[iface+"."+name]
		if !isBlock {
			attributes[name] = map[string]any{"type": attributeType(kind, storage), requiredOr(required): true}
			continue
		}
		nested := strings.TrimSuffix(storage, "List")
		if kind == "struct" {
			nested = storage
		}
		blocks[name] = m.nested(nested, kind, required, strings.Contains(value, "listMapperHcl"))
	}
	for name, typ := range m.outputs(class) {
		if attributes[name] == nil && blocks[name] == nil {
			attributes[name] = map[string]any{"type": typ, "computed": true}
		}
	}
	b := map[string]any{"attributes": attributes}
	if len(blocks) > 0 {
		b["block_types"] = blocks
	}
	return b
}

func requiredOr(required bool) string {
	if required {
		return "required"
	}
	return "optional"
}

func (m *module) nested(iface, kind string, required, repeated bool) map[string]any {
	lower := strings.ToLower(iface[:1]) + iface[1:]
	inputs := m.section("function " + lower + "ToHclTerraform(")
	b := map[string]any{"block": m.block(iface, inputs, m.section("class "+iface+"OutputReference extends "))}
	if kind == "struct" {
		b["nesting_mode"] = "single"
		return b
	}
	b["nesting_mode"] = kind
	if required {
		b["min_items"] = 1
	}
	if !repeated {
		b["max_items"] = 1
	}
	return b
}

// outputs gives everything that can be read of a class, by name.
func (m *module) outputs(class string) map[string]any {
	all := map[string]any{}
	for _, out := range simpleOutput.FindAllStringSubmatch(class, -1) {
		all[out[2]] = outputType(out[1])
	}
	for _, out := range complexOutput.FindAllStringSubmatch(class, -1) {
		kind, name := out[1], out[2]
		if simple, isSimple := strings.CutPrefix(kind, "cdktn."); isSimple {
			all[name] = outputType(simple)
			continue
		}
		nested := strings.TrimSuffix(strings.TrimSuffix(kind, "List"), "OutputReference")
		all[name] = []any{"list", []any{"object", m.outputs(m.section("class " + nested + "OutputReference extends "))}}
	}
	return all
}

func attributeType(kind, storage string) any {
	switch kind {
	case "list", "set":
		return []any{kind, primitive(strings.TrimSuffix(storage, "List"))}
	case "map":
		return []any{kind, primitive(strings.TrimSuffix(storage, "Map"))}
	}
	return primitive(storage)
}

// outputType reads the part of a getter's name that says what it gets: String,
// StringMap, List (of strings), NumberList.
func outputType(getter string) any {
	switch {
	case getter == "List":
		return []any{"list", "string"}
	case strings.HasSuffix(getter, "List"):
		return []any{"list", primitive(strings.TrimSuffix(getter, "List"))}
	case strings.HasSuffix(getter, "Map"):
		return []any{"map", primitive(strings.TrimSuffix(getter, "Map"))}
	}
	return primitive(getter)
}

// unknown starts what stands for a type that is none; run refuses it.
const unknown = "unknown type "

func primitive(name string) string {
	switch strings.ToLower(name) {
	case "string":
		return "string"
	case "number":
		return "number"
	case "boolean":
		return "bool"
	}
	return unknown + name
}
