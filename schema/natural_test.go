package schema

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A natural key brings a column of its own, last, which rows leave null; it can
// be declared later, and then it stays as it is.
func TestNaturalKey(t *testing.T) {
	version := func(number, key string) *Definition {
		t.Helper()
		text := strings.Replace(evolving, `"1.0.0"`, `"`+number+`"`, 1)
		text = strings.Replace(text, `{"name": "s",`, `{"name": "v", "type": "string", "default": "-"}, {"name": "s",`, 1)
		if key != "" {
			text = strings.Replace(text, `"bb.symbol"`, `"bb.natural_key": `+key+`, "bb.symbol"`, 1)
		}
		d, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	without, with := version("1.0.0", ""), version("1.1.0", `["s", "v", "t"]`)
	if without.Superseded() != -1 || without.Field(ColSupersededAt) != -1 || without.NaturalKeyNames() != "" {
		t.Errorf("without a key: column %d, key %q", without.Superseded(), without.NaturalKeyNames())
	}
	last := len(with.Fields) - 1
	if with.Superseded() != last || with.Field(ColSupersededAt) != last || len(with.Fields) != len(without.Fields)+1 || with.NaturalKeyNames() != "s,v,t" {
		t.Errorf("with a key: column %d of %d, key %q", with.Superseded(), len(with.Fields), with.NaturalKeyNames())
	}
	if f := with.Fields[last]; f.Kind != Timestamp || f.Required || f.Name != ColSupersededAt {
		t.Errorf("column %+v", f)
	}
	rows := NewColumns(with)
	if rejected := with.NewDecoder(Standard).Decode(&Message{ID: "1", PublishTime: time.Unix(1705276800, 0), Data: []byte(`{"s":"A","t":"2024-01-15T00:00:00Z"}`)}, rows); len(rejected) > 0 {
		t.Fatal(rejected[0].Explanation)
	}
	if column := rows.Record().Column(last); column.NullN() != 1 {
		t.Errorf("column %v of a new row", column)
	}

	changes, err := Evolve(without, with, Full)
	if err != nil || len(changes) != 1 || !changes[0].Addition || !strings.Contains(changes[0].String(), "bb.natural_key declared (s,v,t)") {
		t.Errorf("declared later: %v, %v", changes, err)
	}
	if _, err := Evolve(without, version("1.0.1", `["s", "t"]`), Full); err == nil || !strings.Contains(err.Error(), "raise the minor number") {
		t.Errorf("declared by a patch: %v", err)
	}
	for _, later := range []*Definition{version("1.2.0", ""), version("1.2.0", `["s", "t"]`), version("1.2.0", `["v", "s", "t"]`)} {
		var bad *IncompatibleError
		if _, err := Evolve(with, later, Backward); !errors.As(err, &bad) || !strings.Contains(err.Error(), "bb.natural_key (s,v,t) became") {
			t.Errorf("changed to %q: %v", later.NaturalKeyNames(), err)
		}
	}
}
