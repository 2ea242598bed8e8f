package query

import (
	"cmp"
	"slices"
)

// An op is a comparison of a column with a literal.
type op string

const (
	opEq op = "="
	opNe op = "!="
	opLt op = "<"
	opLe op = "<="
	opGt op = ">"
	opGe op = ">="
)

// A span is an interval of values. An end that is not bounded reaches past every
// value; an open end leaves its own value out.
type span[T cmp.Ordered] struct {
	lo, hi           T
	bounded          [2]bool // lo, hi
	loOpen, hiOpened bool
}

// A set holds the values that satisfy a condition: sorted, disjoint spans. The
// nil set holds nothing.
type set[T cmp.Ordered] []span[T]

func everything[T cmp.Ordered]() set[T] { return set[T]{{}} }

func point[T cmp.Ordered](v T) span[T] {
	return span[T]{lo: v, hi: v, bounded: [2]bool{true, true}}
}

// comparing is the set of values v with "v o literal", where floor is the
// greatest representable value not above the literal, which it is if exact.
func comparing[T cmp.Ordered](o op, floor T, exact bool) set[T] {
	upTo := span[T]{hi: floor, bounded: [2]bool{false, true}}
	below := span[T]{hi: floor, bounded: [2]bool{false, true}, hiOpened: true}
	from := span[T]{lo: floor, bounded: [2]bool{true, false}}
	above := span[T]{lo: floor, bounded: [2]bool{true, false}, loOpen: true}
	switch {
	case o == opEq && exact:
		return set[T]{point(floor)}
	case o == opEq:
		return nil
	case o == opNe && exact:
		return set[T]{below, above}
	case o == opNe:
		return everything[T]()
	case o == opLt && exact:
		return set[T]{below}
	case o == opLt, o == opLe:
		return set[T]{upTo}
	case o == opGe && exact:
		return set[T]{from}
	default: // >, and >= of a literal between two values
		return set[T]{above}
	}
}

// oneOf is the set of the values, or, if negated, of all others.
func oneOf[T cmp.Ordered](values []T, negated bool) set[T] {
	slices.Sort(values)
	values = slices.Compact(values)
	var s set[T]
	if !negated {
		for _, v := range values {
			s = append(s, point(v))
		}
		return s
	}
	gap := span[T]{}
	for _, v := range values {
		gap.hi, gap.bounded[1], gap.hiOpened = v, true, true
		s = append(s, gap)
		gap = span[T]{lo: v, bounded: [2]bool{true, false}, loOpen: true}
	}
	return append(s, gap)
}

// endsBelow tells whether all of p is less than v.
func (p *span[T]) endsBelow(v T) bool {
	return p.bounded[1] && (p.hi < v || p.hiOpened && p.hi == v)
}

// startsAbove tells whether all of p is greater than v.
func (p *span[T]) startsAbove(v T) bool {
	return p.bounded[0] && (p.lo > v || p.loOpen && p.lo == v)
}

// contains tells whether v is in the set. A NaN is in no set.
func (s set[T]) contains(v T) bool { return v == v && s.overlaps(v, v) }

// overlaps tells whether the set may hold a value of [min, max].
func (s set[T]) overlaps(min, max T) bool {
	lo, hi := 0, len(s)
	for lo < hi { // the first span that reaches min
		mid := (lo + hi) / 2
		if s[mid].endsBelow(min) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s) && !s[lo].startsAbove(max)
}
