package objstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
)

// pageSize bounds the names a listing holds for each level of directories. A
// directory with more is read once for each page.
const pageSize = 16 << 10

// List implements Reader. The memory it needs does not grow with the directory.
func (d *Dir) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		w := walk{ctx: ctx, d: d, prefix: prefix, after: after, page: cmp.Or(d.pageSize, pageSize), yield: yield}
		dir := prefix[:strings.LastIndexByte(prefix, '/')+1]
		if dir != "" && CheckName(strings.TrimSuffix(dir, "/")) != nil {
			return // no object has such a name
		}
		if err := w.folder(dir); err != nil && !errors.Is(err, errStop) {
			yield(Object{}, fmt.Errorf("list %s*: %w", prefix, err))
		}
	}
}

// errStop ends a walk whose consumer has had enough.
var errStop = errors.New("stop")

// A walk is one listing.
type walk struct {
	ctx           context.Context
	d             *Dir
	prefix, after string
	page          int
	yield         func(Object, error) bool
}

// folder yields what lies in dir ("" or "a/b/") in ascending order of full
// names. A folder sorts as its name with a slash, which is where its objects'
// names sort.
func (w *walk) folder(dir string) error {
	for cursor := ""; ; {
		keys, more, err := w.keys(dir, cursor)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := w.visit(dir + key); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		cursor = keys[len(keys)-1]
	}
}

func (w *walk) visit(name string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if strings.HasSuffix(name, "/") {
		return w.folder(name)
	}
	info, err := w.d.root.Lstat(name)
	if errors.Is(ours(err), ErrNotExist) {
		return nil // removed since the directory was read
	}
	if err != nil {
		return ours(err)
	}
	if !info.Mode().IsRegular() {
		return nil // replaced by something else since
	}
	if !w.yield(describeFile(name, info), nil) {
		return errStop
	}
	return nil
}

// keys gives the first page of entries of dir after cursor that the listing
// wants, sorted, folders with a slash, and whether there are more.
func (w *walk) keys(dir, cursor string) (keys []string, more bool, err error) {
	f, err := w.d.root.Open(cmp.Or(path.Clean(dir), "."))
	if errors.Is(ours(err), ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, ours(err)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			key := e.Name()
			switch {
			case e.IsDir():
				key += "/"
			case !e.Type().IsRegular():
				continue
			}
			if key > cursor && w.wants(dir, key) {
				keys = append(keys, key)
			}
		}
		if len(keys) >= 2*w.page {
			slices.Sort(keys)
			keys, more = keys[:w.page], true
		}
		if errors.Is(err, io.EOF) || errors.Is(ours(err), ErrNotExist) {
			break // the end, or a file, or removed meanwhile
		}
		if err != nil {
			return nil, false, ours(err)
		}
		if err := w.ctx.Err(); err != nil {
			return nil, false, err
		}
	}
	slices.Sort(keys)
	if len(keys) > w.page {
		keys, more = keys[:w.page], true
	}
	return keys, more, nil
}

// wants says whether dir+key is, or may hold, an object of this listing.
func (w *walk) wants(dir, key string) bool {
	name := dir + key
	folder := strings.TrimSuffix(key, "/")
	if CheckName(folder) != nil || CheckName(strings.TrimSuffix(name, "/")) != nil {
		return false // temporary, or made by something else: no store can name it
	}
	if len(folder) == len(key) {
		return strings.HasPrefix(name, w.prefix) && name > w.after
	}
	overlaps := strings.HasPrefix(name, w.prefix) || strings.HasPrefix(w.prefix, name)
	return overlaps && (name > w.after || strings.HasPrefix(w.after, name))
}
