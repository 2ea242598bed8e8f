package ingest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/fsck"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A lake is backed up, damaged and restored, in place and elsewhere, in directories
// and in buckets of Cloud Storage, which copy without the bytes passing through here.
func TestBackupAndRestoreInEveryStore(t *testing.T) {
	for _, kind := range []string{"directory", "gcs"} {
		t.Run(kind, func(t *testing.T) {
			data, vault, other, open := stores(t, kind)
			grown := laketest.New(t)
			for i := range 4 {
				grown.Ingest(i%2, fmt.Sprint("a", i), fmt.Sprint("b", i))
				grown.Compact()
			}
			grown.Ingest(3, "waits")
			store := open(data)
			for o, err := range grown.Store.List(t.Context(), "", "") {
				if err != nil {
					t.Fatal(err)
				}
				bytes, err := grown.Store.Read(t.Context(), o.Name, 0, -1)
				if err == nil {
					_, err = store.Create(t.Context(), o.Name, bytes, o.Metadata)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			types := []string{laketest.Market}
			lake, err := ingest.Open(t.Context(), ingest.Config{Bucket: data, Backup: vault})
			if err != nil {
				t.Fatal(err)
			}
			defer lake.Close()
			b, err := lake.Backuper()
			if err != nil {
				t.Fatal(err)
			}
			if (b.Copy != nil) != (kind == "gcs") {
				t.Errorf("copies pass through here: %v", b.Copy == nil)
			}
			m, err := b.Run(t.Context(), types)
			if err != nil {
				t.Fatal(err)
			}
			again, err := b.Run(t.Context(), types)
			if err != nil || again.Copied != 0 || again.Objects != m.Objects {
				t.Errorf("again: %+v, %v", again, err)
			}
			v, err := lake.Backup()
			if err != nil {
				t.Fatal(err)
			}
			if found, err := (&backup.Verify{Vault: v, Deep: true}).Backup(t.Context(), m); err != nil || len(found) > 0 {
				t.Errorf("verify: %+v, %v", found, err)
			}
			check := func(where string, r objstore.Reader, want *partition.Snapshot) {
				t.Helper()
				report, err := (&fsck.Checker{Store: r, Registry: grown.Registry, Deep: true}).Run(t.Context(), types)
				if err != nil || report.Violations() > 0 || report.Rows == 0 {
					t.Errorf("%s: %v, %v", where, report.Findings, err)
				}
				for _, f := range want.Files(nil) {
					bytes, err := r.Read(t.Context(), f.ObjectName(), 0, -1)
					if err != nil || objstore.Checksum(bytes) != f.CRC32C {
						t.Errorf("%s: %s: %v", where, f.Path, err)
					}
				}
			}
			want := grown.Snapshot()

			// In place: a live file is gone, another is damaged, the log has a gap.
			files := want.Files(nil)
			harm := []string{files[0].ObjectName(), fmt.Sprintf("processed/%s/_delta_log/%020d.json", laketest.Market, 2)}
			for _, name := range harm {
				if err := store.Remove(t.Context(), name, objstore.Any); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := store.Replace(t.Context(), files[1].ObjectName(), []byte("other bytes"), nil, objstore.Any); err != nil {
				t.Fatal(err)
			}
			r, err := lake.Restorer(nil)
			if err != nil {
				t.Fatal(err)
			}
			report, err := r.Table(t.Context(), m, laketest.Market, true)
			if err != nil || report.How != backup.Mended || report.Put != 2 || !slices.Equal(report.Replaced, []string{files[1].ObjectName()}) {
				t.Errorf("%+v, %v", report, err)
			}
			check("in place", lake.Reader(), want)

			// Elsewhere.
			target, err := lake.OpenTarget(t.Context(), other)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			if r, err = lake.Restorer(target); err != nil {
				t.Fatal(err)
			}
			if report, err = r.Table(t.Context(), m, laketest.Market, false); err != nil || report.How != backup.Fresh {
				t.Errorf("%+v, %v", report, err)
			}
			check("elsewhere", target.Reader(), want)
			for _, name := range laketest.Names(t, target.Reader(), "raw/") {
				o, err := target.Reader().Stat(t.Context(), name)
				if err != nil || kind == "gcs" && len(o.Metadata) == 0 {
					t.Errorf("%s lost its metadata: %v", name, err)
				}
			}
			for _, taken := range []string{data, vault} {
				if _, err := lake.OpenTarget(t.Context(), taken); err == nil || !strings.Contains(err.Error(), "overlaps") {
					t.Errorf("restore into %s: %v", taken, err)
				}
			}

			p := backup.Prune{Vault: v}
			if r, err := p.Run(t.Context()); err != nil || r.Kept != 1 || len(r.Backups) != 1 {
				t.Errorf("prune: %+v, %v", r, err)
			}
			if _, err := backup.Choose(t.Context(), v, laketest.Market, backup.Choice{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// stores are the settings of three buckets of a kind, and what opens one.
func stores(t *testing.T, kind string) (data, vault, other string, open func(string) objstore.Store) {
	t.Helper()
	if kind == "directory" {
		t.Setenv("STORAGE_EMULATOR_HOST", "")
		return "file://" + t.TempDir(), "file://" + t.TempDir(), "file://" + t.TempDir(), func(setting string) objstore.Store {
			d, err := objstore.OpenDir(strings.TrimPrefix(setting, "file://"))
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Stop)
	t.Setenv("STORAGE_EMULATOR_HOST", fake.URL())
	for _, name := range []string{"lake", "vault", "other"} {
		fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: name})
	}
	return "lake", "vault", "other", func(setting string) objstore.Store {
		b, err := gcp.OpenBucket(t.Context(), gcp.StorageConfig{Bucket: setting})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
}
