package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/embedded"
)

// do runs the command and gives what it prints, and its exit code.
func do(t *testing.T, args ...string) (out, diagnostics string, code int) {
	t.Helper()
	var o, d bytes.Buffer
	err := run(context.Background(), args, &o, &d)
	var usage *config.UsageError
	switch {
	case errors.As(err, &usage):
		code = 2
	case err != nil:
		code = 1
	}
	if err != nil {
		d.WriteString(err.Error())
	}
	return o.String(), d.String(), code
}

func has(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, text)
		}
	}
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	full := filepath.Join(dir, name)
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return full
}

const good = "symbol,date,close\nA,2024-01-15,1.5\nB,2024-01-15,2.5\n"

var mapped = []string{"--map", "timestamp=date", "--map", "price=close", "--set", "data_source=x=y\\;z"}

func TestDryRun(t *testing.T) {
	dir := t.TempDir()
	name := write(t, dir, "a.csv", good)
	args := append([]string{"--dry-run", "--from", name}, mapped...)
	out, _, code := do(t, append(args, "--set", "version=1")...)
	has(t, "output", out, "checked 2 records from 1 files", "2 would be rows, 0 dead letters")
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	write(t, dir, "a.csv", good+"C,then,1\nD\n")
	out, diagnostics, code := do(t, args...)
	has(t, "output", out, "2 dead letters", "1 bad_timestamp", name+":4: field \"timestamp\"", "1 not_an_object", name+":5:")
	has(t, "error", diagnostics, "2 of 4 records would become dead letters")
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("a dry run leaves %v", left)
	}
}

func TestWrongUsage(t *testing.T) {
	name := write(t, t.TempDir(), "a.csv", good)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no files named", []string{"--dry-run"}, "--from"},
		{"no such file", []string{"--dry-run", "--from", name + "x*"}, "no such file"},
		{"no project", []string{"--from", name}, "--project"},
		{"no such type", []string{"--dry-run", "--from", name, "--type", "market"}, "market_data"},
		{"a map without =", []string{"--dry-run", "--from", name, "--map", "price"}, "NAME=VALUE"},
		{"a field set twice", []string{"--dry-run", "--from", name, "--set", "price=1", "--set", "price=2"}, "twice"},
		{"no column for required fields", []string{"--dry-run", "--from", name}, "required field timestamp"},
		{"a publish time to come", []string{"--dry-run", "--from", name, "--published-at", "2999-01-01T00:00:00Z"}, "between 1900 and now"},
		{"a publish time without a zone", []string{"--dry-run", "--from", name, "--published-at", "2020-01-01"}, "RFC 3339"},
		{"no such level", []string{"--dry-run", "--from", name, "--level", "loud"}, "STRICT, STANDARD or LENIENT"},
		{"a delimiter of two", []string{"--dry-run", "--from", name, "--delimiter", "||"}, "one ASCII character"},
		{"a negative rate", []string{"--dry-run", "--from", name, "--rate=-1"}, "negative"},
		{"too many in flight", []string{"--dry-run", "--from", name, "--in-flight", "2000"}, "1 to 1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOOGLE_CLOUD_PROJECT", "")
			_, diagnostics, code := do(t, tt.args...)
			if has(t, "error", diagnostics, tt.want); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
		})
	}
}

func TestFromABucket(t *testing.T) {
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", InitialObjects: []fakestorage.Object{
		{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "b", Name: "history/a.csv"}, Content: []byte(good)},
		{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "b", Name: "history/b.csv"}, Content: []byte(good + "C,2024-01-16,1\n")},
		{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "b", Name: "history/other"}, Content: []byte("no")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server.URL(), "http://"))
	out, diagnostics, code := do(t, append([]string{"--dry-run", "--from", "gs://b/history/*.csv"}, mapped...)...)
	if has(t, "output", out, "checked 5 records from 2 files"); code != 0 {
		t.Errorf("exit code %d: %s", code, diagnostics)
	}
	_, diagnostics, code = do(t, append([]string{"--dry-run", "--from", "gs://b/nothing/*"}, mapped...)...)
	if has(t, "error", diagnostics, "gs://b/nothing/*: no such file"); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
}

func TestPublish(t *testing.T) {
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	t.Setenv("PUBSUB_EMULATOR_HOST", server.Addr())
	t.Chdir(t.TempDir())
	write(t, ".", "a.csv", good+"short\n")
	args := append([]string{"--from", "a.csv", "--project", "p", "--topic", "mine"}, mapped...)
	_, diagnostics, code := do(t, args...)
	if has(t, "error", diagnostics, "create it (--create", "0 records are published", "run the same command again"); code != 1 {
		t.Errorf("without the topic: exit code %d, want 1", code)
	}
	out, diagnostics, code := do(t, append(args, "--create")...)
	has(t, "output", out, "published 3 records in 1 messages", "1 records cannot be taken apart", "checkpoint .backfill-")
	has(t, "log", diagnostics, `"line":4`, "1 cells where the header has 3")
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	out, _, code = do(t, args...)
	if has(t, "output", out, "already done: 3 records in 1 messages", "--again"); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	left, err := filepath.Glob(".backfill-*.json")
	if err != nil || len(left) != 1 {
		t.Fatalf("checkpoints %v, %v", left, err)
	}
	_, diagnostics, code = do(t, append(args, "--batch-rows", "1", "--checkpoint", left[0])...)
	if has(t, "error", diagnostics, "another job", "delete it"); code != 2 {
		t.Errorf("a checkpoint of another job: exit code %d, want 2", code)
	}
}
