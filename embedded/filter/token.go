package filter

import (
	"fmt"
	"strconv"
	"strings"
)

type kind int

const (
	end kind = iota
	bad
	word
	literal
	open
	closing
	colon
	dot
	comma
	equals
	differs
	minus
)

// next reads the next token into p. Words hold letters, digits, _ and -; a
// leading - is negation.
func (p *parser) next() {
	for p.at < len(p.in) && strings.IndexByte(" \t\r\n", p.in[p.at]) >= 0 {
		p.at++
	}
	p.from, p.text = p.at, ""
	if p.at == len(p.in) {
		p.kind = end
		return
	}
	c := p.in[p.at]
	p.at++
	switch {
	case c == '(':
		p.kind = open
	case c == ')':
		p.kind = closing
	case c == ':':
		p.kind = colon
	case c == '.':
		p.kind = dot
	case c == ',':
		p.kind = comma
	case c == '=':
		p.kind = equals
	case c == '!' && p.at < len(p.in) && p.in[p.at] == '=':
		p.at++
		p.kind = differs
	case c == '"':
		p.quoted()
	case c == '-':
		p.kind = minus
	case isWord(c):
		for p.at < len(p.in) && (isWord(p.in[p.at]) || p.in[p.at] == '-') {
			p.at++
		}
		p.kind, p.text = word, p.in[p.from:p.at]
	default:
		p.kind = bad
	}
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// quoted reads a string literal: double quotes, with the escapes of Go's
// (backslash, quotes, \n, octal, hexadecimal and Unicode).
func (p *parser) quoted() {
	p.kind = bad
	for p.at < len(p.in) {
		c := p.in[p.at]
		p.at++
		if c == '\\' && p.at < len(p.in) {
			p.at++
			continue
		}
		if c != '"' {
			continue
		}
		text, err := strconv.Unquote(p.in[p.from:p.at])
		if err != nil {
			break
		}
		p.kind, p.text = literal, text
		return
	}
	p.err = fmt.Errorf("filter, byte %d: a string that cannot be read: it ends with a double quote and escapes are as in \\\" \\\\ \\n \\x41 \\u0041", p.from)
}
