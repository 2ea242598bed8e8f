package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A Mode says between which versions compatibility is wanted.
type Mode uint8

// The modes. The zero Mode is Full.
const (
	Full     Mode = iota // both of the below
	Backward             // the new version reads and judges what the old one's publishers send
	Forward              // readers that know the old version read what the new one writes
)

// ParseMode reads BACKWARD, FORWARD or FULL in any case.
func ParseMode(s string) (Mode, error) {
	switch strings.ToUpper(s) {
	case "FULL", "":
		return Full, nil
	case "BACKWARD":
		return Backward, nil
	case "FORWARD":
		return Forward, nil
	}
	return 0, fmt.Errorf("compatibility %q: want BACKWARD, FORWARD or FULL", s)
}

// A Change is a difference between two versions of a definition.
type Change struct {
	Field    string // "" for the record itself
	What     string // in words: "type long became int"
	Breaks   bool   // in the mode asked for, or in any
	Because  string // of a breaking one: who is hurt, and what to do instead
	Addition bool   // of a field: the version's minor number must rise
}

// String is the change on one line.
func (c Change) String() string {
	where := c.Field
	if where == "" {
		where = "record"
	} else {
		where = "field " + where
	}
	if !c.Breaks {
		return where + ": " + c.What
	}
	return where + ": " + c.What + ": breaking: " + c.Because
}

// Compare lists what changed from one version of a definition to another, and
// what of it breaks somebody in the mode.
//
// Beyond the rules of Avro, these hold because rows of all versions lie in one
// table whose columns keep their types: a field is never removed, no type
// changes, a decimal keeps precision and scale, a flag's bit keeps its meaning.
func Compare(from, to *Definition, mode Mode) []Change {
	c := &comparison{from: from, to: to, mode: mode}
	c.record()
	for i := range from.Fields[:from.Own] {
		c.field(&from.Fields[i])
	}
	for i := range to.Fields[:to.Own] {
		if f := &to.Fields[i]; from.own(f.Name) == nil {
			c.added(f)
		}
	}
	c.rules()
	return c.changes
}

// own is the definition's field of exactly that name, or nil.
func (d *Definition) own(name string) *Field {
	for i := range d.Fields[:d.Own] {
		if d.Fields[i].Name == name {
			return &d.Fields[i]
		}
	}
	return nil
}

type comparison struct {
	from, to *Definition
	mode     Mode
	changes  []Change
}

func (c *comparison) note(field, what string, args ...any) {
	c.changes = append(c.changes, Change{Field: field, What: fmt.Sprintf(what, args...)})
}

// breaks notes a change that breaks in one mode; Full stands for any.
func (c *comparison) breaks(in Mode, field, because, what string, args ...any) {
	c.note(field, what, args...)
	if in == Full || c.mode == Full || c.mode == in {
		last := &c.changes[len(c.changes)-1]
		last.Breaks, last.Because = true, because
	}
}

func (c *comparison) record() {
	for _, p := range []struct{ name, from, to, because string }{
		{"name", c.from.Name, c.to.Name, "it is another data type"},
		{"bb.topic", c.from.Topic, c.to.Topic, "publishers and subscriptions use the old topic"},
		{"bb.category", c.from.Category, c.to.Category, "objects' names carry it"},
		{"bb.symbol", c.from.Fields[c.from.SymbolField].Name, c.to.Fields[c.to.SymbolField].Name, "files are sorted and pruned by it"},
		{"bb.event_time", c.from.Fields[c.from.TimeField].Name, c.to.Fields[c.to.TimeField].Name, "it decides the partition of every row"},
	} {
		if p.from != p.to {
			c.breaks(Full, "", p.because, "%s %q became %q", p.name, p.from, p.to)
		}
	}
	switch from, to := c.from.NaturalKeyNames(), c.to.NaturalKeyNames(); {
	case from == "" && to != "":
		c.note("", "bb.natural_key declared (%s): rows that were corrected are marked as superseded, in the rows that are there too", to)
		c.changes[len(c.changes)-1].Addition = true
	case from != to:
		c.breaks(Full, "", "rows that are stored are marked by the old key; make it a data type of its own", "bb.natural_key (%s) became (%s)", from, to)
	}
	if c.to.WindowFrom > c.from.WindowFrom || c.to.WindowDays < c.from.WindowDays {
		c.breaks(Backward, "", "records that were accepted are rejected: widen the window only", "bb.window became narrower")
	}
}

