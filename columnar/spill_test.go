//go:build linux

package columnar

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A disk that is full ends a merge with an error that names it, wherever row groups
// are spilled, and no file is to blame.
func TestUnionOnAFullDisk(t *testing.T) {
	def := keyedBy()
	var rows []row
	for i := range 50 {
		r := append(someRows(random(uint64(i)), 1, 0)[0], nil)
		r[0], r[1] = "A", int64(5)
		rows = append(rows, r)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	u := must(NewUnion([]*File{must(OpenBytes("o", encodedAs(def, record(def, rows...), &small)))}, def, UnionOptions{sizes: &small}))
	u.spills = []*spill{{file: full}}
	_, _, err = readUnion(t.Context(), u)
	var source *SourceError
	if !errors.Is(err, ErrTemporary) || !errors.Is(err, syscall.ENOSPC) || errors.As(err, &source) || !strings.Contains(err.Error(), "column ") {
		t.Errorf("error %v", err)
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
}

// Pieces are what was put, in memory and behind it in the file, also after a reset.
func TestSpill(t *testing.T) {
	dir := t.TempDir()
	s := &spill{dir: dir, memory: 10}
	for range 2 {
		var pieces []piece
		texts := []string{"abcdef", "ghi", "jklmnop", "", "q", strings.Repeat("r", 100)}
		for _, text := range texts {
			pieces = append(pieces, must(s.put([]byte(text))))
		}
		for i, text := range texts {
			if got := must(s.get(pieces[i], nil)); string(got) != text {
				t.Errorf("piece %d: %q, want %q", i, got, text)
			}
		}
		s.reset()
	}
	if left := must(os.ReadDir(dir)); len(left) > 0 {
		t.Errorf("a file with a name: %v", left)
	}
	lost := must(s.put(make([]byte, 50)))
	if err := s.file.Truncate(20); err != nil {
		t.Fatal(err)
	}
	if _, err := s.get(lost, nil); !errors.Is(err, ErrTemporary) {
		t.Errorf("what the file no longer holds: %v", err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	none := &spill{dir: filepath.Join(dir, "none")}
	if _, err := none.put([]byte("x")); !errors.Is(err, ErrTemporary) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}
