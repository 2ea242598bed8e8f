package schema

import "strings"

// A Definition is one version of one data type: its fields, the rules a row must
// keep, and where its rows belong. It is read-only once parsed and may be shared
// by goroutines.
type Definition struct {
	Name     string  // the data type: "market_data"
	Version  Version // of this definition
	Topic    string  // "market-data"
	Category string  // the middle part of object names: "market"
	Doc      string
	Origin   string  // where it was found, for people
	Fields   []Field // the definition's own, then the system columns
	Own      int     // number of own fields; the system columns are Own+0, Own+1, …

	SymbolField int // index of the field rows are sorted and pruned by
	TimeField   int // index of the event time: a Timestamp or a Date; its UTC day is the partition

	// NaturalKey are the indexes of the fields, SymbolField and TimeField among them,
	// that rows which correct each other have in common; none: no row corrects another.
	// The latest is the current one, see package columnar.
	NaturalKey []int

	Rules []Rule // in the order they are tried

	// Window of event times: a partition's day is bounded on both sides, or one
	// publisher with a broken clock could create millions of partitions.
	WindowFrom int64 // microseconds since the epoch
	WindowDays int   // days after the publish time

	avsc    string            // the Avro schema it was parsed from
	family  []*Definition     // every version of the data type, oldest first
	byName  map[string]int    // names and aliases of own fields, names of system columns
	foreign map[string]string // what messages of other data types call themselves -> the data type
	words   int               // words of a bitset over Fields
}

// A Field is one column.
type Field struct {
	Name             string
	Kind             Kind
	Precision, Scale int32 // of a Decimal
	Required         bool  // enforced by validation; every column may hold nulls
	Aliases          []string
	Doc              string

	Defaults   []Default // tried in order when a required value is absent or null, any value when absent
	Enum       *Enum     // of a String: the values it may take
	MaxLength  int       // of a String, in bytes; 0 is unbounded
	Identifier bool      // of a String: no control, bidirectional or zero-width characters
	JSON       bool      // of a String: holds JSON text, and an object or array sent in its place is kept as its own text
}

// An Enum is the set of values a String field may take, with the spellings that
// are read as one of them.
type Enum struct {
	Values   []string
	Spelling map[string]string // other spelling -> value
}

// A Default says where a value that was not sent comes from.
type Default struct {
	Source    DefaultSource
	Attribute string // of FromAttribute
	Literal   any    // of FromLiteral: string, int64, float64 or bool
}

// A DefaultSource is the kind of a Default.
type DefaultSource uint8

// Where defaults come from.
const (
	FromLiteral       DefaultSource = iota + 1 // the Avro default
	FromPublishTime                            // the message's publish time
	FromSchemaVersion                          // the version of the definition
	FromAttribute                              // an attribute of the message
)

// Avro is the definition as the Avro schema that it was parsed from.
func (d *Definition) Avro() string { return d.avsc }

// Field is the index of the field with that name or alias, or -1.
func (d *Definition) Field(name string) int {
	if i, ok := d.byName[name]; ok {
		return i
	}
	return -1
}

// systemFields are the columns that every row has after its own.
var systemFields = []Field{
	{Name: ColID, Kind: String, Required: true, Doc: "identity of the message: m:<message id> or e:<event_id>"},
	{Name: ColIndex, Kind: Int32, Required: true, Doc: "position of the record in its message"},
	{Name: ColPublishedAt, Kind: Timestamp, Required: true, Doc: "publish time of the message"},
	{Name: ColSchemaVersion, Kind: String, Required: true, Doc: "version of the definition the row was judged by"},
	{Name: ColFlags, Kind: Int64, Required: true, Doc: "bit set of the flagging rules the row met"},
}

// supersededField is the system column after those, where there is a natural key.
var supersededField = Field{Name: ColSupersededAt, Kind: Timestamp, Doc: "publish time of the row that took this one's place; null: it is the current one"}

// Offsets of the system columns from Definition.Own.
const (
	sysID = iota
	sysIndex
	sysPublishedAt
	sysSchemaVersion
	sysFlags
)

// index fills what is derived from Fields.
func (d *Definition) index() {
	d.byName = make(map[string]int, 2*len(d.Fields))
	for i, f := range d.Fields {
		d.byName[f.Name] = i
		for _, a := range f.Aliases {
			d.byName[a] = i
		}
	}
	d.words = (len(d.Fields) + 63) / 64
}

// Superseded is the index of the column _superseded_at, -1 where no natural key is
// declared.
func (d *Definition) Superseded() int {
	if len(d.NaturalKey) == 0 {
		return -1
	}
	return d.Own + len(systemFields)
}

// NaturalKeyNames are the natural key's fields, as files are tagged with them:
// "symbol,timestamp"; "" without one.
func (d *Definition) NaturalKeyNames() string {
	names := make([]string, len(d.NaturalKey))
	for i, f := range d.NaturalKey {
		names[i] = d.Fields[f].Name
	}
	return strings.Join(names, ",")
}
