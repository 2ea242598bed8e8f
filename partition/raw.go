package partition

import (
	"context"
	"fmt"
	"strings"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
)

// A RawFile is one raw object of a listing.
type RawFile struct {
	Name    string // full
	Key     Key    // by its folders
	Object  objstore.Object
	Summary *columnar.Summary // nil where the store keeps none: read the object's footer
}

// ListRaw lists the raw objects of a data type in ascending order of names. The
// folders alone decide what is one: a Parquet object of a partition counts
// whatever its last part says, other objects do not.
//
// P14: readers list raw objects before they load the snapshot.
func ListRaw(ctx context.Context, r objstore.Reader, dataType string) ([]RawFile, error) {
	root := RawRoot(dataType)
	var raw []RawFile
	for o, err := range r.List(ctx, root, "") {
		if err != nil {
			return nil, fmt.Errorf("list raw objects of %s: %w", dataType, err)
		}
		if f, ok := rawFile(dataType, strings.TrimPrefix(o.Name, root), o); ok {
			raw = append(raw, f)
		}
	}
	return raw, nil
}

func rawFile(dataType, path string, o objstore.Object) (RawFile, bool) {
	key, ok := keyOfPath(dataType, path)
	base := path[strings.LastIndexByte(path, '/')+1:]
	if !ok || !strings.HasSuffix(base, nameEnd) || strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".") {
		return RawFile{}, false
	}
	f := RawFile{Name: o.Name, Key: key, Object: o}
	if sum, err := columnar.ParseSummary(o.Metadata); err == nil && sum.DataType == dataType {
		f.Summary = &sum
	}
	return f, true
}
