// Package columnar turns rows into Parquet objects and back.
//
// The rows are Arrow record batches of one definition (package schema): its own
// fields, then the system columns. Raw and processed objects are written alike:
// sorted Parquet whose every encoding the common engines read.
//
// What always holds:
//
//   - an object is a function of its rows: the same rows in the same order give
//     the same bytes, whatever batches, dictionaries or buffers they came from;
//   - rows are in one total order (Sort), and Merge of sorted records is a set
//     union by identity: idempotent, commutative and associative;
//   - nothing disappears unseen: the hashes of the inputs of a merge sum up to
//     the hash of its output and the hash of what it dropped;
//   - statistics never narrow: a bound is exact or it is absent;
//   - corrupt bytes give ErrCorrupt, never a panic, never an allocation out of
//     proportion to the object's size.
//
// Package columnar names no objects, keeps no state between calls and starts no
// goroutine that outlives a call.
package columnar

import (
	"errors"
)

// RowGroupRows is the number of rows at which a row group is full. A row group
// is the unit of pushdown and of decoding in memory.
const RowGroupRows = 128 << 10

// Sentinels for callers who branch.
var (
	// ErrCorrupt: the bytes are no Parquet object of ours, or a damaged one.
	// Trying again helps only if the bytes were damaged on their way.
	ErrCorrupt = errors.New("corrupt Parquet")

	// ErrUnsupported: valid Parquet, but with a feature this package never
	// writes and does not read.
	ErrUnsupported = errors.New("unsupported Parquet feature")

	// ErrRecord: a record batch is not one of the definition.
	ErrRecord = errors.New("record does not fit the definition")

	// ErrUnsorted: Encode was handed rows, or a Union a file, not in the order of
	// Sort.
	ErrUnsorted = errors.New("rows are not sorted")
)

// A Decimal is a bound of a decimal column: Unscaled / 10^Scale.
type Decimal struct {
	Unscaled int64
	Scale    int32
}
