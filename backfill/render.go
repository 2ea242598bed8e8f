package backfill

import (
	"bytes"
	"unicode/utf8"

	"github.com/buffetbot/ingest/schema"
)

// A style is how the text of a cell becomes a JSON value of its field.
type style uint8

const (
	asText   style = iota // always a string
	asNumber              // a number where the text is one, however it is spelled
	asTime                // a number where it is one in JSON's own spelling
	asBool                // true and false
	asBytes               // base64: as it is from text, encoded from the bytes of Parquet
)

func styleOf(k schema.Kind) style {
	switch k {
	case schema.Int32, schema.Int64, schema.Float64, schema.Decimal:
		return asNumber
	case schema.Timestamp, schema.Date:
		return asTime
	case schema.Bool:
		return asBool
	case schema.Binary:
		return asBytes
	}
	return asText
}

// appendCell appends the value that a cell's text is. What does not look like
// the field's kind stays a string: the decoder judges it.
func appendCell(dst, cell []byte, s style) []byte {
	switch s {
	case asNumber:
		if out, ok := appendNumber(dst, bytes.Trim(cell, " \t")); ok {
			return out
		}
	case asTime:
		if jsonNumber(cell) {
			return append(dst, cell...)
		}
	case asBool:
		if t := string(cell); t == "true" || t == "false" {
			return append(dst, t...)
		}
	}
	return appendString(dst, cell)
}

// appendNumber appends text as a JSON number of the very same value, if it is a
// decimal number in any of the spellings that CSV files hold and JSON does not:
// +1.5, .89, 5., 000, 007.10. A text that is JSON already is appended unchanged.
func appendNumber(dst, text []byte) ([]byte, bool) {
	n, ok := parseNumber(text)
	if !ok {
		return dst, false
	}
	if n.negative {
		dst = append(dst, '-')
	}
	if whole := bytes.TrimLeft(n.whole, "0"); len(whole) > 0 {
		dst = append(dst, whole...)
	} else {
		dst = append(dst, '0')
	}
	if len(n.fraction) > 0 {
		dst = append(append(dst, '.'), n.fraction...)
	}
	return append(dst, n.exponent...), true
}

// numberText is a number taken apart: [-]whole[.fraction][exponent].
type numberText struct {
	negative        bool
	whole, fraction []byte
	exponent        []byte // with its e
	canonical       bool   // the text is a JSON number
}

func parseNumber(text []byte) (n numberText, ok bool) {
	n.canonical = true
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		n.negative, n.canonical = text[0] == '-', text[0] == '-'
		text = text[1:]
	}
	n.whole, text = digits(text)
	if len(n.whole) == 0 || len(n.whole) > 1 && n.whole[0] == '0' {
		n.canonical = false
	}
	if len(text) > 0 && text[0] == '.' {
		if n.fraction, text = digits(text[1:]); len(n.fraction) == 0 {
			n.canonical = false
		}
	}
	if len(n.whole)+len(n.fraction) == 0 {
		return n, false
	}
	if len(text) == 0 {
		return n, true
	}
	if text[0]|0x20 != 'e' {
		return n, false
	}
	rest := text[1:]
	if len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	d, rest := digits(rest)
	n.exponent = text
	return n, len(d) > 0 && len(rest) == 0
}

func digits(b []byte) (d, rest []byte) {
	i := 0
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return b[:i], b[i:]
}

func jsonNumber(text []byte) bool {
	n, ok := parseNumber(text)
	return ok && n.canonical
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 stay as they
// are: the decoder rejects the record for them and keeps them.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, ch := range s {
		switch {
		case ch == '"' || ch == '\\':
			dst = append(dst, '\\', ch)
		case ch == '\n':
			dst = append(dst, '\\', 'n')
		case ch == '\r':
			dst = append(dst, '\\', 'r')
		case ch == '\t':
			dst = append(dst, '\\', 't')
		case ch < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[ch>>4], hexDigits[ch&15])
		default:
			dst = append(dst, ch)
		}
	}
	return append(dst, '"')
}

// keptOfBroken is how much of a record's text is kept where it cannot be taken
// apart.
const keptOfBroken = 1 << 20

// appendBroken appends a JSON string in place of a record that cannot be taken
// apart: no object, so the decoder rejects it, whatever the level. what says
// where it was and what is wrong; text is the record's, of size bytes.
func appendBroken(dst []byte, what string, text []byte, size int64) []byte {
	if len(text) > keptOfBroken {
		text = text[:keptOfBroken]
	}
	if int64(len(text)) < size {
		for i := 0; i < utf8.UTFMax && len(text) > 0; i++ { // do not end inside a character
			if r, n := utf8.DecodeLastRune(text); r != utf8.RuneError || n != 1 {
				break
			}
			text = text[:len(text)-1]
		}
	}
	whole := append([]byte(what+": "), text...)
	return appendString(dst, whole)
}
