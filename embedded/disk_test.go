package embedded_test

import (
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/embedded/journal"
)

// A disk that is full, or refuses to sync, while fails is set; a write to a full
// disk leaves half of it behind.
type disk struct {
	full, broken atomic.Bool
	free         atomic.Uint64
	syncs        atomic.Int64
}

type diskFile struct {
	journal.File
	disk *disk
}

func (f diskFile) WriteAt(b []byte, off int64) (int, error) {
	if f.disk.full.Load() {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, syscall.ENOSPC
	}
	return f.File.WriteAt(b, off)
}

func (f diskFile) Sync() error {
	f.disk.syncs.Add(1)
	if f.disk.broken.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

func newDisk() *disk {
	d := &disk{}
	d.free.Store(1 << 40)
	return d
}

func (d *disk) config() embedded.Config {
	return embedded.Config{}.WithDisk(func(name string, flag int, perm os.FileMode) (journal.File, error) {
		f, err := os.OpenFile(name, flag, perm)
		return diskFile{f, d}, err
	}, d.free.Load)
}

// A full disk, or one that fails to sync, is the publisher's error, not the
// server's end. What was refused is not there; what was answered is, also after
// the disk has room again and after a restart.
func TestAFailingDiskIsAnErrorForThePublisher(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(d *disk, fails bool)
		want codes.Code
	}{
		{"full", func(d *disk, fails bool) { d.full.Store(fails) }, codes.ResourceExhausted},
		{"does not sync", func(d *disk, fails bool) { d.broken.Store(fails) }, codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisk()
			b := newBox(t, d.config())
			b.pair(nil)
			b.publish("one", "two")
			got := b.pull(subName, 2)
			tt.set(d, true)
			for range 3 {
				_, err := b.tryPublish("refused")
				wantCode(t, "publish", err, tt.want)
			}
			wantCode(t, "ack", b.tryAck(subName, got[0]), tt.want)
			tt.set(d, false)
			if again := texts(b.pull(subName, 1)); !slices.Equal(again, []string{"one"}) {
				t.Errorf("after the ack that failed %v came", again)
			}
			b.publish("three")
			b.ack(subName, got[0])
			if got := texts(b.now(subName)); !slices.Equal(got, []string{"three"}) {
				t.Errorf("%v came, want three", got)
			}
			b.cfg.Dir = copyDir(t, b.cfg.Dir)
			b.restart()
			if got := texts(b.pull(subName, 2)); !slices.Equal(got, []string{"two", "three"}) {
				t.Errorf("after a restart %v came, want two and three", got)
			}
		})
	}
}

// With little room left publishing is refused, and acks, which make room, are not.
func TestTheLastRoomIsForAcks(t *testing.T) {
	d := newDisk()
	b := newBox(t, d.config())
	b.pair(nil)
	b.publish("one")
	d.free.Store(1 << 20)
	_, err := b.tryPublish("two")
	wantCode(t, "publish", err, codes.ResourceExhausted)
	b.ack(subName, b.pull(subName, 1)...)
	d.free.Store(1 << 40)
	b.publish("three")
	if got := texts(b.pull(subName, 1)); !slices.Equal(got, []string{"three"}) {
		t.Errorf("%v came, want three", got)
	}
}

// Nothing is answered before it was synced.
func TestEveryAnswerFollowsASync(t *testing.T) {
	d := newDisk()
	b := newBox(t, d.config())
	b.pair(nil)
	step := func(what string, f func()) {
		before := d.syncs.Load()
		f()
		if d.syncs.Load() == before {
			t.Errorf("%s was answered without a sync", what)
		}
	}
	var ids []string
	step("a publish", func() { ids = b.publish("one") })
	if len(ids) != 1 {
		t.Fatal(ids)
	}
	got := b.pull(subName, 1)
	step("an ack", func() { b.ack(subName, got...) })
	step("a topic", func() { b.topic(topicName + "2") })
}
