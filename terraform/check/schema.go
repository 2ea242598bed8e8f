// Package check holds the Terraform files to the provider's schemas and to our own
// rules, without a network.
//
// What always holds: google.json is the provider's schema as it was recorded, never
// written by hand; it is in the form of `terraform providers schema -json`, so the
// provider's own words may replace it.
//
// It cannot tell what only the provider's code and Google know: whether a value is
// one of those allowed, which arguments exclude each other, whether a name is free.
package check

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

//go:embed google.json
var recorded []byte

// Source is the provider's name as Terraform knows it.
const Source = "registry.terraform.io/hashicorp/google"

// Schemas are a provider's schemas as Terraform asks for them.
type Schemas = tfprotov5.GetProviderSchemaResponse

// Recorded gives the recorded schemas of the Google provider.
func Recorded() (*Schemas, error) { return ParseSchemas(recorded) }

type document struct {
	ProviderSchemas map[string]struct {
		Provider    schemaJSON
		Resources   map[string]schemaJSON `json:"resource_schemas"`
		DataSources map[string]schemaJSON `json:"data_source_schemas"`
	} `json:"provider_schemas"`
}

type schemaJSON struct {
	Version int64
	Block   blockJSON
}

type blockJSON struct {
	Attributes map[string]struct {
		Type                                    json.RawMessage
		Required, Optional, Computed, Sensitive bool
	}
	BlockTypes map[string]struct {
		Nesting  string `json:"nesting_mode"`
		Block    blockJSON
		MinItems int64 `json:"min_items"`
		MaxItems int64 `json:"max_items"`
	} `json:"block_types"`
}

// ParseSchemas reads what `terraform providers schema -json` prints.
func ParseSchemas(text []byte) (*Schemas, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	p, ok := d.ProviderSchemas[Source]
	if !ok {
		return nil, fmt.Errorf("schemas: none of %s", Source)
	}
	provider, err := p.Provider.schema()
	if err != nil {
		return nil, fmt.Errorf("schema of the provider: %w", err)
	}
	resources, err := schemas(p.Resources)
	if err != nil {
		return nil, err
	}
	data, err := schemas(p.DataSources)
	if err != nil {
		return nil, err
	}
	return &Schemas{Provider: provider, ResourceSchemas: resources, DataSourceSchemas: data}, nil
}

func schemas(from map[string]schemaJSON) (map[string]*tfprotov5.Schema, error) {
	all := map[string]*tfprotov5.Schema{}
	for name, s := range from {
		schema, err := s.schema()
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", name, err)
		}
		all[name] = schema
	}
	return all, nil
}

func (s schemaJSON) schema() (*tfprotov5.Schema, error) {
	b, err := s.Block.block()
	return &tfprotov5.Schema{Version: s.Version, Block: b}, err
}

var nestings = map[string]tfprotov5.SchemaNestedBlockNestingMode{
	"single": tfprotov5.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov5.SchemaNestedBlockNestingModeList,
	"set":    tfprotov5.SchemaNestedBlockNestingModeSet,
	"map":    tfprotov5.SchemaNestedBlockNestingModeMap,
	"group":  tfprotov5.SchemaNestedBlockNestingModeGroup,
}

func (b blockJSON) block() (*tfprotov5.SchemaBlock, error) {
	out := &tfprotov5.SchemaBlock{}
	for name, a := range b.Attributes {
		t, err := parseType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Attributes = append(out.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: t, Required: a.Required, Optional: a.Optional, Computed: a.Computed, Sensitive: a.Sensitive,
		})
	}
	for name, n := range b.BlockTypes {
		nested, err := n.Block.block()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		nesting, ok := nestings[n.Nesting]
		if !ok {
			return nil, fmt.Errorf("%s: nesting mode %q is not one that is known", name, n.Nesting)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov5.SchemaNestedBlock{
			TypeName: name, Block: nested, Nesting: nesting, MinItems: n.MinItems, MaxItems: n.MaxItems,
		})
	}
	return out, nil
}

var primitives = map[string]tftypes.Type{
	"string": tftypes.String, "number": tftypes.Number, "bool": tftypes.Bool, "dynamic": tftypes.DynamicPseudoType,
}

// parseType reads a type: "string", ["list", TYPE] or ["object", {NAME: TYPE}].
func parseType(text json.RawMessage) (tftypes.Type, error) {
	var name string
	if json.Unmarshal(text, &name) == nil {
		if t, ok := primitives[name]; ok {
			return t, nil
		}
		return nil, fmt.Errorf("type %q is not one that is known", name)
	}
	var of []json.RawMessage
	if err := json.Unmarshal(text, &of); err != nil || len(of) != 2 || json.Unmarshal(of[0], &name) != nil {
		return nil, fmt.Errorf("type %.40s: want a name, or a kind and what it is of", text)
	}
	if name == "object" {
		return parseObject(of[1])
	}
	element, err := parseType(of[1])
	if err != nil {
		return nil, err
	}
	switch name {
	case "list":
		return tftypes.List{ElementType: element}, nil
	case "set":
		return tftypes.Set{ElementType: element}, nil
	case "map":
		return tftypes.Map{ElementType: element}, nil
	}
	return nil, fmt.Errorf("type %q of something is not one that is known", name)
}

func parseObject(text json.RawMessage) (tftypes.Type, error) {
	var attributes map[string]json.RawMessage
	if json.Unmarshal(text, &attributes) != nil {
		return nil, errors.New("an object's type: want its attributes' types by name")
	}
	types := map[string]tftypes.Type{}
	for name, text := range attributes {
		t, err := parseType(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		types[name] = t
	}
	return tftypes.Object{AttributeTypes: types}, nil
}
