package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/buffetbot/ingest/config"
)

// Five mistakes in five places: one run of the program names them all, starts
// nothing and ends with 2.
func TestFiveMistakesInOneRun(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	settings, terraform := filepath.Join(dir, "lake.yaml"), filepath.Join(dir, "outputs.json")
	if err := os.WriteFile(settings, []byte("flush-aeg: 3s\nregion: Mars!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(terraform, []byte(`{"storage_config": {"value": {"archive_bucket_name": "Upper"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"GCS_DATA_BUCKET=my-lake", "GOOGLE_CLOUD_PROJECT=my-project", "GCS_BACKUP_BUCKET=my-backup", "GCS_TEMP_BUCKET=my-temp",
		"GCS_SERVICE_ACCOUNT_EMAIL=lake@my-project.iam.gserviceaccount.com",
		"GCS_COMPRESSION=zstd", "FLUSH_ROWS=0",
	}
	wanted := []string{
		`unknown key "flush-aeg"; the nearest known one is "flush-age"`, `--region "Mars!"`, `--archive-bucket "Upper"`,
		`--compression: must be one of snappy but got "zstd" (from GCS_COMPRESSION)`, "--flush-rows 0: must be greater than 0 (from FLUSH_ROWS)",
	}
	for _, args := range [][]string{{"config", "check"}, {"config", "show"}, {"config", "check", "--for", "ingestor"}} {
		out, diagnostics, code := process(t, env, append(args, "--config", settings, "--terraform-output", terraform)...)
		if code != 2 || out != "" {
			t.Errorf("%v: exit code %d, output %q", args, code, out)
		}
		for _, want := range wanted {
			if strings.Count(diagnostics, want) != 1 {
				t.Errorf("%v: %q is not said once in\n%s", args, want, diagnostics)
			}
		}
		if n := strings.Count(diagnostics, "\n"); n != len(wanted) {
			t.Errorf("%v: %d lines for %d mistakes:\n%s", args, n, len(wanted), diagnostics)
		}
	}
}

// A deployment on Google Cloud needs six settings; all that are missing are named.
func TestWholeDeploymentIsWanted(t *testing.T) {
	alone(t)
	_, diagnostics, code := process(t, nil, "config", "check", "--data-bucket", "my-lake")
	for _, want := range []string{"GOOGLE_CLOUD_PROJECT", "GCS_ARCHIVE_BUCKET", "GCS_BACKUP_BUCKET", "GCS_TEMP_BUCKET", "GCS_SERVICE_ACCOUNT_EMAIL"} {
		if strings.Count(diagnostics, want) != 1 {
			t.Errorf("%s is not named once in\n%s", want, diagnostics)
		}
	}
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	_, diagnostics, code = process(t, nil, "config", "show")
	if code != 2 || strings.Count(diagnostics, "no data bucket") != 1 || strings.Count(diagnostics, "no project") != 1 {
		t.Errorf("exit code %d for no settings at all:\n%s", code, diagnostics)
	}
	if _, diagnostics, code = process(t, nil, "config", "show", "--data-bucket", "my-lake", "--for", "compactor"); code != 0 {
		t.Errorf("the compactor needs the data bucket alone: exit code %d\n%s", code, diagnostics)
	}
}

func TestShowSaysWhereSettingsComeFrom(t *testing.T) {
	alone(t)
	t.Setenv("GCS_RETRY_ATTEMPTS", "7")
	out, _, err := buffetctl(t, "config", "show", "--for", "ingestor", "--data-bucket", "file:///lake", "--", "--embedded", "--flush-rows=5", "--types", "market_data")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{
		{"--data-bucket", "file:///lake", "flag", "ingestor"}, {"--retry-attempts", "7", "GCS_RETRY_ATTEMPTS", "ingestor"},
		{"--flush-rows", "5", "flag", "ingestor"}, {"--types", "market_data", "flag", "ingestor"}, {"--flush-age", "30s", "default", "ingestor"}, {"--kms-key-id", "-", "default", "ingestor"},
	} {
		found := false
		for line := range strings.Lines(out) {
			found = found || strings.Join(strings.Fields(line), " ") == strings.Join(want, " ")
		}
		if !found {
			t.Errorf("no line %v in\n%s", want, out)
		}
	}
	t.Setenv("GOOGLE_CLOUD_PROJECT", "my-project")
	out, _, err = buffetctl(t, "config", "show", "--data-bucket", "file:///lake")
	if err != nil || !strings.Contains(out, "ingestor, compactor, backfill") || strings.Count(out, "--data-bucket ") != 1 {
		t.Errorf("all programs: %v\n%s", err, out)
	}
	if _, _, err := buffetctl(t, "config", "show", "--data-bucket", "file:///lake", "--", "--flush-rows=5"); config.Exit("test", err) != 2 {
		t.Errorf("flags of no program: %v", err)
	}
	if _, _, err := buffetctl(t, "config", "show", "--for", "compactor", "--data-bucket", "file:///lake", "--", "--flush-rows=5"); config.Exit("test", err) != 2 || !strings.Contains(err.Error(), "unknown flag --flush-rows (see compactor --help)") {
		t.Errorf("a flag of another program: %v", err)
	}
}

// verdicts are the lines of a check: verdict by subject.
func verdicts(out string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(out) {
		verdict, rest, _ := strings.Cut(line, " ")
		subject, _, ok := strings.Cut(strings.TrimSpace(rest), ": ")
		if ok && (verdict == "ok" || verdict == "problem" || verdict == "unknown") {
			all[subject] = verdict
		}
	}
	return all
}

// A check looks: what an ingestor made is there, what nobody made is missing.
func TestCheckLooks(t *testing.T) {
	w := newWorld(t)
	t.Setenv("PUBSUB_EMULATOR_HOST", w.server.Addr())
	w.ingest() // makes topics and subscriptions
	temp := t.TempDir()
	args := []string{"config", "check", "--data-bucket", w.bucket, "--temp-bucket", "file://" + temp, "--project", "test"}

	out, _, err := buffetctl(t, append(args, "--write")...)
	got := verdicts(out)
	for _, subject := range []string{"data bucket " + w.bucket, "temp bucket file://" + temp, "definitions", "write to the temp bucket", "topic market-data", "topic dead-letters", "subscription market-data-ingest", "subscription dead-letters-ingest"} {
		if got[subject] != "ok" {
			t.Errorf("%s: %q", subject, got[subject])
		}
	}
	if err != nil {
		t.Errorf("a check of what is there: %v\n%s", err, out)
	}
	var left []string
	_ = filepath.WalkDir(temp, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" { // a directory's own, no object
			left = append(left, path)
		}
		return nil
	})
	if len(left) > 0 {
		t.Errorf("the check left %v", left)
	}

	elsewhere := filepath.Join(t.TempDir(), "no", "such")
	for _, tt := range []struct {
		name string
		args []string
		want map[string]string
		code int
	}{
		{"another project", append(args, "--project", "other"), map[string]string{"topic market-data": "problem", "subscription market-data-ingest": "problem", "definitions": "ok"}, 1},
		{"a subscription of one's own", []string{"config", "check", "--for", "ingestor", "--data-bucket", w.bucket, "--project", "test", "--", "--subscription", "market_data=mine", "--types", "market_data"}, map[string]string{"subscription mine": "problem"}, 1},
		{"a subscription of another topic", []string{"config", "check", "--for", "ingestor", "--data-bucket", w.bucket, "--project", "test", "--", "--subscription", "market_data=forecasts-ingest"}, map[string]string{"subscription forecasts-ingest": "problem"}, 1},
		{"a compactor needs no Pub/Sub", []string{"config", "check", "--for", "compactor", "--data-bucket", w.bucket}, map[string]string{"subscription market-data-ingest": "", "definitions": "ok"}, 0},
		{"an ingestor with a broker of its own", []string{"config", "check", "--for", "ingestor", "--data-bucket", w.bucket, "--", "--embedded"}, map[string]string{"subscription market-data-ingest": ""}, 0},
		{"a backfill needs the topic", []string{"config", "check", "--for", "backfill", "--data-bucket", w.bucket, "--project", "other"}, map[string]string{"topic market-data": "problem", "subscription market-data-ingest": ""}, 1},
		{"a data type that is not known", []string{"config", "check", "--for", "ingestor", "--data-bucket", w.bucket, "--project", "test", "--", "--types", "nope"}, map[string]string{"data type nope": "problem"}, 1},
		{"a directory that is not there yet", []string{"config", "check", "--for", "compactor", "--data-bucket", "file://" + elsewhere}, map[string]string{"data bucket file://" + elsewhere: "ok"}, 0},
		{"a file for a directory", []string{"config", "check", "--for", "compactor", "--data-bucket", "file:///etc/hostname"}, map[string]string{"data bucket file:///etc/hostname": "problem"}, 1},
		{"nowhere to write", []string{"config", "check", "--for", "compactor", "--write", "--data-bucket", w.bucket}, map[string]string{"write to the temp bucket": "unknown"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, _, err := buffetctl(t, tt.args...)
			if code := config.Exit("test", err); code != tt.code {
				t.Errorf("exit code %d, %v\n%s", code, err, out)
			}
			got := verdicts(out)
			for subject, want := range tt.want {
				if got[subject] != want {
					t.Errorf("%s: %q, want %q in\n%s", subject, got[subject], want, out)
				}
			}
		})
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("the check made a directory")
	}

	t.Setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
	out, _, err = buffetctl(t, args...)
	if config.Exit("test", err) != 1 || strings.Count(out, "problem ") != 1 || strings.Count(out, "nothing answers at 127.0.0.1:1") != 1 {
		t.Errorf("nobody at home: %v\n%s", err, out)
	}
}

