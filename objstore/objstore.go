// Package objstore is the seam to storage: named, immutable-by-convention bytes
// in a bucket.
//
// What always holds, in every implementation (package objtest checks it):
//
//   - Create is atomic: of any number of racing creators of one name exactly one
//     succeeds, the others get ErrExist, and nobody ever sees half an object;
//   - when Create or Replace returns nil the bytes are durable;
//   - reads and listings after a write's success see that write;
//   - a List is in ascending byte order of names.
//
// An error other than ErrExist, ErrNotExist, ErrPrecondition, ErrRefused and
// ErrName (a name that the store cannot hold, whatever else it can) leaves the outcome unknown: the operation may have been applied, or be
// applied later.
//
// Names are those that CheckName allows. No object's name should be another's
// followed by a slash: a directory cannot hold both.
//
// The capabilities are separate interfaces, so that a type that cannot do harm
// needs no discipline: a reader of the lake takes a Reader and cannot delete.
package objstore

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Sentinels for callers who branch; implementations wrap them with the
// operation and the name.
var (
	ErrExist        = errors.New("object exists")
	ErrNotExist     = errors.New("object does not exist")
	ErrPrecondition = errors.New("object is at another generation")

	// ErrRefused marks what trying again at once will not mend: no permission, no
	// such bucket, a key that is disabled; with ErrName, a name that the store cannot
	// hold. A person has to look.
	ErrRefused = errors.New("store refuses")
)

// A Generation numbers the versions of the object at one name, as the store
// chose it. It is never 0 for an object that exists.
type Generation int64

// Any is the generation to pass where the current one does not matter.
const Any Generation = -1

// An Object describes one stored object.
type Object struct {
	Name       string
	Size       int64
	Generation Generation
	Created    time.Time // when this generation was created, by the store's clock

	// CRC32C is the Castagnoli checksum of the bytes. Stat always gives it; List
	// gives it where the store keeps it (HasCRC32C).
	CRC32C    uint32
	HasCRC32C bool

	// Metadata is what the writer attached, or nil where the store keeps none
	// (the local directory): then the object's own footer has to be read.
	Metadata map[string]string
}

// A Reader reads objects.
type Reader interface {
	// List yields the objects whose names start with prefix and are greater
	// than after, in ascending order. It stops at the first error. What CheckName
	// refuses is passed over: somebody else put it there. An object that comes or
	// goes meanwhile may be in it or not. A sequence can be ranged over again.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]

	// Stat describes one object, checksum included, or gives ErrNotExist.
	Stat(ctx context.Context, name string) (Object, error)

	// Read returns n bytes from offset off, or fewer at the object's end; n < 0
	// means to the end. A negative off counts from the end: the n first of the
	// last -off bytes. An off at or behind the end gives no bytes and no error.
	// The result is the caller's.
	Read(ctx context.Context, name string, off, n int64) ([]byte, error)
}

// A Writer creates and replaces objects.
type Writer interface {
	// Create makes the object, which must not exist: ErrExist if it does.
	// data must not change until Create returns; it is the caller's again then.
	Create(ctx context.Context, name string, data []byte, metadata map[string]string) (Object, error)

	// Replace makes or replaces the object atomically. With match other than
	// Any, only if the object is at that generation (0: does not exist), else
	// ErrPrecondition. Only derived objects, which can be rebuilt, are replaced.
	Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match Generation) (Object, error)
}

// A Remover removes objects. One package alone is handed one.
type Remover interface {
	// Remove deletes the object if it is at generation match (or Any). Removing
	// what does not exist gives ErrNotExist.
	Remove(ctx context.Context, name string, match Generation) error
}

// A ReadWriter is what every writer of the lake holds.
type ReadWriter interface {
	Reader
	Writer
}

// A Store is everything a bucket can do. Only main functions hold one; they hand
// out the narrower interfaces.
type Store interface {
	Reader
	Writer
	Remover
}
