package schema

import (
	"fmt"

	"github.com/twmb/avro"
)

// An avroKind is a type of the Avro specification.
type avroKind uint8

const (
	avroNull avroKind = iota + 1
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroBytes
	avroString
	avroRecord
	avroEnum
	avroArray
	avroMap
	avroFixed
	avroUnion
)

var avroKinds = map[string]avroKind{
	"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong, "float": avroFloat, "double": avroDouble,
	"bytes": avroBytes, "string": avroString, "record": avroRecord, "error": avroRecord, "enum": avroEnum,
	"array": avroArray, "map": avroMap, "fixed": avroFixed,
}

// An avroNode is one type of a writer's schema, with names resolved: a tree that
// may lead back into itself.
type avroNode struct {
	kind     avroKind
	logical  string
	scale    int32 // of a decimal
	size     int   // of a fixed
	name     string
	symbols  [][]byte
	children []*avroNode // fields of a record, branches of a union, or the one type of items and values
	names    []string    // of a record's fields
}

// parseAvro reads a writer's schema with twmb/avro, whose rules for names, types
// and logical types hold here too.
func parseAvro(text string) (*avroNode, error) {
	s, err := avro.Parse(text)
	if err != nil {
		return nil, err
	}
	b := avroBuilder{named: map[string]*avroNode{}}
	return b.node(s.Root())
}

type avroBuilder struct{ named map[string]*avroNode }

func (b *avroBuilder) node(s *avro.SchemaNode) (*avroNode, error) {
	if len(s.Branches) > 0 || s.Type == "union" {
		n := &avroNode{kind: avroUnion}
		return n, b.children(n, s.Branches)
	}
	kind, ok := avroKinds[s.Type]
	if !ok {
		if n := b.named[s.Type]; n != nil {
			return n, nil
		}
		return nil, fmt.Errorf("type %q is not defined", s.Type)
	}
	n := &avroNode{kind: kind, logical: s.LogicalType, scale: int32(s.Scale), size: s.Size, name: s.Name}
	if s.Name != "" {
		b.named[s.Name] = n
		if s.Namespace != "" {
			b.named[s.Namespace+"."+s.Name] = n
		}
	}
	for _, symbol := range s.Symbols {
		n.symbols = append(n.symbols, []byte(symbol))
	}
	for i := range s.Fields {
		n.names = append(n.names, s.Fields[i].Name)
		child, err := b.node(&s.Fields[i].Type)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", s.Fields[i].Name, err)
		}
		n.children = append(n.children, child)
	}
	for _, inner := range []*avro.SchemaNode{s.Items, s.Values} {
		if inner != nil && (kind == avroArray || kind == avroMap) {
			return n, b.children(n, []avro.SchemaNode{*inner})
		}
	}
	return n, nil
}

func (b *avroBuilder) children(n *avroNode, types []avro.SchemaNode) error {
	for i := range types {
		child, err := b.node(&types[i])
		if err != nil {
			return err
		}
		n.children = append(n.children, child)
	}
	return nil
}

// readLong reads a zigzag varint of at most ten bytes at b[p:]; next is -1 where
// there is none.
func readLong(b []byte, p int) (v int64, next int) {
	if p < len(b) && b[p] < 0x80 {
		u := uint64(b[p])
		return int64(u>>1) ^ -int64(u&1), p + 1
	}
	var u uint64
	for shift := 0; shift < 64 && p < len(b); shift += 7 {
		ch := b[p]
		p++
		if shift == 63 && ch > 1 {
			return 0, -1
		}
		u |= uint64(ch&0x7f) << shift
		if ch < 0x80 {
			return int64(u>>1) ^ -int64(u&1), p
		}
	}
	return 0, -1
}

// readBytes reads a length and so many bytes.
func readBytes(b []byte, p int) (v []byte, next int) {
	n, p := readLong(b, p)
	if p < 0 || n < 0 || n > int64(len(b)-p) {
		return nil, -1
	}
	end := p + int(n)
	return b[p:end:end], end
}

// maxEmptyItems bounds arrays of items that take no bytes: their number is the
// publisher's word alone.
const maxEmptyItems = 1 << 12

// skip is the index after the value at b[p:], or -1.
func (n *avroNode) skip(b []byte, p, depth int) int {
	if depth > MaxDepth {
		return -1
	}
	switch n.kind {
	case avroNull:
		return p
	case avroBoolean:
		if p >= len(b) || b[p] > 1 {
			return -1
		}
		return p + 1
	case avroInt, avroLong:
		_, p = readLong(b, p)
		return p
	case avroEnum:
		i, next := readLong(b, p)
		if next < 0 || i < 0 || i >= int64(len(n.symbols)) {
			return -1
		}
		return next
	case avroBytes, avroString:
		_, p = readBytes(b, p)
		return p
	case avroRecord:
		for _, child := range n.children {
			if p = child.skip(b, p, depth+1); p < 0 {
				return -1
			}
		}
		return p
	case avroUnion:
		child, p := n.branch(b, p)
		if child == nil {
			return -1
		}
		return child.skip(b, p, depth)
	case avroArray, avroMap:
		return n.blocks(b, p, func(_, p int) int {
			if n.kind == avroMap {
				if _, p = readBytes(b, p); p < 0 {
					return -1
				}
			}
			return n.children[0].skip(b, p, depth+1)
		})
	}
	width := n.width()
	if width > len(b)-p {
		return -1
	}
	return p + width
}

// width is the size of a value of fixed size.
func (n *avroNode) width() int {
	switch n.kind {
	case avroFloat:
		return 4
	case avroDouble:
		return 8
	}
	return n.size
}

// branch reads which branch of a union follows; nil where there is no such.
func (n *avroNode) branch(b []byte, p int) (child *avroNode, next int) {
	i, next := readLong(b, p)
	if next < 0 || i < 0 || i >= int64(len(n.children)) {
		return nil, -1
	}
	return n.children[i], next
}

// blocks walks the blocks of an array or a map; item is called with the number
// of each item and where it starts, and returns where it ends, or -1.
func (n *avroNode) blocks(b []byte, p int, item func(i, p int) int) int {
	i, empty := 0, 0
	for {
		count, next := readLong(b, p)
		if next < 0 {
			return -1
		}
		p = next
		if count == 0 {
			return p
		}
		if count < 0 { // the block's size follows, for those who skip
			count = -count
			if _, p = readLong(b, p); p < 0 || count < 0 {
				return -1
			}
		}
		for ; count > 0; count-- {
			end := item(i, p)
			if end < 0 {
				return -1
			}
			if end == p {
				if empty++; empty > maxEmptyItems {
					return -1
				}
			}
			p = end
			i++
		}
	}
}
