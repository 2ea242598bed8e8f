package fsck

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// An event_id that a publisher used for two records tells them apart no more. Each is
// kept, since symbol and event time belong to an identity; but whoever gave both the same
// name meant one record, and corrected it, or has a defect. Only a look at all
// rows finds them: a row is judged by itself.

// maxEvents bounds the rows with an event_id that are compared across days, 20
// bytes each.
const maxEvents = 16 << 20

// An event is a row that has an event_id, as hashes.
type event struct {
	id, place uint64 // event_id and position; symbol and event time
	day       int32
}

// events are those of one table.
type events struct {
	seed maphash.Seed
	days []partition.Key
	all  []event
	most int // how many are kept: maxEvents
	left int // rows that were not kept
}

func newEvents() *events { return &events{seed: maphash.MakeSeed(), most: maxEvents} }

// take notes the rows of a day.
func (e *events) take(key partition.Key, rec arrow.RecordBatch, def *schema.Definition) {
	if len(e.days) == 0 || e.days[len(e.days)-1] != key {
		e.days = append(e.days, key)
	}
	for row := range int(rec.NumRows()) {
		id := rec.Column(def.Field(schema.ColID)).ValueStr(row)
		if !strings.HasPrefix(id, "e:") {
			continue
		}
		if len(e.all) == e.most {
			e.left++
			continue
		}
		e.all = append(e.all, event{
			id: maphash.String(e.seed, named(rec, def, row)), place: maphash.String(e.seed, place(rec, def, row)), day: int32(len(e.days) - 1),
		})
	}
}

// named is a row's event_id and position; place its symbol and event time.
func named(rec arrow.RecordBatch, def *schema.Definition, row int) string {
	return rec.Column(def.Field(schema.ColID)).ValueStr(row) + "\x00" + rec.Column(def.Field(schema.ColIndex)).ValueStr(row)
}

func place(rec arrow.RecordBatch, def *schema.Definition, row int) string {
	return rec.Column(def.SymbolField).ValueStr(row) + " at " + rec.Column(def.TimeField).ValueStr(row)
}

// reused are the events whose name stands for several places: how many names, and of
// the first of them the events.
func (e *events) reused() (names int, first []event) {
	slices.SortFunc(e.all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.day, b.day), cmp.Compare(a.place, b.place))
	})
	for from := 0; from < len(e.all); {
		to := from + 1
		for to < len(e.all) && e.all[to].id == e.all[from].id {
			to++
		}
		if group := e.all[from:to]; slices.ContainsFunc(group, func(x event) bool { return x.place != group[0].place }) {
			names++
			if first == nil || group[0].day < first[0].day {
				first = group
			}
		}
		from = to
	}
	return names, first
}

// events reports the event_ids that stand for several records.
func (c *check) eventIDs(ctx context.Context) {
	if n := c.events.left; n > 0 {
		c.report.note("identity", c.root, fmt.Sprintf("%d rows have an event_id and were not compared with other days: there are too many", n), "nothing: C2 was checked for all of them")
	}
	names, first := c.events.reused()
	if names == 0 {
		return
	}
	text := fmt.Sprintf("%d event_ids stand for records of different symbol or event time; each of these is kept", names)
	if example := c.example(ctx, first); example != "" {
		text += ", such as " + example
	}
	c.report.note("identity", c.root, text, "ask the publisher whether it meant one record, and corrected it: then only a natural key in the definition, or an erasure, takes the old one away")
}

// example says in words what an event_id stands for.
func (c *check) example(ctx context.Context, first []event) string {
	id, places := "", []string{}
	days := slices.Compact(func() (all []int32) {
		for _, x := range first {
			all = append(all, x.day)
		}
		return all
	}())
	for _, day := range days[:min(len(days), 2)] {
		key := c.events.days[day]
		live, _, err := compaction.Check{Store: c.Store, Definition: c.def, Snapshot: c.snapshot}.References(ctx, key)
		if err != nil {
			return ""
		}
		for _, rec := range live {
			if rec == nil {
				continue
			}
			for row := range int(rec.NumRows()) {
				if name := named(rec, c.def, row); maphash.String(c.events.seed, name) == first[0].id {
					id = rec.Column(c.def.Field(schema.ColID)).ValueStr(row)
					places = append(places, place(rec, c.def, row))
				}
			}
		}
	}
	if len(places) == 0 {
		return ""
	}
	return fmt.Sprintf("%q: %s", id, strings.Join(places[:min(len(places), 4)], ", "))
}
