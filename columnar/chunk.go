package columnar

import (
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/klauspost/compress/snappy"

	"github.com/buffetbot/ingest/schema"
)

// An encodedChunk is one column of one row group as it stands in a file.
type encodedChunk struct {
	data     []byte // pages with their headers
	codec    int32
	encoding int32 // of the data pages
	pages    int32 // data pages
	dict     int   // length of the dictionary page, which comes first; 0: there is none
	plain    int64 // length of the pages before compression
	sum      uint32
	bounds   bounds
}

// A chunkEncoder encodes column chunks one after the other, and keeps its buffers.
type chunkEncoder struct {
	words   []int64
	codes   []int32
	body    []byte // of the pages, one behind the other
	levels  []int32
	pages   []pageSpan
	out     []byte
	packed  []byte
	header  thriftWriter
	numbers wordTable
	strings map[string]int32
	entries texts

	sizes *sizes
	force func(f *schema.Field) setting // for benchmarks: what to write instead of what is chosen
}

// encoders are kept from object to object: their buffers are most of what encoding
// a small one allocates.
var encoders = sync.Pool{New: func() any { return &chunkEncoder{} }}

func newEncoder(s *sizes) *chunkEncoder {
	e := encoders.Get().(*chunkEncoder)
	e.sizes, e.force = s, nil
	return e
}

// encode makes the chunk of a vector. Its bytes are a function of the values.
// The chunk's data is valid until the next call.
func (e *chunkEncoder) encode(v *vector, f *schema.Field) encodedChunk {
	p := chunkPlan{e: e, f: f, v: v, c: encodedChunk{codec: codecNone, encoding: encPlain}}
	p.c.bounds = boundsOf(v, f)
	e.body, e.pages = e.body[:0], e.pages[:0]
	if f.Kind == schema.String || f.Kind == schema.Binary {
		p.texts()
	} else {
		p.fixed()
	}
	p.write()
	p.c.data = e.out
	p.c.sum = crc32.Checksum(e.out, castagnoli)
	return p.c
}

// A chunkPlan is the encoding of one chunk.
type chunkPlan struct {
	e       *chunkEncoder
	f       *schema.Field
	v       *vector
	c       encodedChunk
	entries int // of the dictionary
}

// A pageSpan is where a page's body lies before compression.
type pageSpan struct {
	typ      int32
	values   int // nulls included
	from, to int // bytes of chunkEncoder.body
}

// fixed makes the pages of a chunk of words.
func (p *chunkPlan) fixed() {
	e := p.e
	e.words = growTo(e.words, p.v.n-p.v.nulls)
	words := p.v.present(e.words)
	phys := physical(p.f)
	s := e.chooseWords(words, p.f)
	switch {
	case s.dictionary:
		p.c.encoding, p.entries = encRLEDict, e.numbers.len()
		p.dictionary(func() { e.body = appendPlain(e.body, e.numbers.values, phys) })
	case s.delta:
		p.c.encoding = encDelta
	}
	at := 0
	for from := 0; from < p.v.n; from += e.sizes.pageRows {
		to := min(from+e.sizes.pageRows, p.v.n)
		p.page(from, to, func(n int) {
			switch values := words[at : at+n]; {
			case s.dictionary:
				p.codes(e.codes[at : at+n])
			case s.delta:
				e.body = appendDeltas(e.body, values, phys == physInt32)
			case phys == physBoolean:
				e.body = appendBits(e.body, values)
			default:
				e.body = appendPlain(e.body, values, phys)
			}
			at += n
		})
	}
}

// texts makes the pages of a chunk of strings or binary values.
func (p *chunkPlan) texts() {
	e := p.e
	dictionary := p.f.Kind == schema.String && e.chooseTexts(p.v, p.f)
	if dictionary {
		p.c.encoding, p.entries = encRLEDict, e.entries.len()
		p.dictionary(func() {
			for i := range p.entries {
				e.body = appendText(e.body, e.entries.at(i))
			}
		})
	}
	for from := 0; from < p.v.n; {
		to := min(from+e.sizes.pageRows, p.v.n)
		if !dictionary {
			to = p.v.upTo(from, to, e.sizes.pageTexts)
		}
		p.page(from, to, func(int) {
			if dictionary {
				p.codes(p.presentCodes(from, to))
				return
			}
			for i := from; i < to; i++ {
				if b := p.v.at(i); b != nil {
					e.body = appendText(e.body, b)
				}
			}
		})
		from = to
	}
}

