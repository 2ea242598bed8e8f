package schema

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Rule is a condition that good rows do not meet.
//
// Its language is small. A condition is one or more tests joined by "or"; a test
// on a null is never met. A test is one of
//
//	high < low                    fields and numbers compared by < <= > >=
//	abs(delta) > 1                the absolute value of a float
//	expiration_date < date(timestamp)
//	timestamp > published + 1d    the publish time, give or take days
//	empty(symbol)                 a string of no bytes
//	contradicts(contract_symbol, underlying_symbol, expiration_date, option_type, strike_price)
//	leap_second, infinity         noticed while decoding; they can only flag
type Rule struct {
	Name   string // "high_below_low"
	When   string // the condition
	Reject bool   // a row that meets it is rejected; otherwise it is flagged
	Bit    int    // of a flagging rule: its bit in _flags, never reused
	Doc    string
}

// An event is something noticed while decoding that a rule may flag.
type event uint8

const (
	eventLeapSecond event = iota // a :60 was read as the next second
	eventInfinity                // Infinity was read as null
	events
)

var eventNames = map[string]event{"leap_second": eventLeapSecond, "infinity": eventInfinity}

// A test is one comparison of a compiled rule. Its operands are slots of the
// decoder's row of numbers: the definition's fields first, then constants and
// derived values.
type test struct {
	first  uint64 // the first word of needs, which mostly decides
	left   int32  // slot
	right  int32  // slot
	op     testOp
	wide   bool // needs has more words
	rule   int32
	needs  bitset // fields that must not be null
	fields []int  // those the test names
}

type testOp uint8

const (
	opIntGreater testOp = iota // left > right
	opIntGreaterEqual
	opFloatGreater
	opFloatGreaterEqual
	opEmpty
	opContradicts
)

// A quickTest is a test of two integers, none of whose fields is past the first 64,
// made small, and to be decided without a jump: whether a high is below its low, no
// processor can guess.
type quickTest struct {
	needs uint64 // fields that must not be null
	bit   int64  // what to set in the flags; breaks where the rule rejects
	left  uint16 // slot: met if it is greater than
	right uint16 // slot
}

// quickSlots is how many slots quick tests may look at: a power of two, which an index
// needs no check to be below.
const quickSlots = 512

// breaks stands in the flags for a rule that rejects. No flag is that high.
const breaks = math.MinInt64

// A derived slot is computed from a field for every row.
type derived struct {
	slot  int32
	field int
	fn    derivation
}

type derivation uint8

const (
	derivedAbs    derivation = iota + 1 // float
	derivedDay                          // timestamp -> day
	derivedMicros                       // date -> timestamp
)

// A program is a definition's rules, compiled.
type program struct {
	tests      []test      // all, in their order
	quick      []quickTest // of tests, those that are comparisons of integers
	quickNeeds uint64      // fields that any of quick needs
	slow       []test      // the others
	derived    []derived
	constants  []int64 // slots from len(fields): constants, and derived values' places
	published  []publishedSlot
	eventBits  [events]int64 // what to set in _flags
}

// A publishedSlot holds the publish time plus some days.
type publishedSlot struct {
	slot int32
	plus int64 // microseconds
}

// A unit is what the numbers in a slot count.
type unit struct {
	kind  Kind // Int64, Float64, Decimal, Timestamp or Date
	scale int32
}

// compileRules compiles the definition's rules and reports all that is wrong.
func compileRules(d *Definition) (*program, []error) {
	c := &ruleCompiler{def: d, program: &program{}}
	var problems []error
	for i := range d.Rules {
		if err := c.rule(i); err != nil {
			problems = append(problems, fmt.Errorf("rule %s: %w", d.Rules[i].Name, err))
		}
	}
	c.program.sort(d.Rules)
	return c.program, problems
}

type ruleCompiler struct {
	def     *Definition
	program *program
	current int
}

func (c *ruleCompiler) rule(i int) error {
	c.current = i
	for _, text := range strings.Split(c.def.Rules[i].When, " or ") {
		if err := c.test(strings.TrimSpace(text)); err != nil {
			return err
		}
	}
	return nil
}