// Buckets of a server: one that is there, one that is not.
func TestCheckOfBuckets(t *testing.T) {
	alone(t)
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", Port: 0})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	for _, name := range []string{"my-lake", "my-temp"} {
		server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: name})
	}
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server.URL(), "http://"))
	args := []string{"config", "check", "--for", "compactor", "--data-bucket", "my-lake", "--temp-bucket", "gs://my-temp", "--retry-attempts", "1"}
	out, _, err := buffetctl(t, append(args, "--write")...)
	if got := verdicts(out); err != nil || got["data bucket my-lake"] != "ok" || got["write to the temp bucket"] != "ok" {
		t.Errorf("what is there: %v\n%s", err, out)
	}
	out, _, err = buffetctl(t, append(args, "--archive-bucket", "my-archive")...)
	if got := verdicts(out); config.Exit("test", err) != 1 || got["archive bucket my-archive"] != "problem" || got["data bucket my-lake"] != "ok" {
		t.Errorf("what is not there: %v\n%s", err, out)
	}
	left, err := server.ListObjectsWithOptionsPaginated("my-temp", fakestorage.ListOptions{})
	if err != nil || len(left.Objects) != 0 {
		t.Errorf("left in the temp bucket: %v, %v", left, err)
	}
}

// Definitions of the lake that contradict each other or cannot be read.
func TestCheckOfDefinitions(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.dir, "metadata", "schemas")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.avsc"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _, err := buffetctl(t, "config", "check", "--for", "compactor", "--data-bucket", w.bucket)
	if got := verdicts(out); config.Exit("test", err) != 1 || got["definitions"] != "problem" || got["data bucket "+w.bucket] != "ok" {
		t.Errorf("%v\n%s", err, out)
	}
}
