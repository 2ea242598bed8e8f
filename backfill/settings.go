package backfill

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/buffetbot/ingest/schema"
)

// A Format is how a file holds its records.
type Format string

// The formats. Auto looks at the content: the magic bytes of Parquet, a { at the
// start for NDJSON, otherwise CSV. CSV and NDJSON may be compressed by gzip.
const (
	Auto    Format = "auto"
	CSV     Format = "csv"
	NDJSON  Format = "ndjson"
	Parquet Format = "parquet"
)

// ErrSettings is in the error of settings that do not fit the data type or the
// files: nothing was published, and trying again gives the same.
var ErrSettings = errors.New("settings")

func settingsError(problems ...error) error {
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return nil
}

// complete is s with its defaults, or every problem it has.
func (s Settings) complete() (Settings, error) {
	s.Format = cmp.Or(s.Format, Auto)
	s.Delimiter = cmp.Or(s.Delimiter, ',')
	s.BatchRows = cmp.Or(s.BatchRows, 500)
	s.BatchBytes = cmp.Or(s.BatchBytes, 4<<20)
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch s.Format {
	case Auto, CSV, NDJSON, Parquet:
	default:
		problem("format %q: want auto, csv, ndjson or parquet", s.Format)
	}
	if s.BatchRows < 1 || s.BatchRows > 100_000 {
		problem("%d records a message: want 1 to 100000", s.BatchRows)
	}
	if s.BatchBytes < 1 || s.BatchBytes > maxMessage {
		problem("%d bytes a message: want 1 to %d", s.BatchBytes, maxMessage)
	}
	if strings.IndexByte("\"\r\n{", s.Delimiter) >= 0 {
		problem("delimiter %q cannot part cells", s.Delimiter)
	}
	var mapped, set map[string]string
	var err error
	if mapped, err = s.byField(s.Map); err != nil {
		problem("map: %w", err)
	}
	if set, err = s.byField(s.Set); err != nil {
		problem("set: %w", err)
	}
	for target := range mapped {
		if _, both := set[target]; both {
			problem("field %s is both mapped and set: choose one", target)
		}
	}
	s.Map, s.Set = mapped, set
	return s, settingsError(problems...)
}

// byField is m with every alias replaced by the field's own name.
func (s *Settings) byField(m map[string]string) (map[string]string, error) {
	named := map[string]string{}
	for _, target := range sortedKeys(m) {
		i := s.Definition.Field(target)
		if i < 0 || i >= s.Definition.Own {
			return nil, fmt.Errorf("%s has no field %q; it has %s", s.Definition.Name, target, strings.Join(s.fields(), ", "))
		}
		name := s.Definition.Fields[i].Name
		if _, twice := named[name]; twice {
			return nil, fmt.Errorf("field %s is named twice", name)
		}
		named[name] = m[target]
	}
	return named, nil
}

func (s *Settings) fields() []string {
	var names []string
	for _, f := range s.Definition.Fields[:s.Definition.Own] {
		names = append(names, f.Name)
	}
	return names
}

// A column is where a field's value comes from, and how it is written.
type column struct {
	source int // index in the file
	style  style
	key    []byte // the field's name as JSON, with its colon
	target string
}

// A mapping turns a row of named columns into a record.
type mapping struct {
	names     []string // of the file's columns
	columns   []column // in the order of the file
	constants []byte   // the fields that are set: "k":v,"k":v
	unused    []string // columns that no field is read from
}

// mapping finds the columns for a file with these column names.
func (s *Settings) mapping(names []string) (*mapping, error) {
	m := &mapping{names: names, constants: s.constants()}
	claimed := map[int]string{} // field -> the column it is read from
	var problems []error
	for _, target := range sortedKeys(s.Map) {
		source := slices.Index(names, s.Map[target])
		if source < 0 {
			problems = append(problems, fmt.Errorf("no column %q to map %s from; there are %s", s.Map[target], target, quoted(names)))
			continue
		}
		if slices.Contains(names[source+1:], s.Map[target]) {
			problems = append(problems, fmt.Errorf("two columns are called %q: %s could be read from either", s.Map[target], target))
			continue
		}
		m.add(s.Definition, s.Definition.Field(target), source)
		claimed[s.Definition.Field(target)] = s.Map[target]
	}
	for target := range s.Set {
		claimed[s.Definition.Field(target)] = "--set"
	}
	problems = append(problems, s.mapByName(m, claimed)...)
	for i, f := range s.Definition.Fields[:s.Definition.Own] {
		if _, there := claimed[i]; !there && f.Required && len(f.Defaults) == 0 {
			problems = append(problems, fmt.Errorf("nothing gives the required field %s: map it from a column (%s) or set it", f.Name, quoted(names)))
		}
	}
	slices.SortStableFunc(m.columns, func(a, b column) int { return cmp.Compare(a.source, b.source) })
	for i, name := range names {
		if !slices.ContainsFunc(m.columns, func(c column) bool { return c.source == i }) {
			m.unused = append(m.unused, name)
		}
	}
	return m, settingsError(problems...)
}

// mapByName maps the columns whose names are those of fields that nothing else
// claims: as they stand first, then without regard to case and spaces.
func (s *Settings) mapByName(m *mapping, claimed map[int]string) (problems []error) {
	for _, spelling := range []func(string) string{
		func(s string) string { return s },
		func(s string) string { return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "_") },
	} {
		round := map[int]int{}
		for source, name := range m.names {
			field := s.Definition.Field(spelling(name))
			if field < 0 || field >= s.Definition.Own {
				continue
			}
			if first, twice := round[field]; twice {
				problems = append(problems, fmt.Errorf("columns %q and %q are both field %s: say which with a map",
					m.names[first], name, s.Definition.Fields[field].Name))
				continue
			}
			if _, taken := claimed[field]; taken {
				continue
			}
			round[field] = source
			m.add(s.Definition, field, source)
		}
		for field, source := range round {
			claimed[field] = m.names[source]
		}
	}
	return problems
}

func (m *mapping) add(def *schema.Definition, field, source int) {
	f := &def.Fields[field]
	m.columns = append(m.columns, column{
		source: source, style: styleOf(f.Kind), target: f.Name, key: append(appendString(nil, []byte(f.Name)), ':'),
	})
}

// constants renders the fields that are set.
func (s *Settings) constants() []byte {
	var all []byte
	for _, target := range sortedKeys(s.Set) {
		if len(all) > 0 {
			all = append(all, ',')
		}
		f := &s.Definition.Fields[s.Definition.Field(target)]
		all = append(appendString(all, []byte(f.Name)), ':')
		all = appendCell(all, []byte(s.Set[target]), styleOf(f.Kind))
	}
	return all
}

// String is the mapping for the settings' fingerprint: all that decides what a
// row becomes.
func (m *mapping) String() string {
	var b strings.Builder
	for _, c := range m.columns {
		fmt.Fprintf(&b, "%d:%q:%d ", c.source, c.target, c.style)
	}
	fmt.Fprintf(&b, "width %d set {%s}", len(m.names), m.constants)
	return b.String()
}

func quoted(names []string) string {
	const most = 40
	var all []string
	for _, n := range names[:min(len(names), most)] {
		all = append(all, fmt.Sprintf("%.60q", n))
	}
	if len(names) > most {
		all = append(all, fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(all, ", ")
}
