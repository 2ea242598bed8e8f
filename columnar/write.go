package columnar

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"github.com/buffetbot/ingest/schema"
)

// createdBy is written into each object. It names the format, not the build.
const createdBy = "buffetbot ingest version 1.1.0"

// A fileWriter writes one Parquet object, row group by row group, and its footer.
type fileWriter struct {
	w      io.Writer
	def    *schema.Definition
	off    int64
	rows   int64
	groups []groupWritten
	sums   []byte // hexadecimal, of each chunk
}

// A groupWritten is what the footer says of a row group.
type groupWritten struct {
	rows   int64
	chunks []chunkWritten
}

type chunkWritten struct {
	encodedChunk // without data
	start, size  int64
}

func newFileWriter(w io.Writer, def *schema.Definition) (*fileWriter, error) {
	f := &fileWriter{w: w, def: def}
	return f, f.write([]byte(magic))
}

func (f *fileWriter) write(data []byte) error {
	n, err := f.w.Write(data)
	f.off += int64(n)
	return err
}

// begin opens a row group; chunk is then called for each column in order.
func (f *fileWriter) begin(rows int) {
	f.groups = append(f.groups, groupWritten{rows: int64(rows), chunks: make([]chunkWritten, 0, len(f.def.Fields))})
	f.rows += int64(rows)
}

// chunk writes the next column of the open row group.
func (f *fileWriter) chunk(c encodedChunk) error {
	start := f.off
	err := f.write(c.data)
	g := &f.groups[len(f.groups)-1]
	w := chunkWritten{c, start, int64(len(c.data))}
	w.data = nil
	g.chunks = append(g.chunks, w)
	f.sums = hex.AppendEncode(f.sums, binary.BigEndian.AppendUint32(nil, c.sum))
	return err
}

// finish writes the footer.
func (f *fileWriter) finish(s Summary) error {
	kv := s.Metadata()
	kv[metaChecksums] = string(f.sums) + "00000000"
	footer := f.footer(kv)
	setFooterSum(footer, kv[metaChecksums])
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	return f.write(append(footer, magic...))
}

// setFooterSum fills in the footer's own checksum, the last digits of the value
// of metaChecksums: the CRC32C of the footer with zeros there.
func setFooterSum(footer []byte, sums string) {
	at := bytes.LastIndex(footer, []byte(metaChecksums))
	at += bytes.Index(footer[at:], []byte(sums)) + len(sums) - sumDigits
	copy(footer[at:], fmt.Sprintf("%08x", crc32.Checksum(footer, castagnoli)))
}

func (f *fileWriter) footer(kv map[string]string) []byte {
	w := &thriftWriter{}
	w.begin()
	w.i32(1, 2) // the format's version
	w.list(2, thriftStruct, 1+len(f.def.Fields))
	w.begin()
	w.string(4, "schema")
	w.i32(5, int32(len(f.def.Fields)))
	w.end()
	for i := range f.def.Fields {
		element(w, &f.def.Fields[i])
	}
	w.i64(3, f.rows)
	w.list(4, thriftStruct, len(f.groups))
	for i := range f.groups {
		f.group(w, i)
	}
	w.list(5, thriftStruct, len(kv))
	for _, key := range slices.Sorted(maps.Keys(kv)) {
		w.begin()
		w.string(1, key)
		w.string(2, kv[key])
		w.end()
	}
	w.string(6, createdBy)
	w.list(7, thriftStruct, len(f.def.Fields))
	for range f.def.Fields { // the order of bounds: by type
		w.begin()
		w.empty(1)
		w.end()
	}
	w.end()
	return w.b
}

// element writes a column of the schema.
func element(w *thriftWriter, f *schema.Field) {
	w.begin()
	w.i32(1, physical(f))
	w.i32(3, repOptional)
	w.string(4, f.Name)
	if conv, ok := converted[f.Kind]; ok {
		w.i32(6, conv)
	}
	if f.Kind == schema.Decimal {
		w.i32(7, f.Scale)
		w.i32(8, f.Precision)
	}
	logical(w, f)
	w.end()
}

// converted are the older names of logical types.
var converted = map[schema.Kind]int32{
	schema.String: convUTF8, schema.Decimal: convDecimal, schema.Date: convDate, schema.Timestamp: convTimeMicro,
	schema.Int32: convInt32, schema.Int64: convInt64,
}

