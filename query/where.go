package query

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/buffetbot/ingest/schema"
)

// The predicate language, as DataQuery.Where takes it:
//
//	predicate = condition { "and" condition }
//	condition = column ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) literal
//	          | column [ "not" ] "in" "(" literal { "," literal } ")"
//	          | column "is" [ "not" ] "null"
//	literal   = bare word | 'text' | "text"      (a quote inside is doubled)
//
// The definition types the literals: price > 150.25, volume = 1e6, symbol in
// (AAPL, 'EURUSD=X'), timestamp >= 2024-01-15T14:30:00Z, expiration_date <
// 2024-06-21, payload = 0x00ff. A bare word ends at a space or one of =!<>(),'".
//
// Integers, decimals, timestamps and dates are compared exactly, whatever the
// literal's digits (volume > 1.5 is volume >= 2; price = 0.000000001 never
// holds at scale 8). A float column is compared with the float nearest to the
// literal. Text is compared by its UTF-8 bytes. A comparison with a null value
// never holds, != and not in included: use "is null".

// A condition is one conjunct, compiled for its column.
type condition struct {
	col  int
	kind schema.Kind
	text string // as in the predicate, for people
	why  string // what it stands for in an explanation: "symbol", "time", "where"

	// identical: all rows of one identity have the same value in the column, so
	// that the condition holds for all of them or for none. Only then may a row
	// be left out before the merge has chosen which row of the identity stays.
	identical bool

	null, notNull bool       // is null, is not null
	orNull        bool       // a null holds as well
	ints          set[int64] // integral kinds
	floats        set[float64]
	texts         set[string] // String, Binary
}

// newCondition starts a condition on the column.
func newCondition(def *schema.Definition, col int, why string) condition {
	f := def.Fields[col]
	identical := col == def.SymbolField || col == def.TimeField
	if def.Superseded() < 0 { // else rows of one key have to stay together too
		identical = identical || f.Name == schema.ColID || f.Name == schema.ColIndex
	}
	return condition{col: col, kind: f.Kind, why: why, identical: identical}
}

// A parser reads a predicate from left to right.
type parser struct {
	def  *schema.Definition
	text string
	tok  token
	pos  int // behind tok
}

type token struct {
	kind tokenKind
	text string
	at   int
}

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokWord
	tokQuoted
	tokPunct // an operator, a parenthesis, a comma
)

