package columnar

import (
	"bytes"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/schema"
)

// Encode writes sorted rows as one Parquet object and says what is in it. The
// bytes are a function of the rows; rec may be used again afterwards.
//
// Each chunk is written in the smallest of what every engine reads: strings by
// dictionary unless nearly every value is another, numbers by dictionary, by
// differences, or plain. BenchmarkEncodings has the figures that decided.
func Encode(rec arrow.RecordBatch, def *schema.Definition) ([]byte, Summary, error) {
	if err := check(rec, def); err != nil {
		return nil, Summary{}, err
	}
	k := keysOf([]arrow.RecordBatch{rec}, def)[0]
	if !k.sorted() {
		return nil, Summary{}, fmt.Errorf("encode %d rows of %s: %w", k.n, def.Name, ErrUnsorted)
	}
	s := summarize(k, def)
	data, err := write(rec, def, s, newEncoder(&standardSizes))
	if err != nil {
		return nil, Summary{}, fmt.Errorf("encode %d rows of %s: %w", k.n, def.Name, err)
	}
	return data, s, nil
}

func summarize(k *keyed, def *schema.Definition) Summary {
	s := Summary{Rows: int64(k.n), SchemaVersion: def.Version.String(), DataType: def.Name, Hash: hashSum(k.rec)}
	s.First, s.Last = math.MaxInt64, math.MinInt64
	for i, t := range k.times {
		if k.timeArr.IsValid(i) {
			s.First, s.Last = min(s.First, t), max(s.Last, t)
		}
	}
	if s.First > s.Last {
		s.First, s.Last = 0, 0
	}
	return s
}

func write(rec arrow.RecordBatch, def *schema.Definition, s Summary, e *chunkEncoder) ([]byte, error) {
	defer encoders.Put(e)
	columns := make([]vector, len(def.Fields))
	for i := range columns {
		var err error
		if columns[i], err = vectorOf(rec.Column(i), &def.Fields[i]); err != nil {
			return nil, err
		}
	}
	var buf bytes.Buffer
	w, err := newFileWriter(&buf, def)
	if err != nil {
		return nil, err
	}
	for from := 0; from < int(rec.NumRows()); {
		to := e.sizes.groupEnd(columns, from, int(rec.NumRows()))
		w.begin(to - from)
		for i := range columns {
			part := columns[i].slice(from, to)
			if err := w.chunk(e.encode(&part, &def.Fields[i])); err != nil {
				return nil, err
			}
		}
		from = to
	}
	if err := w.finish(s); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// ownValidity is the array's validity from its first row on, nil without nulls.
func ownValidity(a arrow.Array) []byte {
	valid, _ := gatherValidity([]arrow.Array{a}, []run{{0, 0, int32(a.Len())}}, a.Len())
	return valid
}
