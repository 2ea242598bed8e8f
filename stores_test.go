package ingest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/objstore"
)

func TestTheBucketsBesideTheLake(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return "file://" + filepath.Join(dir, name) }
	lake, err := ingest.Open(t.Context(), ingest.Config{Bucket: at("lake"), Archive: at("archive"), Backup: at("lake/backup")})
	if err != nil {
		t.Fatal(err)
	}
	defer lake.Close()
	archive, err := lake.Archive()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Create(t.Context(), "raw/x", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	again, err := lake.Archive()
	if err != nil || again != archive {
		t.Errorf("a second opening gives another store, %v", err)
	}
	beside, err := objstore.OpenDir(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := beside.Read(t.Context(), "raw/x", 0, -1); err != nil || string(got) != "x" {
		t.Errorf("the archive holds %q, %v", got, err)
	}
	for want, open := range map[string]func() (objstore.Store, error){
		"no temp bucket: set --temp-bucket or GCS_TEMP_BUCKET": lake.Temp,
		"it overlaps the data bucket":                          lake.Backup,
	} {
		_, err := open()
		var usage *config.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want a usage error saying %q", err, want)
		}
	}
}

// The settings of attempts and time reach the store, and an open breaker is said.
func TestTheSettingsReachTheStore(t *testing.T) {
	var down atomic.Bool
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"items":[]}`))
	}))
	defer server.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	lake, err := ingest.Open(t.Context(), ingest.Config{Bucket: "b", RetryAttempts: 2, Timeout: time.Second, BreakerOpen: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer lake.Close()
	if err := lake.Ready(); err != nil {
		t.Errorf("Ready = %v", err)
	}
	down.Store(true)
	before := requests.Load()
	if _, err := lake.Reader().Stat(t.Context(), "x"); err == nil {
		t.Error("Stat worked")
	}
	if n := requests.Load() - before; n != 2 {
		t.Errorf("%d requests, want the 2 attempts", n)
	}
	for range 5 {
		lake.Reader().Stat(t.Context(), "x")
	}
	if n := requests.Load() - before; n != 5 {
		t.Errorf("%d requests, want 5: then the breaker is open", n)
	}
	if err := lake.Ready(); !errors.Is(err, objstore.ErrOpen) || !strings.Contains(err.Error(), "the data bucket b does not answer since") {
		t.Errorf("Ready = %v", err)
	}
}
