//go:build unix

package compaction

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/failpoint"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// longest makes the system refuse to let a file of this process grow beyond n bytes,
// as a disk that is full does, until the function that it gives is called.
func longest(t *testing.T, n int64) func() {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	low := before
	low.Cur = uint64(n)
	set := func(l *syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, l); err != nil {
			t.Fatal(err)
		}
	}
	set(&low)
	return func() { set(&before) }
}

// A disk that fills up, wherever in a merge it does, fails the partition with an
// error that says what to do. Nothing is changed, no input is to blame, and once
// there is room everything is as it would have been. It is no parallel test: the
// limit is the process's.
func TestADiskThatFillsUp(t *testing.T) {
	registry, def := closesDefinition(t)
	o := Options{MemoryBudget: 1, TargetFileSize: 400 << 10, TempDir: t.TempDir()}
	want, _ := closings(t, registry, 1, o)
	store := objstore.NewMem()
	closingFiles(t, store, def, 1)
	c := Compactor{Store: store, Registry: registry, Options: o}
	if _, err := partition.OpenTable(store, def.Name, nil).Create(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	before := names(t, store)
	copying, merging, limit := 0, 0, int64(0)
	for ; limit < 64<<20; limit += 450 << 10 {
		lift := longest(t, limit)
		r, err := c.Run(t.Context(), nil)
		lift()
		p := r.Tables[0].Partitions[0]
		if err == nil {
			break
		}
		for _, part := range []string{"closes/1970-01-01", "temporary file: write ", "file too large", "--temp-dir", "MiB of room"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%d bytes: error %q does not say %q", limit, err, part)
			}
		}
		if !errors.Is(err, columnar.ErrTemporary) || !errors.Is(err, syscall.EFBIG) || p.Outcome != Failed || len(p.Unreadable) > 0 {
			t.Errorf("%d bytes: %v: %s, %d inputs unreadable", limit, err, p.Outcome, len(p.Unreadable))
		}
		if after := names(t, store); !slices.Equal(before, after) {
			t.Errorf("%d bytes: the bucket has %q, had %q", limit, after, before)
		}
		if strings.Contains(err.Error(), ": copy raw/") {
			copying++
		} else {
			merging++
		}
	}
	if copying < 3 || merging < 3 {
		t.Errorf("with room for %d bytes all was well; before, it failed %d times while copying and %d times while merging: the test shows less than it says", limit, copying, merging)
	}
	if got := live(t, store, def); !maps.Equal(got, want) {
		t.Errorf("%d files, want the %d that come of a disk with room", len(got), len(want))
	}
	empty(t, o.TempDir)
}

// names are the objects' names but for the notes of who is at work.
func names(t *testing.T, store objstore.Store) (all []string) {
	t.Helper()
	for o, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(o.Name, "metadata/leases/") {
			all = append(all, o.Name)
		}
	}
	return all
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("temporary files stay: %v, %v", left, err)
	}
}

// Where the folder for temporary files is missing the partition fails; one that
// memory holds does not need it.
func TestNoFolderForTemporaryFiles(t *testing.T) {
	registry, def := closesDefinition(t)
	store := objstore.NewMem()
	closingFiles(t, store, def, 1)
	c := Compactor{Store: store, Registry: registry, Options: Options{MemoryBudget: 1, TempDir: filepath.Join(t.TempDir(), "none")}}
	_, err := c.Run(t.Context(), nil)
	if !errors.Is(err, columnar.ErrTemporary) || !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, part := range []string{"closes/1970-01-01", "make a temporary file", "/none/", "--temp-dir"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	few := objstore.NewMem()
	data, err := store.Read(t.Context(), names(t, store)[0], 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := few.Create(t.Context(), names(t, store)[0], data, nil); err != nil {
		t.Fatal(err)
	}
	c.Store, c.Options.MemoryBudget = few, 0
	if _, err := c.Run(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// What our disk does says nothing about the input that is read or sorted there.
func TestOurDiskIsNoFaultOfAnInput(t *testing.T) {
	_, def := closesDefinition(t)
	store := objstore.NewMem()
	closingFiles(t, store, def, 1)
	all := names(t, store)
	for _, tt := range []struct {
		what string
		name string
		harm func(t *testing.T, s *scratch)
	}{
		{"the copy is cut short", all[0], func(t *testing.T, s *scratch) { _ = s.file.Truncate(s.off / 2) }},
		{"the copy is closed", all[0], func(t *testing.T, s *scratch) { _ = s.file.Close() }},
		{"no room to sort", all[3], func(t *testing.T, s *scratch) { t.Cleanup(longest(t, s.off)) }},
	} {
		t.Run(tt.what, func(t *testing.T) {
			j := &job{def: def, store: store, o: Options{}.withDefaults()}
			m := merge{job: j, need: 1, scratch: newScratch(t.TempDir(), 0), group: Group{Key: partition.Key{Type: def.Name}}}
			defer m.scratch.close()
			info, err := store.Stat(t.Context(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			in, err := m.fetch(t.Context(), object{name: tt.name, size: info.Size, crc: info.CRC32C, hasCRC: info.HasCRC32C})
			if err != nil {
				t.Fatal(err)
			}
			in.raw = true
			m.inputs = []input{in}
			tt.harm(t, m.scratch)
			_, err = m.union(t.Context())
			if !errors.Is(err, columnar.ErrTemporary) || len(m.result.report.Unreadable) > 0 || len(m.inputs) != 1 {
				t.Errorf("error %v, unreadable %v, with %d inputs", err, m.result.report.Unreadable, len(m.inputs))
			}
		})
	}
}

// victimLake is set where the test binary is to compact that lake, and to be killed.
const victimLake = "BUFFETBOT_TEST_LAKE"

// TestVictim is the process that TestKilledInTheMiddle kills.
func TestVictim(t *testing.T) {
	root := os.Getenv(victimLake)
	if root == "" {
		return
	}
	registry, _ := closesDefinition(t)
	store, err := objstore.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{MemoryBudget: 1, TargetFileSize: 400 << 10, TempDir: os.Getenv("TMPDIR")}
	if _, err := (&Compactor{Store: store, Registry: registry, Options: o}).Run(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// A process killed in the middle leaves no temporary file, however much it had
// written, and the next does all that was to be done.
func TestKilledInTheMiddle(t *testing.T) {
	registry, def := closesDefinition(t)
	root, temp := t.TempDir(), t.TempDir()
	store, err := objstore.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	closingFiles(t, store, def, 1)
	o := Options{MemoryBudget: 1, TargetFileSize: 400 << 10, TempDir: temp}
	want, _ := closings(t, registry, 1, o)
	for _, place := range []string{"read.mid=kill:17", "output.after=kill:2", "commit.before=kill"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$")
		cmd.Env = append(os.Environ(), victimLake+"="+root, failpoint.Variable+"="+place, "TMPDIR="+temp, "GOMAXPROCS=1")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: %v\n%s", place, err, &out)
		}
		empty(t, temp)
	}
	if _, err := (&Compactor{Store: store, Registry: registry, Options: o}).Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := live(t, store, def); !maps.Equal(got, want) {
		t.Errorf("%d files, want the %d of a process that nobody killed", len(got), len(want))
	}
	empty(t, temp)
}
