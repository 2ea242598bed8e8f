package partition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/buffetbot/ingest/schema"
)

// Stats are the statistics of a file in the form of the log. A bound is a string
// (String, Timestamp, Date) or a json.Number; a column without one is not in the
// map. Bounds never narrow: no row lies outside of them. Strings compare by their
// bytes.
type Stats struct {
	NumRecords int64            `json:"numRecords"`
	Min        map[string]any   `json:"minValues"`
	Max        map[string]any   `json:"maxValues"`
	NullCount  map[string]int64 `json:"nullCount"`
}

func newStats(rows int64) Stats {
	return Stats{NumRecords: rows, Min: map[string]any{}, Max: map[string]any{}, NullCount: map[string]int64{}}
}

// JSON is the text that add actions carry: the same statistics, the same text.
func (s Stats) JSON() string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Sprintf(`{"numRecords":%d}`, s.NumRecords) // no bounds are true bounds
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ParseStats reads what JSON wrote.
func ParseStats(text string) (Stats, error) {
	s := newStats(0)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&s); err != nil {
		return Stats{}, fmt.Errorf("read statistics: %w", err)
	}
	return s, nil
}

// Merge are the statistics of the rows of both.
func (s Stats) Merge(o Stats) Stats {
	m := newStats(s.NumRecords + o.NumRecords)
	for column, n := range s.NullCount {
		if k, ok := o.NullCount[column]; ok {
			m.NullCount[column] = n + k
		}
	}
	for column := range m.NullCount {
		a, b := s.empty(column), o.empty(column)
		if v, ok := mergeBound(s.Min[column], o.Min[column], a, b, -1); ok {
			m.Min[column] = v
		}
		if v, ok := mergeBound(s.Max[column], o.Max[column], a, b, 1); ok {
			m.Max[column] = v
		}
	}
	return m
}

// empty tells whether the column is known to hold nulls only.
func (s Stats) empty(column string) bool {
	n, ok := s.NullCount[column]
	return ok && n == s.NumRecords
}

// mergeBound is the outer one of two bounds: the smaller for sign -1, the
// greater for 1. A side without values has no say, one without a bound leaves
// none.
func mergeBound(a, b any, noA, noB bool, sign int) (any, bool) {
	switch {
	case noA:
		return b, b != nil
	case noB:
		return a, a != nil
	}
	c, ok := compareBounds(a, b)
	if !ok {
		return nil, false
	}
	if c*sign >= 0 {
		return a, true
	}
	return b, true
}

func compareBounds(a, b any) (int, bool) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return strings.Compare(a, b), ok
	case json.Number:
		n, okB := b.(json.Number)
		x, okX := new(big.Rat).SetString(a.String())
		y, okY := new(big.Rat).SetString(n.String())
		if !okB || !okX || !okY {
			return 0, false
		}
		if c := x.Cmp(y); c != 0 {
			return c, true
		}
		// -0.0 is before 0.0 where an engine orders bit by bit
		return strings.Count(n.String(), "-0.0") - strings.Count(a.String(), "-0.0"), true
	}
	return 0, false
}

// skipsBounds tells the kinds that the log keeps no bounds of.
func skipsBounds(k schema.Kind) bool { return k == schema.Binary || k == schema.Bool }
