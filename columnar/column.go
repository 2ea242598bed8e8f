package columnar

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/buffetbot/ingest/schema"
)

// A columnBuilder decodes column chunks, one row group after the other, into one
// array of a field's type.
type columnBuilder struct {
	field *schema.Field
	meta  columnMeta
	want  int // rows in all

	rows    int
	wide    bool   // words of 32 bits go to words64 too
	valid   []byte // nil until the first null
	spare   []byte // a bitmap that valid may become
	nulls   int
	words32 []int32 // Int32, Date
	words64 []int64 // Int64, Timestamp, Float64 (bits), Decimal (unscaled)
	bits    []byte  // Bool
	codes   []int32 // String
	values  dictionaryBuilder

	base, entries int32   // codes of the current chunk's dictionary
	wordDict      []int64 // the current chunk's dictionary of words
	pages         pageReader
	levels        []int32
}

// newColumn says whether a column of the file can be read as the field.
func newColumn(f *schema.Field, meta columnMeta, rows int) (*columnBuilder, error) {
	fits := meta.kind == f.Kind || meta.kind == schema.Int32 && f.Kind == schema.Int64
	if meta.kind == schema.Decimal {
		fits = fits && meta.scale == f.Scale && meta.precision <= f.Precision
	}
	if !fits {
		return nil, fmt.Errorf("column %s of kind %d (%d,%d) where kind %d (%d,%d) is wanted: %w", f.Name,
			meta.kind, meta.precision, meta.scale, f.Kind, f.Precision, f.Scale, ErrUnsupported)
	}
	return &columnBuilder{field: f, meta: meta, want: rows, values: dictionaryBuilder{offsets: make([]int32, 1, 64)}}, nil
}

// chunk appends one row group's chunk, which must hold exactly rows rows.
func (b *columnBuilder) chunk(data []byte, codec int32, rows int) error {
	b.pages.data, b.pages.codec = data, codec
	b.base, b.entries = 0, -1
	end := b.rows + rows
	for {
		p, ok, err := b.pages.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch p.typ {
		case pageDict:
			err = b.dictionary(&p)
		case pageData, pageDataV2:
			if p.values > end-b.rows {
				return fmt.Errorf("page of %d values where %d are missing: %w", p.values, end-b.rows, ErrCorrupt)
			}
			err = b.page(&p)
		}
		if err != nil {
			return err
		}
	}
	if b.rows != end {
		return fmt.Errorf("%d values are missing: %w", end-b.rows, ErrCorrupt)
	}
	return nil
}

// dictionary appends a chunk's dictionary to those before it.
func (b *columnBuilder) dictionary(p *page) error {
	if b.entries >= 0 || p.encoding != encPlain && p.encoding != encPlainDict {
		return fmt.Errorf("second dictionary, or one in encoding %d: %w", p.encoding, ErrCorrupt)
	}
	b.entries = int32(p.values)
	switch b.field.Kind {
	case schema.String:
		b.base = int32(len(b.values.offsets) - 1)
		_, err := b.plainStrings(p.body, p.values)
		return err
	case schema.Binary, schema.Bool:
		return fmt.Errorf("dictionary of kind %d: %w", b.field.Kind, ErrUnsupported)
	}
	return b.dictionaryWords(p.body, p.values)
}

func (b *columnBuilder) dictionaryWords(body []byte, count int) error {
	width := 8
	if b.meta.phys == physInt32 {
		width = 4
	}
	if len(body) != count*width {
		return fmt.Errorf("%d bytes for a dictionary of %d: %w", len(body), count, ErrCorrupt)
	}
	b.wordDict = grow(b.wordDict[:0], count, count)
	if width == 8 {
		return plainWords(body, b.wordDict)
	}
	for i := range b.wordDict {
		b.wordDict[i] = int64(int32(binary.LittleEndian.Uint32(body[4*i:])))
	}
	return nil
}

// lookup decodes codes of the dictionary of words to dst[start:].
func lookup[T int32 | int64](b *columnBuilder, p *page, dst []T, start, present int) ([]T, error) {
	b.levels = growTo(b.levels, present) // the levels were read
	codes := b.levels[:present]
	if err := b.dictionaryCodes(p.body, 0, codes); err != nil {
		return dst, err
	}
	for i, c := range codes {
		dst[start+i] = T(b.wordDict[c])
	}
	return dst, nil
}

