package backfill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// A Verdict is what the decoder says of every record of a job.
type Verdict struct {
	Totals
	Files       int
	Repeated    []string
	FileBytes   int64
	Accepted    int64
	Rejected    map[schema.Reason]int64
	Examples    []Example // the first of each reason
	Coercions   []Coercion
	PublishedAt time.Time
	Took        time.Duration
}

// An Example is a record that would become a dead letter.
type Example struct {
	File        string
	Line        int64 // where the record starts; of Parquet, the row
	Reason      schema.Reason
	Field       string
	Value       string
	Explanation string
}

// A Coercion says how often values of a field are altered in a way that the
// level allows.
type Coercion struct {
	Field, Kind string
	N           int64
}

// The most examples of one reason.
const examples = 3

// Check decodes every record as the ingestor would at a level, and publishes
// nothing. It neither reads nor writes a checkpoint.
func (j *Job) Check(ctx context.Context, level schema.Level) (Verdict, error) {
	began := time.Now()
	p, err := j.prepare(ctx)
	if err != nil {
		return Verdict{}, err
	}
	at := p.PublishedAt
	if at.IsZero() {
		at = p.Now()
	}
	v := Verdict{
		Files: len(p.files), Repeated: p.repeated, FileBytes: p.total,
		Rejected: map[schema.Reason]int64{}, PublishedAt: at.UTC().Truncate(time.Microsecond),
	}
	decoder, rows := p.Definition.NewDecoder(level), schema.NewColumns(p.Definition)
	err = p.each(ctx, position{}, func(b *batch, _ position, done int64) error {
		m := p.message(b, v.PublishedAt)
		m.PublishTime = p.Now()
		rows.Reset()
		rejected := decoder.Decode(m, rows)
		if rows.Len()+len(rejected) != len(b.lines) {
			return fmt.Errorf("%s line %d: %d records were made, the decoder sees %d", b.file.input.Name, b.lines[0], len(b.lines), rows.Len()+len(rejected))
		}
		v.Totals.add(b.totals())
		v.Accepted += int64(rows.Len())
		for _, r := range rejected {
			v.reject(b, r)
		}
		p.Progress(Progress{Step: "checking", Done: done, Total: p.total, Rows: v.Rows, Messages: v.Messages})
		return ctx.Err()
	})
	if ctx.Err() != nil {
		err = ErrInterrupted
	}
	decoder.Coercions(func(field, kind string, n int64) { v.Coercions = append(v.Coercions, Coercion{field, kind, n}) })
	v.Took = time.Since(began)
	return v, err
}

func (v *Verdict) reject(b *batch, r schema.Rejection) {
	v.Rejected[r.Reason]++
	if v.Rejected[r.Reason] > examples {
		return
	}
	v.Examples = append(v.Examples, Example{
		File: b.file.input.Name, Line: b.lines[r.Index], Reason: r.Reason,
		Field: r.Field, Value: r.Value, Explanation: r.Explanation,
	})
}

// Reasons are the reasons of rejections, the most frequent first.
func (v *Verdict) Reasons() []schema.Reason {
	reasons := sortedKeys(v.Rejected)
	slices.SortStableFunc(reasons, func(a, b schema.Reason) int { return int(v.Rejected[b] - v.Rejected[a]) })
	return reasons
}
