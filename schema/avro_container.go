package schema

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
)

// An Avro object container (https://avro.apache.org/docs/1.12.0/specification,
// "Object Container Files"): a header with the writer's schema, then blocks of
// records, each followed by the header's sixteen sync bytes.

const (
	containerMagic = "Obj\x01"
	syncSize       = 16
)

// A containerHeader is what the records of a container share.
type containerHeader struct {
	schema string
	codec  string
	sync   []byte
}

// container decodes a payload that is an object container. A record that cannot
// be accepted costs itself alone; where the container itself is broken, nothing
// after can be told apart, and the rest is one rejection.
func (d *Decoder) container() {
	h, p, err := readContainerHeader(d.data)
	if err != nil {
		d.broken(0, 0, err)
		return
	}
	plan := d.plan(h.schema)
	if plan.err != nil {
		d.broken(0, 0, plan.err)
		return
	}
	blocks := containerBlocks{data: d.data, at: p, header: h, limit: allowed(len(d.data))}
	index := int32(0)
	for blocks.at < len(d.data) {
		start := blocks.at
		count, block, err := blocks.next(d)
		if err != nil {
			d.broken(index, start, err)
			return
		}
		q := 0
		for ; count > 0; count-- {
			next := d.avroRecord(plan, block, q, index)
			if next < 0 {
				d.broken(index, start, errors.New("a block does not hold the records it should"))
				return
			}
			q = next
			index++
		}
		if q < len(block) {
			d.broken(index, start, errors.New("a block goes on behind its records"))
			return
		}
	}
	if index == 0 {
		d.fail(EmptyArray, -1, 0, "a container without records")
		d.reject(0, 0, len(d.data))
	}
}

// broken rejects what is left of a container.
func (d *Decoder) broken(index int32, at int, err error) {
	d.fail(AvroSyntax, -1, at, err.Error())
	d.reject(index, at, len(d.data))
}

func readContainerHeader(b []byte) (h containerHeader, next int, err error) {
	if !bytes.HasPrefix(b, []byte(containerMagic)) {
		return h, 0, errors.New("no object container: it does not start with Obj and 1")
	}
	h.codec = "null"
	meta := &avroNode{kind: avroMap, children: []*avroNode{{kind: avroBytes}}}
	next = meta.blocks(b, len(containerMagic), func(_, p int) int {
		key, p := readBytes(b, p)
		if p < 0 {
			return -1
		}
		value, p := readBytes(b, p)
		if p < 0 {
			return -1
		}
		switch string(key) {
		case "avro.schema":
			h.schema = string(value)
		case "avro.codec":
			h.codec = string(value)
		}
		return p
	})
	if next < 0 || len(b)-next < syncSize {
		return h, 0, errors.New("the container's header is cut off")
	}
	h.sync = b[next : next+syncSize]
	return h, next + syncSize, nil
}

// containerBlocks walks the blocks of a container.
type containerBlocks struct {
	data   []byte
	at     int
	header containerHeader
	limit  int // bytes that blocks may still grow to
}

// next is the next block's number of records and its bytes, valid until the next
// call.
func (c *containerBlocks) next(d *Decoder) (count int64, block []byte, err error) {
	count, p := readLong(c.data, c.at)
	if p < 0 || count < 0 {
		return 0, nil, errors.New("a block's count of records cannot be read")
	}
	block, p = readBytes(c.data, p)
	if p < 0 {
		return 0, nil, errors.New("a block is cut off")
	}
	if !bytes.HasPrefix(c.data[p:], c.header.sync) {
		return 0, nil, errors.New("a block does not end in the sync marker")
	}
	c.at = p + syncSize
	if block, err = c.expand(d, block); err != nil {
		return 0, nil, fmt.Errorf("codec %s: %w", c.header.codec, err)
	}
	if count > int64(len(block)) {
		return 0, nil, errors.New("a block says it holds more records than bytes")
	}
	if c.limit -= len(block); c.limit < 0 {
		return 0, nil, errBomb
	}
	return count, block, nil
}

// expand undoes the block's compression.
func (c *containerBlocks) expand(d *Decoder, block []byte) ([]byte, error) {
	i := &d.avro.inflater
	i.in.Reset(block)
	switch c.header.codec {
	case "null", "":
		return block, nil
	case "deflate":
		err := i.read(flate.NewReader(&i.in), c.limit)
		return i.out, err
	case "zstandard":
		err := i.unzstd(block)
		return i.out, err
	case "bzip2":
		err := i.read(bzip2.NewReader(&i.in), c.limit)
		return i.out, err
	case "snappy":
		return i.unsnappy(block, c.limit)
	}
	return nil, errors.New("not supported (null, deflate, snappy, zstandard and bzip2 are)")
}

// unsnappy undoes a snappy block, which ends in the CRC-32 of what it holds.
func (i *inflater) unsnappy(block []byte, limit int) ([]byte, error) {
	if len(block) < 4 {
		return nil, errors.New("no checksum")
	}
	sum := binary.BigEndian.Uint32(block[len(block)-4:])
	block = block[:len(block)-4]
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, errBomb
	}
	out, err := snappy.Decode(i.out[:cap(i.out)], block)
	if err != nil {
		return nil, err
	}
	i.out = out
	if crc32.ChecksumIEEE(out) != sum {
		return nil, errors.New("the checksum is of other bytes")
	}
	return out, nil
}