// logical writes the logical type, if the field has one.
func logical(w *thriftWriter, f *schema.Field) {
	switch f.Kind {
	case schema.String:
		w.open(10)
		w.empty(logicalString)
	case schema.Date:
		w.open(10)
		w.empty(logicalDate)
	case schema.Decimal:
		w.open(10)
		w.open(logicalDecimal)
		w.i32(1, f.Scale)
		w.i32(2, f.Precision)
		w.end()
	case schema.Timestamp:
		w.open(10)
		w.open(logicalTimestamp)
		w.bool(1, true) // adjusted to UTC
		w.open(2)
		w.empty(2) // microseconds
		w.end()
		w.end()
	case schema.Int32, schema.Int64:
		size := byte(32)
		if f.Kind == schema.Int64 {
			size = 64
		}
		w.open(10)
		w.open(logicalInteger)
		w.field(1, thriftI8)
		w.b = append(w.b, size)
		w.bool(2, true)
		w.end()
	default:
		return
	}
	w.end()
}

func (f *fileWriter) group(w *thriftWriter, i int) {
	g := &f.groups[i]
	var plain, packed int64
	w.begin()
	w.list(1, thriftStruct, len(g.chunks))
	for c := range g.chunks {
		f.column(w, &g.chunks[c], &f.def.Fields[c], g.rows)
		plain, packed = plain+g.chunks[c].plain, packed+g.chunks[c].size
	}
	w.i64(2, plain)
	w.i64(3, g.rows)
	sorting := sortingColumns(f.def)
	w.list(4, thriftStruct, len(sorting))
	for _, c := range sorting {
		w.begin()
		w.i32(1, c)
		w.bool(2, false) // ascending
		w.bool(3, true)  // nulls first
		w.end()
	}
	if len(g.chunks) > 0 {
		w.i64(5, g.chunks[0].start)
	}
	w.i64(6, packed)
	w.field(7, thriftI16)
	w.b = binary.AppendVarint(w.b, int64(i))
	w.end()
}

// sortingColumns is the order of rows as far as columns express it; the row hash
// behind them is no column.
func sortingColumns(def *schema.Definition) []int32 {
	return []int32{int32(def.SymbolField), int32(def.TimeField), int32(def.Own), int32(def.Own + 1), int32(def.Own + 2)}
}

func (f *fileWriter) column(w *thriftWriter, c *chunkWritten, field *schema.Field, rows int64) {
	w.begin()
	w.i64(2, 0)
	w.open(3)
	w.i32(1, physical(field))
	encodings := []int32{c.encoding, encRLE}
	if c.dict > 0 {
		encodings = []int32{encPlain, encRLE, encRLEDict}
	}
	w.list(2, thriftI32, len(encodings))
	for _, e := range encodings {
		w.number(e)
	}
	w.list(3, thriftBinary, 1)
	w.element([]byte(field.Name))
	w.i32(4, c.codec)
	w.i64(5, rows)
	w.i64(6, c.plain)
	w.i64(7, c.size)
	w.i64(9, c.start+int64(c.dict))
	if c.dict > 0 {
		w.i64(11, c.start)
	}
	statistics(w, c, field)
	pageCounts(w, c)
	w.end()
	w.end()
}

func statistics(w *thriftWriter, c *chunkWritten, field *schema.Field) {
	w.open(12)
	w.i64(3, c.bounds.nulls)
	if c.bounds.ok {
		low, high := c.bounds.bytes(field)
		w.binary(5, high)
		w.binary(6, low)
		w.bool(7, true) // both are exact
		w.bool(8, true)
	}
	w.end()
}

// pageCounts says how many pages have which encoding: readers prune by the
// dictionary where every data page uses it.
func pageCounts(w *thriftWriter, c *chunkWritten) {
	count := func(typ, encoding, n int32) {
		w.begin()
		w.i32(1, typ)
		w.i32(2, encoding)
		w.i32(3, n)
		w.end()
	}
	if c.dict == 0 {
		w.list(13, thriftStruct, 1)
	} else {
		w.list(13, thriftStruct, 2)
		count(pageDict, encPlain, 1)
	}
	count(pageData, c.encoding, c.pages)
}
