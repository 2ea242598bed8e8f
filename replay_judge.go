package ingest

import (
	"github.com/sourcegraph/conc/panics"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/schema"
)

// A judgement is what today's definition says of a message.
type judgement struct {
	rows     int
	rejected map[int32]schema.Reason // by record
	last     schema.Reason
}

// of is why the letter would be rejected again, or nothing.
func (j *judgement) of(l *deadletter.Letter) schema.Reason {
	if reason := j.rejected[l.RecordIndex]; reason != "" && l.Form != deadletter.WholeMessage {
		return reason
	}
	if j.rows == 0 { // nothing of the message would be a row
		return j.last
	}
	return ""
}

// judge says which letters of a bundle come again, and which records of the
// message those are where it is kept whole.
func (r *replayer) judge(g *bundle, def *schema.Definition) (again []*deadletter.Letter, records []int32, err error) {
	first := g.letters[0]
	all := make([]int32, len(g.letters))
	for i, l := range g.letters {
		all[i] = l.RecordIndex
	}
	replay, err := deadletter.NewReplay(r.report.Run, first, g.original, all)
	if err != nil {
		return nil, nil, err
	}
	m := replay.Message(def.Topic)
	if m.Attributes[schema.AttributeRevision] != "" {
		r.report.Unjudged += int64(len(g.letters))
		return g.letters, all, nil
	}
	verdict := r.decode(def, &m)
	for _, l := range g.letters {
		if reason := verdict.of(l); reason != "" {
			r.report.Rejected[reason]++
			r.report.Samples[string(reason)] = l.ID
			if !r.config.All {
				continue
			}
		}
		again, records = append(again, l), append(records, l.RecordIndex)
	}
	return again, records, nil
}

// decode judges a message as an ingestor would.
func (r *replayer) decode(def *schema.Definition, m *schema.Message) judgement {
	dec := r.judges[def.Name]
	if dec == nil {
		dec = def.NewDecoder(r.config.Level[def.Name])
		r.judges[def.Name] = dec
	}
	rows := schema.NewColumns(def)
	verdict := judgement{rejected: map[int32]schema.Reason{}}
	var caught panics.Catcher
	caught.Try(func() {
		for _, rejection := range dec.Decode(m, rows) {
			verdict.rejected[rejection.Index], verdict.last = rejection.Reason, rejection.Reason
		}
		verdict.rows = rows.Len()
	})
	if caught.Recovered() != nil { // what panicked then may panic now
		delete(r.judges, def.Name)
		return judgement{last: deadletter.Panic}
	}
	return verdict
}