func (c *ruleCompiler) test(text string) error {
	if e, ok := eventNames[text]; ok {
		r := &c.def.Rules[c.current]
		if r.Reject {
			return fmt.Errorf("%s can only flag", text)
		}
		c.program.eventBits[e] |= 1 << r.Bit
		return nil
	}
	if args, ok := call(text, "contradicts"); ok {
		return c.predicate(opContradicts, args, String, String, Date, String, Decimal)
	}
	if args, ok := call(text, "empty"); ok {
		return c.predicate(opEmpty, args, String)
	}
	for _, op := range []string{"<=", ">=", "<", ">"} {
		if left, right, ok := strings.Cut(text, op); ok {
			return c.comparison(strings.TrimSpace(left), op, strings.TrimSpace(right))
		}
	}
	return fmt.Errorf("%q is not a test", text)
}

// call splits "name(a, b)".
func call(text, name string) (args []string, ok bool) {
	rest, ok := strings.CutPrefix(text, name+"(")
	if !ok || !strings.HasSuffix(rest, ")") {
		return nil, false
	}
	for _, a := range strings.Split(strings.TrimSuffix(rest, ")"), ",") {
		args = append(args, strings.TrimSpace(a))
	}
	return args, true
}

func (c *ruleCompiler) predicate(op testOp, args []string, kinds ...Kind) error {
	if len(args) != len(kinds) {
		return fmt.Errorf("want %d fields, not %d", len(kinds), len(args))
	}
	t := test{rule: int32(c.current), op: op}
	for i, name := range args {
		f, err := c.field(name)
		if err != nil {
			return err
		}
		if c.def.Fields[f].Kind != kinds[i] {
			return fmt.Errorf("field %s is of the wrong type", name)
		}
		t.fields = append(t.fields, f)
		t.needs.add(f)
	}
	c.add(t)
	return nil
}

func (c *ruleCompiler) add(t test) {
	t.first = t.needs[0]
	t.wide = t.needs[1]|t.needs[2]|t.needs[3] != 0
	c.program.tests = append(c.program.tests, t)
}

// sort parts the tests into quick and slow ones.
func (p *program) sort(rules []Rule) {
	for _, t := range p.tests {
		if t.wide || t.op != opIntGreater || max(t.left, t.right) >= quickSlots {
			p.slow = append(p.slow, t)
			continue
		}
		q := quickTest{needs: t.first, bit: breaks, left: uint16(t.left), right: uint16(t.right)}
		if r := &rules[t.rule]; !r.Reject {
			q.bit = 1 << r.Bit
		}
		p.quick = append(p.quick, q)
		p.quickNeeds |= q.needs
	}
}

func (c *ruleCompiler) field(name string) (int, error) {
	f := c.def.Field(name)
	if f < 0 || f >= c.def.Own {
		return 0, fmt.Errorf("no field %q", name)
	}
	return f, nil
}

// An operand is one side of a comparison before both sides are known.
type operand struct {
	text    string
	field   int // or -1
	fn      derivation
	unit    unit
	number  bool // a literal; its unit is the other side's
	publish bool
	plus    int64
}

func (c *ruleCompiler) comparison(left, op, right string) error {
	l, err := c.operand(left)
	if err != nil {
		return err
	}
	r, err := c.operand(right)
	if err != nil {
		return err
	}
	if op == "<" || op == "<=" { // a < b is b > a
		l, r = r, l
	}
	u, err := common(&l, &r)
	if err != nil {
		return err
	}
	t := test{rule: int32(c.current)}
	for _, f := range []int{l.field, r.field} {
		if f >= 0 {
			t.fields = append(t.fields, f)
			t.needs.add(f)
		}
	}
	switch {
	case u.kind == Float64 && len(op) == 1:
		t.op = opFloatGreater
	case u.kind == Float64:
		t.op = opFloatGreaterEqual
	case len(op) == 1:
		t.op = opIntGreater
	default:
		t.op = opIntGreaterEqual
	}
	if t.left, err = c.slot(l, u); err == nil {
		t.right, err = c.slot(r, u)
	}
	if err == nil && t.op == opIntGreaterEqual {
		c.strict(&t, l.number, r.number)
	}
	c.add(t)
	return err
}

// strict makes of 0 >= a what says the same, 1 > a, and of a >= 1, a > 0: there is
// but one kind of comparison left to make where one side is a number.
func (c *ruleCompiler) strict(t *test, left, right bool) {
	at, by := t.left, int64(1)
	if right {
		at, by = t.right, -1
	}
	if !left && !right {
		return
	}
	if v := &c.program.constants[at-int32(len(c.def.Fields))]; *v != math.MaxInt64 && *v != math.MinInt64 {
		*v += by
		t.op = opIntGreater
	}
}

