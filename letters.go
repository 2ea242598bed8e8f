package ingest

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/query"
)

// A LetterFilter says which dead letters. Its conditions are joined by and; the
// zero filter is all of them, in brief.
type LetterFilter struct {
	Reasons []string  // any of these; none: all
	Types   []string  // data types the records were meant for
	Sources []string  // attribute source of the original messages
	From    time.Time // published at or after From; the zero time: no bound
	To      time.Time // published before To; the zero time: no bound

	// Limit is how many at most: the newest, newest first, held in memory. 0 is
	// all of them as a stream: day after day, by data type and time within a day.
	Limit int

	// Full gives record and attributes too; what is in a payload object stays
	// there (see LetterContents).
	Full bool

	// Open leaves out letters that have been replayed. One that was rejected again is
	// another letter, and open.
	Open bool

	ids string // only ids that begin so
	id  string // only this id
}

// String is the filter in words.
func (f LetterFilter) String() string {
	var all []string
	for _, part := range []struct {
		name   string
		values []string
	}{{"reason", f.Reasons}, {"type", f.Types}, {"source", f.Sources}} {
		if len(part.values) > 0 {
			all = append(all, part.name+" "+strings.Join(part.values, " or "))
		}
	}
	if !f.From.IsZero() {
		all = append(all, "published from "+f.From.UTC().Format(time.RFC3339))
	}
	if !f.To.IsZero() {
		all = append(all, "published before "+f.To.UTC().Format(time.RFC3339))
	}
	if f.Open {
		all = append(all, "open")
	}
	if len(all) == 0 {
		return "all"
	}
	return strings.Join(all, ", ")
}

// ErrNoLetter: no dead letter has the id.
var ErrNoLetter = errors.New("no such dead letter")

// briefLetter are the columns of letters that are not Full.
var briefLetter = []string{"dl_id", "data_type", "reason", "field", "value", "explanation", "schema_version", "message_id",
	"record_index", "published_at", "source", "payload_ref", "data_form", "topic", "ordering_key", "delivery_attempt"}

