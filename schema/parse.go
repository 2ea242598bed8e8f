package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/twmb/avro"
)

// Parse reads a definition: an Avro record schema with properties of ours. All
// problems are reported together. definitions/README.md describes the
// properties.
func Parse(avsc []byte) (*Definition, error) {
	if _, err := avro.Parse(string(avsc)); err != nil { // names, types, defaults, aliases
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	p := &parser{def: &Definition{avsc: string(avsc)}}
	p.record(avsc)
	if len(p.problems) > 0 {
		return nil, errors.Join(p.problems...)
	}
	return p.def, nil
}

// A parser gathers the definition and every problem met.
type parser struct {
	def      *Definition
	problems []error
}

func (p *parser) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf(format, args...))
}

// recordText is a definition as it is written.
type recordText struct {
	Type      string            `json:"type"`
	Name      string            `json:"name"`
	Doc       string            `json:"doc"`
	Fields    []json.RawMessage `json:"fields"`
	Version   string            `json:"bb.version"`
	Topic     string            `json:"bb.topic"`
	Category  string            `json:"bb.category"`
	Symbol    string            `json:"bb.symbol"`
	EventTime string            `json:"bb.event_time"`
	Key       []string          `json:"bb.natural_key"`
	Window    *struct {
		From string `json:"from"`
		Days *int   `json:"days_after_publish"`
	} `json:"bb.window"`
	Rules []struct {
		Name     string `json:"name"`
		When     string `json:"when"`
		Severity string `json:"severity"`
		Bit      *int   `json:"bit"`
		Doc      string `json:"doc"`
	} `json:"bb.rules"`
}

func (p *parser) record(avsc []byte) {
	var r recordText
	if err := json.Unmarshal(avsc, &r); err != nil {
		p.problem("%w", err)
		return
	}
	p.knownProperties("record", avsc, "version", "topic", "category", "symbol", "event_time", "natural_key", "window", "rules")
	d := p.def
	d.Name, d.Doc, d.Topic, d.Category = r.Name, r.Doc, r.Topic, r.Category
	var err error
	if d.Version, err = ParseVersion(r.Version); err != nil {
		p.problem("bb.version: %w", err)
	}
	for property, value := range map[string]string{"bb.topic": r.Topic, "bb.category": r.Category} {
		if !plain(value) {
			p.problem("%s: %q is not a name of letters, digits and hyphens", property, value)
		}
	}
	for _, text := range r.Fields {
		p.field(text)
	}
	d.Own = len(d.Fields)
	d.Fields = append(d.Fields, systemFields...)
	if r.Key != nil {
		d.Fields = append(d.Fields, supersededField)
	}
	d.index()
	if len(d.Fields) > MaxFields {
		p.problem("%d fields: at most %d are supported", d.Own, MaxFields-len(d.Fields)+d.Own)
		return
	}
	p.uniqueNames()
	p.roles(&r)
	p.naturalKey(&r)
	p.window(&r)
	p.rules(&r)
}

// plain reports whether s can stand in a topic's and an object's name as it is.
func plain(s string) bool {
	for _, ch := range s {
		if !(ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || ch == '-') {
			return false
		}
	}
	return s != ""
}

// knownProperties catches a misspelt property, which Avro would let pass.
func (p *parser) knownProperties(where string, text []byte, known ...string) {
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return // reported already
	}
	for name := range all {
		if own, ok := strings.CutPrefix(name, "bb."); ok && !slices.Contains(known, own) {
			p.problem("%s: no property %s", where, name)
		}
	}
}

// uniqueNames refuses a name or alias that means two fields.
func (p *parser) uniqueNames() {
	owner := map[string]string{}
	for _, f := range p.def.Fields {
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			if other, taken := owner[name]; taken {
				p.problem("field %s: %q already means field %s", f.Name, name, other)
			}
			owner[name] = f.Name
		}
	}
	for _, name := range []string{"year", "month", "day"} {
		if _, taken := owner[name]; taken {
			p.problem("field %s: the name is a partition column's", name)
		}
	}
}

