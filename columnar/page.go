package columnar

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/snappy"
)

// A pageReader walks the pages of one column chunk's bytes.
type pageReader struct {
	data  []byte
	codec int32
	buf   []byte // of decompressed pages, used again
}

// A page is one page's header and decompressed body. The body is valid until
// the next page is read.
type page struct {
	typ       int32
	encoding  int32
	values    int // nulls included
	levels    []byte
	hasLevels bool // levels were stored apart (page version 2)
	body      []byte
}

type pageHeader struct {
	typ                         int32
	uncompressed, compressed    int32
	values, encoding            int32
	defEncoding                 int32
	defLength, repLength        int32
	plainBody                   bool // v2: is_compressed is false
	hasData, hasDict, hasDataV2 bool
}

// errShortPage: the page may go on behind the data.
var errShortPage = fmt.Errorf("a page ends early: %w", ErrCorrupt)

// next reads the next page; ok is false at the end of the chunk.
func (p *pageReader) next() (pg page, ok bool, err error) {
	if len(p.data) == 0 {
		return page{}, false, nil
	}
	r := &thriftReader{b: p.data}
	h := readPageHeader(r)
	if r.err != nil {
		return page{}, false, fmt.Errorf("page header: %w: %w", r.err, errShortPage)
	}
	rest := p.data[r.pos:]
	if int(h.compressed) > len(rest) {
		return page{}, false, fmt.Errorf("page of %d bytes in %d bytes: %w", h.compressed, len(rest), errShortPage)
	}
	if h.compressed < 0 || h.uncompressed < 0 || h.values < 0 {
		return page{}, false, fmt.Errorf("page of %d bytes and %d values in %d bytes: %w", h.compressed, h.values, len(rest), ErrCorrupt)
	}
	p.data = rest[h.compressed:]
	pg = page{typ: h.typ, encoding: h.encoding, values: int(h.values)}
	body := rest[:h.compressed]
	switch {
	case h.typ == pageDataV2 && h.hasDataV2:
		return p.nextV2(pg, h, body)
	case h.typ == pageData && h.hasData, h.typ == pageDict && h.hasDict:
		pg.body, err = p.decompress(body, int(h.uncompressed), p.codec)
		return pg, err == nil, err
	case h.typ == pageIndex:
		return pg, true, nil
	}
	return page{}, false, fmt.Errorf("page type %d: %w", h.typ, ErrCorrupt)
}

func (p *pageReader) nextV2(pg page, h pageHeader, body []byte) (page, bool, error) {
	levels := int(h.defLength)
	if h.repLength != 0 || levels < 0 || levels > len(body) || int(h.uncompressed) < levels {
		return page{}, false, fmt.Errorf("levels of %d and %d bytes in a page of %d: %w", h.repLength, h.defLength, len(body), ErrCorrupt)
	}
	codec := p.codec
	if h.plainBody {
		codec = codecNone
	}
	var err error
	pg.levels, pg.hasLevels = body[:levels], true
	pg.body, err = p.decompress(body[levels:], int(h.uncompressed)-levels, codec)
	return pg, err == nil, err
}

// maxSnappyRatio is the most that snappy can compress: a copy of 64 bytes takes 3.
const maxSnappyRatio = 22

func (p *pageReader) decompress(body []byte, want int, codec int32) ([]byte, error) {
	switch codec {
	case codecNone:
		if len(body) != want {
			return nil, fmt.Errorf("page of %d bytes, want %d: %w", len(body), want, ErrCorrupt)
		}
		return body, nil
	case codecSnappy:
		if want == 0 && len(body) == 0 {
			return nil, nil
		}
		n, err := snappy.DecodedLen(body)
		if err != nil || n != want || n > maxSnappyRatio*len(body)+64 {
			return nil, fmt.Errorf("compressed page of %d bytes holds %d, want %d: %w", len(body), n, want, ErrCorrupt)
		}
		if cap(p.buf) < n {
			p.buf = make([]byte, n)
		}
		out, err := snappy.Decode(p.buf[:n], body)
		if err != nil {
			return nil, fmt.Errorf("decompress page: %w: %w", err, ErrCorrupt)
		}
		return out, nil
	}
	return nil, fmt.Errorf("codec %d: %w", codec, ErrUnsupported)
}

// readPageHeader reads a header without a call per field: there is one for every
// few thousand values of every column.
func readPageHeader(r *thriftReader) pageHeader {
	h := pageHeader{defEncoding: encRLE}
	for id := int16(0); ; {
		typ, ok := r.next(&id)
		switch {
		case !ok:
			if h.hasData && h.defEncoding != encRLE {
				r.fail("definition levels in encoding %d", h.defEncoding)
			}
			return h
		case id == 1 && typ == thriftI32:
			h.typ = r.int32()
		case id == 2 && typ == thriftI32:
			h.uncompressed = r.int32()
		case id == 3 && typ == thriftI32:
			h.compressed = r.int32()
		case id == 5 && typ == thriftStruct:
			h.hasData = true
			h.readInts(r, &h.values, &h.encoding, &h.defEncoding, nil, nil, nil)
		case id == 7 && typ == thriftStruct:
			h.hasDict = true
			h.readInts(r, &h.values, &h.encoding, nil, nil, nil, nil)
		case id == 8 && typ == thriftStruct:
			h.hasDataV2 = true
			h.readInts(r, &h.values, nil, nil, &h.encoding, &h.defLength, &h.repLength)
		default:
			r.skip(typ, 0)
		}
	}
}

// readInts reads the fields 1 to 6 of a struct to where they belong, and whether
// the seventh says no.
func (h *pageHeader) readInts(r *thriftReader, to ...*int32) {
	for id := int16(0); ; {
		typ, ok := r.next(&id)
		switch {
		case !ok:
			return
		case id == 7 && typ == thriftFalse:
			h.plainBody = true
		case typ == thriftI32 && id >= 1 && int(id) <= len(to) && to[id-1] != nil:
			*to[id-1] = r.int32()
		default:
			r.skip(typ, 0)
		}
	}
}

// definitionLevels gives the encoded levels of an optional column's page and
// takes them off its body.
func (p *page) definitionLevels() ([]byte, error) {
	if p.hasLevels {
		return p.levels, nil
	}
	if len(p.body) < 4 {
		return nil, fmt.Errorf("page of %d bytes without levels: %w", len(p.body), ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(p.body)
	if uint64(n) > uint64(len(p.body)-4) {
		return nil, fmt.Errorf("levels of %d bytes in a page of %d: %w", n, len(p.body), ErrCorrupt)
	}
	levels := p.body[4 : 4+n]
	p.body = p.body[4+n:]
	return levels, nil
}
