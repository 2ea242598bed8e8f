package columnar

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/schema"
)

// RowGroupBounds gives the least and greatest value of a field in a row group,
// and how many are null, from the statistics. ok is false where the file has no
// exact bounds: the column lacks, or has no value but nulls (nulls then says how
// many, and is -1 where even that is unknown), or its bounds were left out, as
// those of strings of more than 4 KiB are, and of columns that hold an empty
// string or a NaN.
//
// Bounds are string, []byte, bool, int32, int64, float64, Decimal,
// arrow.Timestamp (µs) or arrow.Date32, by the kind of the column in the file.
func (f *File) RowGroupBounds(rg int, field string) (min, max any, nulls int64, ok bool) {
	col := f.meta.column(field)
	if col < 0 || rg < 0 || rg >= len(f.meta.groups) {
		return nil, nil, -1, false
	}
	c, meta := &f.meta.groups[rg].chunks[col], &f.meta.columns[col]
	if !c.hasMin || !c.hasMax || c.inexact {
		return nil, nil, c.nulls, false
	}
	min, max = bound(meta, c.min), bound(meta, c.max)
	if min == nil || max == nil {
		return nil, nil, c.nulls, false
	}
	if lo, isFloat := min.(float64); isFloat {
		hi := max.(float64)
		if math.IsNaN(lo) || math.IsNaN(hi) {
			return nil, nil, c.nulls, false
		}
		min, max = widenZero(lo, -1), widenZero(hi, 1)
	}
	return min, max, c.nulls, true
}

// widenZero lets a bound of zero cover both zeros.
func widenZero(f, sign float64) float64 {
	if f == 0 {
		return math.Copysign(0, sign)
	}
	return f
}

// bound decodes a bound, nil if its length is wrong for its type.
func bound(meta *columnMeta, b []byte) any {
	switch {
	case meta.kind == schema.String:
		return string(b)
	case meta.kind == schema.Binary:
		return append([]byte{}, b...)
	case meta.kind == schema.Bool && len(b) == 1:
		return b[0] != 0
	case meta.phys == physInt32 && len(b) == 4:
		return typed(meta, int64(int32(binary.LittleEndian.Uint32(b))))
	case meta.phys == physInt64 && len(b) == 8:
		return typed(meta, int64(binary.LittleEndian.Uint64(b)))
	case meta.kind == schema.Float64 && len(b) == 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	return nil
}

func typed(meta *columnMeta, v int64) any {
	switch meta.kind {
	case schema.Int32:
		return int32(v)
	case schema.Int64:
		return v
	case schema.Decimal:
		return Decimal{Unscaled: v, Scale: meta.scale}
	case schema.Timestamp:
		return arrow.Timestamp(v)
	case schema.Date:
		return arrow.Date32(v)
	}
	return nil
}
