package check

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/dynblock"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// A module is the Terraform files, evaluated with their variables' defaults as far
// as that is possible without a provider. What only Google knows of a resource
// stands as its own address: google_storage_bucket.data has the name
// "google_storage_bucket.data.name".
type module struct {
	t         testing.TB
	ctx       *hcl.EvalContext
	locals    map[string]cty.Value
	outputs   map[string]cty.Value
	resources map[string]resource // by address: google_pubsub_topic.data["market_data"]
}

// A resource is one instance of a resource block.
type resource struct {
	module  *module
	kind    string
	address string
	key     string
	body    *hclsyntax.Body
	ctx     *hcl.EvalContext
}

// chosen are the variables that have no default, and those whose default is nobody.
var chosen = map[string]cty.Value{
	"project":         cty.StringVal("my-project"),
	"image_ingestor":  cty.StringVal("ingestor@sha256:0"),
	"image_compactor": cty.StringVal("compactor@sha256:0"),
	"publishers":      cty.SetVal([]cty.Value{cty.StringVal("serviceAccount:fetcher")}),
	"operators":       cty.SetVal([]cty.Value{cty.StringVal("group:operators")}),
	"analysts":        cty.SetVal([]cty.Value{cty.StringVal("group:analysts")}),
}

var functions = map[string]function.Function{
	"can": tryfunc.CanFunc, "coalesce": stdlib.CoalesceFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc,
	"floor": stdlib.FloorFunc, "join": stdlib.JoinFunc, "keys": stdlib.KeysFunc, "merge": stdlib.MergeFunc, "regex": stdlib.RegexFunc,
	"replace": stdlib.ReplaceFunc, "sort": stdlib.SortFunc, "toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
	"try": tryfunc.TryFunc, "values": stdlib.ValuesFunc,
}

// load evaluates the files of a folder.
func load(t testing.TB, dir string) *module {
	t.Helper()
	m := &module{
		t: t, locals: map[string]cty.Value{}, outputs: map[string]cty.Value{}, resources: map[string]resource{},
		ctx: &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{}},
	}
	blocks := parse(t, dir)
	variables := maps.Clone(chosen)
	for _, b := range blocks["variable"] {
		if d, ok := b.Body.Attributes["default"]; ok && variables[b.Labels[0]] == cty.NilVal {
			variables[b.Labels[0]] = m.eval(d.Expr, m.ctx)
		}
	}
	m.ctx.Variables["var"] = cty.ObjectVal(variables)
	// Locals are of resources, and resources of locals and each other: again, until
	// every for_each is known.
	for keys, known := addresses(m, blocks), -1; ; keys = addresses(m, blocks) {
		m.evalLocals(blocks["locals"])
		m.instances(blocks["resource"], keys)
		if len(keys) == known {
			break
		}
		known = len(keys)
	}
	for _, b := range blocks["resource"] {
		if _, ok := b.Body.Attributes["for_each"]; ok && len(m.named(b)) == 0 {
			t.Fatalf("for_each of %s.%s cannot be evaluated, or is empty", b.Labels[0], b.Labels[1])
		}
	}
	for _, b := range blocks["output"] {
		m.outputs[b.Labels[0]] = m.eval(b.Body.Attributes["value"].Expr, m.ctx)
	}
	return m
}

func parse(t testing.TB, dir string) map[string]hclsyntax.Blocks {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	all, parser := map[string]hclsyntax.Blocks{}, hclparse.NewParser()
	for _, name := range files {
		f, problems := parser.ParseHCLFile(name)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		for _, b := range f.Body.(*hclsyntax.Body).Blocks {
			all[b.Type] = append(all[b.Type], b)
		}
	}
	return all
}

func (m *module) eval(e hcl.Expression, ctx *hcl.EvalContext) cty.Value {
	m.t.Helper()
	v, problems := e.Value(ctx)
	if problems.HasErrors() {
		m.t.Fatal(problems)
	}
	return v
}

// evalLocals evaluates locals, which may use each other, until all are.
func (m *module) evalLocals(blocks hclsyntax.Blocks) {
	m.t.Helper()
	left := map[string]hcl.Expression{}
	for _, b := range blocks {
		for name, a := range b.Body.Attributes {
			left[name] = a.Expr
		}
	}
	m.locals = map[string]cty.Value{}
	for len(left) > 0 {
		var last hcl.Diagnostics
		before := len(left)
		for name, e := range left {
			m.ctx.Variables["local"] = cty.ObjectVal(m.locals)
			v, problems := e.Value(m.ctx)
			if problems.HasErrors() {
				last = problems
				continue
			}
			m.locals[name] = v
			delete(left, name)
		}
		if len(left) == before {
			m.t.Fatalf("locals %q: %v", slices.Collect(maps.Keys(left)), last)
		}
	}
	m.ctx.Variables["local"] = cty.ObjectVal(m.locals)
}

// exported are the attributes of a resource that stand for themselves.
var exported = []string{"id", "name", "email", "member", "location", "number"}

func self(address string) cty.Value {
	attributes := map[string]cty.Value{}
	for _, name := range exported {
		attributes[name] = cty.StringVal(address + "." + name)
	}
	return cty.ObjectVal(attributes)
}

