// Command terraform-provider-google answers `terraform validate` in the place of the
// provider of that name, from its recorded schemas. It is found through a
// dev_overrides entry, under this name.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"

	"github.com/buffetbot/ingest/terraform/check"
)

func main() {
	schemas, err := check.Recorded()
	if err == nil {
		err = tf5server.Serve(check.Source, func() tfprotov5.ProviderServer { return check.NewProvider(schemas) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "terraform-provider-google (recorded schemas):", err)
		os.Exit(1)
	}
}
