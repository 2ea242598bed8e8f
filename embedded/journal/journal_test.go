package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// A kept record, as a replay saw it.
type kept struct {
	at   Position
	kind byte
	body string
}

func open(t *testing.T, dir string, o Options) (*Journal, []kept, error) {
	t.Helper()
	var all []kept
	o.Replay = func(at Position, kind byte, body []byte) error {
		all = append(all, kept{at, kind, string(body)})
		return nil
	}
	j, err := Open(dir, o)
	if err == nil {
		t.Cleanup(func() { j.Close() })
	}
	return j, all, err
}

func mustOpen(t *testing.T, dir string, o Options) (*Journal, []kept) {
	t.Helper()
	j, all, err := open(t, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return j, all
}

// commit appends one record per body as one batch.
func commit(j *Journal, bodies ...string) ([]kept, error) {
	b, err := j.Begin()
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, body := range bodies {
		i := b.Add(7, append(b.Buf(), body...))
		all = append(all, kept{b.Position(i), 7, body})
	}
	return all, j.Commit(true)
}

func mustCommit(t *testing.T, j *Journal, bodies ...string) []kept {
	t.Helper()
	all, err := commit(j, bodies...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatWasCommittedIsReplayedAndRead(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, Options{SegmentBytes: 200})
	var want []kept
	for i := range 20 {
		want = append(want, mustCommit(t, j, fmt.Sprintf("a%d", i), "", fmt.Sprintf("%050d", i))...)
	}
	if n := len(j.Segments()); n < 5 {
		t.Errorf("%d segments", n)
	}
	j.Close()
	j, got := mustOpen(t, dir, Options{SegmentBytes: 200})
	if !slices.Equal(got, want) {
		t.Fatalf("replayed %v\nwant %v", got, want)
	}
	for _, k := range want {
		body, _, err := j.Read(k.at, recordHeader+len(k.body), nil)
		if err != nil || string(body) != k.body {
			t.Errorf("Read(%v) = %q, %v; want %q", k.at, body, err, k.body)
		}
	}
	if err := j.Remove(j.Segments()[0]); err != nil {
		t.Error(err)
	}
	if _, _, err := j.Read(want[0].at, recordHeader+2, nil); err == nil {
		t.Error("read from a removed segment")
	}
	if err := j.Remove(j.End().Segment); err == nil {
		t.Error("removed the segment being written")
	}
}

// Cut the last file at every length: what was in whole groups stays, the rest is
// gone, and the journal goes on.
func TestATornTailIsCut(t *testing.T) {
	src := t.TempDir()
	j, _ := mustOpen(t, src, Options{})
	first := mustCommit(t, j, "one", "two")
	durable := int(j.End().Offset)
	mustCommit(t, j, "three", "four")
	j.Close()
	whole, err := os.ReadFile(segmentName(src, 1))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		dir := t.TempDir()
		if err := os.WriteFile(segmentName(dir, 1), whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		j, got := mustOpen(t, dir, Options{})
		if n >= durable && (len(got) < 2 || !slices.Equal(got[:2], first)) {
			t.Fatalf("cut at %d: replayed %v", n, got)
		}
		again := mustCommit(t, j, "five")
		j.Close()
		_, after := mustOpen(t, dir, Options{})
		if want := append(got, again...); !slices.Equal(after, want) {
			t.Fatalf("cut at %d: %v after another commit, want %v", n, after, want)
		}
	}
}

// A flipped byte in the last group may be its tear; before it, it is damage.
func TestAFlippedByteIsDamageUnlessItMayBeATear(t *testing.T) {
	src := t.TempDir()
	j, _ := mustOpen(t, src, Options{})
	mustCommit(t, j, "one")
	mustCommit(t, j, "two", "more")
	lastGroup := int(j.End().Offset)
	mustCommit(t, j, "three", "four")
	j.Close()
	whole, _ := os.ReadFile(segmentName(src, 1))
	for at := range whole {
		dir := t.TempDir()
		bent := bytes.Clone(whole)
		bent[at] ^= 0x40
		if err := os.WriteFile(segmentName(dir, 1), bent, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, err := open(t, dir, Options{})
		if at < lastGroup && err == nil || at < lastGroup && at >= segmentHeader && !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d flipped: %v", at, err)
		}
		if at >= lastGroup && err != nil {
			t.Errorf("byte %d of the last group flipped: %v", at, err)
		}
		if at < segmentHeader || at >= lastGroup {
			continue
		}
		var skipped int64
		_, got := mustOpen(t, dir, Options{SkipDamage: func(_ string, from, to int64) { skipped += to - from }})
		if skipped == 0 || len(got) != 4 {
			t.Errorf("byte %d flipped: skipped %d bytes, kept %v", at, skipped, got)
		}
	}
}

func TestDamageInAnOlderSegmentIsNotATear(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, Options{SegmentBytes: 1})
	mustCommit(t, j, "one")
	mustCommit(t, j, "two")
	j.Close()
	if err := os.Truncate(segmentName(dir, 1), segmentHeader+5); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, dir, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error = %v", err)
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, Options{})
	mustCommit(t, j, "one")
	j.Close()
	b, _ := os.ReadFile(segmentName(dir, 1))
	b[12] = 9
	fixed := segmentStart(1)
	fixed[12] = 9
	copy(b, reseal(fixed))
	os.WriteFile(segmentName(dir, 1), b, 0o644)
	if _, _, err := open(t, dir, Options{}); err == nil || !bytes.Contains([]byte(err.Error()), []byte("version 9")) {
		t.Errorf("error = %v", err)
	}
}