// coded says whether the page's values are codes of a dictionary.
func (p *page) coded() bool { return p.encoding == encPlainDict || p.encoding == encRLEDict }

// plainStrings appends count length-prefixed values to the dictionary.
func (b *columnBuilder) plainStrings(body []byte, count int) (first int32, err error) {
	first = int32(len(b.values.offsets) - 1)
	b.values.room(count, len(body)-4*count)
	for range count {
		if len(body) < 4 {
			return 0, errShort
		}
		n := binary.LittleEndian.Uint32(body)
		if uint64(n) > uint64(len(body)-4) {
			return 0, errShort
		}
		b.values.append(body[4 : 4+n])
		body = body[4+n:]
	}
	if b.values.full() {
		return 0, fmt.Errorf("more than 2 GiB of strings in one column: %w", ErrUnsupported)
	}
	if len(body) != 0 {
		return 0, fmt.Errorf("%d bytes after the last value: %w", len(body), ErrCorrupt)
	}
	return first, nil
}

// page appends a data page: levels first, then the values that are there, which
// are spread over the rows that have one.
func (b *columnBuilder) page(p *page) error {
	present, err := b.validity(p)
	if err != nil {
		return err
	}
	start := b.rows
	switch kind := b.field.Kind; {
	case kind == schema.String:
		err = b.pageStrings(p, present)
		spread(b.codes[start:], b.valid, start, present, p.values)
	case kind == schema.Binary:
		err = b.pageBinary(p, present)
	case kind == schema.Bool:
		err = b.pageBools(p, present)
	case !b.wide && (kind == schema.Int32 || kind == schema.Date):
		if b.words32 = b.grow32(p.values); p.coded() {
			b.words32, err = lookup(b, p, b.words32, start, present)
		} else {
			b.words32, err = pageWords(p, physInt32, b.meta.phys, b.words32, start, present)
		}
		spread(b.words32[start:], b.valid, start, present, p.values)
	default:
		err = b.page64(p, start, present)
	}
	b.rows += p.values
	return err
}

// validity appends the page's levels and gives the number of values present.
func (b *columnBuilder) validity(p *page) (int, error) {
	if !b.meta.optional {
		b.appendValid(p.values)
		return p.values, nil
	}
	encoded, err := p.definitionLevels()
	if err != nil {
		return 0, err
	}
	if n, ok := allOnes(encoded, p.values); ok {
		b.appendValid(n)
		return n, nil
	}
	if cap(b.levels) < p.values {
		b.levels = make([]int32, p.values)
	}
	levels := b.levels[:p.values]
	if err := hybrid(encoded, 1, levels); err != nil {
		return 0, fmt.Errorf("definition levels: %w", err)
	}
	present := 0
	for _, l := range levels {
		if l>>1 != 0 {
			return 0, fmt.Errorf("definition level %d: %w", l, ErrCorrupt)
		}
		present += int(l)
	}
	if present == p.values {
		b.appendValid(present)
		return present, nil
	}
	b.needBitmap()
	b.growBitmap(p.values)
	for i, l := range levels {
		if l == 1 {
			bitutil.SetBit(b.valid, b.rows+i)
		}
	}
	b.nulls += p.values - present
	return present, nil
}

// allOnes says whether the levels are one run of ones: a page without nulls.
func allOnes(encoded []byte, values int) (int, bool) {
	head, n := binary.Uvarint(encoded)
	ok := n > 0 && head&1 == 0 && head>>1 == uint64(values) && len(encoded) == n+1 && encoded[n] == 1
	return values, ok
}

func (b *columnBuilder) appendValid(n int) {
	if b.valid != nil {
		b.growBitmap(n)
		bitutil.SetBitsTo(b.valid, int64(b.rows), int64(n), true)
	}
}

func (b *columnBuilder) needBitmap() {
	if b.valid == nil {
		n := int(bitutil.BytesForBits(int64(b.want)))
		b.valid = growTo(b.spare, n)[:n]
		clear(b.valid)
		bitutil.SetBitsTo(b.valid, 0, int64(b.rows), true)
	}
}

func (b *columnBuilder) growBitmap(n int) {
	if need := int(bitutil.BytesForBits(int64(b.rows + n))); need > len(b.valid) {
		b.valid = append(b.valid, make([]byte, need-len(b.valid))...)
	}
}

