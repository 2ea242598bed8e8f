package check

import (
	"context"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
)

// A Provider answers what `terraform validate` asks a provider: its schemas. It
// does nothing: Configure, without which Terraform neither
// plans nor applies, refuses. The other methods are never reached, and are absent.
type Provider struct {
	tfprotov5.ProviderServer
	schemas *Schemas
}

// NewProvider makes a provider of these schemas.
func NewProvider(s *Schemas) *Provider { return &Provider{schemas: s} }

// GetMetadata names everything there is.
func (p *Provider) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	m := &tfprotov5.GetMetadataResponse{}
	for name := range p.schemas.ResourceSchemas {
		m.Resources = append(m.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	for name := range p.schemas.DataSourceSchemas {
		m.DataSources = append(m.DataSources, tfprotov5.DataSourceMetadata{TypeName: name})
	}
	return m, nil
}

// GetProviderSchema gives the schemas.
func (p *Provider) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*Schemas, error) {
	return p.schemas, nil
}

// GetResourceIdentitySchemas gives none.
func (p *Provider) GetResourceIdentitySchemas(context.Context, *tfprotov5.GetResourceIdentitySchemasRequest) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

// PrepareProviderConfig takes the configuration as it is.
func (p *Provider) PrepareProviderConfig(_ context.Context, r *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

// ValidateResourceTypeConfig adds to Terraform's own look at the schema that a
// read-only argument is not set.
func (p *Provider) ValidateResourceTypeConfig(_ context.Context, r *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{Diagnostics: readOnly(p.schemas.ResourceSchemas[r.TypeName], r.Config)}, nil
}

// ValidateDataSourceConfig does the same.
func (p *Provider) ValidateDataSourceConfig(_ context.Context, r *tfprotov5.ValidateDataSourceConfigRequest) (*tfprotov5.ValidateDataSourceConfigResponse, error) {
	return &tfprotov5.ValidateDataSourceConfigResponse{Diagnostics: readOnly(p.schemas.DataSourceSchemas[r.TypeName], r.Config)}, nil
}

// ConfigureProvider refuses: this provider reaches nothing.
func (p *Provider) ConfigureProvider(context.Context, *tfprotov5.ConfigureProviderRequest) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{Diagnostics: []*tfprotov5.Diagnostic{{
		Severity: tfprotov5.DiagnosticSeverityError,
		Summary:  "This provider only validates",
		Detail:   "It holds recorded schemas and reaches no Google Cloud. Unset TF_CLI_CONFIG_FILE to plan and apply with the real one.",
	}}}, nil
}

// StopProvider has nothing to stop.
func (p *Provider) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}
