package check

import (
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// readOnly names the arguments that a configuration gives and that only the service
// decides. Terraform leaves this one look at the schema to the provider.
func readOnly(s *tfprotov5.Schema, config *tfprotov5.DynamicValue) []*tfprotov5.Diagnostic {
	if s == nil || config == nil {
		return nil
	}
	v, err := config.Unmarshal(s.ValueType())
	if err != nil {
		return []*tfprotov5.Diagnostic{problem("configuration", err.Error(), tftypes.NewAttributePath())}
	}
	return given(s.Block, v, tftypes.NewAttributePath())
}

func given(b *tfprotov5.SchemaBlock, v tftypes.Value, at *tftypes.AttributePath) []*tfprotov5.Diagnostic {
	var object map[string]tftypes.Value
	if v.IsNull() || !v.IsKnown() || v.As(&object) != nil {
		return nil
	}
	var all []*tfprotov5.Diagnostic
	for _, a := range b.Attributes {
		if a.Computed && !a.Optional && !object[a.Name].IsNull() {
			all = append(all, problem("Value for a read-only argument", fmt.Sprintf("%s can be read, not set.", a.Name), at.WithAttributeName(a.Name)))
		}
	}
	for _, n := range b.BlockTypes {
		for _, element := range elements(n, object[n.TypeName]) {
			all = append(all, given(n.Block, element, at.WithAttributeName(n.TypeName))...)
		}
	}
	return all
}

// elements are the blocks of one name.
func elements(n *tfprotov5.SchemaNestedBlock, v tftypes.Value) []tftypes.Value {
	if n.Nesting == tfprotov5.SchemaNestedBlockNestingModeSingle || n.Nesting == tfprotov5.SchemaNestedBlockNestingModeGroup {
		return []tftypes.Value{v}
	}
	var list []tftypes.Value
	if v.IsNull() || !v.IsKnown() || v.As(&list) != nil {
		return nil
	}
	return list
}

func problem(summary, detail string, at *tftypes.AttributePath) *tfprotov5.Diagnostic {
	return &tfprotov5.Diagnostic{Severity: tfprotov5.DiagnosticSeverityError, Summary: summary, Detail: detail, Attribute: at}
}
