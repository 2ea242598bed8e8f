package columnar

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/cespare/xxhash/v2"

	"github.com/buffetbot/ingest/schema"
)

// The row hash is part of the format: it is stored in footers and logs, so it
// never changes. FORMAT.md gives it in words.
//
// A cell is mixed with its column's name, the cells of a row are summed, and the
// sum is mixed again, so that values swapped between two rows do not cancel out
// in the sum over the rows. A null adds nothing: a column added later leaves the
// hashes of old rows as they were.

// stringSeed makes the second lane of a string independent of the first.
const stringSeed = 0x9e3779b97f4a7c15

// mix is a bijection of 64-bit words whose output bits each depend on all input
// bits (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func hashString(b []byte, d *xxhash.Digest) SetHash {
	d.ResetWithSeed(stringSeed)
	_, _ = d.Write(b)
	return SetHash{xxhash.Sum64(b), d.Sum64()}
}

// RowHashes appends one hash per row of rec to dst. A row's hash depends on its
// values and the names of their columns alone; _superseded_at is not one of them,
// since it changes when another row comes. Records have all columns of their
// definition, or the hashes are those of other rows.
func RowHashes(rec arrow.RecordBatch, dst []SetHash) []SetHash {
	start := len(dst)
	dst = append(dst, make([]SetHash, rec.NumRows())...)
	rows := dst[start:]
	for i := range int(rec.NumCols()) {
		if rec.ColumnName(i) == schema.ColSupersededAt {
			continue // says something of other rows
		}
		h := newCellHasher(rec.ColumnName(i))
		h.column(rec.Column(i), rows)
	}
	for i := range rows {
		rows[i] = SetHash{mix(rows[i][0] + 1), mix(rows[i][1] + 2)}
	}
	return dst
}

// hashSum is the hash of rec's rows as a set.
func hashSum(rec arrow.RecordBatch) SetHash {
	var sum SetHash
	for _, h := range RowHashes(rec, nil) {
		sum = sum.Add(h)
	}
	return sum
}

// A cellHasher hashes the cells of one column.
type cellHasher struct {
	seed   SetHash
	digest *xxhash.Digest
}

func newCellHasher(name string) *cellHasher {
	h := &cellHasher{digest: xxhash.New()}
	h.seed = hashString([]byte(name), h.digest)
	return h
}

func (h *cellHasher) word(v uint64) SetHash {
	return SetHash{mix(v ^ h.seed[0]), mix(bits.RotateLeft64(v, 32) ^ h.seed[1])}
}

func (h *cellHasher) bytes(b []byte) SetHash {
	s := hashString(b, h.digest)
	return SetHash{mix(s[0] ^ h.seed[0]), mix(s[1] ^ h.seed[1])}
}

// column adds the cells of arr to rows.
func (h *cellHasher) column(arr arrow.Array, rows []SetHash) {
	if arr.NullN() == arr.Len() {
		return
	}
	switch a := arr.(type) {
	case *array.Dictionary:
		h.dictionary(a, rows)
	case *array.Int32:
		addWords(h, a, a.Int32Values(), rows, func(v int32) uint64 { return uint64(int64(v)) })
	case *array.Date32:
		addWords(h, a, a.Date32Values(), rows, func(v arrow.Date32) uint64 { return uint64(int64(v)) })
	case *array.Int64:
		h.wordsOf(a, arrow.Uint64Traits.CastFromBytes(arrow.Int64Traits.CastToBytes(a.Int64Values())), 1, rows)
	case *array.Timestamp:
		h.wordsOf(a, arrow.Uint64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(a.TimestampValues())), 1, rows)
	case *array.Decimal128: // precision <= 18: the low word says it all
		h.wordsOf(a, arrow.Uint64Traits.CastFromBytes(arrow.Decimal128Traits.CastToBytes(decimalsOf(a))), 2, rows)
	case *array.Float64:
		addWords(h, a, a.Float64Values(), rows, canonicalBits)
	default:
		h.others(arr, rows)
	}
}

func decimalsOf(a *array.Decimal128) []decimal128.Num {
	return slicesOf([]arrow.Array{a}, arrow.Decimal128Traits.CastFromBytes)[0]
}

// wordsOf adds the cells of every step-th word.
func (h *cellHasher) wordsOf(arr arrow.Array, words []uint64, step int, rows []SetHash) {
	seed, nulls := h.seed, arr.NullN() > 0
	for i := range rows {
		if nulls && arr.IsNull(i) {
			continue
		}
		v := words[i*step]
		rows[i] = rows[i].Add(SetHash{mix(v ^ seed[0]), mix(bits.RotateLeft64(v, 32) ^ seed[1])})
	}
}

// others are the kinds without a slice of words.
func (h *cellHasher) others(arr arrow.Array, rows []SetHash) {
	cell := func(int) SetHash { panic(fmt.Sprintf("hash: no column type %s", arr.DataType())) }
	switch a := arr.(type) {
	case *array.Binary:
		cell = func(i int) SetHash { return h.bytes(a.Value(i)) }
	case *array.Boolean:
		cell = func(i int) SetHash {
			if a.Value(i) {
				return h.word(1)
			}
			return h.word(0)
		}
	}
	for i := range rows {
		if arr.IsValid(i) {
			rows[i] = rows[i].Add(cell(i))
		}
	}
}

func addWords[T any](h *cellHasher, arr arrow.Array, values []T, rows []SetHash, word func(T) uint64) {
	nulls := arr.NullN() > 0
	for i, v := range values {
		if nulls && arr.IsNull(i) {
			continue
		}
		rows[i] = rows[i].Add(h.word(word(v)))
	}
}

// canonicalWord is canonicalBits of a float's bits.
func canonicalWord(w int64) uint64 { return canonicalBits(math.Float64frombits(uint64(w))) }

// canonicalBits gives equal floats one word: both zeros, and every NaN.
func canonicalBits(f float64) uint64 {
	if f == 0 {
		return 0
	}
	if f != f {
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(f)
}

// dictionary hashes each dictionary value once, unless the dictionary has more
// values than the column has rows, as it may after a slice.
func (h *cellHasher) dictionary(a *array.Dictionary, rows []SetHash) {
	s := stringsOf(a)
	var cells []SetHash
	if s.dictLen() <= len(rows) {
		cells = make([]SetHash, s.dictLen())
		for i := range cells {
			cells[i] = h.bytes(s.entry(int32(i)))
		}
	}
	for i, code := range s.codes {
		switch {
		case s.nulls && a.IsNull(i):
		case cells != nil:
			rows[i] = rows[i].Add(cells[code])
		default:
			rows[i] = rows[i].Add(h.bytes(s.entry(code)))
		}
	}
}