func (c *comparison) field(f *Field) {
	to := c.to.own(f.Name)
	if to == nil {
		because := "its column holds rows; leave the field, nullable, and say in its doc that it is no longer sent"
		if other := c.to.Field(f.Name); other >= 0 {
			because = fmt.Sprintf("field %s has its name for an alias, but the column is another", c.to.Fields[other].Name)
		}
		c.breaks(Full, f.Name, because, "removed")
		return
	}
	c.kind(f, to)
	switch {
	case !f.Required && to.Required && len(to.Defaults) == 0:
		c.breaks(Backward, f.Name, "records without it were accepted and would be rejected: give it a default", "became required")
	case f.Required && !to.Required:
		c.breaks(Forward, f.Name, "readers of the old version rely on a value", "became nullable")
	case f.Required != to.Required:
		c.note(f.Name, "became required, with a default")
	}
	for _, alias := range f.Aliases {
		if to.Name != alias && !slices.Contains(to.Aliases, alias) {
			c.breaks(Backward, f.Name, "publishers that use the alias would lose the value", "alias %s removed", alias)
		}
	}
	for _, alias := range to.Aliases {
		if !slices.Contains(f.Aliases, alias) {
			c.note(f.Name, "alias %s added", alias)
		}
	}
	c.text(f, to)
}

func (c *comparison) kind(f, to *Field) {
	if f.Kind == to.Kind && f.Precision == to.Precision && f.Scale == to.Scale {
		return
	}
	because := "the table's column keeps its type; add a field of the new type beside it"
	if f.Kind == Decimal && to.Kind == Decimal && f.Scale != to.Scale {
		because = "the digits that are stored would mean other values; add a field beside it"
	}
	c.breaks(Full, f.Name, because, "type %s became %s", f.delta(), to.delta())
}

// text compares what strings may hold.
func (c *comparison) text(f, to *Field) {
	if to.MaxLength > 0 && (f.MaxLength == 0 || to.MaxLength < f.MaxLength) {
		c.breaks(Backward, f.Name, "longer values were accepted and would be rejected", "length became bounded by %d bytes", to.MaxLength)
	}
	if to.Identifier && !f.Identifier {
		c.breaks(Backward, f.Name, "values with control or zero-width characters were accepted and would be rejected", "became an identifier")
	}
	if f.JSON && !to.JSON {
		c.breaks(Backward, f.Name, "objects and arrays in its place were accepted and would be rejected", "no longer holds JSON text")
	}
	switch {
	case f.Enum == nil && to.Enum == nil:
	case f.Enum == nil:
		c.breaks(Backward, f.Name, "other values were accepted and would be rejected", "became an enumeration")
	case to.Enum == nil:
		c.breaks(Forward, f.Name, "readers of the old version know the enumerated values only", "is no enumeration any more")
	default:
		for _, v := range f.Enum.Values {
			if _, _, ok := to.Enum.find([]byte(v)); !ok {
				c.breaks(Backward, f.Name, "publishers that send it would be rejected", "value %q removed", v)
			}
		}
		for _, v := range to.Enum.Values {
			if !slices.Contains(f.Enum.Values, v) {
				c.breaks(Forward, f.Name, "readers of the old version do not know it", "value %q added", v)
			}
		}
	}
}

func (c *comparison) added(f *Field) {
	if f.Required && len(f.Defaults) == 0 {
		c.breaks(Backward, f.Name, "records of the old version lack it and would be rejected: make it nullable or give it a default", "added, required")
	} else {
		c.note(f.Name, "added")
	}
	c.changes[len(c.changes)-1].Addition = true
}

