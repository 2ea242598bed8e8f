package query

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/schema"
)

// Bounds are what is known of a column's values in some rows: every value that
// is not null lies in [min, max], if known.
type bounds struct {
	known    bool
	min, max value
	nulls    int64 // -1: not known
}

var unknown = bounds{nulls: -1}

// A described is a set of rows of which some columns' bounds are known.
type described interface {
	bounds(col int) bounds
	rowCount() int64 // -1: not known
}

// mayHold tells whether some of the rows may satisfy c.
func (c *condition) mayHold(d described) bool {
	b, rows := d.bounds(c.col), d.rowCount()
	switch {
	case rows == 0:
		return false
	case c.null:
		return b.nulls != 0
	case c.orNull && b.nulls != 0:
		return true
	case b.nulls >= 0 && b.nulls == rows: // nothing but nulls
		return false
	case c.notNull || !b.known:
		return true
	case integral(c.kind):
		return c.ints.overlaps(b.min.int, b.max.int)
	case c.kind == schema.Float64:
		return c.floats.overlaps(b.min.float, b.max.float)
	}
	return c.texts.overlaps(b.min.text, b.max.text)
}

// deltaStats are the statistics of an add action, as far as they can be used. A
// table's columns are looked up by name; what cannot be read is not known.
type deltaStats struct {
	Rows  *int64                     `json:"numRecords"`
	Min   map[string]json.RawMessage `json:"minValues"`
	Max   map[string]json.RawMessage `json:"maxValues"`
	Nulls map[string]json.RawMessage `json:"nullCount"`
}

func parseStats(text string) deltaStats {
	var s deltaStats
	if json.Unmarshal([]byte(text), &s) != nil {
		return deltaStats{}
	}
	return s
}

func (s *deltaStats) bounds(f schema.Field) bounds {
	b := unknown
	var nulls int64
	if raw, ok := s.Nulls[f.Name]; ok && json.Unmarshal(raw, &nulls) == nil && nulls >= 0 {
		b.nulls = nulls
	}
	min, okMin := statValue(f, s.Min[f.Name], false)
	max, okMax := statValue(f, s.Max[f.Name], true)
	if okMin && okMax && compareValues(f.Kind, min, max) <= 0 {
		b.min, b.max, b.known = min, max, true
	}
	return b
}

// statValue reads one bound, rounding away from the rows: a maximum up.
func statValue(f schema.Field, raw json.RawMessage, up bool) (v value, ok bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return v, false
	}
	var text string
	if raw[0] == '"' {
		if json.Unmarshal(raw, &text) != nil {
			return v, false
		}
	}
	switch f.Kind {
	case schema.String:
		return value{text: text}, raw[0] == '"'
	case schema.Timestamp:
		v.int, ok = statInstant(text, up)
	case schema.Date:
		t, err := time.Parse(time.DateOnly, text)
		v.int, ok = t.Unix()/86400, err == nil
	case schema.Int32, schema.Int64, schema.Decimal:
		v.int, ok = statNumber(string(raw), f.Scale, up)
	case schema.Float64:
		ok = json.Unmarshal(raw, &v.float) == nil && !math.IsInf(v.float, 0)
	case schema.Bool:
		var b bool
		if ok = json.Unmarshal(raw, &b) == nil; b {
			v.int = 1
		}
	}
	return v, ok // Binary: Delta keeps none
}

// statInstant reads a timestamp. Other writers cut maxima to the millisecond, so
// one without microseconds may stand for any of the millisecond's.
func statInstant(text string, up bool) (int64, bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, false
	}
	micros := t.UnixMicro()
	if up && micros%1000 == 0 {
		micros += 999
	}
	return micros, true
}

func statNumber(text string, scale int32, up bool) (int64, bool) {
	r, err := parseRat(strings.Trim(text, `"`))
	if err != nil {
		return 0, false
	}
	b := scaled(r, scale)
	switch {
	case b.outside < 0:
		return math.MinInt64, !up
	case b.outside > 0:
		return math.MaxInt64, up
	case up && !b.exact && b.floor < math.MaxInt64:
		b.floor++
	}
	return b.floor, true
}

// footerValue is a bound that columnar.File gave, as a value of f.
func footerValue(f schema.Field, bound any) (v value, ok bool) {
	switch x := bound.(type) {
	case string:
		v.text = x
		return v, f.Kind == schema.String || f.Kind == schema.Binary
	case []byte:
		v.text = string(x)
		return v, f.Kind == schema.String || f.Kind == schema.Binary
	case float64:
		v.float = x
		return v, f.Kind == schema.Float64 && !math.IsNaN(x)
	case bool:
		if x {
			v.int = 1
		}
		return v, f.Kind == schema.Bool
	case columnar.Decimal:
		b := scaled(new(big.Rat).SetFrac(big.NewInt(x.Unscaled), pow10(x.Scale)), f.Scale)
		v.int = b.floor
		return v, f.Kind == schema.Decimal && b.exact && b.outside == 0
	case int32:
		v.int = int64(x)
		return v, f.Kind == schema.Int32 || f.Kind == schema.Date
	case int64:
		v.int = x
		return v, f.Kind == schema.Int64 || f.Kind == schema.Timestamp || f.Kind == schema.Int32
	case arrow.Timestamp:
		v.int = int64(x)
		return v, f.Kind == schema.Timestamp
	case arrow.Date32:
		v.int = int64(x)
		return v, f.Kind == schema.Date
	}
	return v, false
}

func pow10(scale int32) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, 0))), nil)
}

// A rowGroup is one row group of an opened file.
type rowGroup struct {
	def  *schema.Definition
	file *columnar.File
	n    int
}

func (g rowGroup) rowCount() int64 { return g.file.RowGroupRows(g.n) }

func (g rowGroup) bounds(col int) bounds {
	f := g.def.Fields[col]
	lo, hi, nulls, ok := g.file.RowGroupBounds(g.n, f.Name)
	if !ok {
		return unknown
	}
	b := bounds{nulls: nulls}
	min, okMin := footerValue(f, lo)
	max, okMax := footerValue(f, hi)
	if okMin && okMax && compareValues(f.Kind, min, max) <= 0 {
		b.min, b.max, b.known = min, max, true
	}
	return b
}