// A disk that fails: the k-th operation of each kind.
type faulty struct {
	File
	disk *disk
}

type disk struct {
	ops, failAt int
	err         error
	partial     bool // a failing write leaves half behind
	healed      bool
}

func (d *disk) fails() bool {
	d.ops++
	return !d.healed && d.failAt > 0 && d.ops >= d.failAt
}

func (f *faulty) WriteAt(b []byte, off int64) (int, error) {
	if f.disk.fails() {
		if f.disk.partial {
			n, _ := f.File.WriteAt(b[:len(b)/2], off)
			return n, f.disk.err
		}
		return 0, f.disk.err
	}
	return f.File.WriteAt(b, off)
}

func (f *faulty) Sync() error {
	if f.disk.fails() {
		return f.disk.err
	}
	return f.File.Sync()
}

func (f *faulty) Truncate(n int64) error {
	if f.disk.fails() {
		return f.disk.err
	}
	return f.File.Truncate(n)
}

// Fail the first operation of the disk and all after it, then the second, and so
// on. What was answered well is there afterwards, what failed is not, also when
// the disk heals and writing goes on.
func TestAFullDiskLosesNothingThatWasAnswered(t *testing.T) {
	for _, partial := range []bool{false, true} {
		for failAt := 1; ; failAt++ {
			dir := t.TempDir()
			d := &disk{failAt: failAt, err: syscall.ENOSPC, partial: partial}
			opts := Options{SegmentBytes: 120, OpenFile: func(name string, flag int, perm os.FileMode) (File, error) {
				f, err := os.OpenFile(name, flag, perm)
				return &faulty{f, d}, err
			}}
			j, err := Open(dir, opts)
			if err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				continue
			}
			var want []kept
			failed := 0
			for i := range 12 {
				d.healed = failed == 3
				got, err := commit(j, fmt.Sprintf("record %d", i), "and more")
				if err == nil {
					want = append(want, got...)
				} else if failed++; !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
			}
			j.Close()
			_, got := mustOpen(t, dir, Options{})
			if !d.healed && len(got) > len(want) { // the last failure could not be cut
				got = got[:len(want)]
			}
			if !slices.Equal(got, want) {
				t.Fatalf("partial=%v, operation %d: %v\nwant %v", partial, failAt, got, want)
			}
			if failed == 0 {
				break
			}
		}
	}
}

// A batch that was written and not synced does not come back behind a shorter one
// that takes its place.
func TestAFailedBatchDoesNotShowBehindTheNext(t *testing.T) {
	dir := t.TempDir()
	d := &disk{err: syscall.EIO}
	j, err := Open(dir, Options{OpenFile: func(name string, flag int, perm os.FileMode) (File, error) {
		f, err := os.OpenFile(name, flag, perm)
		return &faulty{f, d}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := mustCommit(t, j, "first")
	d.failAt = d.ops + 2 // the write goes well, the sync does not
	if _, err := commit(j, "lost", "gone"); err == nil {
		t.Fatal("a batch that was not synced is answered well")
	}
	d.healed = true
	want = append(want, mustCommit(t, j, "next")...)
	j.Close()
	if _, got := mustOpen(t, dir, Options{}); !slices.Equal(got, want) {
		t.Errorf("replayed %v, want %v", got, want)
	}
}

func TestRecordsOfACheckpoint(t *testing.T) {
	var b []byte
	for _, s := range []string{"a", "", "ccc"} {
		b = AppendRecord(b, 3, func(b []byte) []byte { return append(b, s...) })
	}
	var got []string
	collect := func(_ byte, body []byte) error { got = append(got, string(body)); return nil }
	if err := Records(b, collect); err != nil || !slices.Equal(got, []string{"a", "", "ccc"}) {
		t.Errorf("%q, %v", got, err)
	}
	for i := range b {
		bent := bytes.Clone(b)
		bent[i] ^= 1
		if err := Records(bent, collect); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	good := segmentStart(1)
	good = append(good, AppendRecord(nil, 1, func(b []byte) []byte { return append(b, "body"...) })...)
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000000000001.seg"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := Open(dir, Options{NoSync: true})
		if err == nil {
			j.Close()
		}
	})
}

func reseal(start []byte) []byte {
	binary.LittleEndian.PutUint32(start, crc32.Checksum(start[4:], castagnoli))
	return start
}
