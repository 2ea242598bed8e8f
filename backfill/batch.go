package backfill

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// A batch is one message: some records of one file.
type batch struct {
	file   *file
	number int // in the file, from 0
	data   []byte
	lines  []int64  // where each record starts in the file
	broken []record // those that could not be taken apart
	read   int64    // bytes taken from the input so far
}

func (b *batch) totals() Totals {
	return Totals{Rows: int64(len(b.lines)), Messages: 1, Bytes: int64(len(b.data)), Broken: int64(len(b.broken))}
}

// message is what the batch is published as.
func (p *prepared) message(b *batch, publishedAt time.Time) *schema.Message {
	m := &schema.Message{Data: b.data, Attributes: map[string]string{
		"content_type":   "application/x-ndjson",
		"event_id":       "backfill-" + b.file.id + "-" + strconv.Itoa(b.number),
		"published_at":   publishedAt.Format(time.RFC3339Nano),
		"schema_version": p.Definition.Version.String(),
	}}
	if p.Source != "" {
		m.Attributes["source"] = p.Source
	}
	return m
}

// batches hands the batches of a file to each, in order. It ends with each's
// first error, or with ErrChanged when the file is not what it was.
func (p *prepared) batches(ctx context.Context, f *file, each func(*batch) error) error {
	o, err := open(ctx, f.input)
	if err != nil {
		return fmt.Errorf("%s: %w", f.input.Name, err)
	}
	defer o.close()
	r, err := p.records(o, f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.input.Name, err)
	}
	c := cutter{records: r, rows: p.BatchRows, bytes: p.BatchBytes}
	for number := 0; ; number++ {
		b, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.input.Name, err)
		}
		b.file, b.number, b.read = f, number, o.consumed
		if err := each(b); err != nil {
			return err
		}
	}
	content, err := o.drain()
	if err != nil {
		return fmt.Errorf("%s: %w", f.input.Name, err)
	}
	if content != f.content {
		return fmt.Errorf("%s: %w: what was published of it carries the ids of its former content", f.input.Name, ErrChanged)
	}
	return nil
}

// A cutter cuts records into batches. Where it cuts depends on the records alone.
type cutter struct {
	records     records
	rows, bytes int

	left     []byte // a record that did not fit into the batch before
	leftover record
	ended    bool
}

// next gives the next batch; io.EOF after the last.
func (c *cutter) next() (*batch, error) {
	b := &batch{data: make([]byte, 0, min(c.bytes, 64<<10))}
	if c.left != nil {
		b.add(c.left, c.leftover)
		c.left = nil
	}
	for !c.ended && len(b.lines) < c.rows {
		before := len(b.data)
		separate := b.data
		if before > 0 {
			separate = append(separate, '\n')
		}
		data, rec, err := c.records.next(separate)
		if err == io.EOF {
			c.ended = true
			break
		}
		if err != nil {
			return nil, err
		}
		if before > 0 && len(data) > c.bytes {
			c.left, c.leftover = append([]byte(nil), data[before+1:]...), rec
			b.data = data[:before]
			return b, nil
		}
		b.data = data
		b.note(rec)
	}
	if len(b.lines) == 0 {
		return nil, io.EOF
	}
	return b, nil
}

func (b *batch) add(data []byte, rec record) {
	b.data = append(b.data, data...)
	b.note(rec)
}

func (b *batch) note(rec record) {
	b.lines = append(b.lines, rec.line)
	if rec.broken != "" {
		b.broken = append(b.broken, rec)
	}
}
