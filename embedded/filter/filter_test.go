package filter

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	message := map[string]string{"name": "com", "lang": "en-GB", "empty": "", `odd key"`: "ü\n", "x-y_1": "v"}
	get := func(k string) (string, bool) { v, ok := message[k]; return v, ok }
	for in, want := range map[string]bool{
		`attributes:name`:                                       true,
		`attributes:empty`:                                      true,
		`attributes:none`:                                       false,
		`NOT attributes:none`:                                   true,
		`-attributes:none`:                                      true,
		`- attributes:name`:                                     false,
		`NOT NOT attributes:name`:                               true,
		`attributes.name = "com"`:                               true,
		`attributes.name="COM"`:                                 false,
		`attributes.name != "com"`:                              false,
		`attributes.name != "org"`:                              true,
		`attributes.none != "org"`:                              true,
		`attributes.none = ""`:                                  false,
		`attributes.empty = ""`:                                 true,
		`attributes."odd key\"" = "\u00fc\n"`:                   true,
		`attributes."odd key\"" = "\xc3\xbc\012"`:               true,
		`attributes:"odd key\""`:                                true,
		`attributes.x-y_1="v"`:                                  true,
		`hasPrefix(attributes.lang, "en")`:                      true,
		`hasPrefix(attributes.lang,"de")`:                       false,
		`hasPrefix(attributes.none, "")`:                        false,
		`NOT hasPrefix(attributes.lang, "de")`:                  true,
		`attributes:name AND attributes:none`:                   false,
		`attributes:name OR attributes:none`:                    true,
		`attributes:none OR attributes:no OR attributes:name`:   true,
		`attributes:name AND NOT attributes:none`:               true,
		`attributes:none AND (attributes:x OR attributes:name)`: false,
		`(attributes:none AND attributes:x) OR attributes:name`: true,
		`NOT (attributes:name AND attributes:lang)`:             false,
		` ( ( attributes : name ) ) `:                           true,
		"attributes:name\n\tAND attributes:lang":                true,
	} {
		f, err := Parse(in)
		if err != nil {
			t.Errorf("Parse(%s): %v", in, err)
			continue
		}
		if got := f.Match(get); got != want {
			t.Errorf("%s = %v, want %v", in, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                        `byte 0: the end where attributes`,
		`attributes`:              `: or .`,
		`attributes.name`:         `= or !=`,
		`attributes.name = com`:   `a string in double quotes`,
		`attributes.name = 'com'`: `a string in double quotes`,
		`attributes.name = "com`:  `a string that cannot be read`,
		`attributes.name = "\q"`:  `a string that cannot be read`,
		`attributes:name AND`:     `the end where`,
		`attributes:a AND attributes:b OR attributes:c`: `need parentheses`,
		`attributes:name)`:                        `) where AND, OR or the end`,
		`(attributes:name`:                        `the end where )`,
		`attributes:name attributes:b`:            `AND, OR or the end`,
		`attributes:name and attributes:b`:        `AND, OR or the end`,
		`data = "x"`:                              `data where attributes`,
		`hasPrefix(attributes:a, "x")`:            `: where .`,
		`hasPrefix(attributes.a, x)`:              `a string in double quotes`,
		`hasPrefix(attributes.a, "x"`:             `the end where )`,
		`attributes.a > "x"`:                      `> where = or !=`,
		`attributes:` + strings.Repeat("a", 250):  `at most 256`,
		strings.Repeat("(", 200) + "attributes:a": `nested too deep`,
		strings.Repeat("-", 200) + "attributes:a": `nested too deep`,
	} {
		if _, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40s): %v, want %q", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`NOT (attributes."a\x41" != "b" AND hasPrefix(attributes.c, "d")) OR attributes:e`)
	f.Fuzz(func(t *testing.T, in string) {
		if got, err := Parse(in); err == nil {
			got.Match(func(string) (string, bool) { return "", false })
		}
	})
}
