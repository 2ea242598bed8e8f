package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buffetbot/ingest/objstore"
)

// Contents are the bytes of an open input.
type Contents interface {
	io.ReaderAt
	io.Closer
}

// An Input is one file to read. It is opened several times.
type Input struct {
	Name string
	Size int64
	Open func(ctx context.Context) (Contents, error)
}

// ErrNoInput is in the error of a pattern that no file matches.
var ErrNoInput = errors.New("no such file")

// Files finds the local files that patterns name: paths, or globs as a shell
// writes them. Their order is that of the patterns, and by name inside one; what
// several patterns name is taken once.
func Files(patterns ...string) ([]Input, error) {
	var all []Input
	var problems []error
	seen := map[string]bool{}
	for _, pattern := range patterns {
		names, err := matches(pattern)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, name := range names {
			input, err := localFile(name)
			switch {
			case err != nil:
				problems = append(problems, err)
			case !seen[filepath.Clean(name)]:
				seen[filepath.Clean(name)] = true
				all = append(all, input)
			}
		}
	}
	return all, errors.Join(problems...)
}

// matches gives a path that exists as it is, be there a * in it or not.
func matches(pattern string) ([]string, error) {
	if _, err := os.Stat(pattern); err == nil {
		return []string{pattern}, nil
	}
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: %w", pattern, ErrNoInput)
	}
	slices.Sort(names)
	return names, nil
}

func localFile(name string) (Input, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Input{}, err
	}
	if info.IsDir() {
		return Input{}, fmt.Errorf("%s is a directory: name its files, as in %s", name, filepath.Join(name, "*.csv.gz"))
	}
	if !info.Mode().IsRegular() {
		return Input{}, fmt.Errorf("%s is no regular file: it has to be read twice, so store it first", name)
	}
	return Input{Name: name, Size: info.Size(), Open: func(context.Context) (Contents, error) { return os.Open(name) }}, nil
}

// Objects finds the objects of a bucket that a pattern names, by path.Match. The
// inputs' names start with prefix, such as gs://bucket/.
func Objects(ctx context.Context, bucket objstore.Reader, prefix, pattern string) ([]Input, error) {
	var all []Input
	fixed := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		fixed = pattern[:i]
	}
	for o, err := range bucket.List(ctx, fixed, "") {
		if err != nil {
			return nil, fmt.Errorf("list %s%s: %w", prefix, fixed, err)
		}
		matched, err := path.Match(pattern, o.Name)
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w", prefix, pattern, err)
		}
		if matched || o.Name == pattern {
			all = append(all, Input{Name: prefix + o.Name, Size: o.Size, Open: func(ctx context.Context) (Contents, error) {
				return &object{ctx: ctx, bucket: bucket, name: o.Name, size: o.Size}, nil
			}})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s%s: %w", prefix, pattern, ErrNoInput)
	}
	return all, nil
}

// An object reads an object of a bucket by ranges.
type object struct {
	ctx    context.Context
	bucket objstore.Reader
	name   string
	size   int64
}

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	if off >= o.size {
		return 0, io.EOF
	}
	b, err := o.bucket.Read(o.ctx, o.name, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n := copy(p, b)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *object) Close() error { return nil }
