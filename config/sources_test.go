package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated part of docs/configuration.md")

// written makes a file and gives its name.
func written(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// alone clears every variable that a program reads.
func alone(t *testing.T) {
	t.Helper()
	for name, cli := range Programs() {
		for _, flag := range modelOf(name, cli).Flags {
			for _, v := range flag.Envs {
				t.Setenv(v, "")
			}
		}
	}
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	t.Setenv("STORAGE_EMULATOR_HOST", "")
}

const wholeOutput = `{
  "storage_config": {"sensitive": false, "type": ["object", {}], "value": {
    "data_bucket_name": "tf-data", "archive_bucket_name": "tf-archive", "backup_bucket_name": "tf-backup", "temp_bucket_name": "tf-temp",
    "storage_service_account_email": "lake@tf-project.iam.gserviceaccount.com",
    "storage_kms_key_id": "projects/tf-project/locations/us-central1/keyRings/lake/cryptoKeys/data", "region": "europe-west4", "new": [1]}},
  "deployment_variables": {"value": {"GOOGLE_CLOUD_PROJECT": "tf-project", "GCS_MAX_CONNECTIONS": 1000000, "FLUSH_AGE": "7s", "EMBEDDED": false, "other": {"a": 1}}},
  "another": {"value": 3}
}`

// find gives a setting of a program.
func find(t *testing.T, settings []Setting, flag string) Setting {
	t.Helper()
	for _, s := range settings {
		if s.Flag == flag {
			return s
		}
	}
	t.Fatalf("no setting %s", flag)
	return Setting{}
}

// Each place wins over those after it, and every setting says where it is from.
func TestPlacesInOrder(t *testing.T) {
	alone(t)
	terraform := written(t, "out.json", wholeOutput)
	settingsFile := written(t, "settings.yaml", "data-bucket: file-data\narchive-bucket: file-archive\nterraform-output: "+terraform+"\n")
	for _, tt := range []struct {
		name, variable string
		args           []string
		flag, want     string
		from           string
	}{
		{name: "default", flag: "retry-attempts", want: "3", from: "default"},
		{name: "terraform", flag: "backup-bucket", want: "tf-backup", from: terraform + ": storage_config.value.backup_bucket_name"},
		{name: "terraform's variables", flag: "project", want: "tf-project", from: terraform + ": deployment_variables.value.GOOGLE_CLOUD_PROJECT"},
		{name: "a number of terraform's", flag: "max-connections", want: "1000000", from: terraform + ": deployment_variables.value.GCS_MAX_CONNECTIONS"},
		{name: "a truth of terraform's", flag: "embedded", want: "false", from: terraform + ": deployment_variables.value.EMBEDDED"},
		{name: "another variable of terraform's", flag: "flush-age", want: "7s", from: terraform + ": deployment_variables.value.FLUSH_AGE"},
		{name: "region", flag: "region", want: "europe-west4", from: terraform + ": storage_config.value.region"},
		{name: "account", flag: "service-account-email", want: "lake@tf-project.iam.gserviceaccount.com", from: terraform + ": storage_config.value.storage_service_account_email"},
		{name: "key", flag: "kms-key-id", want: "projects/tf-project/locations/us-central1/keyRings/lake/cryptoKeys/data", from: terraform + ": storage_config.value.storage_kms_key_id"},
		{name: "temp", flag: "temp-bucket", want: "tf-temp", from: terraform + ": storage_config.value.temp_bucket_name"},
		{name: "file over terraform", flag: "archive-bucket", want: "file-archive", from: settingsFile + ":2"},
		{name: "variable over file", variable: "env-data", flag: "data-bucket", want: "env-data", from: "GCS_DATA_BUCKET"},
		{name: "an empty variable is none", flag: "data-bucket", want: "file-data", from: settingsFile + ":1"},
		{name: "flag over variable", variable: "env-data", args: []string{"--data-bucket", "flag-data"}, flag: "data-bucket", want: "flag-data", from: "flag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GCS_DATA_BUCKET", tt.variable)
			t.Setenv("BUFFET_CONFIG", settingsFile)
			settings, values, err := Effective("ingestor", tt.args)
			if err != nil {
				t.Fatal(err)
			}
			got := find(t, settings, tt.flag)
			if got.Value != tt.want || got.Source != tt.from {
				t.Errorf("--%s = %q from %q, want %q from %q", tt.flag, got.Value, got.Source, tt.want, tt.from)
			}
			if tt.flag == "data-bucket" && values.(*IngestorSettings).DataBucket != tt.want {
				t.Errorf("the program gets %q", values.(*IngestorSettings).DataBucket)
			}
		})
	}
}

