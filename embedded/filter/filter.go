// Package filter is the language in which a subscription says which messages it
// wants, by their attributes:
//
//	attributes:key                       has the attribute
//	attributes.key = "value"             and it has this value
//	attributes.key != "value"            lacks it or has another value
//	hasPrefix(attributes.key, "prefix")  has a value that begins so
//	NOT, -, AND, OR, parentheses
//
// AND and OR may be mixed only with parentheses. A Filter holds no state and may
// be used by many goroutines.
package filter

import (
	"fmt"
	"strings"
)

// MaxBytes is the longest filter there may be.
const MaxBytes = 256

// maxDepth bounds recursion; 256 bytes cannot say anything sensible this deep.
const maxDepth = 64

// A Filter is a parsed expression.
type Filter struct {
	match func(get Attributes) bool
}

// Attributes looks up an attribute of a message.
type Attributes func(key string) (value string, ok bool)

// Match reports whether a message with these attributes is wanted.
func (f *Filter) Match(get Attributes) bool { return f.match(get) }

// Parse reads an expression. Its errors say where it stopped understanding.
func Parse(s string) (*Filter, error) {
	if len(s) > MaxBytes {
		return nil, fmt.Errorf("filter of %d bytes: at most %d are allowed", len(s), MaxBytes)
	}
	p := &parser{in: s}
	p.next()
	match, err := p.expression(0)
	if err == nil && p.kind != end {
		err = p.unexpected("AND, OR or the end")
	}
	if err != nil {
		return nil, err
	}
	return &Filter{match: match}, nil
}

type match = func(Attributes) bool

type parser struct {
	in   string
	at   int // behind the token
	from int // where the token begins
	kind kind
	text string // of a word or string
	err  error  // of the token
}

func (p *parser) unexpected(want string) error {
	if p.err != nil {
		return p.err
	}
	got := p.in[p.from:p.at]
	if p.kind == end {
		got = "the end"
	}
	return fmt.Errorf("filter, byte %d: %s where %s is expected", p.from, got, want)
}

func (p *parser) expect(k kind, want string) error {
	if p.kind != k {
		return p.unexpected(want)
	}
	p.next()
	return nil
}

// expression = term { AND term } | term { OR term }
func (p *parser) expression(depth int) (match, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("filter, byte %d: nested too deep", p.from)
	}
	first, err := p.term(depth)
	if err != nil {
		return nil, err
	}
	op := p.word()
	if op != "AND" && op != "OR" {
		return first, nil
	}
	terms := []match{first}
	for p.word() == "AND" || p.word() == "OR" {
		if p.word() != op {
			return nil, fmt.Errorf("filter, byte %d: AND and OR together need parentheses", p.from)
		}
		p.next()
		t, err := p.term(depth)
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	if op == "AND" {
		return func(get Attributes) bool {
			for _, t := range terms {
				if !t(get) {
					return false
				}
			}
			return true
		}, nil
	}
	return func(get Attributes) bool {
		for _, t := range terms {
			if t(get) {
				return true
			}
		}
		return false
	}, nil
}

// word is the token's text if it is a bare word.
func (p *parser) word() string {
	if p.kind != word {
		return ""
	}
	return p.text
}

// term = [ NOT | - ] ( "(" expression ")" | comparison )
func (p *parser) term(depth int) (match, error) {
	if p.word() == "NOT" || p.kind == minus {
		p.next()
		t, err := p.term(depth + 1)
		if err != nil {
			return nil, err
		}
		return func(get Attributes) bool { return !t(get) }, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("filter, byte %d: nested too deep", p.from)
	}
	if p.kind == open {
		p.next()
		e, err := p.expression(depth + 1)
		if err != nil {
			return nil, err
		}
		return e, p.expect(closing, ")")
	}
	switch p.word() {
	case "attributes":
		p.next()
		return p.comparison()
	case "hasPrefix":
		p.next()
		return p.prefix()
	}
	return nil, p.unexpected("attributes, hasPrefix, NOT or (")
}

func (p *parser) comparison() (match, error) {
	switch p.kind {
	case colon:
		p.next()
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		return func(get Attributes) bool { _, ok := get(key); return ok }, nil
	case dot:
		p.next()
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		equal := p.kind == equals
		if !equal && p.kind != differs {
			return nil, p.unexpected("= or !=")
		}
		p.next()
		value, err := p.literal()
		if err != nil {
			return nil, err
		}
		return func(get Attributes) bool {
			got, ok := get(key)
			return (ok && got == value) == equal
		}, nil
	}
	return nil, p.unexpected(": or .")
}

// prefix = "(" attributes "." key "," string ")"
func (p *parser) prefix() (match, error) {
	if err := p.expect(open, "("); err != nil {
		return nil, err
	}
	if p.word() != "attributes" {
		return nil, p.unexpected("attributes")
	}
	p.next()
	if err := p.expect(dot, "."); err != nil {
		return nil, err
	}
	key, err := p.key()
	if err != nil {
		return nil, err
	}
	if err := p.expect(comma, ","); err != nil {
		return nil, err
	}
	start, err := p.literal()
	if err != nil {
		return nil, err
	}
	return func(get Attributes) bool {
		got, ok := get(key)
		return ok && strings.HasPrefix(got, start)
	}, p.expect(closing, ")")
}

func (p *parser) key() (string, error) {
	if p.kind != word && p.kind != literal {
		return "", p.unexpected("an attribute's key")
	}
	key := p.text
	p.next()
	return key, p.err
}

func (p *parser) literal() (string, error) {
	if p.kind != literal {
		return "", p.unexpected("a string in double quotes")
	}
	s := p.text
	p.next()
	return s, p.err
}
