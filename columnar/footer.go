package columnar

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/buffetbot/ingest/schema"
)

// Limits of what is read. They keep damaged or hostile metadata from asking for
// memory that the object's size does not justify.
const (
	maxFooter       = 64 << 20
	maxRowGroupRows = 1 << 20
	maxColumns      = 10_000
)

// Physical types, encodings, codecs, page types and converted types of Parquet,
// as far as they are read here.
const (
	physBoolean   = 0
	physInt32     = 1
	physInt64     = 2
	physDouble    = 5
	physByteArray = 6

	encPlain     = 0
	encPlainDict = 2
	encRLE       = 3
	encDelta     = 5
	encRLEDict   = 8

	codecNone   = 0
	codecSnappy = 1

	pageData   = 0
	pageIndex  = 1
	pageDict   = 2
	pageDataV2 = 3

	convUTF8      = 0
	convDecimal   = 5
	convDate      = 6
	convTimeMicro = 10
	convInt32     = 17
	convInt64     = 18

	repRequired = 0
	repOptional = 1
)

// footerMeta is a file's metadata.
type footerMeta struct {
	rows      int64
	columns   []columnMeta
	groups    []groupMeta
	kv        map[string]string
	createdBy string
	sums      []byte // value of metaChecksums, aliasing the footer's bytes …
	sumsAt    int    // … from this one on
}

// columnMeta is a leaf of the schema. Kind is 0 where no kind of ours fits.
type columnMeta struct {
	name             string
	phys             int32
	optional         bool
	kind             schema.Kind
	precision, scale int32
}

type groupMeta struct {
	rows   int64
	chunks []chunkMeta
}

// chunkMeta is where a column chunk is and what its statistics say.
type chunkMeta struct {
	column         string
	codec          int32
	values         int64
	start, end     int64 // bytes of the object
	dict, data     int64 // offsets of pages as recorded
	length         int64
	nulls          int64 // -1: unknown
	min, max       []byte
	hasMin, hasMax bool
	inexact        bool
	encrypted      bool
}

// parseFooter reads and verifies the metadata of an object: everything that Read
// later relies on is checked here. body is the number of bytes before the footer.
func parseFooter(b []byte, body int64) (*footerMeta, error) {
	m := &footerMeta{kv: map[string]string{}}
	var elements []schemaElement
	r := &thriftReader{b: b}
	r.fields(func(id int16, typ byte) bool {
		switch {
		case id == 2 && typ == thriftList:
			r.list(thriftStruct, func() { elements = append(elements, readElement(r)) })
		case id == 3 && typ == thriftI64:
			m.rows = r.int()
		case id == 4 && typ == thriftList:
			r.list(thriftStruct, func() { m.groups = append(m.groups, readGroup(r)) })
		case id == 5 && typ == thriftList:
			r.list(thriftStruct, func() { m.keyValue(r) })
		case id == 6 && typ == thriftBinary:
			m.createdBy = string(r.bytes())
		default:
			return false
		}
		return true
	})
	if r.err == nil && r.pos != len(b) {
		r.fail("%d bytes follow the end", len(b)-r.pos)
	}
	if r.err != nil {
		return nil, r.err
	}
	if err := m.setColumns(elements); err != nil {
		return nil, err
	}
	return m, m.verify(body)
}

func (m *footerMeta) keyValue(r *thriftReader) {
	var key, value []byte
	end := 0
	r.fields(func(id int16, typ byte) bool {
		switch {
		case id == 1 && typ == thriftBinary:
			key = r.bytes()
		case id == 2 && typ == thriftBinary:
			value = r.bytes()
			end = r.pos
		default:
			return false
		}
		return true
	})
	if string(key) == metaChecksums {
		m.sums, m.sumsAt = value, end-len(value)
	}
	m.kv[string(key)] = string(value)
}

// A schemaElement is a node of the schema's tree, in preorder.
type schemaElement struct {
	phys             int32
	repetition       int32
	name             string
	children         int32
	converted        int32
	scale, precision int32
	logical          int16 // field id in the union LogicalType, 0 if absent
	utcMicros        bool
	isLeaf           bool
}

