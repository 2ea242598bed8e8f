package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Kinds of records; FORMAT.md has their fields.
const (
	kindMessages     = 1
	kindAcks         = 2
	kindTopic        = 3
	kindTopicGone    = 4
	kindSubscription = 5
	kindSubGone      = 6
	kindAckState     = 7
	kindSnapshot     = 8
	kindSnapshotGone = 9
	kindSchema       = 10
	kindSchemaGone   = 11
	kindAttempts     = 12
	kindCheckpoint   = 13
	kindEnd          = 14
)

func putUint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

func putBytes(b, s []byte) []byte { return append(putUint(b, uint64(len(s))), s...) }

func putString(b []byte, s string) []byte { return append(putUint(b, uint64(len(s))), s...) }

// putProto appends a protobuf message. What was parsed or checked can be
// marshalled, so an error is a mistake of this program.
func putProto(b []byte, m proto.Message) []byte {
	enc, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", m, err))
	}
	return putBytes(b, enc)
}

// putSpans appends ascending runs, each as its distance from the one before and
// its length.
func putSpans(b []byte, all []span) []byte {
	b = putUint(b, uint64(len(all)))
	at := uint64(0)
	for _, s := range all {
		b = putUint(b, s.first-at)
		b = putUint(b, s.count)
		at = s.first + s.count
	}
	return b
}

var errRecord = errors.New("a record that cannot be read")

// A decoder reads what the puts wrote. After an error it gives zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.b, d.err = nil, errRecord
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.b, d.err = nil, errRecord
		return nil
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}

func (d *decoder) proto(m proto.Message) {
	if b := d.bytes(); d.err == nil {
		d.err = proto.Unmarshal(b, m)
	}
}

func (d *decoder) spans(f func(span)) {
	n := d.uint()
	at := uint64(0)
	for ; n > 0 && d.err == nil; n-- {
		s := span{first: at + d.uint(), count: d.uint()}
		if s.first < at || s.first+s.count < s.first || s.first+s.count > 1<<48 {
			d.err = errRecord
			return
		}
		at = s.first + s.count
		if d.err == nil {
			f(s)
		}
	}
}

// A run is a decoded record of messages.
type run struct {
	topic, first, id uint64
	time             int64
	count            uint32
	messages         []byte // each with its length before it
}

func decodeRun(body []byte) (run, error) {
	d := decoder{b: body}
	r := run{topic: d.uint(), first: d.uint(), id: d.uint(), time: int64(d.uint())}
	r.count = uint32(d.uint())
	r.messages = d.b
	return r, d.err
}

// split returns the messages of a run, appended to all.
func (r run) split(all [][]byte) ([][]byte, error) {
	d := decoder{b: r.messages}
	for range r.count {
		all = append(all, d.bytes())
	}
	return all, d.err
}