func (c *comparison) rules() {
	bits := map[int]Rule{}
	byName := map[string]Rule{}
	for _, r := range c.from.Rules {
		byName[r.Name] = r
		if !r.Reject {
			bits[r.Bit] = r
		}
	}
	for _, r := range c.to.Rules {
		old, known := byName[r.Name]
		switch {
		case !r.Reject && bits[r.Bit].Name != "" && bits[r.Bit].Name != r.Name:
			c.breaks(Full, "", "rows that are stored carry the bit with its old meaning; take a bit that was never used", "bit %d was rule %s and became rule %s", r.Bit, bits[r.Bit].Name, r.Name)
		case known && !old.Reject && !r.Reject && old.Bit != r.Bit:
			c.breaks(Full, "", "rows that are stored carry the rule's old bit", "rule %s moved from bit %d to bit %d", r.Name, old.Bit, r.Bit)
		case r.Reject && (!known || !old.Reject):
			c.breaks(Backward, "", "records that were accepted would be rejected: let it flag", "rule %s (%s) rejects", r.Name, r.When)
		case r.Reject && old.When != r.When:
			c.breaks(Backward, "", "records that were accepted may be rejected", "rule %s rejects by %q instead of %q", r.Name, r.When, old.When)
		case !known:
			c.note("", "rule %s added", r.Name)
		case old.Reject && !r.Reject:
			c.note("", "rule %s flags instead of rejecting", r.Name)
		case old.When != r.When:
			c.note("", "rule %s is %q instead of %q", r.Name, r.When, old.When)
		}
		delete(byName, r.Name)
	}
	for _, r := range c.from.Rules {
		if _, gone := byName[r.Name]; gone {
			c.note("", "rule %s removed", r.Name)
		}
	}
}

// An IncompatibleError says that a version cannot follow another.
type IncompatibleError struct {
	Type     string
	From, To Version
	Breaking []Change
}

func (e *IncompatibleError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s cannot follow %s:", e.Type, e.To, e.From)
	for _, c := range e.Breaking {
		fmt.Fprintf(&b, "\n  %s", c)
	}
	return b.String()
}

// Evolve checks that one version of a definition may follow another: that its
// number says what changed, and that nothing breaks in the mode. A change that
// breaks is an *IncompatibleError that names every field and why. There is no
// way around it by a new major number: rows of all versions share one table, so
// what breaks is made a data type of its own.
func Evolve(from, to *Definition, mode Mode) ([]Change, error) {
	changes := Compare(from, to, mode)
	bad := &IncompatibleError{Type: from.Name, From: from.Version, To: to.Version}
	minor := false
	for _, c := range changes {
		minor = minor || c.Addition
		if c.Breaks {
			bad.Breaking = append(bad.Breaking, c)
		}
	}
	if len(bad.Breaking) > 0 {
		return changes, bad
	}
	switch {
	case to.Version.Compare(from.Version) <= 0:
		return changes, fmt.Errorf("%s: version %s does not follow %s: give it a higher number", from.Name, to.Version, from.Version)
	case to.Version.Major != from.Version.Major:
		return changes, fmt.Errorf("%s: version %s has another major number than %s, but nothing in it breaks: raise the minor number", from.Name, to.Version, from.Version)
	case minor && to.Version.Minor == from.Version.Minor:
		return changes, fmt.Errorf("%s: version %s adds fields to %s: raise the minor number", from.Name, to.Version, from.Version)
	case len(changes) == 0 && sameBut(from.avsc, to.avsc, "bb.version"):
		return changes, fmt.Errorf("%s: version %s changes nothing in %s", from.Name, to.Version, from.Version)
	}
	return changes, nil
}

// sameBut reports whether two JSON objects differ in nothing but one member.
func sameBut(a, b, member string) bool {
	var x, y map[string]any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	delete(x, member)
	delete(y, member)
	return reflect.DeepEqual(x, y)
}
