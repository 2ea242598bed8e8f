package partition

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// The escape character needs no URI encoding: paths in the log are URI-encoded,
// and a percent sign would double. After it comes two hexadecimal digits (one
// byte), or one of these, none of which is hexadecimal:
const (
	rangeMark = "~-"     // between the two ends of a range
	multiMark = "~multi" // in place of a symbol or model: several
	emptyMark = "~none"  // the empty string
	hashMark  = "~h"     // what follows is a hash of the whole; before it stands a prefix
)

// maxPart is the number of bytes a part of a name may take. Two of them, the
// dates and the unique end stay under the 255 bytes of a file name.
const (
	maxPart    = 64
	hashDigits = 24
	maxPrefix  = maxPart - len(hashMark) - hashDigits
)

// ErrHashed: the name holds only a prefix and a hash of a long symbol. What the
// symbol was is said by the rows.
var ErrHashed = errors.New("only a hash of it is in the name")

// plain tells the bytes that stand for themselves inside a part: those of
// BTC-USD and BRK.B. The underscore separates parts.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.'
}

// escape is reversible and has no limit.
func escape(s string) string {
	if s == "" {
		return emptyMark
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := 0; i < len(s); i++ {
		// A name that starts with a dot is hidden from other engines.
		if c := s[i]; plain(c) && (c != '.' || i > 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "~%02X", c)
		}
	}
	return b.String()
}

// EscapeSymbol makes any string a part of an object's name: of letters, digits,
// "-", "." and the escape character "~", at most 64 bytes, never starting with
// "_" or ".". Different strings give different parts. A part that would be
// longer is a prefix and a hash, from which the string cannot be had again.
func EscapeSymbol(s string) string {
	e := escape(s)
	if len(e) <= maxPart {
		return e
	}
	prefix := e[:maxPrefix]
	if cut := strings.LastIndexByte(prefix, '~'); cut > maxPrefix-3 {
		prefix = prefix[:cut] // an escape is not cut in two
	}
	sum := sha256.Sum256([]byte(s))
	return prefix + hashMark + hex.EncodeToString(sum[:hashDigits/2])
}

// UnescapeSymbol is the string that EscapeSymbol made the part of. A part that
// EscapeSymbol cannot have made is an error, ErrHashed one of a long string.
func UnescapeSymbol(part string) (string, error) {
	if hashed(part) {
		return "", fmt.Errorf("symbol %q: %w", part, ErrHashed)
	}
	s, err := unescape(part)
	if err != nil {
		return "", err
	}
	if escape(s) != part || len(part) > maxPart {
		return "", fmt.Errorf("symbol %q: not the way to write %q", part, s)
	}
	return s, nil
}

// hashed tells whether part is a prefix and a hash.
func hashed(part string) bool {
	at := strings.LastIndex(part, hashMark)
	if at < 0 || len(part)-at != len(hashMark)+hashDigits {
		return false
	}
	sum := part[at+len(hashMark):]
	if strings.Trim(sum, "0123456789abcdef") != "" {
		return false
	}
	prefix, err := unescape(part[:at])
	return err == nil && at <= maxPrefix && at > maxPrefix-3 && escape(prefix) == part[:at]
}

func unescape(part string) (string, error) {
	if part == emptyMark {
		return "", nil
	}
	if part == "" {
		return "", errors.New("symbol: an empty part")
	}
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		c := part[i]
		switch {
		case c == '~':
			var one [1]byte
			if i+2 >= len(part) {
				return "", fmt.Errorf("symbol %q: the escape at byte %d is cut short", part, i)
			}
			if _, err := hex.Decode(one[:], []byte(part[i+1:i+3])); err != nil {
				return "", fmt.Errorf("symbol %q: no escape at byte %d", part, i)
			}
			b.WriteByte(one[0])
			i += 2
		case plain(c):
			b.WriteByte(c)
		default:
			return "", fmt.Errorf("symbol %q: byte %d needs an escape", part, i)
		}
	}
	return b.String(), nil
}