func readElement(r *thriftReader) schemaElement {
	e := schemaElement{converted: -1}
	r.fields(func(id int16, typ byte) bool {
		switch {
		case id == 1 && typ == thriftI32:
			e.phys, e.isLeaf = r.int32(), true
		case id == 3 && typ == thriftI32:
			e.repetition = r.int32()
		case id == 4 && typ == thriftBinary:
			e.name = string(r.bytes())
		case id == 5 && typ == thriftI32:
			e.children = r.int32()
		case id == 6 && typ == thriftI32:
			e.converted = r.int32()
		case id == 7 && typ == thriftI32:
			e.scale = r.int32()
		case id == 8 && typ == thriftI32:
			e.precision = r.int32()
		case id == 10 && typ == thriftStruct:
			e.readLogical(r)
		default:
			return false
		}
		return true
	})
	return e
}

// Members of the union LogicalType.
const (
	logicalString    = 1
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTimestamp = 8
	logicalInteger   = 10
)

func (e *schemaElement) readLogical(r *thriftReader) {
	r.fields(func(id int16, typ byte) bool {
		e.logical = id
		if id != logicalTimestamp || typ != thriftStruct {
			return false
		}
		utc, micros := false, false
		r.fields(func(id int16, typ byte) bool {
			switch {
			case id == 1:
				utc = typ == thriftTrue
			case id == 2 && typ == thriftStruct:
				r.fields(func(unit int16, _ byte) bool { micros = unit == 2; return false })
				return true
			}
			return false
		})
		e.utcMicros = utc && micros
		return true
	})
}

// setColumns turns the schema's tree, which must be flat, into columns.
func (m *footerMeta) setColumns(elements []schemaElement) error {
	if len(elements) == 0 || len(elements) > maxColumns || int(elements[0].children) != len(elements)-1 {
		return fmt.Errorf("schema of %d elements is not flat: %w", len(elements), ErrUnsupported)
	}
	for _, e := range elements[1:] {
		if !e.isLeaf || e.children != 0 || e.repetition != repRequired && e.repetition != repOptional {
			return fmt.Errorf("column %q is nested: %w", e.name, ErrUnsupported)
		}
		m.columns = append(m.columns, columnMeta{
			name: e.name, phys: e.phys, optional: e.repetition == repOptional,
			kind: e.kind(), precision: e.precision, scale: e.scale,
		})
	}
	return nil
}

func (e *schemaElement) kind() schema.Kind {
	decimal := e.logical == logicalDecimal || e.logical == 0 && e.converted == convDecimal
	plain := e.logical == logicalInteger || e.logical == 0 && e.converted == -1
	switch {
	case decimal && (e.phys == physInt32 || e.phys == physInt64):
		return schema.Decimal
	case e.phys == physInt32 && (e.logical == logicalDate || e.logical == 0 && e.converted == convDate):
		return schema.Date
	case e.phys == physInt64 && (e.utcMicros || e.logical == 0 && e.converted == convTimeMicro):
		return schema.Timestamp
	case e.phys == physByteArray && (e.logical == logicalString || e.logical == 0 && e.converted == convUTF8):
		return schema.String
	case e.phys == physInt32 && plain:
		return schema.Int32
	case e.phys == physInt64 && plain:
		return schema.Int64
	case e.phys == physByteArray && plain:
		return schema.Binary
	case e.phys == physBoolean && plain:
		return schema.Bool
	case e.phys == physDouble && plain:
		return schema.Float64
	}
	return 0
}

func readGroup(r *thriftReader) groupMeta {
	var g groupMeta
	r.fields(func(id int16, typ byte) bool {
		switch {
		case id == 1 && typ == thriftList:
			r.list(thriftStruct, func() { g.chunks = append(g.chunks, readChunk(r)) })
		case id == 3 && typ == thriftI64:
			g.rows = r.int()
		default:
			return false
		}
		return true
	})
	return g
}

func readChunk(r *thriftReader) chunkMeta {
	c := chunkMeta{nulls: -1}
	r.fields(func(id int16, typ byte) bool {
		switch {
		case id == 3 && typ == thriftStruct:
			c.readMeta(r)
		case id == 1 || id == 8 || id == 9: // another file, or encrypted
			c.encrypted = true
			return false
		default:
			return false
		}
		return true
	})
	return c
}

