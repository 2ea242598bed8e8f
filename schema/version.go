package schema

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Version is a semantic version of a definition. Versions are compared as
// numbers: v1.10.0 is newer than v1.2.0.
type Version struct{ Major, Minor, Patch int }

// ParseVersion reads "v1.2.0" or "1.2.0".
func ParseVersion(s string) (Version, error) {
	parts := strings.Split(strings.TrimPrefix(s, "v"), ".")
	var n [3]int
	if len(parts) != len(n) {
		return Version{}, fmt.Errorf("version %q: want three numbers, as in v1.2.0", s)
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, 31)
		if err != nil || part[0] == '0' && len(part) > 1 {
			return Version{}, fmt.Errorf("version %q: %q is not a version number", s, part)
		}
		n[i] = int(v)
	}
	return Version{n[0], n[1], n[2]}, nil
}

// String is the version as it is written everywhere: "v1.2.0".
func (v Version) String() string {
	return "v" + strconv.Itoa(v.Major) + "." + strconv.Itoa(v.Minor) + "." + strconv.Itoa(v.Patch)
}

// Compare is -1, 0 or 1 as v is older than, equal to or newer than o.
func (v Version) Compare(o Version) int {
	if c := cmp.Compare(v.Major, o.Major); c != 0 {
		return c
	}
	if c := cmp.Compare(v.Minor, o.Minor); c != 0 {
		return c
	}
	return cmp.Compare(v.Patch, o.Patch)
}
