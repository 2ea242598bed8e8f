package ingest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/schema"
)

// next is the newest market_data with one field more, as the version after it.
func next(t *testing.T, lake *ingest.Lake, change ...string) []byte {
	t.Helper()
	d, ok := lake.Registry().Latest("market_data")
	if !ok {
		t.Fatal("no market_data")
	}
	v := d.Version
	v.Minor++
	text := strings.Replace(d.Avro(), `"bb.version": "`+strings.TrimPrefix(d.Version.String(), "v"), `"bb.version": "`+strings.TrimPrefix(v.String(), "v"), 1)
	return []byte(strings.NewReplacer(change...).Replace(text))
}

const oneFieldMore = `{"name": "exchange", "type": ["null", "string"], "default": null}, {"name": "created_at"`

func TestDefinitionsOfTheLake(t *testing.T) {
	dir := t.TempDir()
	open := func() (*ingest.Lake, error) {
		lake, err := ingest.Open(t.Context(), ingest.Config{Bucket: "file://" + dir})
		if err == nil {
			t.Cleanup(func() { lake.Close() })
		}
		return lake, err
	}
	running, err := open()
	if err != nil {
		t.Fatal(err)
	}
	operator, err := open()
	if err != nil {
		t.Fatal(err)
	}
	good := next(t, operator, `{"name": "created_at"`, oneFieldMore)

	t.Run("a breaking change is refused and named", func(t *testing.T) {
		_, _, err := operator.Evolve(t.Context(), next(t, operator, `"name": "volume", "type": ["null", "long"]`, `"name": "volume", "type": ["null", "double"]`), schema.Full)
		var bad *schema.IncompatibleError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "field volume: type long became double: breaking") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a compatible one is there for those who run", func(t *testing.T) {
		if _, _, err := operator.Evolve(t.Context(), good, schema.Full); err != nil {
			t.Fatal(err)
		}
		changed, err := running.Refresh(t.Context())
		d, _ := running.Registry().Latest("market_data")
		if err != nil || !changed || d.Field("exchange") < 0 {
			t.Errorf("changed %v, %v; newest %s", changed, err, d.Version)
		}
		if changed, err := running.Refresh(t.Context()); changed || err != nil {
			t.Errorf("again: changed %v, %v", changed, err)
		}
	})
	t.Run("the same version cannot come twice", func(t *testing.T) {
		if _, _, err := operator.Evolve(t.Context(), good, schema.Full); err == nil || !strings.Contains(err.Error(), "does not follow") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a topic carries one data type", func(t *testing.T) {
		_, _, err := operator.Evolve(t.Context(), []byte(strings.Replace(string(good), `"name": "market_data"`, `"name": "other"`, 1)), schema.Full)
		if err == nil || !strings.Contains(err.Error(), "topic market-data carries market_data") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("what contradicts stops the opening and leaves those who run alone", func(t *testing.T) {
		bad := strings.Replace(string(good), `"bb.version": "1.3.0"`, `"bb.version": "1.2.0"`, 1)
		name := filepath.Join(dir, "metadata", "schemas", "market_data", "v1.2.0.avsc")
		if err := os.WriteFile(name, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := open(); err == nil || !strings.Contains(err.Error(), "market_data/v1.2.0.avsc") {
			t.Errorf("open: error %v", err)
		}
		before := running.Registry()
		if _, err := running.Refresh(t.Context()); err == nil || running.Registry() != before {
			t.Errorf("refresh: error %v", err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if _, err := open(); err != nil {
			t.Error(err)
		}
	})
}
