package objstore_test

import (
	"testing"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

func TestMemConforms(t *testing.T) {
	objtest.Conform(t, func(*testing.T) objstore.Store { return objstore.NewMem() })
}

func TestDirConforms(t *testing.T) {
	objtest.Conform(t, openDir, objtest.Metadata, objtest.ListedChecksums)
}

func TestRetryConforms(t *testing.T) {
	objtest.Conform(t, func(*testing.T) objstore.Store {
		return objstore.Retry(objstore.NewMem(), objstore.RetryPolicy{})
	})
}

func TestBreakerConforms(t *testing.T) {
	objtest.Conform(t, func(*testing.T) objstore.Store {
		return objstore.Break(objstore.NewMem(), objstore.BreakerPolicy{})
	})
	objtest.Conform(t, func(*testing.T) objstore.Store {
		return objstore.Retry(objstore.Break(objstore.NewMem(), objstore.BreakerPolicy{Failures: 1}), objstore.RetryPolicy{})
	})
}

func TestFaultsConformUntilTheyFire(t *testing.T) {
	objtest.Conform(t, func(*testing.T) objstore.Store {
		return &objtest.Faults{Store: objstore.NewMem(), FailAt: -1}
	})
}

func openDir(t *testing.T) objstore.Store {
	t.Helper()
	d, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}