// presentCodes are the entries of the rows that are not null.
func (p *chunkPlan) presentCodes(from, to int) []int32 {
	if p.v.nulls == 0 {
		return p.e.codes[from:to]
	}
	present := make([]int32, 0, to-from)
	for i := from; i < to; i++ {
		if bitAt(p.v.valid, i) {
			present = append(present, p.e.codes[i])
		}
	}
	return present
}

// page makes a data page: its levels, then what values appends, which is told how
// many of the page's rows are not null.
func (p *chunkPlan) page(from, to int, values func(present int)) {
	e := p.e
	start, present := len(e.body), to-from
	if p.v.nulls > 0 {
		present = bitutil.CountSetBits(p.v.valid, from, to-from)
	}
	e.body = append(e.body, 0, 0, 0, 0)
	switch present {
	case to - from:
		e.body = appendRepeated(e.body, 1, to-from, 1)
	case 0:
		e.body = appendRepeated(e.body, 0, to-from, 1)
	default:
		e.levels = growTo(e.levels, to-from)[:to-from]
		for i := range e.levels {
			e.levels[i] = int32(p.v.valid[(from+i)/8] >> uint((from+i)%8) & 1)
		}
		e.body = appendHybrid(e.body, e.levels, 1)
	}
	binary.LittleEndian.PutUint32(e.body[start:], uint32(len(e.body)-start-4))
	values(present)
	e.pages = append(e.pages, pageSpan{pageData, to - from, start, len(e.body)})
	p.c.pages++
}

func (p *chunkPlan) codes(codes []int32) {
	width := codeWidth(p.entries)
	p.e.body = appendHybrid(append(p.e.body, byte(width)), codes, width)
}

// dictionary makes the dictionary page, of what values appends.
func (p *chunkPlan) dictionary(values func()) {
	values()
	p.e.pages = append(p.e.pages, pageSpan{pageDict, p.entries, 0, len(p.e.body)})
}

// worthSnappy: a chunk is compressed if its longest page gets smaller by a
// sixteenth at least. Packed numbers seldom do, and every reader saves the time.
const worthSnappy = 16

// write makes the chunk of the pages.
func (p *chunkPlan) write() {
	e := p.e
	longest := pageSpan{}
	for _, s := range e.pages {
		if s.to-s.from > longest.to-longest.from {
			longest = s
		}
	}
	body := e.body[longest.from:longest.to]
	if len(p.compressed(body)) < len(body)-len(body)/worthSnappy {
		p.c.codec = codecSnappy
	}
	e.out = e.out[:0]
	for _, s := range e.pages {
		body := e.body[s.from:s.to]
		packed := body
		if p.c.codec == codecSnappy {
			packed = p.compressed(body)
		}
		head := p.head(s, len(packed))
		e.out = append(e.out, head...)
		e.out = append(e.out, packed...)
		p.c.plain += int64(len(head) + len(body))
		if s.typ == pageDict {
			p.c.dict = len(e.out)
		}
	}
}

func (p *chunkPlan) compressed(body []byte) []byte {
	p.e.packed = growTo(p.e.packed, snappy.MaxEncodedLen(len(body)))
	return snappy.Encode(p.e.packed[:cap(p.e.packed)], body)
}

// head is a page's header.
func (p *chunkPlan) head(s pageSpan, packed int) []byte {
	w := &p.e.header
	w.b = w.b[:0]
	w.begin()
	w.i32(1, s.typ)
	w.i32(2, int32(s.to-s.from))
	w.i32(3, int32(packed))
	if s.typ == pageDict {
		w.open(7)
		w.i32(1, int32(s.values))
		w.i32(2, encPlain)
	} else {
		w.open(5)
		w.i32(1, int32(s.values))
		w.i32(2, p.c.encoding)
		w.i32(3, encRLE)
		w.i32(4, encRLE)
	}
	w.end()
	w.end()
	return w.b
}

// physical is the Parquet type that a field is stored as.
func physical(f *schema.Field) int32 {
	switch f.Kind {
	case schema.String, schema.Binary:
		return physByteArray
	case schema.Bool:
		return physBoolean
	case schema.Int32, schema.Date:
		return physInt32
	case schema.Float64:
		return physDouble
	case schema.Decimal:
		if f.Precision <= 9 {
			return physInt32
		}
	}
	return physInt64
}

func appendPlain(dst []byte, words []int64, phys int32) []byte {
	if phys != physInt32 {
		return append(dst, arrow.Int64Traits.CastToBytes(words)...)
	}
	for _, w := range words {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(w))
	}
	return dst
}

func appendBits(dst []byte, words []int64) []byte {
	w := bitWriter{dst: dst}
	for _, b := range words {
		w.put(uint64(b&1), 1)
	}
	return w.flush()
}

func appendText(dst, v []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v)))
	return append(dst, v...)
}
