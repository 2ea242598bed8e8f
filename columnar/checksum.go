package columnar

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
)

// An object carries the CRC32C of each of its column chunks and of its footer, as
// a key-value of the footer: eight hexadecimal digits for each chunk, row group
// by row group, then eight for the footer with those last eight as zeros. Its
// length is known before the bytes are, so it is filled in afterwards, and any
// Parquet reader sees one more key-value. FORMAT.md says what is not covered.
const metaChecksums = "bb-crc32c"

const sumDigits = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkSums checks the shape of the checksums. Metadata that was damaged so that
// the key is no longer met where it belongs still has it somewhere.
func (m *footerMeta) checkSums(footer []byte) error {
	if m.sums == nil && !bytes.Contains(footer, []byte(metaChecksums)) {
		return nil
	}
	if len(m.sums) != (m.chunks()+1)*sumDigits {
		return fmt.Errorf("checksums of %d digits for %d column chunks: %w", len(m.sums), m.chunks(), ErrCorrupt)
	}
	return nil
}

func (m *footerMeta) chunks() int { return len(m.groups) * len(m.columns) }

// verifySums checks the footer's own checksum, if the object carries any.
func (m *footerMeta) verifySums(footer []byte) error {
	if err := m.checkSums(footer); err != nil || m.sums == nil {
		return err
	}
	own := m.chunks() * sumDigits
	at := m.sumsAt + own
	sum := crc32.Update(0, castagnoli, footer[:at])
	sum = crc32.Update(sum, castagnoli, []byte("00000000"))
	sum = crc32.Update(sum, castagnoli, footer[at+sumDigits:])
	if want := string(m.sums[own:]); fmt.Sprintf("%08x", sum) != want {
		return fmt.Errorf("footer's checksum is %08x, want %s: %w", sum, want, ErrCorrupt)
	}
	return nil
}

// verifyChunk checks the bytes of a column chunk, if the object carries checksums.
func (m *footerMeta) verifyChunk(group, column int, data []byte) error {
	return m.verifySum(group, column, crc32.Checksum(data, castagnoli))
}

func (m *footerMeta) verifySum(group, column int, sum uint32) error {
	if m.sums == nil {
		return nil
	}
	at := (group*len(m.columns) + column) * sumDigits
	var got [sumDigits]byte
	hex.Encode(got[:], binary.BigEndian.AppendUint32(nil, sum))
	if want := string(m.sums[at : at+sumDigits]); string(got[:]) != want {
		return fmt.Errorf("checksum is %s, want %s: %w", got, want, ErrCorrupt)
	}
	return nil
}
