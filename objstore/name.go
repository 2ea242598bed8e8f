package objstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrName marks a name that no store takes.
var ErrName = errors.New("not an object name")

// tempFolder is where Dir keeps what is not an object: unfinished writes and
// its lock. No object's name may begin a part with it.
const tempFolder = ".tmp~"

const (
	maxNameBytes = 1024 // Cloud Storage's limit
	maxPartBytes = 255  // a file system's limit for one part
)

// CheckName says why name cannot name an object. The rule is the same for
// every store, so that a lake that works in a directory works in a bucket and
// back: UTF-8 of at most 1,024 bytes without control characters, in parts
// between slashes of 1 to 255 bytes, none of them "." or "..", none of them
// beginning with ".tmp~".
func CheckName(name string) error {
	switch {
	case len(name) == 0:
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > maxNameBytes:
		return fmt.Errorf("%w: %q… has %d bytes, the limit is %d", ErrName, name[:64], len(name), maxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not UTF-8", ErrName, name)
	case strings.ContainsFunc(name, isControl):
		return fmt.Errorf("%w: %q contains a control character", ErrName, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if err := checkPart(part); err != nil {
			return fmt.Errorf("%w: %q %w", ErrName, name, err)
		}
	}
	return nil
}

func checkPart(part string) error {
	switch {
	case part == "":
		return errors.New("has an empty part")
	case part == "." || part == "..":
		return fmt.Errorf("has the part %q", part)
	case strings.HasPrefix(part, tempFolder):
		return fmt.Errorf("has a part beginning with the reserved %q", tempFolder)
	case len(part) > maxPartBytes:
		return fmt.Errorf("has a part of %d bytes, the limit is %d", len(part), maxPartBytes)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }
