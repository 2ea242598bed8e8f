package embedded

import (
	"errors"

	"github.com/buffetbot/ingest/embedded/journal"
)

// A reader reads messages of one topic for one delivery: the runs they are in
// are read once and stay until reset. Its buffers are used again.
type reader struct {
	topic   *topic
	journal *journal.Journal
	runs    []loadedRun
	spare   [][]byte
	bytes   int // loaded
}

type loadedRun struct {
	ref      ref
	buf      []byte
	messages [][]byte // pointing into buf
	err      error
}

// maxLoaded bounds what one delivery reads.
const maxLoaded = 4 << 20

// reset gives the buffers back, but for those of a size not worth keeping.
func (r *reader) reset() {
	for i := range r.runs {
		if c := cap(r.runs[i].buf); c > 0 && c <= 2*runBytes && len(r.spare) < 16 {
			r.spare = append(r.spare, r.runs[i].buf)
		}
		r.runs[i].buf = nil
		r.runs[i].messages = r.runs[i].messages[:0]
	}
	r.runs, r.bytes = r.runs[:0], 0
}

var errGone = errors.New("no longer there")

// read returns message n, valid until reset.
func (r *reader) read(n uint64) ([]byte, error) {
	for i := len(r.runs) - 1; i >= 0; i-- {
		if l := &r.runs[i]; n >= l.ref.first && n-l.ref.first < uint64(l.ref.count) {
			if l.err != nil {
				return nil, l.err
			}
			return l.messages[n-l.ref.first], nil
		}
	}
	at, ok := r.topic.find(n)
	if !ok {
		return nil, errGone
	}
	if len(r.runs) < cap(r.runs) {
		r.runs = r.runs[:len(r.runs)+1]
	} else {
		r.runs = append(r.runs, loadedRun{})
	}
	l := &r.runs[len(r.runs)-1]
	l.ref, l.err, l.messages = at, nil, l.messages[:0]
	r.load(l)
	if l.err != nil {
		return nil, l.err
	}
	return l.messages[n-at.first], nil
}

func (r *reader) load(l *loadedRun) {
	var buf []byte
	if last := len(r.spare) - 1; last >= 0 {
		buf, r.spare = r.spare[last], r.spare[:last]
	}
	body, buf, err := r.journal.Read(l.ref.at, int(l.ref.size), buf)
	l.buf = buf
	r.bytes += int(l.ref.size)
	if err != nil {
		l.err = err
		return
	}
	got, err := decodeRun(body)
	if err == nil && (got.topic != r.topic.uid || got.first != l.ref.first || got.count != l.ref.count) {
		err = errors.Join(journal.ErrCorrupt, errRecord)
	}
	if err == nil {
		l.messages, err = got.split(l.messages)
	}
	l.err = err
}
