package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Sizes of what frames a record and a segment; FORMAT.md has the fields.
const (
	recordHeader  = 21
	segmentHeader = 32
	version       = 1
	magic         = "bfpsjrnl"

	// MaxRecord is the most bytes that a record's body may have.
	MaxRecord = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShort    = errors.New("the record ends behind the file")
	errChecksum = errors.New("wrong checksum")
	errLength   = errors.New("impossible length")
)

// A record is one that was read: body points into what it was read from.
type record struct {
	group uint64
	index uint32 // in its group
	kind  byte
	body  []byte
	size  int // with its header
}

// parse reads the record at the start of b.
func parse(b []byte) (record, error) {
	if len(b) < recordHeader {
		return record{}, errShort
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > MaxRecord {
		return record{}, errLength
	}
	size := recordHeader + int(n)
	if len(b) < size {
		return record{}, errShort
	}
	if crc32.Checksum(b[4:size], castagnoli) != binary.LittleEndian.Uint32(b) {
		return record{}, errChecksum
	}
	return record{
		group: binary.LittleEndian.Uint64(b[8:]), index: binary.LittleEndian.Uint32(b[16:]), kind: b[20], body: b[recordHeader:size:size], size: size,
	}, nil
}

// seal fills in the header of the record that b is, header included.
func seal(b []byte, group uint64, index uint32, kind byte) {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-recordHeader))
	binary.LittleEndian.PutUint64(b[8:], group)
	binary.LittleEndian.PutUint32(b[16:], index)
	b[20] = kind
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

func segmentStart(number uint64) []byte {
	b := make([]byte, segmentHeader)
	copy(b[4:], magic)
	binary.LittleEndian.PutUint32(b[12:], version)
	binary.LittleEndian.PutUint64(b[16:], number)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// Records calls f with each record of b, a file of records without a segment
// header such as a checkpoint, until one is damaged.
func Records(b []byte, f func(kind byte, body []byte) error) error {
	for len(b) > 0 {
		r, err := parse(b)
		if err != nil {
			return errors.Join(ErrCorrupt, err)
		}
		if err := f(r.kind, r.body); err != nil {
			return err
		}
		b = b[r.size:]
	}
	return nil
}

// AppendRecord appends a record with this body, as Records reads them.
func AppendRecord(b []byte, kind byte, body func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHeader)...)
	b = body(b)
	seal(b[start:], 0, 0, kind)
	return b
}

// RecordSize is the size in the file of a record with a body of n bytes.
func RecordSize(n int) int { return recordHeader + n }
