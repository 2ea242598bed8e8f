package columnar

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A SetHash is the order-independent hash of a set of rows: the sum of the rows'
// hashes, lane by lane, wrapping. The zero SetHash is the empty set's.
type SetHash [2]uint64

// Add returns the hash of both sets together.
func (h SetHash) Add(o SetHash) SetHash { return SetHash{h[0] + o[0], h[1] + o[1]} }

// Sub returns the hash of h's set without o's rows.
func (h SetHash) Sub(o SetHash) SetHash { return SetHash{h[0] - o[0], h[1] - o[1]} }

// String gives 32 hexadecimal digits.
func (h SetHash) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], h[0])
	binary.BigEndian.PutUint64(b[8:], h[1])
	return hex.EncodeToString(b[:])
}

// ParseSetHash reads what String wrote.
func ParseSetHash(s string) (SetHash, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return SetHash{}, fmt.Errorf("row-set hash %q: want 32 hexadecimal digits", s)
	}
	return SetHash{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, nil
}

// A Summary is what an object says of itself, in its Parquet footer and, where
// the store keeps any, in its object metadata.
type Summary struct {
	Rows          int64
	First, Last   int64 // earliest and latest event time, µs since 1970 UTC; both 0 without rows
	SchemaVersion string
	Hash          SetHash
	DataType      string
}

// The keys of a summary in object metadata and in the footer.
const (
	metaRows          = "bb-rows"
	metaFirst         = "bb-first-event"
	metaLast          = "bb-last-event"
	metaSchemaVersion = "bb-schema-version"
	metaHash          = "bb-row-set-hash"
	metaDataType      = "bb-data-type"
)

const timeLayout = "2006-01-02T15:04:05.000000Z07:00"

// Metadata is the summary as key-values; ParseSummary reads them back.
func (s Summary) Metadata() map[string]string {
	return map[string]string{
		metaRows:          strconv.FormatInt(s.Rows, 10),
		metaFirst:         formatMicros(s.First),
		metaLast:          formatMicros(s.Last),
		metaSchemaVersion: s.SchemaVersion,
		metaHash:          s.Hash.String(),
		metaDataType:      s.DataType,
	}
}

// ParseSummary reads what Metadata gave; other keys are ignored. All problems
// are reported at once.
func ParseSummary(kv map[string]string) (Summary, error) {
	s := Summary{SchemaVersion: kv[metaSchemaVersion], DataType: kv[metaDataType]}
	var errs [6]error
	if s.Rows, errs[0] = strconv.ParseInt(kv[metaRows], 10, 64); errs[0] == nil && s.Rows < 0 {
		errs[0] = fmt.Errorf("%s: %d rows", metaRows, s.Rows)
	}
	s.First, errs[1] = parseMicros(kv, metaFirst)
	s.Last, errs[2] = parseMicros(kv, metaLast)
	s.Hash, errs[3] = ParseSetHash(kv[metaHash])
	for i, key := range []string{metaSchemaVersion, metaDataType} {
		if kv[key] == "" {
			errs[4+i] = fmt.Errorf("%s is missing", key)
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Summary{}, fmt.Errorf("read summary: %w", err)
	}
	return s, nil
}

// formatMicros is RFC 3339 in the years that it covers, else the microseconds
// since 1970.
func formatMicros(us int64) string {
	t := time.UnixMicro(us).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return strconv.FormatInt(us, 10)
	}
	return t.Format(timeLayout)
}

func parseMicros(kv map[string]string, key string) (int64, error) {
	if us, err := strconv.ParseInt(kv[key], 10, 64); err == nil {
		return us, nil
	}
	t, err := time.Parse(time.RFC3339Nano, kv[key])
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return t.UnixMicro(), nil
}
