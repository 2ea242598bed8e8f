package partition

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Names of data objects, parts separated by "_":
//
//	raw        <symbol>_<category>_<date>_<time>_v<major>_<writer>-<seq>.parquet
//	processed  <first>~-<last>_<category>_<date>_v<major>_<content hash>.b<version>.parquet
//	forecasts  forecast_<symbol>_model-<model>_<date>_v<major>_<unique>.parquet
//
// <unique> of forecasts is <writer>-<seq> or <content hash>.b<version>.
const (
	forecast    = "forecast" // the category whose names lead with it
	modelMark   = "model-"
	nameEnd     = ".parquet"
	timeLayout  = "150405"
	plannedMark = ".b"
)

// A RawName is what the name of a raw object says.
type RawName struct {
	Key
	Category string // of the definition: "market"
	First    string // the symbol; "" where Multi, and in a parsed name where Hashed
	Hashed   string // in a parsed name: the part as it stands, where the symbol is too long for a name
	Multi    bool   // the file holds several symbols
	Model    string // of forecasts: the model, "" where there are several or its name is too long
	Time     int64  // earliest event time, µs since the epoch; a name keeps whole seconds, and forecasts' names the day
	Major    int    // major version of the schema
	Writer   string // new at each start of a process
	Seq      int    // counts the writer's files
}

// String is the object's full name.
func (n RawName) String() string {
	symbol := n.Hashed
	switch {
	case n.Multi:
		symbol = multiMark
	case symbol == "":
		symbol = EscapeSymbol(n.First)
	}
	date := n.Day.compact()
	if n.Category != forecast {
		date += "_" + time.UnixMicro(n.Time).UTC().Format(timeLayout)
	}
	unique := fmt.Sprintf("%s-%06d", EscapeSymbol(n.Writer), n.Seq)
	return n.RawPrefix() + baseName(symbol, n.Category, n.Model, date, n.Major, unique)
}

// A ProcessedName is what the name of a processed object says. P1: it is made of
// the bytes and of the version planned on, so a name is never used again by a
// later version, and two compactors on one version share the object.
type ProcessedName struct {
	Key
	Category    string
	First, Last string // the range of symbols; "" in a parsed name where they are too long for it
	Symbols     string // in a parsed name: the range as it stands
	Major       int
	Hash        string // hexadecimal hash of the object's bytes
	Planned     int64  // version of the snapshot the plan was made on: the V of P3 and P4
}

// String is the object's full name.
func (n ProcessedName) String() string { return TableRoot(n.Type) + n.Path() }

// Path is the name relative to the table's root, as the log has it.
func (n ProcessedName) Path() string {
	symbols := n.Symbols
	if symbols == "" {
		symbols = symbolRange(n.First, n.Last, EscapeSymbol)
	}
	unique := n.Hash + plannedMark + strconv.FormatInt(n.Planned, 10)
	return n.Day.Path() + "/" + baseName(symbols, n.Category, "", n.Day.compact(), n.Major, unique)
}

func symbolRange(first, last string, escape func(string) string) string {
	if first == last {
		return escape(first)
	}
	return escape(first) + rangeMark + escape(last)
}

// baseName is the last part of a path. Forecasts lead with their category.
func baseName(symbol, category, model, date string, major int, unique string) string {
	end := fmt.Sprintf("%s_v%d_%s%s", date, major, unique, nameEnd)
	if category != forecast {
		return symbol + "_" + category + "_" + end
	}
	part := multiMark
	if model != "" {
		part = EscapeSymbol(model)
	}
	return forecast + "_" + symbol + "_" + modelMark + part + "_" + end
}

// parts is a base name taken apart.
type parts struct {
	symbol, category, model string
	day                     Day
	clock                   time.Duration // since the day's start
	major                   int
	unique                  string
}

