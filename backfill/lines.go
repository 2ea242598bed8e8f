package backfill

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// The longest line, or CSV record over several lines, that is held.
const maxLine = 8_000_000

// A line is one physical line of a file.
type line struct {
	number int64  // from 1
	text   []byte // without its newline; at most maxLine bytes of it
	size   int64  // without its newline
}

func (l *line) cut() bool { return int64(len(l.text)) < l.size }

// lines reads a file line by line. Lines may be put back.
type lines struct {
	in   *bufio.Reader
	read int64
	back []line // put back, the next one last
	free []byte // memory of the line before
}

func newLines(r io.Reader) *lines { return &lines{in: bufio.NewReaderSize(r, 256<<10)} }

// next gives the next line, or io.EOF. Its text is good until the call after.
func (l *lines) next() (line, error) {
	if n := len(l.back); n > 0 {
		ln := l.back[n-1]
		l.back = l.back[:n-1]
		return ln, nil
	}
	text := l.free[:0]
	size := int64(0)
	for {
		part, err := l.in.ReadSlice('\n')
		size += int64(len(part))
		if room := maxLine + 1 - len(text); room > 0 {
			text = append(text, part[:min(room, len(part))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		l.free = text
		if err == io.EOF && size == 0 {
			return line{}, io.EOF
		}
		if err != nil && err != io.EOF {
			return line{}, fmt.Errorf("line %d: %w", l.read+1, err)
		}
		if err == nil {
			size--
		}
		l.read++
		return line{l.read, text[:min(int64(maxLine), size)], size}, nil
	}
}

// putBack makes some lines, in their order, the next ones. They must own their
// text.
func (l *lines) putBack(some []line) {
	for i := len(some) - 1; i >= 0; i-- {
		l.back = append(l.back, some[i])
	}
}

// keep is ln with a text of its own.
func (ln line) keep() line {
	ln.text = append([]byte(nil), ln.text...)
	return ln
}
