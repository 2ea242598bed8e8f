// Package upkeep is what operators do to tables on purpose: it sets their
// properties, and takes away days that are older than they want to keep. Nothing
// here runs by itself.
//
// What always holds:
//
//   - rows are taken away by a commit that says so, with the mark that makes older
//     plans void (P7), and only days of which no raw object is left, which would
//     bring them back;
//   - a record of who, when, why and what is durable before that commit, and
//     another, of what came of it, follows it;
//   - no object is deleted here: the sweeper does that, after the table's retention.
package upkeep

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/buffetbot/ingest/objstore"
)

// AuditPrefix is where records are: metadata/audit/<time>-<id>-<state>.json, each made
// once and never changed.
const AuditPrefix = "metadata/audit/"

// A Record tells of one thing that was done on purpose.
type Record struct {
	ID     string          `json:"id"` // of what was begun and what came of it alike
	At     time.Time       `json:"at"`
	Action string          `json:"action"` // retain, retain archive, set properties
	State  string          `json:"state"`  // begun, done, failed
	Type   string          `json:"data_type"`
	By     string          `json:"by"`
	Reason string          `json:"reason,omitempty"`
	Result string          `json:"result,omitempty"`
	What   json.RawMessage `json:"what,omitempty"` // by action
	Object string          `json:"-"`              // the record's own
}

// The states of a Record.
const (
	Begun  = "begun"
	Done   = "done"
	Failed = "failed"
)

// begin makes the record of what is about to be done durable.
func begin(ctx context.Context, s objstore.Writer, r Record, what any) (Record, error) {
	data, err := json.Marshal(what)
	if err != nil {
		return r, err
	}
	r.What, r.ID, r.State = data, uuid.NewString(), Begun
	return r, write(ctx, s, r)
}

// end adds what came of it.
func end(ctx context.Context, s objstore.Writer, r Record, result string, failed error, at time.Time) error {
	r.State, r.Result, r.At, r.What = Done, result, at, nil
	if failed != nil {
		r.State, r.Result = Failed, failed.Error()
	}
	return write(context.WithoutCancel(ctx), s, r)
}

func write(ctx context.Context, s objstore.Writer, r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	name := AuditPrefix + r.At.UTC().Format("20060102T150405.000Z") + "-" + r.ID + "-" + r.State + ".json"
	if _, err := s.Create(ctx, name, append(data, '\n'), nil); err != nil && !errors.Is(err, objstore.ErrExist) {
		return fmt.Errorf("write the audit record %s: %w", name, err)
	}
	return nil
}

// Audits are the records, oldest first. One that cannot be read is in the error,
// which stops no other.
func Audits(ctx context.Context, r objstore.Reader) ([]Record, error) {
	var all []Record
	var failed []error
	for o, err := range r.List(ctx, AuditPrefix, "") {
		if err != nil {
			return all, fmt.Errorf("list audit records: %w", err)
		}
		if !strings.HasSuffix(o.Name, ".json") {
			continue
		}
		data, err := r.Read(ctx, o.Name, 0, -1)
		record := Record{}
		if err == nil {
			err = json.Unmarshal(data, &record)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("audit record %s: %w", o.Name, err))
			continue
		}
		record.Object = o.Name
		if record.Action == "" { // a restore's, which has a form of its own
			action, _, _ := strings.Cut(strings.TrimPrefix(o.Name, AuditPrefix), "-")
			record = Record{At: o.Created, Action: action, By: record.By, Type: record.Type, Reason: record.Reason, What: data, Object: o.Name}
		}
		all = append(all, record)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Object, b.Object)) })
	return all, errors.Join(failed...)
}
