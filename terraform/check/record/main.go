// Command record writes google.json, the schemas that the check validates
// against, from a package that was generated from the provider's own:
//
//	pip download --no-deps cdktn-provider-google==21.1.0   # from PyPI; the archive in _jsii/ holds lib/
//	go run ./record -lib DIR/package/lib -source "cdktn-provider-google 21.1.0 (PyPI)" > google.json
//
// Where the provider itself can be downloaded, its word is better, and the check
// reads it as well: terraform providers schema -json > google.json
//
// The package tells of each argument its name, type, whether it is required, and
// whether a block may be repeated. It does not tell which optional arguments are
// computed where they are not given, nor descriptions: neither matters to
// terraform validate.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
)

// recorded lists what our files use, and what they will: alerts, dashboards,
// BigQuery tables, schemas of topics.
var recorded = struct{ resources, data []string }{
	resources: []string{
		"artifact_registry_repository",
		"bigquery_connection", "bigquery_dataset", "bigquery_dataset_iam_member", "bigquery_table",
		"cloud_run_v2_job", "cloud_run_v2_job_iam_member", "cloud_run_v2_worker_pool",
		"cloud_scheduler_job",
		"kms_crypto_key", "kms_crypto_key_iam_member", "kms_key_ring",
		"logging_metric",
		"monitoring_alert_policy", "monitoring_dashboard", "monitoring_notification_channel",
		"project_iam_custom_role", "project_iam_member", "project_service",
		"pubsub_schema", "pubsub_subscription", "pubsub_subscription_iam_member", "pubsub_topic", "pubsub_topic_iam_member",
		"service_account", "service_account_iam_member",
		"storage_bucket", "storage_bucket_iam_member",
	},
	data: []string{"google_project", "google_storage_project_service_account"},
}

func main() {
	lib := flag.String("lib", "", "folder lib of the unpacked package")
	source := flag.String("source", "", "name and version of the package, for the record")
	flag.Parse()
	if err := run(*lib, *source); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(lib, source string) error {
	out := map[string]any{"format_version": "1.0", "source": source}
	resources, data := map[string]any{}, map[string]any{}
	for _, name := range recorded.resources {
		m, err := load(lib, strings.ReplaceAll(name, "_", "-"))
		if err != nil {
			return err
		}
		resources["google_"+name] = m.schema()
	}
	for _, name := range recorded.data {
		m, err := load(lib, "data-"+strings.ReplaceAll(name, "_", "-"))
		if err != nil {
			return err
		}
		data[name] = m.schema()
	}
	provider, err := load(lib, "provider")
	if err != nil {
		return err
	}
	out["provider_version"] = provider.version
	out["provider_schemas"] = map[string]any{"registry.terraform.io/hashicorp/google": map[string]any{
		"provider": provider.schema(), "resource_schemas": resources, "data_source_schemas": data,
	}}
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return err
	}
	if i := bytes.Index(text, []byte(unknown)); i >= 0 {
		return fmt.Errorf("schemas: %.60s: teach record/block.go this type", text[i:])
	}
	_, err = fmt.Println(string(text))
	return err
}
