package backup_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/backup"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// A second backup of a lake at rest copies nothing. Of the lake it costs a listing of
// raw objects, one of the two prefixes beside tables, and a snapshot; in the bucket of
// backups the listings, the last manifest, the log that it reads back, and three objects
// that say that at this time the lake was as in the backup before. No data object is
// looked at.
func TestASecondBackupCostsAListingAndASnapshot(t *testing.T) {
	l, _, _ := grown(t)
	if _, err := l.store.Create(t.Context(), "metadata/schemas/extra/v1.0.0.avsc", []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	l.backup()
	lake, vault := &objtest.Counter{Store: l.store}, &objtest.Counter{Store: l.vault}
	m, err := l.backupFrom(lake, vault)
	if err != nil || m.Copied != 0 || m.CopiedBytes != 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	logObjects := []string{"00000000000000000010.checkpoint.parquet", "00000000000000000011.json", "00000000000000000012.json"}
	want := []string{"list metadata/ 1", "list payloads/ 1", "list " + logRoot + " 2", "list raw/" + market + "/ 1"}
	for _, name := range logObjects {
		want = append(want, "read "+logRoot+name+" 1")
	}
	if diff := cmp.Diff(want, lake.Taken()); diff != "" {
		t.Errorf("of the lake:\n%s", diff)
	}
	got := map[string]int{}
	for _, line := range vault.Taken() {
		got[kindOf(line, m)]++
	}
	wantKinds := map[string]int{
		"create began": 1, "create copied": 1, "create manifest": 1,
		"list manifests": 1, "list backups": 1, "read manifest": 1, "read log": len(logObjects),
	}
	if diff := cmp.Diff(wantKinds, got); diff != "" {
		t.Errorf("in the bucket of backups:\n%s", diff)
	}
}

// kindOf says of an operation in the bucket of backups what it is about.
func kindOf(line string, m *backup.Manifest) string {
	op, rest, _ := strings.Cut(line, " ")
	name, n, _ := strings.Cut(rest, " ")
	switch {
	case n != "1":
		return line
	case op == "list":
		return "list " + strings.Trim(name, "/")
	case strings.HasPrefix(name, "manifests/"):
		return op + " manifest"
	case strings.Contains(name, "/objects/"+logRoot):
		return op + " log"
	case op == "create" && strings.HasPrefix(name, "backups/"+m.ID+"/"):
		return fmt.Sprint("create ", strings.TrimPrefix(name, "backups/"+m.ID+"/"))
	}
	return line
}