// roles finds the symbol and the event time.
func (p *parser) roles(r *recordText) {
	role := func(property, name string, kinds ...Kind) int {
		i := p.def.Field(name)
		switch {
		case i < 0 || i >= p.def.Own:
			p.problem("%s: no field %q", property, name)
			return 0
		case !slices.Contains(kinds, p.def.Fields[i].Kind):
			p.problem("%s: field %s is of the wrong type", property, name)
		case !p.def.Fields[i].Required:
			p.problem("%s: field %s must not be nullable", property, name)
		}
		return i
	}
	p.def.SymbolField = role("bb.symbol", r.Symbol, String)
	p.def.TimeField = role("bb.event_time", r.EventTime, Timestamp, Date)
}

// naturalKey finds its fields. Rows of one key lie beside each other in one
// partition, since the symbol and the event time are part of it.
func (p *parser) naturalKey(r *recordText) {
	const property = "bb.natural_key"
	if r.Key == nil {
		return
	}
	for _, name := range r.Key {
		i := p.def.Field(name)
		switch {
		case i < 0 || i >= p.def.Own || p.def.Fields[i].Name != name:
			p.problem("%s: no field %q", property, name)
		case slices.Contains(p.def.NaturalKey, i):
			p.problem("%s: field %s is named twice", property, name)
		case !p.def.Fields[i].Required:
			p.problem("%s: field %s must not be nullable: no value is no key", property, name)
		case p.def.Fields[i].Kind == Float64 || p.def.Fields[i].Kind == Binary:
			p.problem("%s: field %s is of the wrong type: a key is text, a number that is exact, a time or a boolean", property, name)
		default:
			p.def.NaturalKey = append(p.def.NaturalKey, i)
		}
	}
	if !slices.Contains(p.def.NaturalKey, p.def.TimeField) {
		p.problem("%s: the event time, %s, must be part of it: rows of one key lie in one partition", property, r.EventTime)
	}
	if !slices.Contains(p.def.NaturalKey, p.def.SymbolField) {
		p.problem("%s: the symbol, %s, must be part of it: rows of one key lie beside each other", property, r.Symbol)
	}
}

// The window of event times where the definition does not say.
const (
	defaultWindowFrom = "1900-01-01"
	defaultWindowDays = 366
)

func (p *parser) window(r *recordText) {
	from, days := defaultWindowFrom, defaultWindowDays
	if r.Window != nil && r.Window.From != "" {
		from = r.Window.From
	}
	if r.Window != nil && r.Window.Days != nil {
		days = *r.Window.Days
	}
	t, err := time.Parse(time.DateOnly, from)
	if err != nil {
		p.problem("bb.window: from %q is not a date", from)
	}
	if days < 0 {
		p.problem("bb.window: %d days after publication", days)
	}
	p.def.WindowFrom, p.def.WindowDays = t.UnixMicro(), days
}

// maxBit is the highest bit of _flags in use; the sign bit stays free.
const maxBit = 62

func (p *parser) rules(r *recordText) {
	names, taken := map[string]bool{}, map[int]string{}
	for _, text := range r.Rules {
		rule := Rule{Name: text.Name, When: text.When, Doc: text.Doc, Reject: text.Severity == "reject"}
		if rule.Name == "" || names[rule.Name] {
			p.problem("rule %q: a name of its own is wanted", rule.Name)
		}
		names[rule.Name] = true
		switch {
		case text.Severity != "reject" && text.Severity != "flag":
			p.problem("rule %s: severity %q is neither reject nor flag", rule.Name, text.Severity)
		case rule.Reject && text.Bit != nil:
			p.problem("rule %s: a rejecting rule has no bit", rule.Name)
		case !rule.Reject && (text.Bit == nil || *text.Bit < 0 || *text.Bit > maxBit):
			p.problem("rule %s: a flagging rule needs a bit from 0 to %d", rule.Name, maxBit)
		case !rule.Reject && taken[*text.Bit] != "":
			p.problem("rule %s: bit %d is rule %s's", rule.Name, *text.Bit, taken[*text.Bit])
		case !rule.Reject:
			rule.Bit = *text.Bit
			taken[rule.Bit] = rule.Name
		}
		p.def.Rules = append(p.def.Rules, rule)
	}
	if _, problems := compileRules(p.def); len(problems) > 0 {
		p.problems = append(p.problems, problems...)
	}
}

// FlagNames are the names of the rules whose bits are set, lowest bit first.
func (d *Definition) FlagNames(flags int64) []string {
	var names []string
	for rest := uint64(flags); rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros64(rest)
		for _, r := range d.Rules {
			if !r.Reject && r.Bit == bit {
				names = append(names, r.Name)
			}
		}
	}
	return names
}