// A file serves several programs: sections are theirs alone, lists and maps are
// written as such, and JSON is YAML.
func TestFileForms(t *testing.T) {
	alone(t)
	for _, tt := range []struct {
		name, content, program, flag, want string
	}{
		{"a program's own section wins", "memory-budget: 1GiB\ncompactor: {memory-budget: 2GiB}", "compactor", "memory-budget", "2GiB"},
		{"another program's section does not", "memory-budget: 1GiB\ncompactor: {memory-budget: 2GiB}", "ingestor", "memory-budget", "1GiB"},
		{"a section of buffetctl is left alone", "buffetctl: {query: {limit: 3}}\nflush-rows: 5", "ingestor", "flush-rows", "5"},
		{"a list", "types: [forecasts, market_data]", "ingestor", "types", "forecasts,market_data"},
		{"a list in one text", "types: forecasts,market_data", "ingestor", "types", "forecasts,market_data"},
		{"a map", "subscription:\n  market_data: a\n  forecasts: b", "ingestor", "subscription", "forecasts=b,market_data=a"},
		{"JSON", `{"flush-bytes": "64MiB", "embedded": true}`, "ingestor", "flush-bytes", "64MiB"},
		{"a bare number as a size", "flush-bytes: 512", "ingestor", "flush-bytes", "512"},
		{"null is not set", "flush-rows: null", "ingestor", "flush-rows", "100000"},
		{"an alias", "archive-bucket: &b my-archive\ningestor: {temp-bucket: *b}", "compactor", "archive-bucket", "my-archive"},
		{"an empty file", "", "ingestor", "flush-rows", "100000"},
		{"comments alone", "# nothing yet\n", "ingestor", "flush-rows", "100000"},
		{"a time stays as it is written", "published-at: 2024-01-15T14:30:52Z", "backfill", "published-at", "2024-01-15T14:30:52Z"},
		{"a setting of another program", "rate: 5", "ingestor", "flush-rows", "100000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GCS_DATA_BUCKET", "file:///lake")
			settings, _, err := Effective(tt.program, []string{"--config", written(t, "s.yaml", tt.content), "--project", "my-project"})
			if err != nil {
				t.Fatal(err)
			}
			if got := find(t, settings, tt.flag).Value; got != tt.want {
				t.Errorf("--%s = %q, want %q", tt.flag, got, tt.want)
			}
		})
	}
}

