package fsck

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/invariant"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// A dead letter's id is made of what identifies its record, so that the row that the
// record would be leads to it. A letter that was replayed has a row, as it should, and
// one that the broker gave up delivering says nothing of the record.

// lettersOf is the data type of dead letters.
const lettersOf = "dead_letters"

// maxLetters bounds the dead letters that rows are compared with, some 100 bytes each.
const maxLetters = 4 << 20

// verdicts are the revisions by which records were rejected, by the letters' ids.
type verdicts map[string]string

// rejected reads the dead letters of the lake that the table's rows are compared with
// (C8). It is false where that failed.
func (c *check) rejected(ctx context.Context) bool {
	c.letters = verdicts{}
	def, ok := c.Registry.Latest(lettersOf)
	if !ok || c.def.Name == lettersOf {
		return true
	}
	names, err := c.letterObjects(ctx)
	if err != nil {
		c.unreadable(lettersOf, err)
		return false
	}
	replayed, err := deadletter.Replayed(ctx, c.Store)
	if err != nil {
		c.unreadable(deadletter.Replays, err)
		return false
	}
	for _, name := range names {
		if len(c.letters) >= maxLetters {
			c.report.note("C8", c.root, fmt.Sprintf("rows were compared with %d dead letters, there are more", len(c.letters)), "nothing: export what is not needed and take old days away (buffetctl retain)")
			return true
		}
		if err := c.readLetters(ctx, name, def, replayed); err != nil && !errors.Is(err, objstore.ErrNotExist) {
			c.report.note("C8", name, "rows were not compared with its dead letters: "+err.Error(), "check the table dead_letters too: it says what is wrong with the object")
		}
	}
	return true
}

// letterObjects are what holds dead letters: raw objects that wait, listed first (P14),
// and live files.
func (c *check) letterObjects(ctx context.Context) (names []string, err error) {
	raw, err := partition.ListRaw(ctx, c.Store, lettersOf)
	if err != nil {
		return nil, err
	}
	s, err := partition.OpenTable(onlyReads{c.Store}, lettersOf, nil).Load(ctx)
	if err != nil && !errors.Is(err, partition.ErrNoTable) {
		return nil, err
	}
	for _, f := range raw {
		if s == nil || !s.Consumed(f.Name) {
			names = append(names, f.Name)
		}
	}
	if s != nil {
		for _, f := range s.Files(nil) {
			names = append(names, f.ObjectName())
		}
	}
	return names, nil
}

func (c *check) readLetters(ctx context.Context, name string, def *schema.Definition, replayed map[string]deadletter.ReplayMark) error {
	data, err := c.Store.Read(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	f, err := columnar.OpenBytes(name, data)
	if err != nil {
		return err
	}
	rec, err := f.Read(ctx, def, nil, nil)
	if err != nil {
		return err
	}
	text := func(column string, row int) string { return rec.Column(def.Field(column)).ValueStr(row) }
	for row := range int(rec.NumRows()) {
		id := text("dl_id", row)
		if _, again := replayed[id]; again || text("data_type", row) != c.def.Name || text("reason", row) == string(deadletter.Undelivered) {
			continue
		}
		c.letters[id] = text("schema_version", row)
	}
	return nil
}

// oneVerdict sees that no row of an object is a dead letter as well.
func (c *check) oneVerdict(object string, rec arrow.RecordBatch) {
	if len(c.letters) == 0 {
		return
	}
	id, version := rec.Column(c.def.Field(schema.ColID)), rec.Column(c.def.Field(schema.ColSchemaVersion))
	index := rec.Column(c.def.Field(schema.ColIndex)).(*array.Int32)
	published := rec.Column(c.def.Field(schema.ColPublishedAt)).(*array.Timestamp)
	for row := range int(rec.NumRows()) {
		letter := deadletter.IDOf(c.def.Name, id.ValueStr(row), index.Value(row), int64(published.Value(row)))
		rejected, both := c.letters[letter]
		if !both {
			continue
		}
		record := "record " + strconv.Itoa(int(index.Value(row))) + " of " + id.ValueStr(row)
		bad := invariant.Verdict(object, record+" (dead letter "+letter+")", rejected, version.ValueStr(row))
		c.violations(bad)
		if len(bad) == 0 {
			c.report.note("C8", object, fmt.Sprintf("%s is a row by revision %s, and dead letter %s by %s", record, version.ValueStr(row), letter, rejected),
				"nothing, if the definition changed between two deliveries: buffetctl dlq show "+letter)
		}
	}
}
