package check

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var terraform = flag.String("terraform", "", "terraform's executable; none: files are not validated")

// stub builds the provider once and gives the CLI configuration that names it.
var stub = sync.OnceValues(func() (config string, err error) {
	dir, err := os.MkdirTemp("", "terraform-check-")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-o", dir, "./terraform-provider-google").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the provider: %w\n%s", err, out)
	}
	config = filepath.Join(dir, "cli.tfrc")
	text := fmt.Sprintf("provider_installation {\n  dev_overrides { \"hashicorp/google\" = %q }\n  direct {}\n}\n", dir)
	return config, os.WriteFile(config, []byte(text), 0o644)
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *terraform != "" {
		if config, err := stub(); err == nil {
			os.RemoveAll(filepath.Dir(config))
		}
	}
	os.Exit(code)
}

// validate gives what terraform finds wrong with the files of a folder, a line each.
func validate(t *testing.T, dir string) []string {
	t.Helper()
	if *terraform == "" {
		t.Skip("no -terraform: the files are not validated")
	}
	config, err := stub()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(*terraform, "validate", "-json")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+config, "TF_DATA_DIR="+t.TempDir(), "CHECKPOINT_DISABLE=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output() // its code is 1 where it finds something, which it says
	var result struct {
		Valid       bool
		Diagnostics []struct {
			Severity, Summary, Detail string
			Range                     struct {
				Filename string
				Start    struct{ Line int }
			}
		}
	}
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("terraform validate: %v\n%s%s", err, out, &stderr)
	}
	var found []string
	for _, d := range result.Diagnostics {
		if d.Severity == "error" {
			found = append(found, fmt.Sprintf("%s:%d: %s: %s", d.Range.Filename, d.Range.Start.Line, d.Summary, d.Detail))
		}
	}
	if result.Valid != (len(found) == 0) {
		t.Fatalf("terraform says valid = %v, with %d errors", result.Valid, len(found))
	}
	return found
}

func TestFilesAreValid(t *testing.T) {
	for _, wrong := range validate(t, "..") {
		t.Error(wrong)
	}
}

// That the check sees anything at all is seen here: each of these must be found.
func TestValidationFindsMistakes(t *testing.T) {
	for _, tt := range []struct{ name, file, old, new, want string }{
		{"unknown argument", "storage.tf", "storage_class               =", "storage_clas =", `An argument named "storage_clas" is not expected here`},
		{"unknown argument in a block", "pubsub.tf", "minimum_backoff", "min_backoff", `An argument named "min_backoff" is not expected here`},
		{"unknown block", "pubsub.tf", "dead_letter_policy {", "dead_letters_policy {", `Blocks of type "dead_letters_policy" are not expected here`},
		{"unknown resource", "kms.tf", `resource "google_kms_key_ring"`, `resource "google_kms_keyring"`, `does not support resource type "google_kms_keyring"`},
		{"a number that is none", "pubsub.tf", "max_delivery_attempts = 100", `max_delivery_attempts = "many"`, "a number is required"},
		{"a truth that is none", "pubsub.tf", "enable_message_ordering      = false", `enable_message_ordering = "off"`, "a bool is required"},
		{"a list for a text", "run.tf", `uri         = "`, `uri = ["x"]` + "\nbody = \"", "string required"},
		{"a text for a list", "run.tf", "args  = each.value.args", `args = "--once"`, "list of string required"},
		{"a missing argument", "storage.tf", "location                    = var.region", "", `The argument "location" is required`},
		{"a missing argument in a block", "storage.tf", `action { type = "Delete" }`, "action {}", `The argument "type" is required`},
		{"a missing block", "storage.tf", `condition { age = 1 }`, "", "At least 1 \"condition\" blocks are required"},
		{"a block too many", "storage.tf", "soft_delete_policy { retention_duration_seconds = 0 }", "soft_delete_policy {}\nsoft_delete_policy {}", "No more than 1 \"soft_delete_policy\" blocks are allowed"},
		{"a value that only Google decides", "kms.tf", `purpose         = "ENCRYPT_DECRYPT"`, "effective_labels = {}", "effective_labels can be read, not set"},
		{"a value that only Google decides, of data", "versions.tf", "project_id = var.project", "number = \"1\"", "number can be read, not set"},
		{"a value that only Google decides, in a block", "storage.tf", "retention_duration_seconds = 0", "effective_time = \"2024-01-15T00:00:00Z\"", "effective_time can be read, not set"},
		{"an attribute that does not exist", "outputs.tf", "google_kms_crypto_key.lake.id", "google_kms_crypto_key.lake.idd", `has no argument, nested block, or exported attribute named "idd"`},
		{"a variable that does not exist", "run.tf", "var.image_ingestor", "var.image", "undeclared"},
		{"a default of another type", "variables.tf", "default     = 1024", `default = "much"`, "Invalid default value for variable"},
		{"an unknown setting of the provider", "versions.tf", "region  = var.region", "regon = var.region", `An argument named "regon" is not expected here`},
		{"data that does not exist", "kms.tf", `data "google_storage_project_service_account"`, `data "google_storage_service_account"`, `does not support data source "google_storage_service_account"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := mutant(t, tt.file, tt.old, tt.new)
			found := strings.Join(validate(t, dir), "\n")
			if !strings.Contains(strings.Join(strings.Fields(found), " "), tt.want) {
				t.Errorf("terraform finds\n%s\nwant %q", found, tt.want)
			}
		})
	}
}

// mutant copies the files into a folder of their own and changes the first old.
func mutant(t *testing.T, file, old, new string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	files, err := filepath.Glob("../*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, from := range files {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(from) == file {
			changed := strings.Replace(string(text), old, new, 1)
			if changed == string(text) {
				t.Fatalf("%s has no %q", file, old)
			}
			text = []byte(changed)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(from)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestParseSchemasRefuses(t *testing.T) {
	of := func(block string) string {
		return fmt.Sprintf(`{"provider_schemas":{%q:{"provider":{"block":{}},"resource_schemas":{"google_x":{"block":%s}}}}}`, Source, block)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", "terraform", "invalid character"},
		{"another provider's", `{"provider_schemas":{"registry.terraform.io/hashicorp/aws":{}}}`, "none of " + Source},
		{"an unknown type", of(`{"attributes":{"a":{"type":"text"}}}`), "google_x: a:"},
		{"no type", of(`{"attributes":{"a":{}}}`), "google_x: a:"},
		{"an unknown collection", of(`{"attributes":{"a":{"type":["bag","string"]}}}`), "google_x: a:"},
		{"a wrong object", of(`{"attributes":{"a":{"type":["object",7]}}}`), "google_x: a:"},
		{"an unknown type in an object", of(`{"attributes":{"a":{"type":["list",["object",{"b":"text"}]]}}}`), "google_x: a: b:"},
		{"an unknown nesting", of(`{"block_types":{"b":{"nesting_mode":"bag","block":{}}}}`), `b: nesting mode "bag"`},
		{"an unknown type within", of(`{"block_types":{"b":{"nesting_mode":"set","block":{"attributes":{"a":{"type":["list"]}}}}}}`), "b: a:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseSchemas([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}
