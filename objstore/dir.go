package objstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Dir is a Store in a local directory; an object is a file of the same path.
//
// A write goes to a temporary file in the folder ".tmp~" of the root, is
// synced, gets its name by link(2), which never replaces anything, and is
// reported only after the directory and every new parent are synced too. So a
// power cut leaves whole objects and, at worst, a temporary file, which a later
// writer removes.
//
// Replace and Remove take an flock in that folder, so that their conditions hold
// between processes. Every path is resolved inside the root, symbolic links
// included; listings pass over links and whatever else is no plain file.
//
// It keeps no metadata, and a checksum only in the sense that Stat computes it.
// Since a file cannot be a directory too, the names "a" and "a/b" exclude each
// other here. It is safe for concurrent use and needs no closing.
type Dir struct {
	root     *os.Root
	lock     chan struct{} // goroutines of this process queue here, then one asks for the flock
	pageSize int           // of listings; 0: the default

	mu      sync.Mutex
	durable map[string]bool // directories this process has synced into their parents
	swept   bool            // leftovers of dead writers removed
}

// OpenDir opens (and makes, where missing) the directory root as a store.
func OpenDir(root string) (*Dir, error) {
	if err := makeRoot(root); err != nil {
		return nil, fmt.Errorf("open directory %s: %w", root, err)
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", root, err)
	}
	return &Dir{root: r, lock: make(chan struct{}, 1), durable: map[string]bool{".": true}}, nil
}

// Stat implements Reader. It reads the whole file for the checksum.
func (d *Dir) Stat(ctx context.Context, name string) (Object, error) {
	f, o, err := d.open(ctx, "stat", name)
	if err != nil {
		return Object{}, err
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, ctxReader{ctx, f})
	if err == nil && n != o.Size {
		err = fmt.Errorf("%d bytes where the file has %d: %w", n, o.Size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return Object{}, fmt.Errorf("stat %s: %w", name, err)
	}
	o.CRC32C, o.HasCRC32C = sum.Sum32(), true
	return o, nil
}

// Read implements Reader.
func (d *Dir) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	f, o, err := d.open(ctx, "read", name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	start, length := Range(o.Size, off, n)
	data := make([]byte, length)
	if _, err := io.ReadFull(ctxReader{ctx, io.NewSectionReader(f, start, length)}, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// open gives the file at name and its description without a checksum.
func (d *Dir) open(ctx context.Context, op, name string) (*os.File, Object, error) {
	if err := ready(ctx, op, name); err != nil {
		return nil, Object{}, err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, Object{}, fmt.Errorf("%s %s: %w", op, name, ours(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotExist // a folder of other objects
	}
	if err != nil {
		f.Close()
		return nil, Object{}, fmt.Errorf("%s %s: %w", op, name, err)
	}
	return f, describeFile(name, info), nil
}

// Create implements Writer.
func (d *Dir) Create(ctx context.Context, name string, data []byte, _ map[string]string) (Object, error) {
	if err := ready(ctx, "create", name); err != nil {
		return Object{}, err
	}
	o, err := d.put(ctx, name, data, d.link)
	if err != nil {
		return Object{}, fmt.Errorf("create %s: %w", name, err)
	}
	return o, nil
}

// link gives a temporary file its name unless something has that name.
func (d *Dir) link(_ context.Context, temp, name string) error {
	err := d.root.Link(temp, name)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := d.root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%w: %w: other objects are named %s/…", ErrRefused, ErrName, name)
	}
	// The caller may take "exists" for success, if it was an earlier try of its
	// own: then the name has to be durable, whoever made it.
	if err := d.sync(path.Dir(name)); err != nil {
		return err
	}
	return ErrExist
}

// Replace implements Writer.
func (d *Dir) Replace(ctx context.Context, name string, data []byte, _ map[string]string, match Generation) (Object, error) {
	if err := ready(ctx, "replace", name); err != nil {
		return Object{}, err
	}
	o, err := d.put(ctx, name, data, func(ctx context.Context, temp, name string) error {
		return d.locked(ctx, func() error {
			if match == 0 { // creators do not take the lock
				err := d.link(ctx, temp, name)
				if errors.Is(err, ErrExist) {
					err = ErrPrecondition
				}
				return err
			}
			if err := d.check(name, match); err != nil {
				return err
			}
			return d.root.Rename(temp, name)
		})
	})
	if err != nil {
		return Object{}, fmt.Errorf("replace %s: %w", name, err)
	}
	return o, nil
}

// check says why the object at name is not at generation match.
func (d *Dir) check(name string, match Generation) error {
	if match == Any {
		return nil
	}
	info, err := d.root.Lstat(name)
	if err != nil && !errors.Is(ours(err), ErrNotExist) {
		return err
	}
	var at Generation
	if err == nil {
		at = describeFile(name, info).Generation
	}
	if at != match {
		return fmt.Errorf("%w: at %d, not %d", ErrPrecondition, at, match)
	}
	return nil
}

// Remove implements Remover. It leaves empty directories behind.
func (d *Dir) Remove(ctx context.Context, name string, match Generation) error {
	if err := ready(ctx, "remove", name); err != nil {
		return err
	}
	err := d.locked(ctx, func() error {
		info, err := d.root.Lstat(name)
		if err == nil && info.IsDir() {
			err = ErrNotExist
		}
		if err == nil {
			err = d.check(name, match)
		}
		if err == nil {
			err = d.root.Remove(name)
		}
		return err
	})
	if err == nil {
		err = d.sync(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, ours(err))
	}
	return nil
}

// locked runs f while no other Replace or Remove runs on this directory, in
// whatever process.
func (d *Dir) locked(ctx context.Context, f func() error) error {
	select {
	case d.lock <- struct{}{}:
		defer func() { <-d.lock }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := d.prepare(); err != nil {
		return err
	}
	l, err := d.root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer l.Close() // and so unlock
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		got, err := tryLock(l)
		if err != nil {
			return fmt.Errorf("lock %s: %w", lockFile, err)
		}
		if got {
			return f()
		}
		if err := sleep(ctx, wait); err != nil {
			return fmt.Errorf("wait for the lock of another process: %w", err)
		}
	}
}

// describeFile is the object that a file is, without a checksum.
//
// Created is the time of the file's last change of state, which link(2) and
// rename(2) set: so a write that was held up for hours is not born old. Copying
// or changing the mode of a file makes it younger, which can only delay what
// depends on its age.
func describeFile(name string, info fs.FileInfo) Object {
	return Object{Name: name, Size: info.Size(), Generation: identity(info), Created: changed(info)}
}

// ours gives errors of the file system the meaning of package objstore's. The
// original stays in the chain and in the text.
func ours(err error) error {
	switch {
	case errors.Is(err, ErrNotExist), errors.Is(err, ErrRefused):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return ErrNotExist
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("%w: %w: %w", ErrRefused, ErrName, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// makeRoot makes a directory that survives a power cut.
func makeRoot(root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	var missing []string
	for p := root; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, p)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, p := range missing {
		parent, err := os.Open(filepath.Dir(p))
		if err != nil {
			return err
		}
		err = parent.Sync()
		parent.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// A ctxReader stops reading once ctx is done.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// tempName is a name that no other writer uses.
func tempName() string { return tempFolder + "/" + rand.Text() }
