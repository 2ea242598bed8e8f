package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// A child process runs one of these instead of the tests.
var children = map[string]func(root, id string) error{
	"create":  createMany,
	"replace": countUp,
}

func TestMain(m *testing.M) {
	if child := children[os.Getenv("OBJSTORE_CHILD")]; child != nil {
		if err := child(os.Getenv("OBJSTORE_ROOT"), os.Getenv("OBJSTORE_ID")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fork runs n child processes on one directory and gives what they print.
func fork(t *testing.T, child, root string, n int) []string {
	t.Helper()
	var all []*exec.Cmd
	outs := make([]bytes.Buffer, n)
	for i := range n {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "OBJSTORE_CHILD="+child, "OBJSTORE_ROOT="+root, "OBJSTORE_ID="+strconv.Itoa(i))
		cmd.Stdout, cmd.Stderr = &outs[i], os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	var lines []string
	for i, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
		lines = append(lines, strings.Fields(outs[i].String())...)
	}
	return lines
}

const contested = 200

func createMany(root, id string) error {
	d, err := objstore.OpenDir(root)
	if err != nil {
		return err
	}
	for i := range contested {
		name := fmt.Sprintf("log/%d/%020d.json", i%3, i)
		_, err := d.Create(context.Background(), name, []byte(id), nil)
		switch {
		case err == nil:
			fmt.Println(name)
		case !errors.Is(err, objstore.ErrExist):
			return err
		}
	}
	return nil
}

func TestOfRacingProcessesOneCreates(t *testing.T) {
	won := fork(t, "create", t.TempDir(), 4)
	slices.Sort(won)
	if unique := slices.Compact(slices.Clone(won)); len(won) != contested || len(unique) != contested {
		t.Errorf("%d names were created %d times, want %d times each once", len(unique), len(won), contested)
	}
}

const increments = 50

// countUp adds to a number by replacing it at the generation it was read at.
func countUp(root, _ string) error {
	d, err := objstore.OpenDir(root)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for done := 0; done < increments; {
		o, err := d.Stat(ctx, "n")
		if err != nil {
			return err
		}
		data, err := d.Read(ctx, "n", 0, -1)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(data))
		if err != nil {
			return err
		}
		_, err = d.Replace(ctx, "n", []byte(strconv.Itoa(n+1)), nil, o.Generation)
		switch {
		case err == nil:
			done++
		case !errors.Is(err, objstore.ErrPrecondition):
			return err
		}
	}
	return nil
}

func TestConditionsHoldBetweenProcesses(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	if err := createOne(t.Context(), d, "n", "0"); err != nil {
		t.Fatal(err)
	}
	fork(t, "replace", root, 4)
	got, err := d.Read(t.Context(), "n", 0, -1)
	if want := strconv.Itoa(4 * increments); err != nil || string(got) != want {
		t.Errorf("n = %s, %v; want %s: an increment was lost", got, err, want)
	}
}

func TestDirStaysInItsRoot(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, root)
	for name, target := range map[string]string{"file": filepath.Join(outside, "secret"), "folder": outside, "up": "../" + filepath.Base(outside)} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "folder/secret", "up/secret"} {
		if got, err := d.Read(t.Context(), name, 0, -1); err == nil {
			t.Errorf("Read %s = %q", name, got)
		}
		if _, err := d.Replace(t.Context(), name, []byte("changed"), nil, objstore.Any); err == nil && name != "file" {
			t.Errorf("Replace %s worked", name)
		}
	}
	for _, name := range []string{"folder/new", "up/new", "folder/deep/new"} {
		if _, err := d.Create(t.Context(), name, nil, nil); err == nil {
			t.Errorf("Create %s worked", name)
		}
	}
	if err := d.Remove(t.Context(), "folder/secret", objstore.Any); err == nil {
		t.Error("Remove folder/secret worked")
	}
	got, err := os.ReadFile(filepath.Join(outside, "secret"))
	entries, _ := os.ReadDir(outside)
	if err != nil || string(got) != "secret" || len(entries) != 1 {
		t.Errorf("outside the root: %q, %v, %v", got, err, entries)
	}
}