func (c *chunkMeta) readMeta(r *thriftReader) {
	r.fields(func(id int16, typ byte) bool {
		switch {
		case id == 3 && typ == thriftList:
			r.list(thriftBinary, func() { c.column = string(r.bytes()) })
		case id == 4 && typ == thriftI32:
			c.codec = r.int32()
		case id == 5 && typ == thriftI64:
			c.values = r.int()
		case id == 7 && typ == thriftI64:
			c.length = r.int()
		case id == 9 && typ == thriftI64:
			c.data = r.int()
		case id == 11 && typ == thriftI64:
			c.dict = r.int()
		case id == 12 && typ == thriftStruct:
			c.readStatistics(r)
		default:
			return false
		}
		return true
	})
}

// readStatistics reads min_value and max_value only: the order of the older
// min and max was never defined.
func (c *chunkMeta) readStatistics(r *thriftReader) {
	r.fields(func(id int16, typ byte) bool {
		switch {
		case id == 3 && typ == thriftI64:
			c.nulls = r.int()
		case id == 5 && typ == thriftBinary:
			c.max, c.hasMax = r.bytes(), true
		case id == 6 && typ == thriftBinary:
			c.min, c.hasMin = r.bytes(), true
		case id == 7 || id == 8:
			c.inexact = c.inexact || typ == thriftFalse
			return false
		default:
			return false
		}
		return true
	})
}

// verify checks that the parts agree with each other and with the object's size.
func (m *footerMeta) verify(body int64) error {
	var rows int64
	for i := range m.groups {
		g := &m.groups[i]
		if g.rows < 0 || g.rows > maxRowGroupRows {
			return fmt.Errorf("row group %d of %d rows: %w", i, g.rows, ErrCorrupt)
		}
		if len(g.chunks) != len(m.columns) {
			return fmt.Errorf("row group %d has %d columns, want %d: %w", i, len(g.chunks), len(m.columns), ErrCorrupt)
		}
		rows += g.rows
		for j := range g.chunks {
			if err := g.chunks[j].verify(m.columns[j].name, g.rows, body); err != nil {
				return fmt.Errorf("row group %d: %w", i, err)
			}
		}
	}
	if rows != m.rows {
		return fmt.Errorf("row groups hold %d rows, the file %d: %w", rows, m.rows, ErrCorrupt)
	}
	return nil
}

func (c *chunkMeta) verify(column string, rows, body int64) error {
	c.start = c.data
	if c.dict > 0 && c.dict < c.data {
		c.start = c.dict
	}
	c.end = c.start + c.length
	switch {
	case c.encrypted:
		return fmt.Errorf("column %q is encrypted or in another file: %w", column, ErrUnsupported)
	case c.column != column || c.values != rows:
		return fmt.Errorf("column %q with %d values where %q with %d belongs: %w", c.column, c.values, column, rows, ErrCorrupt)
	case c.start < int64(len(magic)) || c.length < 0 || c.end < c.start || c.end > body:
		return fmt.Errorf("column %q at bytes %d to %d of %d: %w", column, c.start, c.end, body, ErrCorrupt)
	case c.nulls < -1 || c.nulls > rows:
		return fmt.Errorf("column %q has %d nulls in %d rows: %w", column, c.nulls, rows, ErrCorrupt)
	}
	return nil
}

// column is the index of the column with that name, or -1.
func (m *footerMeta) column(name string) int {
	return slices.IndexFunc(m.columns, func(c columnMeta) bool { return c.name == name })
}

// magic begins and ends every Parquet object.
const magic = "PAR1"

// tailLength is the size of what ends the object: the footer's length, the magic.
const tailLength = 4 + len(magic)

// footerLength reads the end of an object of the given size and gives the length
// of the metadata before it.
func footerLength(tail []byte, size int64) (int64, error) {
	if len(tail) < tailLength || string(tail[len(tail)-len(magic):]) != magic {
		return 0, fmt.Errorf("%d bytes without Parquet's magic at the end: %w", size, ErrCorrupt)
	}
	n := int64(binary.LittleEndian.Uint32(tail[len(tail)-tailLength:]))
	if n > maxFooter || n+int64(tailLength+len(magic)) > size {
		return 0, fmt.Errorf("footer of %d bytes in %d: %w", n, size, ErrCorrupt)
	}
	return n, nil
}
