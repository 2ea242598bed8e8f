package schema

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// An inflater holds what decompression reuses. Its zero value is ready.
type inflater struct {
	gzip *gzip.Reader
	zstd *zstd.Decoder
	in   bytes.Reader
	out  []byte
}

// keptInflated is the memory an inflater keeps between messages.
const keptInflated = 4 << 20

// freeInflation is what a payload may grow to whatever its own size: a handful of
// bytes may well be a thousand spaces.
const freeInflation = 1 << 20

// inflate replaces d.data by what it is when decompressed. It is false, with the
// failure set, where it cannot be.
func (d *Decoder) inflate(encoding string) bool {
	var err error
	switch encoding {
	case "", "identity":
		return true
	case "gzip", "x-gzip":
		err = d.inflater.gunzip(d.data)
	case "zstd":
		err = d.inflater.unzstd(d.data)
	default:
		return d.refuse(UnsupportedEncoding, "content_encoding", encoding)
	}
	switch {
	case errors.Is(err, errBomb):
		return d.refuse(DecompressionBomb, "content_encoding", encoding)
	case err != nil:
		d.refuse(CorruptEncoding, "content_encoding", encoding)
		d.failure.detail = err.Error()
		return false
	}
	d.data, d.borrowed = d.inflater.out, true
	return true
}

var errBomb = errors.New("the payload grows too large")

// allowed is what a payload of n bytes may grow to.
func allowed(n int) int { return min(max(n*MaxInflation, freeInflation), MaxInflatedBytes) }

func (i *inflater) gunzip(data []byte) (err error) {
	i.in.Reset(data)
	if i.gzip == nil {
		i.gzip, err = gzip.NewReader(&i.in)
	} else {
		err = i.gzip.Reset(&i.in)
	}
	if err != nil {
		return truncated(err)
	}
	return i.read(i.gzip, allowed(len(data)))
}

func (i *inflater) unzstd(data []byte) (err error) {
	i.in.Reset(data)
	if i.zstd == nil {
		i.zstd, err = zstd.NewReader(&i.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(MaxInflatedBytes))
	} else {
		err = i.zstd.Reset(&i.in)
	}
	if err == nil {
		err = i.read(i.zstd, allowed(len(data)))
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = errBomb
	}
	return err
}

// read reads all of r into i.out, and no more than limit.
func (i *inflater) read(r io.Reader, limit int) error {
	out := i.out[:0]
	for {
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		i.out = out
		switch {
		case len(out) > limit:
			return errBomb
		case err == io.EOF:
			return nil
		case err != nil:
			return truncated(err)
		}
	}
}

// truncated says what an unexpected end is.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut off")
	}
	return err
}

// rest gives back memory that one large message took.
func (i *inflater) rest() {
	if cap(i.out) > keptInflated {
		i.out = nil
	}
}
