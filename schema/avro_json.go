package schema

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A rendering of a binary value as JSON decides what the value means: what the
// JSON decoder makes of it is the verdict, so that a record is judged alike in
// whatever encoding it comes. It is exact: decimals as their digits, times as RFC
// 3339, floats in the fewest digits that give them back.

// appendJSON appends the value at b[p:] as JSON and returns the index after it,
// or -1. kind is of the field it is meant for, or 0.
func (n *avroNode) appendJSON(dst, b []byte, p int, kind Kind, depth int) (out []byte, next int) {
	if depth > 2*MaxDepth {
		return dst, -1
	}
	switch n.kind {
	case avroNull:
		return append(dst, "null"...), p
	case avroBoolean:
		if next = n.skip(b, p, 0); next < 0 {
			return dst, -1
		}
		return strconv.AppendBool(dst, b[p] == 1), next
	case avroInt, avroLong:
		v, next := readLong(b, p)
		return n.appendInteger(dst, v), next
	case avroFloat:
		if len(b)-p < 4 {
			return dst, -1
		}
		return appendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(b[p:]))), 32), p + 4
	case avroDouble:
		if len(b)-p < 8 {
			return dst, -1
		}
		return appendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(b[p:])), 64), p + 8
	case avroEnum:
		if next = n.skip(b, p, 0); next < 0 {
			return dst, -1
		}
		i, _ := readLong(b, p)
		return appendString(dst, n.symbols[i]), next
	case avroString:
		v, next := readBytes(b, p)
		return appendString(dst, v), next
	case avroBytes, avroFixed:
		return n.appendBytes(dst, b, p, kind)
	case avroUnion:
		child, next := n.branch(b, p)
		if child == nil {
			return dst, -1
		}
		return child.appendJSON(dst, b, next, kind, depth)
	default:
		return n.appendNested(dst, b, p, depth)
	}
}

func (n *avroNode) appendNested(dst, b []byte, p, depth int) (out []byte, next int) {
	switch n.kind {
	case avroRecord:
		dst = append(dst, '{')
		for i, child := range n.children {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, []byte(n.names[i])), ':')
			if dst, p = child.appendJSON(dst, b, p, 0, depth+1); p < 0 {
				return dst, -1
			}
		}
		return append(dst, '}'), p
	case avroArray:
		dst = append(dst, '[')
		p = n.blocks(b, p, func(i, p int) int {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, p = n.children[0].appendJSON(dst, b, p, 0, depth+1)
			return p
		})
		return append(dst, ']'), p
	}
	dst = append(dst, '{')
	p = n.blocks(b, p, func(i, p int) int {
		if i > 0 {
			dst = append(dst, ',')
		}
		key, p := readBytes(b, p)
		if p < 0 {
			return -1
		}
		dst = append(appendString(dst, key), ':')
		dst, p = n.children[0].appendJSON(dst, b, p, 0, depth+1)
		return p
	})
	return append(dst, '}'), p
}

// appendInteger renders an int or a long, which may count time.
func (n *avroNode) appendInteger(dst []byte, v int64) []byte {
	switch n.logical {
	case "date":
		return appendTime(dst, v, 86400, 0, time.DateOnly)
	case "timestamp-millis":
		return appendTime(dst, v, 0, 1e3, "2006-01-02T15:04:05.000Z")
	case "timestamp-micros":
		return appendTime(dst, v, 0, 1e6, "2006-01-02T15:04:05.000000Z")
	case "timestamp-nanos":
		return appendTime(dst, v, 0, 1e9, "2006-01-02T15:04:05.000000000Z")
	case "local-timestamp-millis":
		return appendTime(dst, v, 0, 1e3, "2006-01-02T15:04:05.000")
	case "local-timestamp-micros":
		return appendTime(dst, v, 0, 1e6, "2006-01-02T15:04:05.000000")
	case "local-timestamp-nanos":
		return appendTime(dst, v, 0, 1e9, "2006-01-02T15:04:05.000000000")
	}
	return strconv.AppendInt(dst, v, 10)
}

// appendTime renders a count of units since the epoch: of seconds each, or of
// which there are so many a second. A year that RFC 3339 cannot write is written
// all the same, for whoever reads why it was rejected.
func appendTime(dst []byte, v, seconds, perSecond int64, layout string) []byte {
	var t time.Time
	if seconds > 0 {
		if v < -1e10 || v > 1e10 {
			return append(strconv.AppendInt(append(dst, `"day `...), v, 10), '"')
		}
		t = time.Unix(v*seconds, 0)
	} else {
		t = time.Unix(floorDiv(v, perSecond), (v-floorDiv(v, perSecond)*perSecond)*(1e9/perSecond))
	}
	return append(t.UTC().AppendFormat(append(dst, '"'), layout), '"')
}

// appendFloat renders a float in the fewest digits; NaN and the infinities as
// Python writes them.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, v, 'g', -1, bits)
	if !bytes.ContainsAny(dst[from:], ".e") {
		dst = append(dst, ".0"...) // a float, and to be seen as one
	}
	return dst
}

// appendBytes renders bytes: a decimal as its digits, others as base64, or as
// the text they are where text is wanted.
func (n *avroNode) appendBytes(dst, b []byte, p int, kind Kind) (out []byte, next int) {
	var v []byte
	if n.kind == avroFixed {
		if next = n.skip(b, p, 0); next < 0 {
			return dst, -1
		}
		v = b[p:next]
	} else if v, next = readBytes(b, p); next < 0 {
		return dst, -1
	}
	switch {
	case n.logical == "decimal":
		return appendDecimal(dst, v, n.scale), next
	case n.logical == "uuid" && len(v) == 16:
		return appendUUID(dst, v), next
	case kind == String:
		return appendString(dst, v), next
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, v)
	return append(dst, '"'), next
}

const maxDecimalBytes = 256

// appendDecimal renders a two's-complement big-endian number / 10^scale.
func appendDecimal(dst, v []byte, scale int32) []byte {
	if len(v) > maxDecimalBytes { // no field holds it, and writing it out takes the square of its length
		return strconv.AppendInt(append(dst, "1e"...), int64(len(v))*2, 10)
	}
	i := new(big.Int).SetBytes(v)
	if len(v) > 0 && v[0] >= 0x80 {
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v))))
	}
	text := i.String()
	if scale <= 0 {
		return append(dst, text...)
	}
	if text[0] == '-' {
		dst, text = append(dst, '-'), text[1:]
	}
	if missing := int(scale) + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	point := len(text) - int(scale)
	dst = append(append(dst, text[:point]...), '.')
	return append(dst, text[point:]...)
}

func appendUUID(dst, v []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i, ch := range v {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[ch>>4], digits[ch&15])
	}
	return append(dst, '"')
}

// appendString renders a string. Bytes that are not UTF-8 stay as they are, so
// that the decoder rejects them for what they are.
func appendString(dst, v []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, ch := range v {
		switch {
		case ch == '"' || ch == '\\':
			dst = append(dst, '\\', ch)
		case ch < ' ' || ch == utf8.RuneSelf-1:
			dst = append(dst, '\\', 'u', '0', '0', digits[ch>>4], digits[ch&15])
		default:
			dst = append(dst, ch)
		}
	}
	return append(dst, '"')
}
