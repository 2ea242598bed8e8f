package gcp_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// The fake ignores preconditions of deletes; on Google's own service they hold.
func TestBucketConforms(t *testing.T) {
	fake := startStorage(t)
	var n atomic.Int64
	objtest.Conform(t, func(t *testing.T) objstore.Store {
		name := fmt.Sprintf("bucket-%d", n.Add(1))
		fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: name})
		return openBucket(t, gcp.StorageConfig{Bucket: name})
	}, objtest.RemoveCondition)
}

// startStorage starts a fake service and points clients at it.
func startStorage(t *testing.T) *fakestorage.Server {
	t.Helper()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Stop)
	t.Setenv("STORAGE_EMULATOR_HOST", fake.URL())
	return fake
}

func openBucket(t *testing.T, cfg gcp.StorageConfig) *gcp.Bucket {
	t.Helper()
	b, err := gcp.OpenBucket(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}
