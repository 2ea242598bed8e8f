package columnar

import (
	"encoding/hex"
	"hash/crc32"
)

// setSums fills in the checksums of the finished object.
func setSums(object []byte) error {
	n, err := footerLength(object[max(0, len(object)-tailLength):], int64(len(object)))
	if err != nil {
		return err
	}
	body := int64(len(object)) - int64(tailLength) - n
	footer := object[body : body+n]
	m, err := parseFooter(footer, body)
	if err != nil {
		return err
	}
	if err := m.checkSums(footer); err != nil || m.sums == nil {
		return err
	}
	sums := m.sums // aliases object
	for i := range m.groups {
		for _, c := range m.groups[i].chunks {
			putSum(sums, object[c.start:c.end])
			sums = sums[sumDigits:]
		}
	}
	putSum(sums, footer)
	return nil
}

func putSum(dst, data []byte) {
	hex.Encode(dst[:sumDigits], formatSum(data))
}

func formatSum(data []byte) []byte {
	sum := crc32.Checksum(data, castagnoli)
	return []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}
}