func TestWritersLeaveNothingBehind(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{
		createOne(t.Context(), d, "a/x", "1"),
		replaceOne(t.Context(), d, "a/x", "2"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	createOne(t.Context(), d, "a/x", "exists")
	createOne(ctx, d, "a/y", "cancelled")
	d.Replace(t.Context(), "a/x", nil, nil, 7)
	if diff := cmp.Diff([]string{".tmp~/lock", "a/x"}, files(t, root)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestAWriterSweepsOnlyWhatDeadWritersLeft(t *testing.T) {
	root := t.TempDir()
	temp := filepath.Join(root, ".tmp~")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dead", "alive"} {
		if err := os.WriteFile(filepath.Join(temp, name), []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	alive, err := os.Open(filepath.Join(temp, "alive"))
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if err := syscall.Flock(int(alive.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	d := open(t, root)
	if got := names(t, d); len(got) != 0 {
		t.Errorf("listing shows %q", got)
	}
	if err := createOne(t.Context(), d, "x", ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".tmp~/alive", "x"}, files(t, root)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestDirectoriesRemovedUnderAWriter(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	for i := range 3 {
		if err := createOne(t.Context(), d, fmt.Sprintf("a/b/c/%d", i), ""); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"a", ".tmp~"} {
			if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.Remove(t.Context(), "a/b/c/0", objstore.Any); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("Remove = %v", err)
	}
}

func TestANameThatIsAFolder(t *testing.T) {
	d := open(t, t.TempDir())
	if err := createOne(t.Context(), d, "a/b", "x"); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{"a": "other objects are named a/", "a/b/c": "a part of the name is an object itself"} {
		err := createOne(t.Context(), d, name, "y")
		if !errors.Is(err, objstore.ErrRefused) || errors.Is(err, objstore.ErrExist) || !strings.Contains(err.Error(), says) {
			t.Errorf("Create %s = %v, want ErrRefused saying %q", name, err, says)
		}
	}
}

// An object's age counts from when it got its name, not from when its bytes
// were written: a writer may be stopped in between.
func TestAgeCountsFromTheName(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	if err := createOne(t.Context(), d, "x", ""); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(filepath.Join(root, "x"), old, old); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Stat(t.Context(), "x"); err != nil || time.Since(o.Created) > time.Hour {
		t.Errorf("Stat = %+v, %v", o, err)
	}
}

func TestOpenDirMakesItsParents(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "lake")
	if err := createOne(t.Context(), open(t, root), "x", ""); err != nil {
		t.Error(err)
	}
	file := filepath.Join(root, "x")
	if _, err := objstore.OpenDir(file); err == nil || !strings.Contains(err.Error(), "open directory "+file) {
		t.Errorf("OpenDir of a file = %v", err)
	}
}

// Whatever the names, the listing is what sorting gives, also in small pages.
func TestDirListsAsMemDoes(t *testing.T) {
	part := rapid.StringMatching(`[ab.~0-]{1,3}`).Filter(func(s string) bool { return objstore.CheckName(s) == nil })
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		dir, err := objstore.OpenDir(root)
		if err != nil {
			rt.Fatal(err)
		}
		objstore.SetPageSize(dir, rapid.IntRange(1, 4).Draw(rt, "page"))
		mem := objstore.NewMem()
		for _, parts := range rapid.SliceOfN(rapid.SliceOfN(part, 1, 3), 0, 20).Draw(rt, "names") {
			name := strings.Join(parts, "/")
			if err := createOne(t.Context(), dir, name, ""); err == nil {
				createOne(t.Context(), mem, name, "")
			}
		}
		prefix, after := rapid.StringMatching(`[ab.~0/-]{0,4}`).Draw(rt, "prefix"), rapid.StringMatching(`[ab.~0/-]{0,4}`).Draw(rt, "after")
		var got, want []string
		for o, err := range dir.List(t.Context(), prefix, after) {
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, o.Name)
		}
		for o := range mem.List(t.Context(), prefix, after) {
			want = append(want, o.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("List(%q, after %q) (-want +got):\n%s", prefix, after, diff)
		}
	})
}

func TestDirConformsInSmallPages(t *testing.T) {
	objtest.Conform(t, func(t *testing.T) objstore.Store {
		d := open(t, t.TempDir())
		objstore.SetPageSize(d, 3)
		return d
	}, objtest.Metadata, objtest.ListedChecksums)
}

func open(t *testing.T, root string) *objstore.Dir {
	t.Helper()
	d, err := objstore.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func names(t *testing.T, s objstore.Reader) (all []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Name)
	}
	return all
}

// files are all files below root.
func files(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(root, p)
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