// spread moves present values, which lie at the front, to the valid rows.
func spread[T any](values []T, valid []byte, start, present, count int) {
	if present == count || len(values) < count {
		return
	}
	from := present - 1
	for to := count - 1; to > from && from >= 0; to-- {
		if bitutil.BitIsSet(valid, start+to) {
			values[to] = values[from]
			from--
		}
	}
	var zero T
	for i := range count {
		if !bitutil.BitIsSet(valid, start+i) {
			values[i] = zero
		}
	}
}

// grow makes room for n more values after start, allocating for all rows the
// first time.
func grow[T any](values []T, n, want int) []T {
	if values == nil {
		values = make([]T, 0, want)
	}
	if cap(values)-len(values) >= n {
		return values[:len(values)+n]
	}
	return append(values, make([]T, n)...)
}

func (b *columnBuilder) grow32(n int) []int32 { return grow(b.words32, n, b.want) }

// pageWords decodes present fixed-width values to dst[start:].
func pageWords[T int32 | int64](p *page, want, phys int32, dst []T, start, present int) ([]T, error) {
	out := dst[start : start+present]
	if phys != want {
		return dst, fmt.Errorf("physical type %d, want %d: %w", phys, want, ErrUnsupported)
	}
	switch p.encoding {
	case encPlain:
		return dst, plainWords(p.body, out)
	case encDelta:
		return dst, deltas(p.body, out)
	}
	return dst, fmt.Errorf("encoding %d of physical type %d: %w", p.encoding, phys, ErrUnsupported)
}

func plainWords[T int32 | int64](body []byte, out []T) error {
	size := binary.Size(T(0))
	if len(body) != len(out)*size {
		return fmt.Errorf("%d bytes for %d values: %w", len(body), len(out), ErrCorrupt)
	}
	if len(out) == 0 { // what is not there cannot be looked at as a word
		return nil
	}
	switch o := any(out).(type) {
	case []int32:
		copy(o, arrow.Int32Traits.CastFromBytes(body))
	case []int64:
		copy(o, arrow.Int64Traits.CastFromBytes(body))
	}
	return nil
}

// page64 appends values stored in 64 bits, some of which Parquet keeps in 32.
func (b *columnBuilder) page64(p *page, start, present int) (err error) {
	b.words64 = grow(b.words64, p.values, b.want)
	switch {
	case p.coded():
		b.words64, err = lookup(b, p, b.words64, start, present)
	case b.meta.phys == physInt32:
		b.words32 = grow(b.words32[:0], present, present)
		if _, err = pageWords(p, physInt32, b.meta.phys, b.words32, 0, present); err == nil {
			for i, v := range b.words32 {
				b.words64[start+i] = int64(v)
			}
		}
	case b.meta.phys == physDouble:
		if p.encoding != encPlain {
			return fmt.Errorf("encoding %d of a double: %w", p.encoding, ErrUnsupported)
		}
		_, err = pageWords(p, physDouble, b.meta.phys, b.words64, start, present)
	default:
		_, err = pageWords(p, physInt64, b.meta.phys, b.words64, start, present)
	}
	spread(b.words64[start:], b.valid, start, present, p.values)
	return err
}

func (b *columnBuilder) pageStrings(p *page, present int) error {
	start := b.rows
	b.codes = grow(b.codes, p.values, b.want)
	out := b.codes[start : start+present]
	switch p.encoding {
	case encPlain:
		first, err := b.plainStrings(p.body, present)
		for i := range out {
			out[i] = first + int32(i)
		}
		return err
	case encPlainDict, encRLEDict:
		return b.dictionaryCodes(p.body, b.base, out)
	}
	return fmt.Errorf("encoding %d of a string: %w", p.encoding, ErrUnsupported)
}

// dictionaryCodes decodes codes, and adds base to each.
func (b *columnBuilder) dictionaryCodes(body []byte, base int32, out []int32) error {
	if b.entries < 0 {
		return fmt.Errorf("codes without a dictionary: %w", ErrCorrupt)
	}
	if len(out) == 0 {
		return nil
	}
	if len(body) == 0 {
		return errShort
	}
	if err := hybrid(body[1:], uint(body[0]), out); err != nil {
		return fmt.Errorf("dictionary codes: %w", err)
	}
	for i, c := range out {
		if uint32(c) >= uint32(b.entries) {
			out[i] = 0
			return fmt.Errorf("code %d of a dictionary of %d: %w", uint32(c), b.entries, ErrCorrupt)
		}
		out[i] = c + base
	}
	return nil
}