// Letters reads dead letters as they are now, compacted and not, each once. The
// attribute source of brief letters is given alone. An error ends the sequence.
func (l *Lake) Letters(ctx context.Context, f LetterFilter) iter.Seq2[deadletter.Letter, error] {
	return func(yield func(deadletter.Letter, error) bool) {
		if f.Limit < 0 {
			yield(deadletter.Letter{}, fmt.Errorf("%w: limit %d: must not be negative", query.ErrInvalid, f.Limit))
			return
		}
		if f.Limit == 0 {
			if err := l.streamLetters(ctx, f, func(d deadletter.Letter) bool { return yield(d, nil) }); err != nil {
				yield(deadletter.Letter{}, err)
			}
			return
		}
		newest, err := l.newestLetters(ctx, f)
		if err != nil {
			yield(deadletter.Letter{}, err)
			return
		}
		for _, d := range newest {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// errEnough ends a read whose caller has seen enough.
var errEnough = errors.New("enough")

// streamLetters reads in the order of the lake until each says to stop.
func (l *Lake) streamLetters(ctx context.Context, f LetterFilter, each func(deadletter.Letter) bool) error {
	var replayed map[string]deadletter.ReplayMark
	if f.Open {
		var err error
		if replayed, err = l.Replays(ctx); err != nil {
			return err
		}
	}
	plan, err := l.Query(ctx, f.query())
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	_, err = plan.Execute(ctx, func(rows arrow.RecordBatch) error {
		letters, err := deadletter.FromRecord(rows)
		if err != nil {
			return err
		}
		for i := range letters {
			if _, done := replayed[letters[i].ID]; done {
				continue
			}
			if strings.HasPrefix(letters[i].ID, f.ids) && !each(letters[i]) {
				return errEnough
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("read dead letters: %w", err)
	}
	return nil
}

// query is the read that the filter amounts to.
func (f LetterFilter) query() query.DataQuery {
	q := query.DataQuery{DataType: deadLetters, Symbols: f.Types, From: f.From, To: f.To}
	if !f.Full {
		q.Columns = briefLetter
	}
	var where []string
	if len(f.Reasons) > 0 {
		where = append(where, "reason in ("+literals(f.Reasons)+")")
	}
	if len(f.Sources) > 0 {
		where = append(where, "source in ("+literals(f.Sources)+")")
	}
	if f.ids != "" {
		where = append(where, "dl_id >= "+literals([]string{f.ids}), "dl_id <= "+literals([]string{f.ids + "\U0010FFFF"}))
	}
	if f.id != "" {
		where = append(where, "dl_id = "+literals([]string{f.id}))
	}
	q.Where = strings.Join(where, " and ")
	return q
}

// Replays are the letters that have been replayed, by id: when last, and by which run.
func (l *Lake) Replays(ctx context.Context) (map[string]deadletter.ReplayMark, error) {
	return deadletter.Replayed(ctx, l.store)
}

// literals are texts of a predicate.
func literals(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return strings.Join(quoted, ", ")
}

// newestLetters holds no more than the limit at a time.
func (l *Lake) newestLetters(ctx context.Context, f LetterFilter) ([]deadletter.Letter, error) {
	var newest oldestFirst
	err := l.streamLetters(ctx, f, func(d deadletter.Letter) bool {
		switch {
		case len(newest) < f.Limit:
			heap.Push(&newest, d)
		case olderLetter(&newest[0], &d) < 0:
			newest[0] = d
			heap.Fix(&newest, 0)
		}
		return true
	})
	slices.SortFunc(newest, func(a, b deadletter.Letter) int { return olderLetter(&b, &a) })
	return newest, err
}

// olderLetter orders letters by publish time, and further so that the order is
// the same at each read.
func olderLetter(a, b *deadletter.Letter) int {
	return cmp.Or(a.PublishedAt.Compare(b.PublishedAt), cmp.Compare(b.MessageID, a.MessageID), cmp.Compare(b.RecordIndex, a.RecordIndex), cmp.Compare(b.ID, a.ID))
}

// oldestFirst is a heap whose first letter is the oldest.
type oldestFirst []deadletter.Letter

func (h oldestFirst) Len() int           { return len(h) }
func (h oldestFirst) Less(i, j int) bool { return olderLetter(&h[i], &h[j]) < 0 }
func (h oldestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *oldestFirst) Push(x any)        { *h = append(*h, x.(deadletter.Letter)) }
func (h *oldestFirst) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// ambiguous is how many ids an error about a prefix names.
const ambiguous = 5

// Letter reads the dead letter of an id, or of the beginning of one if no other
// id begins so. It is full; what is in a payload object stays there. The error of an
// unknown id is ErrNoLetter.
func (l *Lake) Letter(ctx context.Context, id string) (*deadletter.Letter, error) {
	if id == "" {
		return nil, fmt.Errorf("%w: the id is empty", ErrNoLetter)
	}
	full, err := l.idOf(ctx, id)
	if err != nil {
		return nil, err
	}
	found, err := l.newestLetters(ctx, LetterFilter{id: full, Limit: 1, Full: true})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("dead letter %q: %w", id, ErrNoLetter)
	}
	return &found[0], nil
}

// idOf completes the beginning of an id.
func (l *Lake) idOf(ctx context.Context, prefix string) (string, error) {
	ids := map[string]bool{}
	err := l.streamLetters(ctx, LetterFilter{ids: prefix}, func(d deadletter.Letter) bool {
		ids[d.ID] = true
		return !ids[prefix] && len(ids) <= ambiguous
	})
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", fmt.Errorf("dead letter %q: %w (buffetctl dlq ls has the ids)", prefix, ErrNoLetter)
	case ids[prefix]:
		return prefix, nil
	case len(ids) == 1:
		for id := range ids {
			return id, nil
		}
	}
	some := make([]string, 0, len(ids))
	for id := range ids {
		some = append(some, id)
	}
	slices.Sort(some)
	return "", fmt.Errorf("%w: dead letter %q: several ids begin so, such as %q: give more of it", query.ErrInvalid, prefix, some[:2])
}

// LetterContents reads what a letter refers to: the letter with nothing left out,
// and the message that the record came in where that is kept, else nil.
func (l *Lake) LetterContents(ctx context.Context, d *deadletter.Letter) (whole, original *deadletter.Letter, err error) {
	whole, original, err = deadletter.Whole(ctx, l.store, d)
	if err != nil {
		return nil, nil, fmt.Errorf("dead letter %s: %w", d.ID, err)
	}
	return whole, original, nil
}