// operand reads one side of a comparison.
func (c *ruleCompiler) operand(text string) (operand, error) {
	o := operand{text: text, field: -1}
	if rest, ok := strings.CutPrefix(text, "published"); ok {
		o.publish, o.unit.kind = true, Timestamp
		rest = strings.ReplaceAll(rest, " ", "")
		if rest == "" {
			return o, nil
		}
		days, err := strconv.ParseInt(strings.TrimSuffix(rest, "d"), 10, 32)
		if err != nil || !strings.HasSuffix(rest, "d") {
			return o, fmt.Errorf("%q: want published + 1d", text)
		}
		o.plus = days * dayMicros
		return o, nil
	}
	if text != "" && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') {
		o.number = true
		return o, nil
	}
	name := text
	if args, ok := call(text, "abs"); ok {
		name, o.fn = args[0], derivedAbs
	} else if args, ok := call(text, "date"); ok {
		name, o.fn = args[0], derivedDay
	}
	return c.fieldOperand(o, name)
}

func (c *ruleCompiler) fieldOperand(o operand, name string) (operand, error) {
	var err error
	if o.field, err = c.field(name); err != nil {
		return o, err
	}
	f := &c.def.Fields[o.field]
	o.unit = unit{f.Kind, f.Scale}
	switch {
	case f.Kind == Int32:
		o.unit.kind = Int64
	case f.Kind == String || f.Kind == Binary || f.Kind == Bool:
		return o, fmt.Errorf("field %s has no order", name)
	}
	if o.fn == derivedAbs && f.Kind != Float64 || o.fn == derivedDay && f.Kind != Timestamp {
		return o, fmt.Errorf("%s: field %s is of the wrong type", o.text, name)
	}
	if o.fn == derivedDay {
		o.unit = unit{kind: Date}
	}
	return o, nil
}

// common is the unit in which both sides can be compared.
func common(l, r *operand) (unit, error) {
	switch {
	case l.number && r.number:
		return unit{}, fmt.Errorf("%s and %s are both numbers", l.text, r.text)
	case l.number:
		return r.unit, nil
	case r.number || l.unit == r.unit:
		return l.unit, nil
	case l.unit.kind == Date && r.unit.kind == Timestamp && l.fn == 0:
		l.fn = derivedMicros
		return r.unit, nil
	case r.unit.kind == Date && l.unit.kind == Timestamp && r.fn == 0:
		r.fn = derivedMicros
		return l.unit, nil
	}
	return unit{}, fmt.Errorf("%s and %s cannot be compared", l.text, r.text)
}

// slot is where the operand's number will be, in the unit of the comparison.
func (c *ruleCompiler) slot(o operand, u unit) (int32, error) {
	p := c.program
	switch {
	case o.number:
		v, err := literal(o.text, u)
		return c.place(v), err
	case o.publish:
		s := c.place(0)
		p.published = append(p.published, publishedSlot{s, o.plus})
		return s, nil
	case o.fn != 0:
		for _, d := range p.derived {
			if d.field == o.field && d.fn == o.fn {
				return d.slot, nil
			}
		}
		s := c.place(0)
		p.derived = append(p.derived, derived{s, o.field, o.fn})
		return s, nil
	}
	return int32(o.field), nil
}

func (c *ruleCompiler) place(v int64) int32 {
	c.program.constants = append(c.program.constants, v)
	return int32(len(c.def.Fields) + len(c.program.constants) - 1)
}

// literal is a number in the unit of the field it is compared with. It must be
// exact there.
func literal(text string, u unit) (int64, error) {
	if u.kind == Timestamp || u.kind == Date {
		return 0, fmt.Errorf("%s: a time cannot be compared with a number", text)
	}
	n, next := scanNumber([]byte(text), 0)
	if next != len(text) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	if u.kind == Float64 {
		f, ok := n.float([]byte(text))
		if !ok {
			return 0, fmt.Errorf("%s is too large", text)
		}
		return floatBits(f), nil
	}
	v, rounded, reason := n.scaled(u.scale, maxInt64)
	if reason != "" || rounded {
		return 0, fmt.Errorf("%s is not exact in its field's type", text)
	}
	return v, nil
}
