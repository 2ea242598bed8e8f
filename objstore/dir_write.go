package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

const (
	lockFile = tempFolder + "/lock"

	// placeTries bounds how often a write starts over because its temporary file
	// or its directory was removed under it. Once is rare; twice means that
	// somebody is deleting the lake.
	placeTries = 5
)

// put writes data to a temporary file, lets place give it its name, and makes
// the name durable.
func (d *Dir) put(ctx context.Context, name string, data []byte, place func(ctx context.Context, temp, name string) error) (Object, error) {
	for try := 1; ; try++ {
		o, err := d.putOnce(ctx, name, data, place)
		if err == nil {
			return o, nil
		}
		if errors.Is(err, syscall.ENOTDIR) {
			return Object{}, fmt.Errorf("%w: %w: a part of the name is an object itself: %w", ErrRefused, ErrName, err)
		}
		if !errors.Is(err, fs.ErrNotExist) || try == placeTries {
			return Object{}, refused(err)
		}
		d.forget()
	}
}

func (d *Dir) putOnce(ctx context.Context, name string, data []byte, place func(ctx context.Context, temp, name string) error) (Object, error) {
	if err := d.prepare(); err != nil {
		return Object{}, err
	}
	if err := d.makeParents(path.Dir(name)); err != nil {
		return Object{}, err
	}
	temp := tempName()
	f, err := d.writeTemp(ctx, temp, data)
	if err != nil {
		return Object{}, err
	}
	defer f.Close()
	err = place(ctx, temp, name)
	d.root.Remove(temp) // gone already after a rename; else a later writer sweeps it
	if err != nil {
		return Object{}, err
	}
	info, err := f.Stat() // after the last change of links, so that Created is final
	if err != nil {
		return Object{}, err
	}
	o := describeFile(name, info)
	o.CRC32C, o.HasCRC32C = Checksum(data), true
	return o, d.sync(path.Dir(name))
}

// writeTemp writes and syncs a temporary file. It stays locked until closed,
// which tells the sweep of other processes that its writer lives.
func (d *Dir) writeTemp(ctx context.Context, temp string, data []byte) (_ *os.File, err error) {
	f, err := d.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			d.root.Remove(temp)
		}
	}()
	// A sweep may hold the lock just now: then it removes the file, placing it
	// fails, and the write starts over.
	if _, err := tryLock(f); err != nil {
		return nil, err
	}
	if _, err := f.Write(data); err != nil {
		return nil, err
	}
	// The kernel's file times move in steps of milliseconds, and inode numbers
	// are used again at once: only a full clock makes the pair an identity.
	now := time.Now()
	if err := d.root.Chtimes(temp, now, now); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	return f, ctx.Err()
}

// prepare makes the temporary folder and, once, removes what writers that died
// left in it.
func (d *Dir) prepare() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.swept {
		return nil
	}
	if err := d.root.Mkdir(tempFolder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.sweep(); err != nil {
		return fmt.Errorf("sweep %s: %w", tempFolder, err)
	}
	d.swept = true
	return nil
}

// sweep removes temporary files that nobody holds open.
func (d *Dir) sweep() error {
	folder, err := d.root.Open(tempFolder)
	if err != nil {
		return err
	}
	defer folder.Close()
	entries, err := folder.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := tempFolder + "/" + e.Name()
		if name == lockFile || !e.Type().IsRegular() {
			continue
		}
		if err := d.sweepOne(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (d *Dir) sweepOne(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	dead, err := tryLock(f)
	if err != nil || !dead {
		return err
	}
	return d.root.Remove(name)
}

// makeParents makes dir and its parents and syncs each into its own parent, also
// those it finds: whoever made them may not have got that far yet.
func (d *Dir) makeParents(dir string) error {
	d.mu.Lock()
	known := d.durable[dir]
	d.mu.Unlock()
	if known {
		return nil
	}
	err := d.root.MkdirAll(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: %w", syscall.ENOTDIR, err) // a file, so that a folder cannot be
	}
	if err != nil {
		return err
	}
	for p := dir; p != "."; p = path.Dir(p) {
		if err := d.sync(path.Dir(p)); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.durable[dir] = true
	d.mu.Unlock()
	return nil
}

// forget drops what is known of directories, since somebody removed some.
func (d *Dir) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.swept = false
	d.durable = map[string]bool{".": true}
}

// sync makes the entries of a directory durable.
func (d *Dir) sync(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// refused marks what trying again cannot mend; a missing directory is no
// missing object here.
func refused(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("directory removed while writing: %s", strings.TrimSpace(err.Error()))
	}
	return ours(err)
}
