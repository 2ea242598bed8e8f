package invariant_test

import (
	"slices"
	"testing"

	"github.com/buffetbot/ingest/invariant"
)

// Each rule is seen kept and broken.
func TestRules(t *testing.T) {
	set := func(ids ...string) map[string]bool {
		all := map[string]bool{}
		for _, id := range ids {
			all[id] = true
		}
		return all
	}
	unique := func(files ...[]string) []invariant.Violation { _, bad := invariant.Unique("day", files...); return bad }
	a := invariant.Shape{Size: 1, CRC32C: 2, Rows: 3}
	for _, tt := range []struct {
		name string
		bad  []invariant.Violation
		want []string // rules
	}{
		{"one row each", unique([]string{"a"}, []string{"b"}), nil},
		{"twice in a file", unique([]string{"a", "a"}), []string{"C2"}},
		{"twice in two", unique([]string{"a", "b"}, []string{"b"}), []string{"C2"}},
		{"all present", invariant.Present("day", set("a", "b"), invariant.Consumed{"r", []string{"a"}}), nil},
		{"missing of two", invariant.Present("day", set("a"), invariant.Consumed{"r", []string{"a", "b", "c"}}, invariant.Consumed{"s", []string{"c"}}), []string{"C3", "C3", "C3"}},
		{"counted", invariant.Counted("day", 3, 3, true), nil},
		{"more live than known of", invariant.Counted("day", 3, 4, false), nil},
		{"more live than consumed", invariant.Counted("day", 3, 4, true), []string{"C3"}},
		{"fewer live than consumed", invariant.Counted("day", 4, 3, false), []string{"C3"}},
		{"one more", invariant.Monotone("day", set("a"), set("a", "b")), nil},
		{"one gone", invariant.Monotone("day", set("a", "b", "c"), set("a")), []string{"C4"}},
		{"as recorded", invariant.Referenced("f", a, a), nil},
		{"other size", invariant.Referenced("f", a, invariant.Shape{Size: 2, CRC32C: 2, Rows: 3}), []string{"C5"}},
		{"other bytes", invariant.Referenced("f", a, invariant.Shape{Size: 1, CRC32C: 1, Rows: 3}), []string{"C5"}},
		{"other rows", invariant.Referenced("f", a, invariant.Shape{Size: 1, CRC32C: 2}), []string{"C5"}},
		{"both, by two revisions", invariant.Verdict("t", "record", "1.0.0", "1.1.0"), nil},
		{"both, by one", invariant.Verdict("t", "record", "1.0.0", "1.0.0"), []string{"C8"}},
	} {
		var got []string
		for _, v := range tt.bad {
			got = append(got, v.Rule)
			if v.Object == "" || v.Text == "" || v.Advice == "" {
				t.Errorf("%s: %+v does not say everything", tt.name, v)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.bad, tt.want)
		}
	}
}