// pageBinary appends values whose offsets follow the rows, nulls included.
func (b *columnBuilder) pageBinary(p *page, present int) error {
	if p.encoding != encPlain {
		return fmt.Errorf("encoding %d of a binary value: %w", p.encoding, ErrUnsupported)
	}
	first, err := b.plainStrings(p.body, present)
	if err != nil || present == p.values {
		return err
	}
	ends := append([]int32(nil), b.values.offsets[first+1:]...)
	b.values.offsets = b.values.offsets[:first+1]
	end := b.values.offsets[first]
	for i := range p.values {
		if bitutil.BitIsSet(b.valid, b.rows+i) {
			end, ends = ends[0], ends[1:]
		}
		b.values.offsets = append(b.values.offsets, end)
	}
	return nil
}

func (b *columnBuilder) pageBools(p *page, present int) error {
	b.levels = growTo(b.levels, present) // the levels were read
	out := b.levels[:present]
	switch p.encoding {
	case encPlain:
		clear(out)
		if len(p.body) != (present+7)/8 {
			return fmt.Errorf("%d bytes for %d booleans: %w", len(p.body), present, ErrCorrupt)
		}
		for i := range out {
			if bitutil.BitIsSet(p.body, i) {
				out[i] = 1
			}
		}
	case encRLE:
		if len(p.body) < 4 {
			return errShort
		}
		if err := hybrid(p.body[4:], 1, out); err != nil {
			return fmt.Errorf("booleans: %w", err)
		}
	default:
		return fmt.Errorf("encoding %d of a boolean: %w", p.encoding, ErrUnsupported)
	}
	b.bits = append(b.bits, make([]byte, int(bitutil.BytesForBits(int64(b.rows+p.values)))-len(b.bits))...)
	next := 0
	for i := range p.values {
		if present == p.values || bitutil.BitIsSet(b.valid, b.rows+i) {
			bitutil.SetBitTo(b.bits, b.rows+i, out[next] != 0)
			next++
		}
	}
	return nil
}

// array is the column, once every chunk is in.
func (b *columnBuilder) array() arrow.Array {
	dt := b.field.Arrow()
	var buffer []byte
	switch b.field.Kind {
	case schema.String:
		return newArray(dt, b.rows, b.nulls, b.values.array().Data(), b.bitmap(), arrow.Int32Traits.CastToBytes(b.codes))
	case schema.Binary:
		return newArray(dt, b.rows, b.nulls, nil, b.bitmap(), arrow.Int32Traits.CastToBytes(b.values.offsets), b.values.data)
	case schema.Bool:
		buffer = b.bits
	case schema.Int32, schema.Date:
		buffer = arrow.Int32Traits.CastToBytes(b.words32)
	case schema.Decimal:
		buffer = decimalBytes(b.words64)
	default:
		buffer = arrow.Int64Traits.CastToBytes(b.words64)
	}
	return newArray(dt, b.rows, b.nulls, nil, b.bitmap(), buffer)
}

func (b *columnBuilder) bitmap() []byte {
	if b.nulls == 0 {
		return nil
	}
	return b.valid
}

// decimalBytes widens unscaled values to decimal128: low word, then the sign.
func decimalBytes(values []int64) []byte {
	wide := make([]int64, 2*len(values))
	for i, v := range values {
		wide[2*i], wide[2*i+1] = v, v>>63
	}
	return arrow.Int64Traits.CastToBytes(wide)
}

// nullColumn is a column the file lacks.
func nullColumn(f *schema.Field, rows int) (arrow.Array, error) {
	if rows > math.MaxInt32 {
		return nil, fmt.Errorf("%d rows: %w", rows, ErrUnsupported)
	}
	b := &columnBuilder{field: f, rows: rows, nulls: rows, values: dictionaryBuilder{offsets: make([]int32, 1)}}
	b.valid = make([]byte, bitutil.BytesForBits(int64(rows)))
	switch f.Kind {
	case schema.String:
		b.codes = make([]int32, rows)
	case schema.Binary:
		b.values.offsets = make([]int32, rows+1)
	case schema.Bool:
		b.bits = make([]byte, len(b.valid))
	case schema.Int32, schema.Date:
		b.words32 = make([]int32, rows)
	default:
		b.words64 = make([]int64, rows)
	}
	return b.array(), nil
}