// addresses puts every resource and data source into the scope, and gives the keys
// of those with for_each that can be told yet.
func addresses(m *module, blocks map[string]hclsyntax.Blocks) map[*hclsyntax.Block]cty.Value {
	m.t.Helper()
	scopes, keys := map[string]map[string]cty.Value{"data": {}}, map[*hclsyntax.Block]cty.Value{}
	for _, b := range blocks["data"] {
		scopes["data"][b.Labels[0]] = cty.ObjectVal(map[string]cty.Value{b.Labels[1]: self("data." + b.Labels[0] + "." + b.Labels[1])})
	}
	for _, b := range blocks["resource"] {
		kind, name := b.Labels[0], b.Labels[1]
		address := kind + "." + name
		if scopes[kind] == nil {
			scopes[kind] = map[string]cty.Value{}
		}
		each, ok := b.Body.Attributes["for_each"]
		if !ok {
			scopes[kind][name] = self(address)
			continue
		}
		v, problems := each.Expr.Value(m.ctx)
		if problems.HasErrors() || !v.IsWhollyKnown() { // of something that is not evaluated yet
			scopes[kind][name] = cty.DynamicVal
			continue
		}
		keys[b] = v
		of := map[string]cty.Value{}
		for it := v.ElementIterator(); it.Next(); {
			k, _ := it.Element()
			of[k.AsString()] = self(fmt.Sprintf("%s[%s]", address, k.AsString()))
		}
		scopes[kind][name] = cty.ObjectVal(of)
	}
	for kind, scope := range scopes {
		m.ctx.Variables[kind] = cty.ObjectVal(scope)
	}
	return keys
}

func (m *module) instances(blocks hclsyntax.Blocks, keys map[*hclsyntax.Block]cty.Value) {
	m.resources = map[string]resource{}
	for _, b := range blocks {
		kind, address := b.Labels[0], b.Labels[0]+"."+b.Labels[1]
		r := resource{module: m, kind: kind, address: address, body: b.Body, ctx: m.ctx}
		if _, ok := b.Body.Attributes["for_each"]; !ok {
			m.resources[address] = r
			continue
		}
		each, ok := keys[b]
		if !ok {
			continue
		}
		for it := each.ElementIterator(); it.Next(); {
			k, v := it.Element()
			r.key, r.address, r.ctx = k.AsString(), fmt.Sprintf("%s[%s]", address, k.AsString()), m.ctx.NewChild()
			r.ctx.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": k, "value": v})}
			m.resources[r.address] = r
		}
	}
}

// named gives the instances of one block.
func (m *module) named(b *hclsyntax.Block) []resource {
	var all []resource
	for _, r := range m.resources {
		if r.body == b.Body {
			all = append(all, r)
		}
	}
	return all
}

// of gives the instances of a kind, in order of their addresses.
func (m *module) of(kind string) []resource {
	var all []resource
	for _, address := range slices.Sorted(maps.Keys(m.resources)) {
		if m.resources[address].kind == kind {
			all = append(all, m.resources[address])
		}
	}
	if len(all) == 0 {
		m.t.Fatalf("there is no %s", kind)
	}
	return all
}

// A node is a block with its dynamic blocks written out.
type node struct {
	resource resource
	body     hcl.Body
}

func (r resource) node() node { return node{r, dynblock.Expand(r.body, r.ctx)} }

// value gives an argument of the resource, null where it is not given.
func (r resource) value(name string) cty.Value { return r.node().value(name) }

func (n node) value(name string) cty.Value {
	n.resource.module.t.Helper()
	content, _, problems := n.body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	if problems.HasErrors() {
		n.resource.module.t.Fatal(problems)
	}
	a, ok := content.Attributes[name]
	if !ok {
		return cty.NullVal(cty.DynamicPseudoType)
	}
	return n.resource.module.eval(a.Expr, n.resource.ctx)
}

// blocks gives the blocks of a name.
func (n node) blocks(name string) []node {
	n.resource.module.t.Helper()
	content, _, problems := n.body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: name}}})
	if problems.HasErrors() {
		n.resource.module.t.Fatal(problems)
	}
	var all []node
	for _, b := range content.Blocks {
		all = append(all, node{n.resource, b.Body})
	}
	return all
}

// block gives the one block of a name; none is an empty one.
func (n node) block(name string) node {
	n.resource.module.t.Helper()
	all := n.blocks(name)
	switch len(all) {
	case 0:
		return node{n.resource, hcl.EmptyBody()}
	case 1:
		return all[0]
	}
	n.resource.module.t.Fatalf("%s has %d blocks %s", n.resource.address, len(all), name)
	return node{}
}

// text gives an argument as text, "" where it is null.
func (n node) text(name string) string { return text(n.value(name)) }

func text(v cty.Value) string {
	if v.IsNull() {
		return ""
	}
	s, err := convert.Convert(v, cty.String)
	if err != nil || !s.IsKnown() {
		return fmt.Sprintf("%#v", v)
	}
	return s.AsString()
}

// texts gives a list's elements, or an object's values by name.
func texts(v cty.Value) []string {
	var all []string
	if v.IsNull() {
		return nil
	}
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		all = append(all, text(e))
	}
	return all
}

func fields(v cty.Value) map[string]string {
	all := map[string]string{}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		all[k.AsString()] = text(e)
	}
	return all
}