// parseWhere compiles a predicate; the empty one has no conditions.
func parseWhere(def *schema.Definition, text string) ([]condition, error) {
	p := &parser{def: def, text: text}
	if err := p.next(); err != nil {
		return nil, err
	}
	var all []condition
	if p.tok.kind == tokEnd {
		return nil, nil
	}
	for {
		start := p.tok.at
		c, err := p.condition()
		if err != nil {
			return nil, err
		}
		c.text = strings.TrimSpace(text[start:p.tok.at])
		all = append(all, c)
		if p.tok.kind == tokEnd {
			return all, nil
		}
		if !p.word("and") {
			return nil, p.errorf("want \"and\" or the end, not %q (conditions are joined by and; for or, use in or several queries)", p.tok.text)
		}
		if err := p.next(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: where: at character %d: %s", ErrInvalid, p.tok.at+1, fmt.Sprintf(format, args...))
}

// word tells whether the token is the given keyword.
func (p *parser) word(keyword string) bool {
	return p.tok.kind == tokWord && strings.EqualFold(p.tok.text, keyword)
}

const punctuation = "=!<>(),'\""

// next reads one token.
func (p *parser) next() error {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	p.tok = token{at: p.pos}
	if p.pos == len(p.text) {
		return nil
	}
	rest := p.text[p.pos:]
	switch c := rest[0]; {
	case c == '\'' || c == '"':
		return p.quoted(c)
	case strings.IndexByte(punctuation, c) >= 0:
		n := 1
		for _, two := range []string{"!=", "<=", ">=", "<>", "=="} {
			if strings.HasPrefix(rest, two) {
				n = 2
			}
		}
		p.tok.kind, p.tok.text = tokPunct, rest[:n]
		p.pos += n
	default:
		n := strings.IndexAny(rest, punctuation+" \t\r\n")
		if n < 0 {
			n = len(rest)
		}
		p.tok.kind, p.tok.text = tokWord, rest[:n]
		p.pos += n
	}
	return nil
}

func (p *parser) quoted(quote byte) error {
	var b strings.Builder
	for i := p.pos + 1; i < len(p.text); i++ {
		if p.text[i] != quote {
			b.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		p.tok.kind, p.tok.text = tokQuoted, b.String()
		p.pos = i + 1
		return nil
	}
	return p.errorf("the text after %c has no end", quote)
}

func (p *parser) condition() (condition, error) {
	if p.tok.kind != tokWord {
		return condition{}, p.errorf("want a column, not %q; columns of %s: %s", p.tok.text, p.def.Name, columnNames(p.def))
	}
	col := p.def.Field(p.tok.text)
	if col < 0 {
		return condition{}, p.errorf("no column %q; columns of %s: %s", p.tok.text, p.def.Name, columnNames(p.def))
	}
	c := newCondition(p.def, col, "where")
	if err := p.next(); err != nil {
		return c, err
	}
	switch {
	case p.word("is"):
		return p.nullness(c)
	case p.word("in"), p.word("not"):
		return p.membership(c)
	case p.tok.kind == tokPunct:
		return p.comparison(c)
	}
	return c, p.errorf("want =, !=, <, <=, >, >=, in, not in, is null or is not null after %s, not %q", p.def.Fields[col].Name, p.tok.text)
}

func (p *parser) nullness(c condition) (condition, error) {
	if err := p.next(); err != nil {
		return c, err
	}
	c.null = true
	if p.word("not") {
		c.null, c.notNull = false, true
		if err := p.next(); err != nil {
			return c, err
		}
	}
	if !p.word("null") {
		return c, p.errorf("want \"null\", not %q", p.tok.text)
	}
	return c, p.next()
}

func (p *parser) comparison(c condition) (condition, error) {
	o := op(p.tok.text)
	switch o {
	case "==":
		o = opEq
	case "<>":
		o = opNe
	case opEq, opNe, opLt, opLe, opGt, opGe:
	default:
		return c, p.errorf("want an operator, not %q", p.tok.text)
	}
	if c.kind == schema.Bool && o != opEq && o != opNe {
		return c, p.errorf("%s is true or false: want = or !=, not %s", p.def.Fields[c.col].Name, o)
	}
	if err := p.next(); err != nil {
		return c, err
	}
	if err := p.literal(&c, func(v literal) {
		switch {
		case integral(c.kind):
			c.ints = v.int.comparing(o)
		case c.kind == schema.Float64:
			c.floats = comparing(o, v.float, true)
		default:
			c.texts = comparing(o, v.text, true)
		}
	}); err != nil {
		return c, err
	}
	return c, nil
}

// comparing is the set of values of the kind with "value o literal".
func (b bound) comparing(o op) set[int64] {
	if b.outside == 0 {
		return comparing(o, b.floor, b.exact)
	}
	holds := o == opNe || b.outside > 0 && (o == opLt || o == opLe) || b.outside < 0 && (o == opGt || o == opGe)
	if holds {
		return everything[int64]()
	}
	return nil
}

func (p *parser) membership(c condition) (condition, error) {
	negated := p.word("not")
	if negated {
		if err := p.next(); err != nil {
			return c, err
		}
		if !p.word("in") {
			return c, p.errorf("want \"in\" after \"not\", not %q", p.tok.text)
		}
	}
	if err := p.punct("("); err != nil {
		return c, err
	}
	var ints []int64
	var floats []float64
	var texts []string
	for {
		if err := p.next(); err != nil {
			return c, err
		}
		if err := p.literal(&c, func(v literal) {
			if v.int.exact && v.int.outside == 0 { // no value of the column equals any other
				ints = append(ints, v.int.floor)
			}
			floats, texts = append(floats, v.float), append(texts, v.text)
		}); err != nil {
			return c, err
		}
		if p.tok.kind == tokPunct && p.tok.text == ")" {
			break
		}
		if p.tok.kind != tokPunct || p.tok.text != "," {
			return c, p.errorf("want \",\" or \")\", not %q", p.tok.text)
		}
	}
	setOneOf(&c, ints, floats, texts, negated)
	return c, p.next()
}

func setOneOf(c *condition, ints []int64, floats []float64, texts []string, negated bool) {
	switch {
	case integral(c.kind):
		c.ints = oneOf(ints, negated)
	case c.kind == schema.Float64:
		c.floats = oneOf(floats, negated)
	default:
		c.texts = oneOf(texts, negated)
	}
}

func (p *parser) punct(want string) error {
	if err := p.next(); err != nil {
		return err
	}
	if p.tok.kind != tokPunct || p.tok.text != want {
		return p.errorf("want %q, not %q", want, p.tok.text)
	}
	return nil
}

// A literal is a value typed by its column: one of the members is set.
type literal struct {
	int   bound
	float float64
	text  string
}

// literal reads the token as a value of c's column and moves behind it.
func (p *parser) literal(c *condition, use func(literal)) error {
	f := p.def.Fields[c.col]
	switch {
	case p.tok.kind == tokEnd:
		return p.errorf("want a value for %s", f.Name)
	case p.tok.kind == tokPunct:
		return p.errorf("want a value for %s, not %q (quote text that holds any of %s)", f.Name, p.tok.text, punctuation)
	case p.word("null"):
		return p.errorf("nothing compares with null: use \"%s is null\" or \"is not null\"", f.Name)
	}
	v, err := parseLiteral(f, p.tok.text, p.tok.kind == tokQuoted)
	if err != nil {
		return p.errorf("%s is %s: %q: %v", f.Name, kindName(f), p.tok.text, err)
	}
	use(v)
	return p.next()
}

func parseLiteral(f schema.Field, s string, quoted bool) (v literal, err error) {
	switch {
	case integral(f.Kind):
		v.int, err = parseIntegral(f, s)
	case f.Kind == schema.Float64:
		v.float, err = parseFloat(s)
	case f.Kind == schema.Binary:
		v.text, err = parseBytes(s, quoted)
	default:
		v.text = s
	}
	return v, err
}

// kindName says what a column holds, as people say it.
func kindName(f schema.Field) string {
	switch f.Kind {
	case schema.String:
		return "a string"
	case schema.Binary:
		return "binary"
	case schema.Bool:
		return "a boolean"
	case schema.Int32, schema.Int64:
		return "an integer"
	case schema.Float64:
		return "a float"
	case schema.Decimal:
		return fmt.Sprintf("a decimal(%d,%d)", f.Precision, f.Scale)
	case schema.Timestamp:
		return "a timestamp"
	case schema.Date:
		return "a date"
	}
	return "of an unknown kind"
}

// columnNames lists the columns there are.
func columnNames(def *schema.Definition) string {
	names := make([]string, len(def.Fields))
	for i, f := range def.Fields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

// A value is one of a column's values: the member of its kind is set.
type value struct {
	int   int64
	float float64
	text  string
}

func compareValues(k schema.Kind, a, b value) int {
	switch {
	case integral(k):
		return cmp.Compare(a.int, b.int)
	case k == schema.Float64:
		return cmp.Compare(a.float, b.float)
	}
	return cmp.Compare(a.text, b.text)
}