// What is wrong with a file or with terraform's output is said plainly, with the
// place; nothing of it panics.
func TestBadFiles(t *testing.T) {
	alone(t)
	for _, tt := range []struct {
		name, flag, content string
		want                []string
	}{
		{"a mistyped key", "config", "data-buket: x", []string{`:1: unknown key "data-buket"; the nearest known one is "data-bucket"`}},
		{"an underscore", "config", "flush_rows: 3", []string{`the nearest known one is "flush-rows"`}},
		{"a variable as a key", "config", "GCS_KMS_KEY_ID: x", []string{`the nearest known one is "kms-key-id"`}},
		{"a mistyped key in a section", "config", "compactor:\n  intervall: 5m", []string{`:2: unknown key "compactor.intervall"; the nearest known one is "interval"`}},
		{"a section that is none", "config", "flush-rows: {a: 3}", []string{"--flush-rows: want one value (from ", ":1)"}},
		{"a list that is none", "config", "flush-age: [3s]", []string{"--flush-age: want one value"}},
		{"a list in a list", "config", "types: [[a]]", []string{"--types: want a list of single values"}},
		{"a map for a list", "config", "types: {a: b}", []string{"--types: want one value or a list"}},
		{"a list for a map", "config", "subscription: [a]", []string{"--subscription: want names with values"}},
		{"a deep map", "config", "subscription: {a: {b: c}}", []string{"--subscription: want names with single values"}},
		{"a value for a section", "config", "ingestor: 3", []string{`key "ingestor": want settings of ingestor below it`}},
		{"a key twice", "config", "flush-rows: 3\nflush-age: 3s\nflush-rows: 4", []string{`:3: key "flush-rows" is given twice; the first is in line 1`}},
		{"the file names another", "config", "config: other.yaml", []string{`unknown key "config"`}},
		{"several at once", "config", "a-key: 1\nflush-rows: many\nb-key: 2", []string{`"a-key"`, `"b-key"`, "--flush-rows: expected", ":2)"}},
		{"no YAML", "config", "a: [", []string{"settings file", "yaml"}},
		{"a list at the top", "config", "- a", []string{"want keys and values"}},
		{"several documents", "config", "flush-rows: 3\n---\nflush-rows: 4", []string{"several documents"}},
		{"too large", "config", "# " + strings.Repeat("x", maxFile), []string{"larger than 1MiB"}},
		{"an alias of itself", "config", "ingestor: &a {ingestor: *a}", []string{`unknown key "ingestor.ingestor"`}},
		{"no JSON", "terraform-output", "terraform: command not found", []string{"not what terraform output -json prints"}},
		{"an array", "terraform-output", "[]", []string{"an object of outputs is wanted"}},
		{"null", "terraform-output", "null", []string{"an object of outputs is wanted"}},
		{"no outputs", "terraform-output", "{}", []string{"neither storage_config nor deployment_variables"}},
		{"an output without its frame", "terraform-output", `{"storage_config": "x"}`, []string{"storage_config: want an object with a value"}},
		{"a value that is none", "terraform-output", `{"storage_config": {"value": "x"}, "deployment_variables": {"value": []}}`, []string{"storage_config: its value must be an object", "deployment_variables: its value must be an object"}},
		{"a field that is none", "terraform-output", `{"storage_config": {"value": {"data_bucket_name": ["a"]}}}`, []string{"--data-bucket: want one value (from ", "storage_config.value.data_bucket_name"}},
		{"a wrong value", "terraform-output", `{"storage_config": {"value": {"region": "Mars!"}}}`, []string{`--region "Mars!": want a region's name`, "storage_config.value.region)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOOGLE_CLOUD_PROJECT", "my-project")
			_, _, err := Effective("ingestor", []string{"--" + tt.flag, written(t, "f", tt.content)})
			var usage *UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("error = %v, want a usage error", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	for _, content := range []string{ // null and absent fields are no mistakes
		`{"storage_config": {"value": {"storage_kms_key_id": null, "data_bucket_name": "", "region": ""}}}`, `{"deployment_variables": null, "storage_config": {"value": null}}`,
	} {
		settings, _, err := Effective("ingestor", []string{"--data-bucket=my-lake", "--project=my-project", "--terraform-output", written(t, "f", content)})
		if err != nil || find(t, settings, "region").Source != "default" {
			t.Errorf("%s: %v, %v", content, err, find(t, settings, "region"))
		}
	}
}

func TestMissingFilesAreNamedWithWhoNamesThem(t *testing.T) {
	alone(t)
	t.Setenv("TERRAFORM_OUTPUT", "/nowhere/out.json")
	_, _, err := Effective("ingestor", []string{"--config=/nowhere/settings.yaml", "--data-bucket=my-lake", "--project=my-project"})
	for _, want := range []string{"/nowhere/settings.yaml: no such file or directory (from --config)", "/nowhere/out.json: no such file or directory (from TERRAFORM_OUTPUT)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

// Flags, variables, file, terraform's output and the groups' own checks: one run
// names what is wrong with all of them, each once, with its place.
func TestMistakesOfEveryPlaceAtOnce(t *testing.T) {
	alone(t)
	t.Setenv("GCS_TIMEOUT_SECONDS", "soon")
	t.Setenv("GCS_MAX_CONNECTIONS", "0")
	t.Setenv("LOG_LEVEL", "loud")
	settingsFile := written(t, "s.yaml", "flush-rows: many\nflush-aeg: 3s\n")
	terraform := written(t, "o.json", `{"storage_config": {"value": {"data_bucket_name": "Upper"}}}`)
	_, err := Parse(&IngestorSettings{}, "ingestor", "", []string{
		"--colour", "red", "--config", settingsFile, "--terraform-output", terraform, "--flush-bytes", "-1", "--shape=round", "--retry-attempts=x", "--idle-exit",
	}, &bytes.Buffer{})
	lines := strings.Split(message(err), "\n")
	for _, want := range []string{
		"unknown flag --colour", "unknown flag --shape", `--flush-bytes: size "-1"`, "--retry-attempts: expected", "--idle-exit: a value is needed",
		"unknown key \"flush-aeg\"", "--flush-rows: expected a valid 64 bit int but got \"many\" (from " + settingsFile + ":1)",
		`--timeout-seconds: expected a valid 64 bit int but got "soon" (from GCS_TIMEOUT_SECONDS)`,
		"--max-connections 0: at least 1 is needed (from GCS_MAX_CONNECTIONS)", `--log-level: must be one of debug, info, warn, error but got "loud" (from LOG_LEVEL)`,
		`--data-bucket "Upper": want a bucket's name`, "(from " + terraform + ": storage_config.value.data_bucket_name)", "no project",
	} {
		if n := strings.Count(message(err), want); n != 1 {
			t.Errorf("%q is said %d times in:\n%v", want, n, err)
		}
	}
	if len(lines) != 12 {
		t.Errorf("%d problems, want 12 and no consequences of them:\n%v", len(lines), err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestShapes(t *testing.T) {
	for _, tt := range []struct {
		kind, value string
		ok          bool
	}{
		{"bucket", "my-lake", true},
		{"bucket", "gs://my_lake.example.com/", true},
		{"bucket", "file:///var/lake", true},
		{"bucket", "file://var/lake", false},
		{"bucket", "gs://my-lake/folder", false},
		{"bucket", "s3://my-lake", false},
		{"bucket", "My-lake", false},
		{"bucket", "-lake", false},
		{"bucket", "lake-", false},
		{"bucket", "ab", false},
		{"bucket", "a..b", false},
		{"bucket", "10.0.0.1", false},
		{"bucket", "google-lake", false},
		{"bucket", "my-google-lake", false},
		{"bucket", strings.Repeat("a", 64), false},
		{"bucket", strings.Repeat("a", 63), true},
		{"project", "my-project-1", true},
		{"project", "example.com:my-project", true},
		{"project", "short", false},
		{"project", "My-project", false},
		{"project", "1project", false},
		{"project", "my-project-", false},
		{"project", strings.Repeat("p", 31), false},
		{"account", "lake@my-project.iam.gserviceaccount.com", true},
		{"account", "123-compute@developer.gserviceaccount.com", true},
		{"account", "me@example.com", false},
		{"account", "my-project.iam.gserviceaccount.com", false},
		{"key", "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k", true},
		{"key", "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", false},
		{"key", "my-key", false},
		{"region", "us-central1", true},
		{"region", "EU", true},
		{"region", "nam4", true},
		{"region", "us central1", false},
		{"region", "us-central1-a", false},
	} {
		s := Store{DataBucket: "gs://other", Connections: 1, RetryAttempts: 1, Timeout: 1, BreakerOpen: 1}
		switch tt.kind {
		case "bucket":
			s.DataBucket = tt.value
		case "project":
			s.Project = tt.value
		case "account":
			s.ServiceAccount = tt.value
		case "key":
			s.KMSKey = tt.value
		case "region":
			s.Region = tt.value
		}
		if problems := s.Problems(); (len(problems) == 0) != tt.ok {
			t.Errorf("%s %q: problems %v, want some: %v", tt.kind, tt.value, problems, !tt.ok)
		}
	}
}

func TestFoldersOfBucketsAreExplained(t *testing.T) {
	if err := CheckBucket("gs://my-lake/folder"); !strings.Contains(message(err), "without a folder") {
		t.Errorf("error = %v", err)
	}
}

// An emulator takes any project.
func TestProjectsOfEmulators(t *testing.T) {
	t.Setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:8085")
	s := IngestorSettings{Store: Store{DataBucket: "my-lake", Project: "e2e", Connections: 1, RetryAttempts: 1, Timeout: 1, BreakerOpen: 1}}
	for _, err := range s.Problems() {
		if strings.Contains(err.Error(), "project") {
			t.Error(err)
		}
	}
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	s.DataBucket = "file:///lake"
	if all := message(errors.Join(s.Problems()...)); !strings.Contains(all, `--project "e2e"`) {
		t.Errorf("problems %q do not name the project", all)
	}
}

func TestBucketsMustDiffer(t *testing.T) {
	for _, tt := range []struct {
		data, archive string
		ok            bool
	}{
		{"my-lake", "my-archive", true},
		{"my-lake", "gs://my-lake/", false},
		{"file:///lake", "file:///archive", true},
		{"file:///lake", "file:///lake-archive", true},
		{"file:///lake", "file:///lake/archive", false},
		{"file:///lake/data", "file:///lake/", false},
		{"file:///lake", "my-lake", true},
	} {
		s := Store{DataBucket: tt.data, ArchiveBucket: tt.archive, Connections: 1, RetryAttempts: 1, Timeout: 1, BreakerOpen: 1}
		if problems := s.Problems(); (len(problems) == 0) != tt.ok {
			t.Errorf("data %s, archive %s: problems %v", tt.data, tt.archive, problems)
		}
	}
	s := Store{DataBucket: "one", ArchiveBucket: "two", BackupBucket: "two", TempBucket: "one"}
	if all := message(errors.Join(s.shapes()...)); strings.Count(all, "must be another one") != 2 {
		t.Errorf("problems = %q, want two buckets named", all)
	}
}

// What a deployment lacks is named whole; a local lake lacks nothing.
func TestMissing(t *testing.T) {
	s := Store{DataBucket: "my-lake"}
	all := message(errors.Join(s.Missing()...))
	for _, want := range []string{"GOOGLE_CLOUD_PROJECT", "GCS_ARCHIVE_BUCKET", "GCS_BACKUP_BUCKET", "GCS_TEMP_BUCKET", "GCS_SERVICE_ACCOUNT_EMAIL"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q does not name %s", all, want)
		}
	}
	if strings.Contains(all, "GCS_DATA_BUCKET") {
		t.Errorf("%q names what is there", all)
	}
	if s.DataBucket = "file:///lake"; s.Missing() != nil {
		t.Errorf("a local lake lacks %v", s.Missing())
	}
}

// Every flag has a variable of its own, unless the programs share the setting,
// and a default or none that is meant.
func TestEveryFlagHasAVariable(t *testing.T) {
	for name, cli := range Programs() {
		seen := map[string]string{}
		for _, flag := range modelOf(name, cli).Flags {
			if flag.Name == "help" {
				continue
			}
			if len(flag.Envs) == 0 {
				t.Errorf("%s --%s has no variable", name, flag.Name)
			}
			for _, v := range flag.Envs {
				if other, taken := seen[v]; taken {
					t.Errorf("%s: %s sets --%s and --%s", name, v, other, flag.Name)
				}
				seen[v] = flag.Name
			}
		}
	}
	if got := find(t, must(Effective("compactor", nil)), "once").Variable; got != "COMPACTOR_ONCE" {
		t.Errorf("variable of compactor --once = %s", got)
	}
}

func must(settings []Setting, _ any, _ error) []Setting { return settings }

// A command's own flags have variables and keys of their own; those it shares have
// the shared ones.
func TestCommandsDoNotShareTheirOwnFlags(t *testing.T) {
	alone(t)
	type command struct {
		Store
		Limit int `default:"9"`
	}
	read := func(t *testing.T, args ...string) (first, second command) {
		t.Helper()
		var c struct {
			First  command `cmd:""`
			Second struct {
				Deep command `cmd:""`
			} `cmd:""`
		}
		if _, err := Parse(&c, "buffetctl", "", args, &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		return c.First, c.Second.Deep
	}
	name := written(t, "s.yaml", "data-bucket: shared\nfirst: {limit: 3}\nbuffetctl:\n  second:\n    deep: {limit: 4, data-bucket: deep-lake}\n")
	t.Setenv("BUFFET_CONFIG", name)
	if got, _ := read(t, "first"); got.Limit != 3 || got.DataBucket != "shared" {
		t.Errorf("first: %d, %s", got.Limit, got.DataBucket)
	}
	if _, got := read(t, "second", "deep"); got.Limit != 4 || got.DataBucket != "deep-lake" {
		t.Errorf("second deep: %d, %s", got.Limit, got.DataBucket)
	}
	t.Setenv("BUFFETCTL_SECOND_DEEP_LIMIT", "5")
	if got, _ := read(t, "first"); got.Limit != 3 {
		t.Errorf("first: %d by another's variable", got.Limit)
	}
	if _, got := read(t, "second", "deep"); got.Limit != 5 {
		t.Errorf("second deep: %d", got.Limit)
	}
	var c struct {
		First command `cmd:""`
	}
	var rated struct {
		First struct {
			Rate int `default:"9"`
		} `cmd:""`
	}
	t.Setenv("BUFFET_CONFIG", written(t, "s.yaml", "rate: 3")) // that of backfill
	if _, err := Parse(&rated, "buffetctl", "", []string{"first"}, &bytes.Buffer{}); err != nil || rated.First.Rate != 9 {
		t.Errorf("rate = %d, %v; another program's is not the command's own", rated.First.Rate, err)
	}
	t.Setenv("BUFFET_CONFIG", written(t, "s.yaml", "limit: 3\ndata-bucket: shared"))
	_, err := Parse(&c, "buffetctl", "", []string{"first"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), `unknown key "limit"`) {
		t.Errorf("error = %v; a command's own key stands under the command", err)
	}
}

// A required flag may be set from anywhere; where it is not, it is named together
// with the other mistakes.
func TestRequiredFlags(t *testing.T) {
	alone(t)
	_, err := Parse(&BackfillSettings{}, "backfill", "", []string{"--project=my-project", "--rate=-1"}, &bytes.Buffer{})
	for _, want := range []string{"--from", "--rate -1"} {
		if !strings.Contains(message(err), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	var s BackfillSettings
	t.Setenv("BUFFET_CONFIG", written(t, "s.yaml", "backfill: {from: ['a,b.csv', c.csv], project: my-project}"))
	if _, err := Parse(&s, "backfill", "", nil, &bytes.Buffer{}); err != nil || len(s.From) != 2 || s.From[0] != "a,b.csv" {
		t.Errorf("from = %q, %v", s.From, err)
	}
}

func TestProgramsThatAreNotKnown(t *testing.T) {
	if _, _, err := Effective("console", nil); Exit("test", err) != 2 {
		t.Errorf("error = %v, want a usage error", err)
	}
	if got := Problems(nil); got != nil {
		t.Errorf("problems of no error: %v", got)
	}
}

// FuzzFile: whatever stands in the files, it is settings or a usage error.
func FuzzFile(f *testing.F) {
	for _, s := range []string{"a: b", "ingestor: {flush-rows: 3}", "&a [*a]", "? [a]: b", "!!binary x", "types: [a, 1, ~]", "<<: {a: b}", wholeOutput, "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, flag := range []string{"config", "terraform-output"} {
			_, _, err := Effective("ingestor", []string{"--" + flag, name})
			var usage *UsageError
			if err != nil && !errors.As(err, &usage) {
				t.Fatalf("%s: %v", flag, err)
			}
		}
	})
}