// ParseName reads the full name of a raw object.
func ParseName(name string) (RawName, error) {
	p, key, err := split(name, "raw/", 6)
	if err != nil {
		return RawName{}, err
	}
	n := RawName{Key: key, Category: p.category, Major: p.major, Model: p.model}
	n.Time = key.Day.Start().Add(p.clock).UnixMicro()
	writer, seq, ok := cutLast(p.unique, "-")
	if n.Seq, err = strconv.Atoi(seq); err != nil || !ok || fmt.Sprintf("%06d", n.Seq) != seq {
		return RawName{}, fmt.Errorf("raw object %q: %q is not a writer and a number", name, p.unique)
	}
	if n.Writer, err = UnescapeSymbol(writer); err != nil {
		return RawName{}, fmt.Errorf("raw object %q: writer: %w", name, err)
	}
	switch {
	case p.symbol == multiMark:
		n.Multi = true
	case hashed(p.symbol):
		n.Hashed = p.symbol
	default:
		if n.First, err = UnescapeSymbol(p.symbol); err != nil {
			return RawName{}, fmt.Errorf("raw object %q: %w", name, err)
		}
	}
	return n, nil
}

// ParseProcessedName reads the full name of a processed object.
func ParseProcessedName(name string) (ProcessedName, error) {
	p, key, err := split(name, "processed/", 5)
	if err != nil {
		return ProcessedName{}, err
	}
	n := ProcessedName{Key: key, Category: p.category, Symbols: p.symbol, Major: p.major}
	hash, planned, ok := cutLast(p.unique, plannedMark)
	if n.Planned, err = strconv.ParseInt(planned, 10, 64); err != nil || !ok || n.Planned < 0 || strconv.FormatInt(n.Planned, 10) != planned {
		return ProcessedName{}, fmt.Errorf("processed object %q: %q is not a hash and a version", name, p.unique)
	}
	n.Hash = hash
	first, last, two := strings.Cut(p.symbol, rangeMark)
	if !two {
		last = first
	}
	if hashed(first) || hashed(last) {
		return n, nil
	}
	if n.First, err = UnescapeSymbol(first); err == nil {
		n.Last, err = UnescapeSymbol(last)
	}
	if err != nil {
		return ProcessedName{}, fmt.Errorf("processed object %q: %w", name, err)
	}
	return n, nil
}

// split takes a full name apart; count is the number of its parts.
func split(name, root string, count int) (parts, Key, error) {
	bad := func(what string) (parts, Key, error) {
		return parts{}, Key{}, fmt.Errorf("object %q: %s", name, what)
	}
	rest, ok := strings.CutPrefix(name, root)
	dataType, path, cut := strings.Cut(rest, "/")
	if !ok || !cut || dataType == "" {
		return bad("no data type under " + root)
	}
	key, ok := keyOfPath(dataType, path)
	base, found := strings.CutPrefix(path, key.Day.Path()+"/")
	base, parquet := strings.CutSuffix(base, nameEnd)
	if !ok || !found || !parquet {
		return bad("not a Parquet object of a partition")
	}
	fields := strings.Split(base, "_")
	p := parts{}
	switch {
	case len(fields) == 6 && fields[0] == forecast && strings.HasPrefix(fields[2], modelMark):
		p.category, p.symbol = forecast, fields[1]
		if model := fields[2][len(modelMark):]; model != multiMark {
			p.model, _ = UnescapeSymbol(model) // a name too long for a name stays unknown
		}
		fields = fields[3:]
	case len(fields) == count:
		p.symbol, p.category = fields[0], fields[1]
		fields = fields[2:]
	default:
		return bad(fmt.Sprintf("%d parts", len(fields)))
	}
	if p.day, ok = parseLayout("20060102", fields[0]); !ok || p.day != key.Day {
		return bad("its date is not its folder's")
	}
	if len(fields) == 4 {
		t, err := time.Parse(timeLayout, fields[1])
		if err != nil {
			return bad("no time of day")
		}
		p.clock = t.Sub(t.Truncate(24 * time.Hour))
		fields = fields[1:]
	}
	var err error
	if p.major, err = strconv.Atoi(strings.TrimPrefix(fields[1], "v")); err != nil || "v"+strconv.Itoa(p.major) != fields[1] || p.major < 0 {
		return bad("no schema version")
	}
	p.unique = fields[2]
	return p, key, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	at := strings.LastIndex(s, sep)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(sep):], true
}
